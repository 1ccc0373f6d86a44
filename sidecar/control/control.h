/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: everything of udplaned that is not the packet path. It brings device, memory
 * and workers up, answers clients, mirrors routes to the workers, sends what they find slow, keeps
 * the stats zone, and takes it all down again in the order that loses nothing.
 */
#ifndef SIDECAR_CONTROL_CONTROL_H
#define SIDECAR_CONTROL_CONTROL_H

#include "sidecar/config/config.h"
#include <stdint.h>

enum control_end {
	CONTROL_STOPPED, /* asked to; exit status 0 */
	CONTROL_FAILED,	 /* could not start or cannot go on; logged; exit status 1 */
	/* the device was reset, or is gone and backend auto shall choose anew: run the program
	 * again */
	CONTROL_RESTART,
};

/* Runs until SIGTERM or SIGINT, or until the device is gone. cfg must live as long. The calling
 * thread becomes the control thread, which adds 1 to *beat each second. */
enum control_end control_run(struct config *cfg, uint32_t *beat);

#endif

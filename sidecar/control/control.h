/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: everything of udplaned that is not the packet path. It brings device, memory and workers up, answers clients,
 * mirrors routes to the workers, sends what they find slow, keeps the stats zone, and takes it all down again in the order that
 * loses nothing.
 */
#ifndef SIDECAR_CONTROL_CONTROL_H
#define SIDECAR_CONTROL_CONTROL_H

#include "sidecar/config/config.h"

/* Runs until SIGTERM or SIGINT, or until the device is gone. cfg must live as long. Returns the exit status: 0 asked to stop, 1 could
 * not start or cannot go on (logged). The calling thread becomes the control thread. */
int control_run(struct config *cfg);

#endif

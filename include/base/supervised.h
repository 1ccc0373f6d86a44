/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the first process of udplaned tells udplanectl about the processes that it starts (key
 * restart): a file beside the control socket, which every container of a pod can read. The first
 * process holds a lock on the file for as long as it lives, so a file that is not locked is an old
 * one. Only udplaned can write it.
 */
#ifndef UDPLANE_BASE_SUPERVISED_H
#define UDPLANE_BASE_SUPERVISED_H

#include <stdint.h>

#define SUPERVISED_SUFFIX    ".restarts" /* after the path of the control socket */
#define SUPERVISED_TEXT_SIZE 400

/* The whole file. Written by one pwrite(); a reader that meets a write may see a mixture of two
 * texts. */
struct supervised {
	uint32_t restarts; /* since the first process started */
	uint32_t waiting;  /* 1: no udplaned runs, and the next one starts after a pause */
	char text[SUPERVISED_TEXT_SIZE]; /* why the last one ended; "" if none has */
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors for the program when it has none left. */
#ifndef UDPLANE_PRELOAD_ROOM_H
#define UDPLANE_PRELOAD_ROOM_H

#include "client/base.h"
#include <errno.h>
#include <stdbool.h>

/* After a call that has failed with EMFILE: closes what the library has open for some sockets,
 * which take the kernel path for a minute. Returns true if the call is worth another try. Keeps
 * errno. */
bool room_make(void);

/* Sets r to what call returns, with the library's descriptors to spare. */
#define WITH_ROOM(r, call, failed) \
	do                         \
		r = call;          \
	while (unlikely(r == (failed)) && errno == EMFILE && room_make())

#endif

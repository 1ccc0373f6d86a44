/* SPDX-License-Identifier: Apache-2.0 */
/* How long a wait spins before it sleeps: as a receive of the library does (client/wait.c). */
#ifndef UDPLANE_PRELOAD_SPIN_H
#define UDPLANE_PRELOAD_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct spin {
	uint64_t end_ns, look_ns;
	uint32_t turns;
	bool yield;
};
void spin_begin(struct spin *s, uint64_t limit_ns);
/* A pause. Returns false at the end. */
bool spin_more(struct spin *s);
/* Returns true if the kernel is to be asked again. */
bool spin_look_due(struct spin *s);

#endif

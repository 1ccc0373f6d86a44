/* SPDX-License-Identifier: Apache-2.0 */
/* Registrations with EPOLLONESHOT, by their data: a hash table for each instance. Its lock is
 * held. */
#include "client/preload/instance.h"
#include <stdlib.h>

#define ROOM_FIRST 16

static struct watch **bucket(const struct instance *in, uint64_t data)
{
	return &in->oneshot[(data * 0x9e3779b97f4a7c15ull) >> 32 & (in->oneshot_room - 1)];
}

static void put(struct watch *w)
{
	struct watch **head = bucket(w->in, w->data.u64);

	w->next_oneshot = *head;
	*head = w;
}

/* Returns false if there is no room at all. */
static bool make_room(struct instance *in)
{
	uint32_t was = in->oneshot_room, room = was ? 2 * was : ROOM_FIRST;
	struct watch **old = in->oneshot, **made;

	if (in->oneshot_cnt < was)
		return true;
	made = calloc(room, sizeof(*made));
	if (!made)
		return was != 0; /* slower */
	in->oneshot = made;
	in->oneshot_room = room;
	for (uint32_t i = 0; i < was; i++) {
		struct watch *w, *next;

		for (w = old[i]; w; w = next) {
			next = w->next_oneshot;
			put(w);
		}
	}
	free(old);
	return true;
}

bool oneshot_add(struct watch *w)
{
	if (!make_room(w->in))
		return false;
	put(w);
	__atomic_fetch_add(&w->in->oneshot_cnt, 1, __ATOMIC_RELAXED);
	return true;
}

void oneshot_remove(struct watch *w)
{
	struct watch **at;

	if (!w->in->oneshot_room)
		return;
	at = bucket(w->in, w->data.u64);
	while (*at && *at != w)
		at = &(*at)->next_oneshot;
	if (!*at)
		return; /* there was no memory for it */
	*at = w->next_oneshot;
	__atomic_fetch_sub(&w->in->oneshot_cnt, 1, __ATOMIC_RELAXED);
}

struct watch *oneshot_find(const struct instance *in, uint64_t data)
{
	struct watch *w = in->oneshot_room ? *bucket(in, data) : NULL;

	while (w && (w->data.u64 != data || w->gone))
		w = w->next_oneshot;
	return w;
}

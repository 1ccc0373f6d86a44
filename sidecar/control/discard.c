/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that the keeper closes for the control thread.
 *
 * close() of a client's connection also closes the descriptors in messages that are unread in it,
 * and a client can pass one whose close() takes as long as it likes.
 */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define DISCARD_BATCH 4u /* descriptors; at most KEEPER_BURY_MAX */

void fd_discard_stop(struct control *c)
{
	for (uint32_t i = 0; i < c->discarded_cnt; i++)
		close(c->discarded[i]);
	free(c->discarded);
}

/* Gives the last cnt of them to the keeper. Returns false if it has no room for them now. */
static bool discard_last(struct control *c, uint32_t cnt)
{
	const int *fds = c->discarded + c->discarded_cnt - cnt;
	int err = c->keeper.fd < 0 ? 0 : keeper_bury(&c->keeper, fds, cnt);

	if (err == -EAGAIN || err == -ETOOMANYREFS)
		return false;
	for (uint32_t i = 0; i < cnt; i++)
		close(fds[i]);
	c->discarded_cnt -= cnt;
	return true;
}

/* Several in one message: each message may wake the keeper up. */
void fd_discard(struct control *c, int fd)
{
	if (c->discarded_cnt == c->discarded_room) {
		uint32_t room = c->discarded_room ? 2 * c->discarded_room : KEEPER_BURY_MAX;
		int *more = realloc(c->discarded, room * sizeof(*more));

		if (!more)
			return; /* it stays open, which is better than waiting for it */
		c->discarded = more;
		c->discarded_room = room;
	}
	c->discarded[c->discarded_cnt++] = fd;
	if (c->discarded_cnt >= DISCARD_BATCH)
		discard_last(c, DISCARD_BATCH);
}

void fd_discard_tick(struct control *c)
{
	while (c->discarded_cnt &&
	       discard_last(c, c->discarded_cnt < DISCARD_BATCH ? c->discarded_cnt : DISCARD_BATCH))
		;
}

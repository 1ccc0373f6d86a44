/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread's dealings with the keeper (sidecar/keeper). */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BURY_BATCH 4u /* descriptors; at most KEEPER_BURY_MAX */

void keep_stop(struct control *c)
{
	keeper_stop(&c->keeper);
	for (uint32_t i = 0; i < c->unburied_cnt; i++)
		close(c->unburied[i]);
	free(c->unburied);
}

/* Gives the last cnt of them away. False: not now. */
static bool bury_last(struct control *c, uint32_t cnt)
{
	const int *fds = c->unburied + c->unburied_cnt - cnt;
	int err = c->keeper.fd < 0 ? 0 : keeper_bury(&c->keeper, fds, cnt);

	if (err == -EAGAIN || err == -ETOOMANYREFS)
		return false;
	for (uint32_t i = 0; i < cnt; i++)
		close(fds[i]);
	c->unburied_cnt -= cnt;
	return true;
}

/* As many in one message as fit: it is a matter of a process that wakes up. */
void keep_bury(struct control *c, int fd)
{
	if (c->unburied_cnt == c->unburied_room) {
		uint32_t room = c->unburied_room ? 2 * c->unburied_room : KEEPER_BURY_MAX;
		int *more = realloc(c->unburied, room * sizeof(*more));

		if (!more)
			return; /* it stays open: better than to wait for it */
		c->unburied = more;
		c->unburied_room = room;
	}
	c->unburied[c->unburied_cnt++] = fd;
	if (c->unburied_cnt >= BURY_BATCH)
		bury_last(c, BURY_BATCH);
}

void keep_tick(struct control *c)
{
	while (c->unburied_cnt &&
	       bury_last(c, c->unburied_cnt < BURY_BATCH ? c->unburied_cnt : BURY_BATCH))
		;
}

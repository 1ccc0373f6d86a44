/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors in the control thread's epoll. */
#include "sidecar/control/internal.h"
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

int watch_add(struct control *c, struct watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	return epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) ? -errno : 0;
}

void watch_remove(struct control *c, struct watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	close(w->fd);
	w->fd = -1;
}

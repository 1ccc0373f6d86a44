/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors in the control thread's epoll, and the timer for what can wait. */
#include "sidecar/control/internal.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
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

void work_at(struct control *c, uint64_t ns)
{
	struct itimerspec at = {.it_value = {.tv_sec = (time_t)(ns / 1000000000),
					     .tv_nsec = (long)(ns % 1000000000)}};

	if (ns >= c->work_ns)
		return;
	c->work_ns = ns;
	if (!ns)
		at.it_value.tv_nsec = 1; /* 0 would disarm it */
	timerfd_settime(c->work.fd, TFD_TIMER_ABSTIME, &at, NULL);
}

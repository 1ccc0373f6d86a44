/* SPDX-License-Identifier: Apache-2.0 */
/* A socket's two locks, and its descriptors. */
#include "client/sock.h"
#include "client/lock.h"
#include "client/own.h"
#include <errno.h>
#include <sys/epoll.h>

bool sock_kernel_is(const struct sock *s)
{
	return own_cookie(s->kfd) == s->cookie;
}

/* Another epoll instance would accept kfd, and any other file would refuse it with another
 * error. */
bool sock_fd_is(const struct sock *s)
{
	struct epoll_event ev = {.events = 0};

	if (epoll_ctl(s->ep, EPOLL_CTL_ADD, s->kfd, &ev) == 0) {
		epoll_ctl(s->ep, EPOLL_CTL_DEL, s->kfd, NULL);
		return false;
	}
	return errno == EEXIST;
}

void rx_recover(struct sock *s)
{
	for (uint32_t i = 0; i < s->rx.rxq_cnt; i++)
		s->rx.rxq[i].back_cnt = s->rx.rxq[i].back_sure;
}

bool sock_insist_rx(struct sock *s)
{
	bool mine = lock_mine(&s->rx.lock);

	if (!lock_insist(&s->rx.lock))
		return false;
	if (mine)
		rx_recover(s);
	return true;
}

bool sock_take_both(struct sock *s)
{
	if (!sock_insist_rx(s))
		return false;
	if (lock_insist(&s->tx.lock))
		return true;
	lock_drop(&s->rx.lock);
	return false;
}

void sock_drop_both(struct sock *s)
{
	lock_drop(&s->tx.lock);
	lock_drop(&s->rx.lock);
}

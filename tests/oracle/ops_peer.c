/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of the peer, and the fences that say when what it has sent is there. */
#include "tests/oracle/calls.h"
#include "tests/oracle/trace.h"
#include "tests/oracle/walk.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fence_wait(int fd, bool fast)
{
	char c;
	int64_t end = now_ms() + SURE_MS;

	while ((fast ? CALL(recv)(fd, &c, 1, MSG_DONTWAIT)
		     : syscall(SYS_recvfrom, fd, &c, 1, MSG_DONTWAIT, NULL, NULL)) < 0 &&
	       now_ms() < end)
		poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5);
}

/* What the peer has sent before has arrived when this returns, on whichever path. */
static void fence(void)
{
	union address to;

	address_parse(&to, HERE4, KERNEL_PORT);
	peer_fence(&to);
	if (walk.fast_fence >= 0) {
		address_parse(&to, HERE4, FAST_PORT);
		peer_fence(&to);
		fence_wait(walk.fast_fence, true);
	}
	fence_wait(walk.kernel_fence, false);
}

void engage(void)
{
	union address to;

	address_parse(&to, HERE4, FAST_PORT);
	for (int i = 0; i < BURST; i++)
		peer_fence(&to);
	for (int i = 0; i < BURST; i++)
		fence_wait(walk.fast_fence, true);
}

/* psend INDEX ADDRESS PORT LENGTH COUNT */
void op_psend(void)
{
	union address to;
	socklen_t len;
	size_t size = (size_t)number(4);
	long n = 0, r = 0;

	address_words(2, &to, &len);
	for (long i = number(5); i > 0; i--) {
		fill(size);
		r = peer_send((int)number(1), &to, walk.data, size);
		n += r >= 0;
	}
	trace("psend %ld", n);
	fence();
}

/* poption INDEX FAMILY LEVEL NAME VALUE: for the rest of the script */
void op_poption(void)
{
	peer_option((int)number(1), (int)number(2), (int)number(3), (int)number(4), (int)number(5));
	trace("poption");
}

/* precv [FRAMES]: what came to the peer. Without a number, what was sent is waited for, but not for
 * long. */
void op_precv(void)
{
	bool sure = walk.word_cnt > 1;
	int n = peer_take(sure ? (int)number(1) : walk.sent, sure ? sure_ms() : MAYBE_MS);

	walk.missed |= sure && n < number(1);
	walk.sent = 0;
	trace("precv %d", n);
}

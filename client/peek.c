/* SPDX-License-Identifier: Apache-2.0 */
#include "client/peek.h"
#include "client/sock.h"
#include <limits.h>
#include <sys/socket.h>

int peek_offset(const struct sock *s)
{
	socklen_t len = sizeof(int);
	int off = -1;

	return getsockopt(s->kfd, SOL_SOCKET, SO_PEEK_OFF, &off, &len) ? -1 : off;
}

void peek_set(const struct sock *s, int off)
{
	setsockopt(s->kfd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
}

void peek_move(const struct sock *s, int64_t bytes)
{
	int64_t off = peek_offset(s);

	if (off < 0 || !bytes)
		return;
	off += bytes;
	peek_set(s, off < 0 ? 0 : off > INT_MAX ? INT_MAX : (int)off);
}

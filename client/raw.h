/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that are not cancellation points. */
#ifndef UDPLANE_CLIENT_RAW_H
#define UDPLANE_CLIENT_RAW_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Like libc's, but not cancellation points: a thread must not end while it holds a lock. Under
 * ThreadSanitizer they are libc's, since it learns from those alone what orders two threads. */
#ifdef __SANITIZE_THREAD__
#define RAW(name, ...) name(__VA_ARGS__)
#else
#define RAW(name, ...) syscall(SYS_##name, __VA_ARGS__)
#endif
static inline ssize_t raw_read(int fd, void *buf, size_t len)
{
	return RAW(read, fd, buf, len);
}
static inline ssize_t raw_write(int fd, const void *buf, size_t len)
{
	return RAW(write, fd, buf, len);
}
static inline ssize_t raw_recvmsg(int fd, struct msghdr *h, int flags)
{
	return RAW(recvmsg, fd, h, flags);
}
static inline ssize_t raw_sendmsg(int fd, const struct msghdr *h, int flags)
{
	return RAW(sendmsg, fd, h, flags);
}
static inline int raw_recvmmsg(int fd, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	return (int)RAW(recvmmsg, fd, vec, cnt, flags, NULL);
}
static inline int raw_sendmmsg(int fd, struct mmsghdr *vec, uint32_t cnt, int flags)
{
	return (int)RAW(sendmmsg, fd, vec, cnt, flags);
}
/* Returns the events of one descriptor, without waiting; 0 if there are none or it cannot be
 * polled. */
static inline int raw_poll(int fd, short events)
{
	struct pollfd p = {fd, events, 0};
	struct timespec zero = {0, 0};

	return syscall(SYS_ppoll, &p, 1, &zero, NULL, 0) > 0 ? p.revents : 0;
}

#ifdef __cplusplus
}
#endif

#endif

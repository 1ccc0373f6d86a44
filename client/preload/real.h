/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library's own calls, which the shim has taken the names of. The compiler includes this
 * before each file of libudplane-preload.so: in the library's files a call of recvmsg() becomes one
 * of real_recvmsg(), which is libc's. Files that define the names include entry.h to have them
 * back.
 *
 * A call is looked up at its first use, since constructors of other libraries may come before ours.
 */
#ifndef UDPLANE_PRELOAD_REAL_H
#define UDPLANE_PRELOAD_REAL_H

#include <unistd.h>

/* Before portable.h, which calls it. */
long real_syscall(long number, ...);
#define syscall real_syscall

#include "client/portable.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

/* X(result, name, parameters, arguments) */
#define REAL_CALLS(X)                                                                             \
	X(int, socket, (int domain, int type, int protocol), (domain, type, protocol))            \
	X(int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))       \
	X(int, connect, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))    \
	X(int, shutdown, (int fd, int how), (fd, how))                                            \
	X(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),       \
	  (fd, level, name, value, len))                                                          \
	X(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len),            \
	  (fd, level, name, value, len))                                                          \
	X(ssize_t, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))       \
	X(ssize_t, recvfrom,                                                                      \
	  (int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *from_len), \
	  (fd, buf, len, flags, from, from_len))                                                  \
	X(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), (fd, msg, flags))            \
	X(int, recvmmsg,                                                                          \
	  (int fd, struct mmsghdr *vec, unsigned int cnt, int flags, struct timespec *timeout),   \
	  (fd, vec, cnt, flags, timeout))                                                         \
	X(ssize_t, send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags)) \
	X(ssize_t, sendto,                                                                        \
	  (int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,             \
	   socklen_t to_len),                                                                     \
	  (fd, buf, len, flags, to, to_len))                                                      \
	X(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags))      \
	X(int, sendmmsg, (int fd, struct mmsghdr *vec, unsigned int cnt, int flags),              \
	  (fd, vec, cnt, flags))                                                                  \
	X(ssize_t, read, (int fd, void *buf, size_t len), (fd, buf, len))                         \
	X(ssize_t, readv, (int fd, const struct iovec *iov, int cnt), (fd, iov, cnt))             \
	X(ssize_t, write, (int fd, const void *buf, size_t len), (fd, buf, len))                  \
	X(ssize_t, writev, (int fd, const struct iovec *iov, int cnt), (fd, iov, cnt))            \
	X(int, close, (int fd), (fd))                                                             \
	X(int, dup, (int fd), (fd))                                                               \
	X(int, dup2, (int fd, int to), (fd, to))                                                  \
	X(int, dup3, (int fd, int to, int flags), (fd, to, flags))                                \
	X(int, sigaction, (int number, const struct sigaction *act, struct sigaction *old),       \
	  (number, act, old))                                                                     \
	X(sighandler_t, signal, (int number, sighandler_t handler), (number, handler))            \
	X(int, fclose, (FILE * f), (f))                                                           \
	X(int, poll, (struct pollfd * p, nfds_t cnt, int timeout), (p, cnt, timeout))             \
	X(int, ppoll,                                                                             \
	  (struct pollfd * p, nfds_t cnt, const struct timespec *timeout, const sigset_t *mask),  \
	  (p, cnt, timeout, mask))                                                                \
	X(int, select, (int cnt, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout),    \
	  (cnt, rd, wr, ex, timeout))                                                             \
	X(int, pselect,                                                                           \
	  (int cnt, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *timeout,           \
	   const sigset_t *mask),                                                                 \
	  (cnt, rd, wr, ex, timeout, mask))                                                       \
	X(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode))             \
	X(int, openat, (int dir, const char *path, int flags, mode_t mode),                       \
	  (dir, path, flags, mode))                                                               \
	X(FILE *, fopen, (const char *path, const char *mode), (path, mode))                      \
	X(int, accept, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len))          \
	X(int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags),               \
	  (fd, addr, len, flags))                                                                 \
	X(int, socketpair, (int domain, int type, int protocol, int fd[2]),                       \
	  (domain, type, protocol, fd))                                                           \
	X(int, pipe, (int fd[2]), (fd))                                                           \
	X(int, pipe2, (int fd[2], int flags), (fd, flags))                                        \
	X(int, eventfd, (unsigned int value, int flags), (value, flags))                          \
	X(int, timerfd_create, (clockid_t clock, int flags), (clock, flags))                      \
	X(int, epoll_create, (int size), (size))                                                  \
	X(int, epoll_create1, (int flags), (flags))                                               \
	X(int, epoll_ctl, (int ep, int op, int fd, struct epoll_event *ev), (ep, op, fd, ev))     \
	X(int, epoll_wait, (int ep, struct epoll_event *ev, int max, int timeout),                \
	  (ep, ev, max, timeout))                                                                 \
	X(int, epoll_pwait,                                                                       \
	  (int ep, struct epoll_event *ev, int max, int timeout, const sigset_t *mask),           \
	  (ep, ev, max, timeout, mask))

#define X(result, name, params, args) result real_##name params;
REAL_CALLS(X)
#undef X
int real_fcntl(int fd, int cmd, ...);
int real_ioctl(int fd, unsigned long request, ...);
/* Newer than glibc 2.17: by the system call where libc has none. */
int real_close_range(unsigned int first, unsigned int last, int flags);
int real_epoll_pwait2(int ep, struct epoll_event *ev, int max, const struct timespec *timeout,
		      const sigset_t *mask);

#define socket	       real_socket
#define bind	       real_bind
#define connect	       real_connect
#define shutdown       real_shutdown
#define setsockopt     real_setsockopt
#define getsockopt     real_getsockopt
#define recv	       real_recv
#define recvfrom       real_recvfrom
#define recvmsg	       real_recvmsg
#define recvmmsg       real_recvmmsg
#define send	       real_send
#define sendto	       real_sendto
#define sendmsg	       real_sendmsg
#define sendmmsg       real_sendmmsg
#define read	       real_read
#define readv	       real_readv
#define write	       real_write
#define writev	       real_writev
#define close	       real_close
#define dup	       real_dup
#define dup2	       real_dup2
#define dup3	       real_dup3
#define fclose	       real_fclose
#define poll	       real_poll
#define ppoll	       real_ppoll
#define select	       real_select
#define pselect	       real_pselect
#define open	       real_open
#define openat	       real_openat
#define fopen	       real_fopen
#define accept	       real_accept
#define accept4	       real_accept4
#define socketpair     real_socketpair
#define pipe	       real_pipe
#define pipe2	       real_pipe2
#define eventfd	       real_eventfd
#define timerfd_create real_timerfd_create
#define epoll_create   real_epoll_create
#define epoll_create1  real_epoll_create1
#define epoll_ctl      real_epoll_ctl
#define epoll_wait     real_epoll_wait
#define epoll_pwait    real_epoll_pwait
#define fcntl	       real_fcntl
#define ioctl	       real_ioctl

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Gives files that define or name libc's calls their names back: see real.h. Include it last. */
#undef socket
#undef bind
#undef connect
#undef shutdown
#undef setsockopt
#undef getsockopt
#undef recv
#undef recvfrom
#undef recvmsg
#undef recvmmsg
#undef send
#undef sendto
#undef sendmsg
#undef sendmmsg
#undef read
#undef readv
#undef write
#undef writev
#undef close
#undef dup
#undef dup2
#undef dup3
#undef fclose
#undef poll
#undef ppoll
#undef select
#undef pselect
#undef open
#undef openat
#undef fopen
#undef accept
#undef accept4
#undef socketpair
#undef pipe
#undef pipe2
#undef eventfd
#undef timerfd_create
#undef epoll_create
#undef epoll_create1
#undef epoll_ctl
#undef epoll_wait
#undef epoll_pwait
#undef fcntl
#undef ioctl
#undef syscall

/* A call that programs find in place of libc's. */
#define ENTRY __attribute__((visibility("default")))

/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the program become the library's, beside the kernel. */
#ifndef UDPLANE_PRELOAD_ADOPT_H
#define UDPLANE_PRELOAD_ADOPT_H

#include <stdbool.h>
#include <sys/socket.h>

/* Returns false if the shim leaves the program alone: UDPLANE_DISABLE. */
bool shim_works(void);
/* The program has just made fd. */
void shim_adopt_new(int fd, int domain, int type, int protocol);
/* fd came with the program's start, or in a message: it is adopted if it is a UDP socket. */
void shim_adopt_inherited(int fd);
/* to has become a duplicate of fd. */
void shim_link(int fd, int to);
/* fd is about to be closed, or to become another file. */
void shim_forget(int fd);
/* Returns true if fd is one of ours: descriptors of the library, or known to it. One or two
 * loads. */
bool shim_knows(int fd);
/* Returns true if it is the library's own, of which the program does not know. */
bool shim_hides(int fd);
/* The descriptors in a message: received ones are adopted; of those that are to be sent, sockets
 * leave the fast path. */
void shim_fds_received(struct msghdr *msg);
void shim_fds_sent(const struct msghdr *msg);
/* The process uses io_uring(7), which does not see what is in a ring: all its sockets, and those to
 * come, are left to the kernel. */
void shim_leave_all(void);
/* bind(2) has found the address in use. Returns true, after a pause, if it is worth another try:
 * udplaned may still hold the socket of a process that has just ended. */
bool shim_bind_again(int fd);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain sockets: the UDP sockets of this network namespace as the kernel lists them in
 * /proc/net/udp and udp6. The lists include sockets that udplane accelerates, since these are
 * kernel sockets; callers ask only about ports without a claim.
 */
#ifndef UDPLANE_CLIENT_CTL_PLAIN_H
#define UDPLANE_CLIENT_CTL_PLAIN_H

#include <stdbool.h>
#include <stdio.h>

#include "udplane/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct plain_socket {
	struct udplane_addr local;
	uint32_t uid;
	uint64_t inode;
	int32_t pid; /* 0 if its process is in another PID namespace or another user's */
	char comm[17];
	bool preloaded;	   /* the process has loaded libudplane-preload.so */
	char obstacle[96]; /* why it cannot be preloaded; "" if it can, or if that is not known */
};

struct plain_list {
	struct plain_socket *socket;
	size_t cnt, max;
};

/* Adds the sockets on `port` of one file of /proc/net, or all its sockets if `port` is 0. Skips
 * lines that it cannot parse. */
void plain_parse(struct plain_list *list, FILE *file, bool ipv6, uint16_t port);

/* Reads both files. The list is empty if there is no /proc. */
void plain_read(struct plain_list *list, uint16_t port);
/* Searches /proc/PID/fd for the processes that hold the sockets, and sets pid and what follows. */
void plain_find_owners(struct plain_list *list);
void plain_free(struct plain_list *list);

#ifdef __cplusplus
}
#endif

#endif

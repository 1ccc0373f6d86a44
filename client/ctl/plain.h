/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain sockets: what the kernel knows of UDP sockets in this network namespace, from /proc/net/udp
 * and udp6. A socket that udplane accelerates is there, too, as it is a kernel socket; callers ask
 * only about ports that nobody claimed.
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
	int32_t pid; /* 0: not found, its process is in another pid namespace or another user's */
	char comm[17];
};

struct plain_list {
	struct plain_socket *socket;
	size_t cnt, max;
};

/* Adds the sockets of one file of /proc/net; `port` 0: those of all ports. Lines that make no sense
 * are skipped. */
void plain_parse(struct plain_list *list, FILE *file, bool ipv6, uint16_t port);

/* Reads both files. An empty list if there is no /proc. */
void plain_read(struct plain_list *list, uint16_t port);
/* Looks through /proc/PID/fd for the processes that hold them. */
void plain_find_owners(struct plain_list *list);
void plain_free(struct plain_list *list);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Private buffers for datagrams: a pool of large ones, and small ones of the length asked for. */
#ifndef UDPLANE_CLIENT_PKTBUF_H
#define UDPLANE_CLIENT_PKTBUF_H

#include "client/cmsg.h"
#include "client/public.h"
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A datagram in private memory: of the kernel path in the burst calls, or saved from rings that
 * went away. */
struct pktbuf {
	struct pktbuf *next;
	struct udplane_addr peer;
	uint32_t len;
	bool small; /* not of the pool */
	/* it came with UDPLANE_RX_SWITCHED: the kernel socket is to be emptied before */
	bool switched;
	bool peeked; /* an empty one that MSG_PEEK has shown: SO_PEEK_OFF passes over it */
	/* bytes behind the payload: the control messages that the kernel gave with it */
	uint32_t control_len;
	struct cmsg_info info; /* if the kernel did not receive it: what ours are made of */
	uint8_t data[] __attribute__((aligned(64)));
};

/* Takes up to cnt buffers of PKTBUF_SIZE bytes. Returns how many; fewer: no memory. */
uint32_t pktbufs_get(struct pktbuf **out, uint32_t cnt);
/* Returns a buffer for len bytes, which does not go to the pool; NULL: no memory. */
struct pktbuf *pktbuf_small(uint32_t len);
void pktbuf_put(struct pktbuf *b);

#ifdef __cplusplus
}
#endif

#endif

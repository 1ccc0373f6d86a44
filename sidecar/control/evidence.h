/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with the device, found out by comparing counts that are made independently of each
 * other:
 *
 *   the interface's rx_packets >> frames that the XDP program has seen
 *           something delivers past it (bpf_redirect_peer)
 *   the program diverts, but the kernel fills no RX ring
 *           frames vanish (a bond's native XDP)
 *   frames wait in the TX ring, but the kernel takes none
 *           the device does not send
 *
 * One look is no proof: counts are read one after the other, and threads stand still for a while on
 * a busy machine. So a finding stands when it has shown in EVIDENCE_LOOKS looks in a row.
 *
 * Pure: the caller samples, once a second.
 */
#ifndef SIDECAR_CONTROL_EVIDENCE_H
#define SIDECAR_CONTROL_EVIDENCE_H

#include "sidecar/device/device.h"
#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EVIDENCE_LOOKS 2
#define EVIDENCE_FEW   10 /* packets per look: fewer prove nothing */
/* unseen per seen packet: more than can come from reading the counters one after the other */
#define EVIDENCE_RATIO 8

enum evidence_finding {
	EVIDENCE_DETACHED = 0x01,    /* others have detached or replaced our program; at once */
	EVIDENCE_BYPASSED = 0x02,    /* claimed sockets get their datagrams past the program */
	EVIDENCE_BLACK_HOLE = 0x04,  /* what is diverted arrives nowhere */
	EVIDENCE_TX_STUCK = 0x08,    /* the device takes no frames to send */
	EVIDENCE_MORE_QUEUES = 0x10, /* frames may come on queues that we have not bound */
	/* no fault: the program has seen claimed datagrams; nothing delivers past it, or no
	 * longer */
	EVIDENCE_SEEN = 0x20,
};

struct evidence_sample {
	uint64_t device[UDPLANE_DEVICE_COUNTER_CNT];
	uint64_t host[UDPLANE_HOST_COUNTER_CNT];
	struct device_facts facts;
	uint32_t queue_used; /* bound by us */
	bool claims;	     /* some port is diverted */
};

struct evidence {
	struct evidence_sample last;
	bool begun;
	uint32_t bypassed, black_hole, tx_stuck, more_queues; /* looks in a row */
};

/* Takes the next sample; returns enum evidence_finding's bits. */
uint32_t evidence_look(struct evidence *e, const struct evidence_sample *s);

/* Call after a repair: samples from before prove nothing any more. */
void evidence_forget(struct evidence *e);

#ifdef __cplusplus
}
#endif

#endif

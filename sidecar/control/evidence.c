/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/control/evidence.h"

#include <string.h>

static uint64_t device_grew(const struct evidence *e, const struct evidence_sample *s,
			    enum udplane_device_counter c)
{
	return s->device[c] - e->last.device[c];
}

static uint64_t host_grew(const struct evidence *e, const struct evidence_sample *s,
			  enum udplane_host_counter c)
{
	return s->host[c] > e->last.host[c] ? s->host[c] - e->last.host[c] : 0;
}

/* Datagrams of claimed ports that the program has seen. */
static uint64_t claimed(const struct evidence *e, const struct evidence_sample *s)
{
	return device_grew(e, s, UDPLANE_DEVICE_RX_DIVERTED) +
	       device_grew(e, s, UDPLANE_DEVICE_RX_PASSED_IDLE) +
	       device_grew(e, s, UDPLANE_DEVICE_RX_PASSED_NO_QUEUE) +
	       device_grew(e, s, UDPLANE_DEVICE_RX_PASSED_PARTIAL) +
	       device_grew(e, s, UDPLANE_DEVICE_RX_PASSED_STALLED);
}

/* Kernel sockets get datagrams, the interface gets packets that the program does not see, and
 * hardly any of what the program sees is for a claimed socket. */
static bool bypassed(const struct evidence *e, const struct evidence_sample *s)
{
	uint64_t in = host_grew(e, s, UDPLANE_HOST_INTERFACE_RX),
		 seen = device_grew(e, s, UDPLANE_DEVICE_RX_SEEN);
	uint64_t udp =
		host_grew(e, s, UDPLANE_HOST_UDP_IN) + host_grew(e, s, UDPLANE_HOST_UDP_IN_LOST);
	uint64_t unseen = in > seen ? in - seen : 0;

	return s->claims && s->facts.attached && unseen >= EVIDENCE_FEW && udp >= EVIDENCE_FEW &&
	       unseen > claimed(e, s) * EVIDENCE_RATIO && unseen * EVIDENCE_RATIO > seen;
}

static bool black_hole(const struct evidence *e, const struct evidence_sample *s)
{
	return device_grew(e, s, UDPLANE_DEVICE_RX_DIVERTED) &&
	       s->facts.rx_put == e->last.facts.rx_put &&
	       !device_grew(e, s, UDPLANE_DEVICE_RX_LOST_RING_FULL) &&
	       !device_grew(e, s, UDPLANE_DEVICE_RX_LOST_NO_FRAME);
}

static bool tx_stuck(const struct evidence *e, const struct evidence_sample *s)
{
	return s->facts.tx_waiting && e->last.facts.tx_waiting &&
	       s->facts.tx_taken == e->last.facts.tx_taken;
}

/* Counts looks in a row that show it. Returns true from the EVIDENCE_LOOKS-th on. */
static bool stands(uint32_t *looks, bool shows)
{
	*looks = shows ? *looks + 1 : 0;
	return *looks >= EVIDENCE_LOOKS;
}

uint32_t evidence_look(struct evidence *e, const struct evidence_sample *s)
{
	uint32_t found = s->facts.attached ? 0 : EVIDENCE_DETACHED;

	if (e->begun) {
		bool past = bypassed(e, s);

		found |= !past && claimed(e, s) ? EVIDENCE_SEEN : 0;
		found |= stands(&e->bypassed, past) ? EVIDENCE_BYPASSED : 0;
		found |= stands(&e->black_hole, black_hole(e, s)) ? EVIDENCE_BLACK_HOLE : 0;
		found |= stands(&e->tx_stuck, tx_stuck(e, s)) ? EVIDENCE_TX_STUCK : 0;
		found |= stands(&e->more_queues, s->facts.queue_cnt > s->queue_used)
				 ? EVIDENCE_MORE_QUEUES
				 : 0;
	}
	e->last = *s;
	e->begun = true;
	return found;
}

void evidence_forget(struct evidence *e)
{
	memset(e, 0, sizeof(*e));
}

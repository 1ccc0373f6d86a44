/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite_slots SECONDS: sends runs of datagrams from 10.99.0.1 port 6000 to 10.99.0.2 port 7000 as
 * fast as the worker takes them, while a second thread rewrites payloads in the slots, and lengths
 * and TOS in the descriptors, all the time.
 */
#include "tests/attack/hostile.h"

static struct hostile h;

static void *scribble(void *arg)
{
	struct udplane_tx_ring *tx = hostile_tx_ring(&h);
	uint8_t *payload = h.channel + h.welcome.lane_off + h.welcome.tx_payload_off;
	uint32_t n = 0;

	(void)arg;
	for (;; n++) {
		uint32_t slot = n % h.welcome.tx_slot_cnt;
		volatile uint8_t *p = payload + (size_t)slot * h.welcome.tx_slot_size;

		for (uint32_t i = 0; i < 1400; i += 64)
			p[i] = (uint8_t)n;
		/* of few of them, so that runs remain */
		if (slot % 64 == 0)
			*(volatile uint16_t *)&tx->desc[slot].len = n & 512 ? 700 : 1400;
		if (slot % 64 == 32)
			*(volatile uint8_t *)&tx->desc[slot].tos = n & 512 ? 4 : 0;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct udplane_ring_head *head;
	struct hostile_socket s;
	pthread_t thread;
	uint32_t before;
	double end;

	if (argc != 2) {
		fputs("usage: rewrite_slots SECONDS\n", stderr);
		return 2;
	}
	if (hostile_attach(&h, 0, 5000) ||
	    hostile_claim(&h, hostile_udp("10.99.0.1", 6000, 0), &s, 5000))
		return 1;
	hostile_fill_tx(&h, s.claimed.sock, "10.99.0.2", 7000);
	for (uint32_t i = 0; i < h.welcome.tx_slot_cnt; i++) {
		hostile_tx_ring(&h)->desc[i].len = 1400;
		hostile_tx_ring(&h)->desc[i].flags = UDPLANE_TX_TOS;
	}
	head = &hostile_tx_ring(&h)->head;
	before = head->cons_idx;
	pthread_create(&thread, NULL, scribble, NULL);
	for (end = hostile_now() + atof(argv[1]); hostile_now() < end;) {
		hostile_refill_tx(&h);
		hostile_doorbell(&h);
		usleep(1000);
	}
	printf("{\"taken\": %u, \"attached\": %d}\n", udplane_word_load(&head->cons_idx) - before,
	       recv(h.fd, &(char){0}, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	return 0;
}

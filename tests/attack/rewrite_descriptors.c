/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite_descriptors SECONDS VALUE: a second thread writes VALUE into the descriptor that the
 * worker writes next, in each of this client's RX rings, while datagrams come. Whatever the worker
 * reads back from there may be VALUE (a frame number 8 GiB behind a table, say). Rings the doorbell
 * all the time, takes everything and returns no frame; attaches again when udplaned has nothing
 * left for it. Ports 6000 to 6015 of 10.99.0.1.
 */
#include "tests/attack/hostile.h"

#define SOCKETS 16

static struct udplane_rx_ring *rings[SOCKETS]; /* atomic */
static uint32_t value, mask;

static void *scribble(void *arg)
{
	(void)arg;
	for (;;) {
		for (int i = 0; i < SOCKETS; i++) {
			struct udplane_rx_ring *r = __atomic_load_n(&rings[i], __ATOMIC_ACQUIRE);

			if (r)
				*(volatile uint32_t *)&r
					 ->desc[udplane_word_load(&r->head.prod_idx) & mask]
					 .frame = value;
		}
	}
	return NULL;
}

/* Takes what there is. Datagrams taken. */
static uint64_t take(void)
{
	uint64_t n = 0;

	for (int i = 0; i < SOCKETS; i++) {
		uint32_t prod = udplane_word_load(&rings[i]->head.prod_idx);

		n += prod - rings[i]->head.cons_idx;
		__atomic_store_n(&rings[i]->head.cons_idx, prod, __ATOMIC_RELEASE);
	}
	return n;
}

/* Runs one attachment. Returns false if udplaned has closed it. */
static bool attack(double end, uint64_t *total)
{
	struct hostile h;
	struct hostile_socket s;
	int fd[SOCKETS];
	uint64_t got = 0, before;
	double last = hostile_now();
	bool alive = true;

	if (hostile_attach(&h, 0, 5000))
		return false;
	for (int i = 0; i < SOCKETS && alive; i++) {
		fd[i] = hostile_udp("10.99.0.1", (uint16_t)(6000 + i), 0);
		alive = !hostile_claim(&h, fd[i], &s, 5000);
		mask = s.claimed.ring_size - 1;
		__atomic_store_n(&rings[i], alive ? s.ring : NULL, __ATOMIC_RELEASE);
	}
	while (alive && hostile_now() < end && hostile_now() - last < 0.2) {
		hostile_doorbell(&h);
		usleep(60);
		before = got;
		got += take();
		if (got != before)
			last = hostile_now();
		alive = recv(h.fd, &(char){0}, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
	}
	*total += got;
	for (int i = 0; i < SOCKETS; i++) {
		__atomic_store_n(&rings[i], NULL, __ATOMIC_RELEASE);
		close(fd[i]);
	}
	h.channel = NULL; /* stays mapped: the other thread may be in it */
	h.segment_cnt = 0;
	hostile_detach(&h);
	return true;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	uint64_t total = 0;
	uint32_t rounds = 0;
	double end;

	if (argc != 3) {
		fputs("usage: rewrite_descriptors SECONDS VALUE\n", stderr);
		return 2;
	}
	value = (uint32_t)strtoul(argv[2], NULL, 0);
	pthread_create(&thread, NULL, scribble, NULL);
	for (end = hostile_now() + atof(argv[1]); hostile_now() < end; rounds++)
		if (!attack(end, &total))
			break;
	printf("{\"datagrams\": %lu, \"attachments\": %u}\n", total, rounds);
	return 0;
}

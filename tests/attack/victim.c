/* SPDX-License-Identifier: Apache-2.0 */
/*
 * victim SECONDS ADDRESS PORT: an honest client next to the attackers. It attaches, claims
 * ADDRESS:PORT, returns every frame at once, and asks as an observer ten times a second. At the end
 * it prints one line of JSON: datagrams by the ring and by the kernel socket, the longest time
 * without a datagram, the longest wait for an answer (milliseconds; -1: one got none), and whether
 * it is still connected. "ready" comes first, when the socket is claimed.
 */
#include "tests/attack/hostile.h"

struct victim {
	struct hostile h;
	struct hostile_socket s;
	int kernel_fd;
	uint32_t taken, returned;
	uint64_t ring_cnt, kernel_cnt;
	double last, gap, answer;
	double asked; /* time since which it waits for an answer; 0 if it does not wait */
};

static void take_ring(struct victim *v)
{
	struct udplane_return_ring *back = hostile_return_ring(&v->h);
	uint32_t prod = __atomic_load_n(&v->s.ring->head.prod_idx, __ATOMIC_ACQUIRE);

	for (; v->taken != prod; v->taken++, v->ring_cnt++)
		back->frame[v->returned++ & (v->h.welcome.return_cnt - 1)] =
			v->s.ring->desc[v->taken & (v->s.claimed.ring_size - 1)].frame;
	__atomic_store_n(&v->s.ring->head.cons_idx, v->taken, __ATOMIC_RELEASE);
	__atomic_store_n(&back->head.prod_idx, v->returned, __ATOMIC_RELEASE);
}

static void take(struct victim *v)
{
	uint64_t before = v->ring_cnt + v->kernel_cnt;
	double now;
	char byte;

	take_ring(v);
	while (recv(v->kernel_fd, &byte, 1, MSG_DONTWAIT) >= 0)
		v->kernel_cnt++;
	if (v->ring_cnt + v->kernel_cnt == before)
		return;
	now = hostile_now();
	if (v->last && now - v->last > v->gap)
		v->gap = now - v->last;
	v->last = now;
}

static void *ask(void *arg)
{
	struct victim *v = arg;

	for (;;) {
		double took;

		v->asked = hostile_now();
		took = hostile_ask_as_observer(10000);
		v->asked = 0;
		if (took < 0 || v->answer < 0)
			v->answer = -0.001;
		else if (took > v->answer)
			v->answer = took;
		usleep(100000);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct victim v;
	double end;
	pthread_t thread;
	int err;

	if (argc != 4) {
		fputs("usage: victim SECONDS ADDRESS PORT\n", stderr);
		return 2;
	}
	err = hostile_attach(&v.h, 0, 5000);
	v.kernel_fd = hostile_udp(argv[2], (uint16_t)atoi(argv[3]), 0);
	if (!err)
		err = hostile_claim(&v.h, v.kernel_fd, &v.s, 5000);
	if (err) {
		fprintf(stderr, "victim: attach or claim failed: %d %s\n", err, v.s.claimed.text);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	pthread_create(&thread, NULL, ask, &v);
	for (end = hostile_now() + atof(argv[1]); hostile_now() < end; usleep(100))
		take(&v);
	end = v.asked;
	if (end && v.answer >= 0 && hostile_now() - end > v.answer)
		v.answer = hostile_now() - end; /* so long at least */
	printf("{\"ring\": %lu, \"kernel\": %lu, \"gap_ms\": %.1f, \"answer_ms\": %.1f, "
	       "\"connected\": %s}\n",
	       v.ring_cnt, v.kernel_cnt, v.gap * 1e3, v.answer * 1e3,
	       recv(v.h.fd, &(char){0}, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN ? "true" : "false");
	return 0;
}

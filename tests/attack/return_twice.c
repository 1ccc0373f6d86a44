/* SPDX-License-Identifier: Apache-2.0 */
/*
 * return_twice PORT GROUP DATAGRAMS: a member of a multicast group that returns each frame twice,
 * as if the copies of other members were its own. Prints "joined" when it has joined, and at the
 * end what it has taken and whether udplaned has ended the connection.
 */
#include "tests/attack/hostile.h"

static int join(struct hostile *h, int fd, const struct hostile_socket *s, const char *group)
{
	struct udplane_member m = {.msg = {UDPLANE_MSG_MEMBER, sizeof(m), ++h->seq},
				   .sock = s->claimed.sock,
				   .group.family = AF_INET};
	struct ip_mreq mreq;
	struct udplane_done done;
	int fds[HOSTILE_FDS], cnt;

	inet_pton(AF_INET, group, &mreq.imr_multiaddr);
	inet_pton(AF_INET, "10.99.0.1", &mreq.imr_interface);
	inet_pton(AF_INET, group, m.group.addr);
	if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) ||
	    hostile_send(h->fd, &m, sizeof(m), NULL, 0) ||
	    hostile_recv(h->fd, &done, sizeof(done), fds, &cnt, 5000) < 0)
		return -1;
	return done.status;
}

static void give_back(struct hostile *h, uint32_t *at, uint32_t frame)
{
	struct udplane_return_ring *ret = hostile_return_ring(h);

	ret->frame[*at & (h->welcome.return_cnt - 1)] = frame;
	__atomic_store_n(&ret->head.prod_idx, ++*at, __ATOMIC_RELEASE);
}

static bool is_closed(const struct hostile *h)
{
	struct pollfd pfd = {.fd = h->fd, .events = POLLIN};

	return poll(&pfd, 1, 0) > 0;
}

int main(int argc, char **argv)
{
	double end = hostile_now() + 20;
	uint32_t at = 0, taken = 0;
	struct hostile_socket s;
	struct hostile h;
	int fd;

	if (argc != 4) {
		fputs("usage: return_twice PORT GROUP DATAGRAMS\n", stderr);
		return 2;
	}
	fd = hostile_udp("0.0.0.0", (uint16_t)atoi(argv[1]), SO_REUSEADDR);
	if (hostile_attach(&h, 0, 10000) || hostile_claim(&h, fd, &s, 10000) ||
	    join(&h, fd, &s, argv[2])) {
		fprintf(stderr, "%s %s\n", h.welcome.text, s.claimed.text);
		return 1;
	}
	puts("joined");
	fflush(stdout);
	while (taken < (uint32_t)atoi(argv[3]) && hostile_now() < end && !is_closed(&h)) {
		if (__atomic_load_n(&s.ring->head.prod_idx, __ATOMIC_ACQUIRE) == taken)
			continue;
		uint32_t frame = s.ring->desc[taken & (s.claimed.ring_size - 1)].frame;

		__atomic_store_n(&s.ring->head.cons_idx, ++taken, __ATOMIC_RELEASE);
		give_back(&h, &at, frame);
		give_back(&h, &at, frame);
		hostile_doorbell(&h);
	}
	while (!is_closed(&h) && hostile_now() < end)
		usleep(1000);
	printf("{\"taken\": %u, \"closed\": %s}\n", taken, is_closed(&h) ? "true" : "false");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * full_ring SECONDS CLIENTS update|release: so many attached clients whose TX rings are full of
 * datagrams for a neighbour that does not exist, and are filled again as soon as something is
 * taken. Each asks for an UPDATE of its socket (whose peer it has changed), or claims and releases
 * another one, again and again. Prints requests answered and the longest wait. 10.99.0.1, ports
 * 5100 upward.
 */
#include "tests/attack/hostile.h"

#define CLIENTS 64

static struct client {
	struct hostile h;
	struct hostile_socket s;
	int fd;
	uint16_t spare_port;
	bool odd;
} clients[CLIENTS];
static int client_cnt;

static void *refill(void *arg)
{
	(void)arg;
	for (;;) {
		for (int i = 0; i < client_cnt; i++)
			hostile_refill_tx(&clients[i].h);
		usleep(50);
	}
	return NULL;
}

static void open_client(int i)
{
	struct client *c = &clients[i];

	c->fd = hostile_udp("10.99.0.1", (uint16_t)(5100 + i), 0);
	c->spare_port = (uint16_t)(5300 + i);
	if (hostile_attach(&c->h, 0, 10000) || hostile_claim(&c->h, c->fd, &c->s, 10000)) {
		fprintf(stderr, "client %d: %s %s\n", i, c->h.welcome.text, c->s.claimed.text);
		exit(1);
	}
	hostile_fill_tx(&c->h, c->s.claimed.sock, "10.99.0.200", 9);
}

static int update(struct client *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c->odd ? 1000 : 1001)};

	c->odd = !c->odd;
	inet_pton(AF_INET, "10.99.0.2", &to.sin_addr);
	connect(c->fd, (struct sockaddr *)&to, sizeof(to));
	return hostile_request(&c->h, UDPLANE_MSG_UPDATE, c->s.claimed.sock, 0, 20000);
}

static int release(struct client *c)
{
	struct hostile_socket s;
	int fd = hostile_udp("10.99.0.1", c->spare_port, 0);
	int err = hostile_claim(&c->h, fd, &s, 20000);

	if (!err) {
		close(s.wake_fd);
		err = hostile_request(&c->h, UDPLANE_MSG_RELEASE, s.claimed.sock, 0, 20000);
	}
	close(fd);
	return err;
}

struct asker {
	pthread_t thread;
	struct client *client;
	bool release;
	double end, longest;
	uint32_t answered;
	int err;
};

static void *ask(void *arg)
{
	struct asker *a = arg;

	while (hostile_now() < a->end && !a->err) {
		double start = hostile_now();

		a->err = a->release ? release(a->client) : update(a->client);
		if (hostile_now() - start > a->longest)
			a->longest = hostile_now() - start;
		a->answered += !a->err;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct asker askers[CLIENTS];
	double end, longest = 0;
	uint32_t answered = 0;
	pthread_t thread;
	int err = 0;

	if (argc != 4 || atoi(argv[2]) > CLIENTS) {
		fputs("usage: full_ring SECONDS CLIENTS update|release\n", stderr);
		return 2;
	}
	hostile_all_descriptors();
	for (int i = 0; i < atoi(argv[2]); i++)
		open_client(i);
	client_cnt = atoi(argv[2]);
	pthread_create(&thread, NULL, refill, NULL);
	end = hostile_now() + atof(argv[1]);
	for (int i = 0; i < client_cnt; i++) {
		askers[i] = (struct asker){
			.client = &clients[i], .release = !strcmp(argv[3], "release"), .end = end};
		hostile_doorbell(&clients[i].h);
		pthread_create(&askers[i].thread, NULL, ask, &askers[i]);
	}
	for (int i = 0; i < client_cnt; i++) {
		pthread_join(askers[i].thread, NULL);
		answered += askers[i].answered;
		longest = askers[i].longest > longest ? askers[i].longest : longest;
		err = err ? err : askers[i].err;
	}
	printf("{\"answered\": %u, \"longest_ms\": %.1f, \"error\": %d}\n", answered, longest * 1e3,
	       err);
	return 0;
}

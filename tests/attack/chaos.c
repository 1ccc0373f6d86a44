/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos SEED SECONDS: a client that does at random what a client may do, and what it may not: it
 * attaches, claims, sends, receives, gives frames back; it writes anything into its rings, sends
 * nonsense and foreign descriptors, punches holes into its memory, forks, and ends at any
 * instruction. The same SEED makes the same choices. Ports 5000 to 5063 of 10.99.0.1. Its exit
 * status says nothing.
 */
#include <linux/falloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "tests/attack/hostile.h"

#define SOCKETS 16
#define PORTS	64

static struct hostile h;
static bool attached;
static struct held {
	int fd; /* -1: none */
	bool claimed;
	struct hostile_socket s;
	struct udplane_ring rx;
} held[SOCKETS];
static struct udplane_ring back;
static uint64_t state;

static uint32_t pick(uint32_t n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % n;
}

static struct held *pick_claimed(void)
{
	struct held *k = &held[pick(SOCKETS)];

	return attached && k->fd >= 0 && k->claimed ? k : NULL;
}

static void drop_sockets(void)
{
	for (int i = 0; i < SOCKETS; i++) {
		if (held[i].fd < 0)
			continue;
		close(held[i].fd);
		if (held[i].claimed)
			close(held[i].s.wake_fd);
		held[i].fd = -1;
		held[i].claimed = false;
	}
}

static void detach(void)
{
	if (!attached)
		return;
	drop_sockets();
	hostile_detach(&h);
	attached = false;
}

static void attach(void)
{
	detach();
	if (hostile_attach(&h, 0, 2000)) {
		hostile_detach(&h);
		return;
	}
	attached = h.channel != NULL;
	if (attached)
		udplane_ring_init(&back, &hostile_return_ring(&h)->head, h.welcome.return_cnt, 0);
	else
		hostile_detach(&h);
}

static int open_socket(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
				  .sin_port = htons((uint16_t)(5000 + pick(PORTS)))};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	inet_pton(AF_INET, pick(2) ? "10.99.0.1" : "0.0.0.0", &sin.sin_addr);
	if (pick(2))
		setsockopt(fd, SOL_SOCKET, pick(2) ? SO_REUSEPORT : SO_REUSEADDR, &one,
			   sizeof(one));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void connect_socket(int fd)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
				  .sin_port = htons((uint16_t)(1 + pick(3)))};

	inet_pton(AF_INET, pick(3) ? "10.99.0.2" : "10.99.0.77", &sin.sin_addr);
	connect(fd, (struct sockaddr *)&sin, sizeof(sin));
}

static void claim(void)
{
	struct held *k = &held[pick(SOCKETS)];

	if (!attached || k->fd >= 0 || (k->fd = open_socket()) < 0)
		return;
	if (pick(4) == 0)
		connect_socket(k->fd);
	k->claimed = !hostile_claim(&h, k->fd, &k->s, 2000);
	if (k->claimed)
		udplane_ring_init(&k->rx, &k->s.ring->head, k->s.claimed.ring_size, 0);
}

static void release(void)
{
	struct held *k = pick_claimed();

	if (!k)
		return;
	if (pick(2))
		hostile_request(&h, UDPLANE_MSG_RELEASE, k->s.claimed.sock, pick(3) ? 0 : pick(40),
				2000);
	close(k->fd);
	close(k->s.wake_fd);
	k->fd = -1;
	k->claimed = false;
}

static void update(void)
{
	struct held *k = pick_claimed();

	if (!k)
		return;
	connect_socket(k->fd);
	hostile_request(&h, UDPLANE_MSG_UPDATE, pick(8) ? k->s.claimed.sock : pick(5000), 0, 2000);
}

static void transmit(void)
{
	struct held *k = pick_claimed();

	if (!k)
		return;
	hostile_fill_tx(&h, pick(50) ? k->s.claimed.sock : pick(5000),
			pick(3) ? "10.99.0.2" : "10.99.0.200", 9);
	hostile_refill_tx(&h);
	if (pick(4))
		hostile_doorbell(&h);
}

static void receive(void)
{
	struct held *k = pick_claimed();
	uint32_t n;

	if (!k)
		return;
	n = udplane_ring_avail(&k->rx, 1);
	if (n == UDPLANE_RING_CORRUPT || n > k->s.claimed.ring_size)
		return;
	for (uint32_t i = 0; i < n; i++)
		hostile_return_ring(&h)->frame[udplane_ring_slot(&back, back.idx + i)] =
			k->s.ring->desc[udplane_ring_slot(&k->rx, k->rx.idx + i)].frame;
	udplane_ring_consume(&k->rx, n);
	udplane_ring_publish(&back, pick(20) ? n : pick(h.welcome.return_cnt));
	if (pick(2))
		udplane_ring_arm(&k->rx);
}

/* Any value into any word of the channel, or into the control words of one of its rings. */
static void scribble(void)
{
	struct held *k = pick_claimed();
	uint32_t value = pick(2) ? pick(4096) : pick(0x7fffffff) * 2u, words;
	volatile uint32_t *at;

	if (!k)
		return;
	words = (uint32_t)(h.welcome.channel_len / 4);
	at = (volatile uint32_t *)h.channel;
	switch (pick(4)) {
	case 0:
		at = (volatile uint32_t *)k->s.ring;
		words = 100;
		break;
	case 1:
		at = (volatile uint32_t *)hostile_tx_ring(&h);
		words = 80;
		break;
	case 2:
		at = (volatile uint32_t *)hostile_return_ring(&h);
		words = 80;
		break;
	}
	at[pick(words)] = value;
	hostile_doorbell(&h);
}

static int foreign_descriptor(void)
{
	switch (pick(6)) {
	case 0: return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case 1: return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	case 2: return open("/dev/zero", O_RDONLY | O_CLOEXEC);
	case 3: return eventfd(0, EFD_CLOEXEC);
	case 4: return epoll_create1(EPOLL_CLOEXEC);
	default: return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	}
}

static void nonsense(void)
{
	uint8_t message[600];
	int fds[8], fd = pick(2) && attached ? h.fd : hostile_dial();
	uint32_t cnt = pick(9), len = pick(4) ? pick(sizeof(message)) : 0;

	for (uint32_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)pick(256);
	if (pick(2)) { /* a header that could be one */
		struct udplane_msg m = {
			.type = (uint16_t)pick(10), .len = (uint16_t)len, .seq = 1 + pick(100)};

		memcpy(message, &m, sizeof(m));
	}
	for (uint32_t i = 0; i < cnt; i++)
		fds[i] = foreign_descriptor();
	hostile_send(fd, message, len, fds, cnt);
	for (uint32_t i = 0; i < cnt; i++)
		close(fds[i]);
	if (fd != h.fd || !attached)
		close(fd);
}

static void punch(void)
{
	if (attached)
		fallocate(h.fds[2], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)pick((uint32_t)(h.welcome.channel_len / 4096)) * 4096,
			  (off_t)(1 + pick(64)) * 4096);
}

static void die(void)
{
	switch (pick(3)) {
	case 0: _exit(0);
	case 1: kill(getpid(), SIGKILL); break;
	default: detach(); _exit(0);
	}
}

static const struct {
	void (*act)(void);
	uint32_t weight;
} actions[] = {
	{attach, 6},   {claim, 30},   {release, 12}, {update, 6}, {transmit, 25},
	{receive, 60}, {scribble, 2}, {nonsense, 4}, {punch, 1},  {die, 1},
};

static void act(void)
{
	uint32_t sum = 0, n;

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		sum += actions[i].weight;
	n = pick(sum);
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (n < actions[i].weight) {
			actions[i].act();
			return;
		}
		n -= actions[i].weight;
	}
}

int main(int argc, char **argv)
{
	double end;

	if (argc != 3) {
		fputs("usage: chaos SEED SECONDS\n", stderr);
		return 2;
	}
	state = strtoull(argv[1], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGBUS, SIG_DFL); /* a hole without memory behind it ends only this process */
	for (int i = 0; i < SOCKETS; i++)
		held[i].fd = -1;
	for (end = hostile_now() + atof(argv[2]); hostile_now() < end;) {
		act();
		if (pick(500) == 0 && fork() == 0)
			end = hostile_now() + 0.2; /* both go on with the same rings */
		if (pick(20) == 0)
			usleep(pick(2000));
	}
	return 0;
}

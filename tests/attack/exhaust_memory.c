/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exhaust_memory SESSIONS SOCKETS ADDRESS keep|return: in each session claims SOCKETS ports from
 * 5000 on, and keeps them, or releases all and keeps only the memory mapped that came with them.
 * Prints a line of JSON for each session whose result is new (sockets claimed, why no more), and
 * one at the end: sessions attached, sockets claimed in all, whether udplaned still runs. Then it
 * waits for the end of its input and keeps everything.
 */
#include "tests/attack/hostile.h"

struct taken {
	uint32_t *id;
	int *fd, *wake;
	int cnt;
	const char *why;
	int status;
};

static void claim_many(struct hostile *h, struct taken *o, int cnt, const char *ip)
{
	static struct hostile_socket s;

	for (o->cnt = 0; o->cnt < cnt; o->cnt++) {
		int fd = hostile_udp(ip, (uint16_t)(5000 + o->cnt), SO_REUSEPORT);

		o->status = hostile_claim(h, fd, &s, 5000);
		if (o->status) {
			close(fd);
			o->why = o->status > HOSTILE_NOT_SENT ? s.claimed.text : "udplaned is gone";
			return;
		}
		o->id[o->cnt] = s.claimed.sock;
		o->fd[o->cnt] = fd;
		o->wake[o->cnt] = s.wake_fd;
	}
}

static int release_many(struct hostile *h, const struct taken *o)
{
	for (int i = 0; i < o->cnt; i++) {
		if (hostile_request(h, UDPLANE_MSG_RELEASE, o->id[i], 0, 5000))
			return -1;
		close(o->fd[i]);
		close(o->wake[i]);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int sessions = argc == 5 ? atoi(argv[1]) : 0, cnt = sessions ? atoi(argv[2]) : 0,
	    attached = 0;
	bool keep = sessions && !strcmp(argv[4], "keep");
	struct hostile *h = calloc((size_t)sessions + 1, sizeof(*h));
	unsigned long claimed = 0;

	hostile_all_descriptors();
	for (; attached < sessions; attached++) {
		struct taken o = {.id = calloc((size_t)cnt, 4),
				  .fd = calloc((size_t)cnt, 4),
				  .wake = calloc((size_t)cnt, 4),
				  .why = ""};
		int status = hostile_attach(&h[attached], 0, 5000);

		if (status) {
			printf("{\"status\": %d, \"attach\": \"%s\"}\n", status,
			       h[attached].welcome.text);
			break;
		}
		claim_many(&h[attached], &o, cnt, argv[3]);
		claimed += (unsigned long)o.cnt;
		if (o.status)
			printf("{\"session\": %d, \"claimed\": %d, \"status\": %d, \"claim\": "
			       "\"%s\"}\n",
			       attached, o.cnt, o.status, o.why);
		if (!keep && release_many(&h[attached], &o))
			break;
		/* The number of its sockets is what the next session needs, not their descriptors.
		 */
		free(o.id);
		free(o.fd);
		free(o.wake);
	}
	printf("{\"sessions\": %d, \"claimed\": %lu, \"answer_ms\": %.1f}\n", attached, claimed,
	       hostile_ask_as_observer(5000) * 1e3);
	fflush(stdout);
	while (read(STDIN_FILENO, &(char){0}, 1) > 0)
		;
	return 0;
}

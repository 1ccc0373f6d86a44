/* SPDX-License-Identifier: Apache-2.0 */
/* Captures: an observer gets a zone with a ring per worker, into which the workers copy what they
 * receive and send. It ends with the observer's connection. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CAPTURES_MAX 4		    /* at the same time; each copies every datagram once more */
#define CAPTURE_MAX  (256ull << 20) /* bytes of a zone */
#define SLOTS_MIN    64

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* Is the process in our own PID namespace, and not in one below it? /proc lists its number in each
 * namespace from ours on. */
static bool is_in_our_pid_namespace(int pid)
{
	char path[64], line[256], *number, *rest = NULL;
	bool ours = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6))
			continue;
		number = strtok_r(line + 6, " \t\n", &rest);
		ours = number && !strtok_r(NULL, " \t\n", &rest);
	}
	if (f)
		fclose(f);
	return ours;
}

/* Returns true if the process that has connected still lives, so that its number is not another's.
 * Also true before Linux 6.5, which cannot tell. */
static bool peer_lives(int fd)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);
	struct pollfd p = {.events = POLLIN};
	bool lives;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len))
		return errno == ENOPROTOOPT;
	p.fd = pidfd;
	lives = poll(&p, 1, 0) == 0;
	close(pidfd);
	return lives;
}

/*
 * Datagrams of all applications are the operator's business, not that of the clients, with whom the
 * socket is shared. The operator is root, or udplaned's user, in the PID namespace of udplaned: on
 * a host whoever runs udplaned; in a pod, whoever may `kubectl exec` into udplaned's container.
 * Root in another container of the pod is in another PID namespace; its number is 0 for us.
 */
static int check_operator(const struct session *s, char *text, size_t size)
{
	struct ucred cred = {.uid = (uid_t)-1};
	socklen_t len = sizeof(cred);

	if (getsockopt(s->watch.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		cred.pid = 0;
	if (cred.uid && cred.uid != geteuid())
		snprintf(text, size,
			 "user %u may not capture; run it as root, or as udplaned's user (%u)",
			 cred.uid, geteuid());
	else if (cred.pid <= 0 || !is_in_our_pid_namespace(cred.pid) || !peer_lives(s->watch.fd))
		snprintf(text, size,
			 "only processes in udplaned's own container (PID namespace) may capture; "
			 "in a pod: kubectl exec POD -c udplane -- udplanectl capture");
	else
		return 0;
	return -EACCES;
}

static uint32_t power_below(uint64_t n)
{
	return n ? 1u << (63 - __builtin_clzll(n)) : 0;
}

/* Sizes the rings. Returns -EINVAL if that is not possible. */
static int layout(const struct control *c, const struct udplane_capture *asked,
		  struct udplane_captured *out)
{
	uint64_t len = asked->len < CAPTURE_MAX ? asked->len : CAPTURE_MAX;
	uint32_t snap_len = asked->snap_len < c->frame_size ? asked->snap_len : c->frame_size;

	if (!snap_len || asked->port > 65535)
		return -EINVAL;
	out->ring_cnt = c->worker_cnt;
	out->slot_size = (uint32_t)(sizeof(struct udplane_capture_record) + snap_len + 63) & ~63u;
	out->slot_cnt = power_below(len / c->worker_cnt / out->slot_size);
	if (out->slot_cnt < SLOTS_MIN)
		out->slot_cnt = SLOTS_MIN;
	out->ring_len =
		sizeof(struct udplane_capture_ring) + (uint64_t)out->slot_cnt * out->slot_size;
	out->ring_len = (out->ring_len + UDPLANE_LINE - 1) / UDPLANE_LINE * UDPLANE_LINE;
	out->len = out->ring_len * out->ring_cnt;
	return 0;
}

static void add_rings(struct control *c, struct capture *cap, const struct udplane_capture *asked,
		      const struct udplane_captured *out)
{
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		struct worker_capture *r = &cap->ring[i];
		struct worker_order o = {.op = WORKER_CAPTURE_ADD, .capture = r};

		r->zone = foreign_at(foreign_of(cap->zone.addr), i * out->ring_len);
		udplane_ring_init(&r->ring, foreign_ring_head(r->zone), out->slot_cnt, 0);
		r->slot_size = out->slot_size;
		r->snap_len = out->slot_size - (uint32_t)sizeof(struct udplane_capture_record);
		if (asked->snap_len < r->snap_len)
			r->snap_len = asked->snap_len;
		r->port_be = htons((uint16_t)asked->port);
		worker_call(c->worker[i], &o);
	}
}

static int start(struct control *c, struct session *s, const struct udplane_capture *asked,
		 struct udplane_captured *out, struct error *error)
{
	struct capture *cap;
	int err = check_operator(s, error->text, sizeof(error->text));

	if (err)
		return err;
	if (!c->dev)
		return error_set(
			error, -ENODEV,
			"backend kernel carries no datagram itself; tcpdump sees them all");
	if (s->capture)
		return error_set(error, -EBUSY, "this connection captures already");
	if (c->captures >= CAPTURES_MAX)
		return error_set(error, -EUSERS, "%u captures run already: end one of them",
				 c->captures);
	err = layout(c, asked, out);
	if (err)
		return error_set(error, err,
				 "snap_len %u, port %u: allowed are 1 or more, 0 to 65535",
				 asked->snap_len, asked->port);
	cap = calloc(1, sizeof(*cap));
	if (!cap)
		return error_set(error, -ENOMEM, "no memory");
	cap->zone.budget = &c->budget;
	cap->zone.owner = &s->memory;
	err = memzone_create(&cap->zone, "udplane-capture", out->len, MEMZONE_SMALL_ONLY, -1,
			     error);
	if (err) {
		free(cap);
		return err;
	}
	out->len = cap->zone.len;
	add_rings(c, cap, asked, out);
	s->capture = cap;
	c->captures++;
	c->observers--;
	return 0;
}

void capture_start(struct control *c, struct session *s, const struct udplane_capture *asked,
		   struct udplane_captured *out)
{
	struct error error = {0};

	out->status = start(c, s, asked, out, &error);
	error_copy(&error, out->text, sizeof(out->text));
	if (out->status)
		session_log(c, s, LOG_LEVEL_WARN, "may not capture: %s", out->text);
	else
		session_log(c, s, LOG_LEVEL_INFO, "captures (port %u, %u bytes each)", asked->port,
			    asked->snap_len);
}

void capture_stop(struct control *c, struct session *s)
{
	if (!s->capture)
		return;
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		struct worker_order o = {.op = WORKER_CAPTURE_REMOVE,
					 .capture = &s->capture->ring[i]};

		worker_call(c->worker[i], &o);
	}
	memzone_destroy(&s->capture->zone);
	free(s->capture);
	s->capture = NULL;
	c->captures--;
	c->observers++;
}

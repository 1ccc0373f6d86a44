/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink -> immutable table -> workers, at most once in ROUTING_PACE_NS however fast the kernel's
 * tables change. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <udplane/clock.h>
#include <unistd.h>

#define ROUTING_PACE_NS 10000000ull
#define ROUTING_SOURCES 64

void routing_install_later(struct control *c)
{
	struct itimerspec when = {.it_value.tv_nsec = ROUTING_PACE_NS};

	timerfd_settime(c->routing_timer.fd, 0, &when, NULL);
}

bool routing_install_due(const struct control *c)
{
	return clock_now_ns() - c->routing_built_ns > ROUTING_PACE_NS;
}

void routing_publish(struct control *c)
{
	const struct judge_world *rules = c->environment ? environment_world(c->environment) : NULL;
	struct udplane_prefix prefix[UDPLANE_MAX_PREFIXES];
	const char *note;
	uint32_t cnt;

	memset(prefix, 0, sizeof(prefix));
	cnt = route_table_prefixes(c->route, prefix, UDPLANE_MAX_PREFIXES);
	note = route_table_note(c->route);
	if (!note[0] && rules && rules->excluded_cnt)
		note = rules->excluded_text;
	stats_set_prefixes(&c->stats, prefix, c->tx_stuck ? 0 : cnt, note);
}

/* Leaves all of IPv4 to the kernel, since what may be diverted is not known. */
static void set_no_sources(struct control *c)
{
	const struct device_source nobody = {.len = 0, .valid = false};

	if (c->dev->ops->set_sources)
		c->dev->ops->set_sources(c->dev, &nobody, 1);
}

static void give_sources(struct control *c, const struct device_source *s, uint32_t n)
{
	int err = c->dev->ops->set_sources(c->dev, s, n);

	if (err == -ENOSPC)
		log_warn("%u prefixes of sources with different rp_filter results are more than "
			 "the XDP program holds: the kernel receives all of IPv4",
			 n);
	else if (err)
		log_error("the device does not take %u prefixes of sources: %s", n, strerror(-err));
}

/* Tells the device the sources whose datagrams it may divert. */
static void set_sources(struct control *c)
{
	uint32_t n = route_table_origins(c->route, NULL, 0), i;
	struct device_source *s;
	struct route_origin *from;

	if (!c->dev->ops->set_sources)
		return;
	s = calloc(n, sizeof(*s));
	from = calloc(n, sizeof(*from));
	if (s && from) {
		route_table_origins(c->route, from, n);
		for (i = 0; i < n; i++)
			s[i] = (struct device_source){.addr_be = from[i].addr_be,
						      .len = from[i].len,
						      .valid = from[i].valid};
		give_sources(c, s, n);
	} else {
		log_error("no memory for %u prefixes of sources: the kernel receives all of IPv4",
			  n);
		set_no_sources(c);
	}
	free(s);
	free(from);
}

/* From which peers of IPv6 the kernel receives. */
static void set_excluded(struct control *c, const struct route_input *in)
{
	struct device_prefix6 p[RULES_PREFIXES];
	uint32_t n = 0;
	int err;

	if (!c->dev->ops->set_excluded)
		return;
	for (uint32_t i = 0; i < in->excluded_cnt; i++) {
		if (in->excluded[i].family != AF_INET6)
			continue;
		memcpy(p[n].addr, in->excluded[i].addr, 16);
		p[n++].len = in->excluded[i].len;
	}
	err = c->dev->ops->set_excluded(c->dev, p, n);
	if (err)
		log_error("the device does not take %u prefixes of IPv6 sources: %s; the kernel "
			  "receives all of IPv6",
			  n, strerror(-err));
}

/* Adds the prefixes of one family. */
static uint32_t add_excluded(const struct rules_prefix *from, uint32_t from_cnt, uint8_t family,
			     struct rules_prefix *to, uint32_t cnt)
{
	for (uint32_t i = 0; i < from_cnt; i++)
		if (from[i].family == family)
			judge_exclude(to, &cnt, &from[i]);
	return cnt;
}

/* The peers that rules exclude, and while excluded_held those that were excluded before. Returns
 * their number. */
static uint32_t exclude(const struct control *c, struct rules_prefix out[RULES_PREFIXES])
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	const struct judge_world *w = c->environment ? environment_world(c->environment) : NULL;
	uint32_t cnt = 0;

	for (uint32_t i = 0; w && i < 2; i++) {
		struct rules_prefix *to = out + cnt;
		uint32_t n = add_excluded(w->excluded, w->excluded_cnt, families[i], to, 0);

		if (c->excluded_held)
			n = add_excluded(c->excluded, c->excluded_cnt, families[i], to, n);
		cnt += n;
	}
	return cnt;
}

static void to_route(const struct rules_prefix *p, uint32_t cnt, struct route_excluded *out)
{
	for (uint32_t i = 0; i < cnt; i++) {
		out[i] = (struct route_excluded){.family = p[i].family, .len = p[i].len};
		memcpy(out[i].addr, p[i].addr, sizeof(out[i].addr));
	}
}

static bool is_excluded_now(const struct control *c, const struct rules_prefix *p, uint32_t cnt)
{
	return cnt == c->excluded_cnt && !memcmp(p, c->excluded, cnt * sizeof(*p));
}

void routing_release_excluded(struct control *c)
{
	struct rules_prefix p[RULES_PREFIXES];

	c->excluded_held = false;
	if (!c->nl || is_excluded_now(c, p, exclude(c, p)))
		return;
	c->routing_dirty = true;
	routing_install_later(c);
}

/* Tells the device, and keeps what it has been told. */
static void publish_excluded(struct control *c, const struct route_input *in,
			     const struct rules_prefix *p, uint32_t cnt)
{
	if (!in->policy_rules[0])
		set_sources(c);
	else if (!is_excluded_now(c, p, cnt)) /* the sources of now are known when the routes are */
		set_no_sources(c);
	set_excluded(c, in);
	memcpy(c->excluded, p, cnt * sizeof(*p));
	c->excluded_cnt = cnt;
}

/* Returns true if there are other sources than before, so sockets have to be judged again. */
static bool judge_sources(struct control *c)
{
	uint8_t addr[ROUTING_SOURCES][16];
	uint32_t n = route_netlink_sources(c->nl, addr, ROUTING_SOURCES);

	return c->environment && environment_set_sources(c->environment, (const void *)addr,
							 n <= ROUTING_SOURCES ? n : 0);
}

int routing_install(struct control *c, bool *judged)
{
	struct route_input in;
	struct route_table *t, *old = c->route;
	struct rules_prefix prefix[RULES_PREFIXES] = {0};
	struct route_excluded excluded[RULES_PREFIXES];

	*judged = judge_sources(c); /* before a datagram is sent from a new source */
	route_netlink_input(c->nl, &in);
	in.excluded = excluded;
	in.excluded_cnt = exclude(c, prefix);
	to_route(prefix, in.excluded_cnt, excluded);
	t = route_table_build(&in);
	if (!t) {
		log_error("no memory for a route table of %u routes and %u neighbours; the old one "
			  "stays",
			  in.route_cnt, in.neigh_cnt);
		c->routing_dirty = true;
		routing_install_later(c);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		struct worker_order o = {.op = WORKER_ROUTE, .route = t};

		worker_call(c->worker[i], &o);
	}
	c->route = t;
	if (old)
		route_table_destroy(old);
	publish_excluded(c, &in, prefix, in.excluded_cnt);
	routing_publish(
		c); /* after the sources: who is sent to by the kernel is received from by it */
	c->stats.z->mtu = in.mtu;
	c->stats.z->path_mtu[0] = route_table_mtu(t, AF_INET);
	c->stats.z->path_mtu[1] = route_table_mtu(t, AF_INET6);
	stats_count(&c->stats, UDPLANE_CONTROL_ROUTE_UPDATES, 1);
	c->routing_dirty = false;
	c->routing_built_ns = clock_now_ns();
	return 0;
}

void routing_stop(struct control *c)
{
	watch_remove(c, &c->routing_timer);
	if (c->nl) {
		epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, c->routing_watch.fd, NULL);
		route_netlink_close(c->nl);
		c->nl = NULL;
	}
	if (c->route)
		route_table_destroy(c->route);
	c->route = NULL;
}

static void use(void *arg, const struct route_neigh *n)
{
	struct control *c = arg;

	if (route_netlink_use(c->nl, n))
		stats_count(&c->stats, UDPLANE_CONTROL_NEIGH_REFRESHES, 1);
}

void routing_refresh_used(struct control *c)
{
	if (c->route)
		route_table_take_used(c->route, use, c);
}

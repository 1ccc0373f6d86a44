/* SPDX-License-Identifier: Apache-2.0 */
/* Follows what changes in the kernel: routes and addresses, rules of the namespace, programs of
 * control groups. From these follow which destinations the workers may send to, and what each
 * socket may do by the fast path. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define ROUTING_LOCALS 4096

static void tell_device(struct control *c)
{
	const struct judge_world *w = environment_world(c->environment);

	if (w->device_asks)
		c->dev->ops->set_translated(c->dev, w->translates || w->nat_flows);
}

/* Rules or programs may treat sockets differently now; the routes have not changed. */
static void judged(struct control *c)
{
	c->environment_number++;
	tell_device(c); /* before a socket becomes fast because of it */
	sock_environment_changed(c);
}

/* Installs a new table, and decides about the sockets that it concerns. */
static void install(struct control *c)
{
	bool others;

	if (routing_install(c, &others))
		return;
	if (c->addrs_changed)
		sock_check_sources(c);
	mcast_set_addresses(c);
	c->addrs_changed = false;
	if (others)
		judged(c);
}

static void changed(struct control *c)
{
	const struct judge_world *w = environment_world(c->environment);

	if (strcmp(c->excluded_logged, w->excluded_text)) {
		snprintf(c->excluded_logged, sizeof(c->excluded_logged), "%s", w->excluded_text);
		if (w->excluded_cnt)
			log_info("datagrams to %u destinations take the kernel path: %s",
				 w->excluded_cnt, w->excluded_text);
	}
	c->excluded_held = true; /* until all sockets are judged */
	if (c->nl)
		install(c);
	judged(c);
}

static void on_change(struct control *c, struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	if (environment_process(c->environment))
		changed(c);
}

static int watch_rules(struct control *c, struct error *error)
{
	int err = environment_open(&c->environment, c->dev->ifindex, c->dev->ifname,
				   c->cfg->trust_rules,
				   c->dev->sees_translation && c->dev->ops->set_translated, error);

	if (err)
		return err;
	tell_device(c);
	c->environment_number = 1;
	c->environment_watch =
		(struct watch){.fd = environment_fd(c->environment), .ready = on_change};
	return watch_add(c, &c->environment_watch, EPOLLIN);
}

static void set_addresses(struct control *c, const uint8_t (*addr)[16], uint32_t cnt)
{
	if (c->environment && environment_set_addresses(c->environment, addr, cnt) && c->route)
		changed(c);
}

static void set_locals(struct control *c)
{
	uint8_t(*addr)[16] = malloc(ROUTING_LOCALS * sizeof(*addr));
	uint32_t n;
	int err;

	if (!addr)
		return;
	n = route_netlink_locals(c->nl, addr, ROUTING_LOCALS);
	/* Rules first: a new address may be that of a Service. */
	set_addresses(c, (const void *)addr, n < ROUTING_LOCALS ? n : ROUTING_LOCALS);
	err = c->dev->ops->set_local(c->dev, (const void *)addr,
				     n < ROUTING_LOCALS ? n : ROUTING_LOCALS);
	if (err)
		log_error("the device does not take the %u local addresses: %s; datagrams to new "
			  "ones take the kernel path",
			  n, strerror(-err));
	free(addr);
}

static void on_timer(struct control *c, struct watch *w, uint32_t events)
{
	uint64_t cnt;

	(void)events;
	if (read(w->fd, &cnt, 8) == 8 && c->routing_dirty)
		install(c);
}

static void on_netlink(struct control *c, struct watch *w, uint32_t events)
{
	bool again = c->cfg->backend == CONFIG_BACKEND_AUTO;
	int change = route_netlink_process(c->nl);

	(void)w;
	(void)events;
	if (change < 0) {
		log_error("netlink: %s; routes may be stale", strerror(-change));
		return;
	}
	if (change & ROUTE_CHANGE_GONE) {
		log_error("interface %s was removed: all sockets use the kernel; %s",
			  c->dev->ifname,
			  again ? "starting again in place"
				: "stopping: start udplaned again when it is back");
		backend_lose(c, again);
		return;
	}
	if (change & ROUTE_CHANGE_LINK)
		backend_check(c);
	if (change & ROUTE_CHANGE_RESYNC)
		stats_count(&c->stats, UDPLANE_CONTROL_ROUTE_RESYNCS, 1);
	if (change &
	    (ROUTE_CHANGE_ADDRS | ROUTE_CHANGE_LINK)) /* the device reads its MAC again, too */
		set_locals(c);
	if (!(change & (ROUTE_CHANGE_TABLE | ROUTE_CHANGE_ADDRS | ROUTE_CHANGE_LINK)) ||
	    c->routing_dirty)
		return;
	c->routing_dirty = true;
	c->addrs_changed |= change & ROUTE_CHANGE_ADDRS;
	if (routing_install_due(c))
		install(c);
	else
		routing_install_later(c);
}

static int watch_routes(struct control *c, struct error *error)
{
	int err = route_netlink_open(&c->nl, c->dev->ifindex, error);

	if (err)
		return err;
	set_locals(c);
	install(c);
	c->routing_watch = (struct watch){.fd = route_netlink_fd(c->nl), .ready = on_netlink};
	c->routing_timer =
		(struct watch){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
			       .ready = on_timer};
	if (c->routing_timer.fd < 0)
		return -errno;
	err = watch_add(c, &c->routing_watch, EPOLLIN);
	return err ? err : watch_add(c, &c->routing_timer, EPOLLIN);
}

int control_environment_start(struct control *c, struct error *error)
{
	int err = watch_rules(c, error); /* the first table excludes what they say */

	return err ? err : watch_routes(c, error);
}

void control_environment_stop(struct control *c)
{
	routing_stop(c);
	if (!c->environment)
		return;
	epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, c->environment_watch.fd, NULL);
	environment_close(c->environment);
	c->environment = NULL;
}

/* The kernel does not tell when programs come and go. */
void control_environment_tick(struct control *c)
{
	bool news = false;
	struct session *s;

	if (!c->environment)
		return;
	TAILQ_FOREACH(s, &c->all, link) {
		uint32_t was = s->programs;

		if (TAILQ_EMPTY(&s->socks))
			continue;
		session_read_programs(c, s);
		news |= was != s->programs;
	}
	if (environment_poll(c->environment))
		changed(c);
	else if (news)
		judged(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of the namespace and programs of control groups -> what each socket may do by the fast
 * path, and which destinations. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

static void tell_device(struct control *c)
{
	const struct judge_world *w = environment_world(c->environment);

	if (w->device_asks)
		c->dev->ops->set_translated(c->dev, w->translates || w->nat_flows);
}

void control_environment_judged(struct control *c)
{
	c->environment_number++;
	tell_device(c); /* before a socket becomes fast because of it */
	sock_environment_changed(c);
}

static void changed(struct control *c)
{
	const struct judge_world *w = environment_world(c->environment);

	if (strcmp(c->excluded_said, w->excluded_text)) {
		snprintf(c->excluded_said, sizeof(c->excluded_said), "%s", w->excluded_text);
		if (w->excluded_cnt)
			log_info("datagrams to %u destinations take the kernel: %s",
				 w->excluded_cnt, w->excluded_text);
	}
	route_rebuild(c);
	control_environment_judged(c);
}

static void on_change(struct control *c, struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	if (environment_process(c->environment))
		changed(c);
}

int control_environment_start(struct control *c, char *text, size_t text_len)
{
	int err = environment_open(
		&c->environment, c->dev->ifindex, c->dev->ifname, c->cfg->trust_rules,
		c->dev->sees_translation && c->dev->ops->set_translated, text, text_len);

	if (err)
		return err;
	tell_device(c);
	c->environment_number = 1;
	c->environment_watch =
		(struct watch){.fd = environment_fd(c->environment), .ready = on_change};
	return watch_add(c, &c->environment_watch, EPOLLIN);
}

void control_environment_stop(struct control *c)
{
	if (!c->environment)
		return;
	epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, c->environment_watch.fd, NULL);
	environment_close(c->environment);
	c->environment = NULL;
}

void control_environment_addresses(struct control *c, const uint8_t (*addr)[16], uint32_t cnt)
{
	if (c->environment && environment_set_addresses(c->environment, addr, cnt) && c->route)
		changed(c);
}

/* Nothing tells when programs come and go. */
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
		control_look_at_programs(c, s);
		news |= was != s->programs;
	}
	if (environment_poll(c->environment))
		changed(c);
	else if (news)
		control_environment_judged(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/control/control.h"

#include "sidecar/base/log.h"
#include "sidecar/base/notify.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <udplane/clock.h>
#include <unistd.h>

#define LOOP_EVENTS 1200 /* more than there are sessions, so that each has its turn among them */
/* for requests of attached clients; then the others are looked at again */
#define TURN_NS	       5000000ull
#define WORK_BUDGET_NS 1000000 /* of what can wait, in one turn of the loop */
/* seconds: well within the kernel's 5 s probe delay (Documentation/networking/ip-sysctl:
 * delay_first_probe_time) */
#define NEIGHBOUR_TICKS 3

static void reload_ports(struct control *c)
{
	static struct port_set ports; /* 8 KiB; one control thread */
	struct config_warnings warnings;
	struct error err;
	int n;

	if (!c->cfg->annotations[0])
		return;
	n = config_reload_annotations(c->cfg, &ports, &warnings, &err);
	if (n < 0) {
		log_error("%s; the ports remain unchanged", err.text);
		return;
	}
	for (unsigned int i = 0; i < warnings.count; i++)
		log_warn("%s", warnings.entry[i].text);
	if (!n)
		return;
	c->cfg->ports = ports;
	log_info("ports changed by annotation: %llu are asked for now",
		 (unsigned long long)ports.count);
	stats_set_ports(&c->stats, (const uint8_t *)ports.bits);
	sock_ports_changed(c);
}

/*
 * Reads the annotations again if the file has changed. The kubelet swaps a symbolic link, so the
 * path then leads to another inode; an editor's change shows in the times. One stat() per second is
 * enough for both, where inotify would have to follow each of the links.
 */
static void check_annotations(struct control *c)
{
	struct stat st, *was = &c->annotations;

	if (!c->cfg->annotations[0] || stat(c->cfg->annotations, &st))
		return;
	if (st.st_dev == was->st_dev && st.st_ino == was->st_ino &&
	    st.st_mtim.tv_sec == was->st_mtim.tv_sec && st.st_mtim.tv_nsec == was->st_mtim.tv_nsec)
		return;
	*was = st;
	reload_ports(c);
}

static void on_tick(struct control *c, struct watch *w, uint32_t events)
{
	struct epoll_event on = {.events = EPOLLIN, .data.ptr = &c->listen};
	uint64_t cnt;

	(void)events;
	if (read(w->fd, &cnt, 8) != 8)
		return;
	c->ticks++;
	__atomic_fetch_add(c->beat, 1, __ATOMIC_RELAXED);
	backend_check(c);
	refresh_counters(c);
	recent_move(c);
	health_look(c);
	control_environment_tick(c);
	sock_check(c);
	mcast_tick(c);
	session_tick(c);
	fd_discard_tick(c);
	check_annotations(c);
	if (c->ticks % NEIGHBOUR_TICKS == 0)
		routing_refresh_used(c);
	epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, c->listen.fd,
		  &on); /* in case accept() had run out of descriptors */
}

static void on_signal(struct control *c, struct watch *w, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	if (read(w->fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGHUP) {
		reload_ports(c);
		return;
	}
	log_info("signal %u (%s): leaving", si.ssi_signo, strsignal((int)si.ssi_signo));
	c->leaving = true;
}

static void on_work(struct control *c, struct watch *w, uint32_t events)
{
	uint64_t cnt;

	(void)events;
	if (read(w->fd, &cnt, 8) != 8)
		return;
	c->work_ns = UINT64_MAX;
	if (c->judge_next != UINT32_MAX)
		sock_judge_some(c, clock_now_ns() + WORK_BUDGET_NS);
	shared_work(c, clock_now_ns() + WORK_BUDGET_NS);
	mcast_work(c);
}

static int watch_basics(struct control *c)
{
	struct itimerspec every = {.it_interval.tv_sec = 1, .it_value.tv_sec = 1};
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll_fd < 0)
		return -errno;
	c->signals = (struct watch){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
				    .ready = on_signal};
	c->tick = (struct watch){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
				 .ready = on_tick};
	c->work = (struct watch){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
				 .ready = on_work};
	if (c->signals.fd < 0 || c->tick.fd < 0 || c->work.fd < 0)
		return -errno;
	timerfd_settime(c->tick.fd, 0, &every, NULL);
	err = watch_add(c, &c->signals, EPOLLIN);
	if (!err)
		err = watch_add(c, &c->work, EPOLLIN);
	return err ? err : watch_add(c, &c->tick, EPOLLIN);
}

/* Serves events of one kind. What is left at the end of the turn is reported again by epoll, after
 * those that have not been served. */
static void serve(struct control *c, const struct epoll_event *ev, int n, bool patient)
{
	uint64_t end = clock_now_ns() + TURN_NS;

	for (int i = 0; i < n && !c->failed; i++) {
		struct watch *w = ev[i].data.ptr;

		if (w->patient != patient)
			continue;
		if (patient && clock_now_ns() >= end)
			return;
		w->ready(c, w, ev[i].events);
	}
}

static void loop(struct control *c)
{
	struct epoll_event ev[LOOP_EVENTS];

	while (!c->leaving && !c->failed) {
		int n = epoll_wait(c->epoll_fd, ev, LOOP_EVENTS, -1);

		serve(c, ev, n, false);
		serve(c, ev, n, true);
		/* after all events of this turn, which may point to these sessions */
		session_reap(c, clock_now_ns() + WORK_BUDGET_NS);
		keeper_flush(&c->keeper);
	}
}

static void announce(const struct control *c)
{
	const struct udplane_stats_zone *z = c->stats.z;

	log_info("udplaned %s is ready on %s: %s; %s%s%llu ports asked for", z->version,
		 c->cfg->socket, z->backend_text, z->device, z->device[0] ? "; " : "",
		 (unsigned long long)c->cfg->ports.count);
	if (z->mode_text[0])
		log_info("attach: %s", z->mode_text);
	notify_send("READY=1");
}

enum control_end control_run(struct config *cfg, uint32_t *beat)
{
	struct control c = {
		.cfg = cfg,
		.beat = beat,
		.epoll_fd = -1,
		.lock_fd = -1,
		.listen.fd = -1,
		.signals.fd = -1,
		.tick.fd = -1,
		.work.fd = -1,
		.work_ns = UINT64_MAX,
		.judge_next = UINT32_MAX,
		.routing_watch.fd = -1,
		.routing_timer.fd = -1,
		.frames.fd = -1,
		.cgroup_top = -1,
		.wake_pair = {-1, -1},
		.keeper.fd = -1,
		.keeper_watch.fd = -1,
	};
	int err;

	TAILQ_INIT(&c.all);
	TAILQ_INIT(&c.shared.ports);
	TAILQ_INIT(&c.shared.settle);
	TAILQ_INIT(&c.shared.fresh);
	err = watch_basics(&c);
	if (err)
		log_error("cannot watch signals and timers: %s", strerror(-err));
	else
		err = control_start(&c);
	if (!err) {
		c.began_ns = c.stats.z->start_ns; /* as `stats` tells it */
		announce(&c);
		loop(&c);
		notify_send("STOPPING=1");
		control_leave(&c);
		log_info("left");
	}
	control_free(&c);
	watch_remove(&c, &c.signals);
	watch_remove(&c, &c.tick);
	watch_remove(&c, &c.work);
	if (c.epoll_fd >= 0)
		close(c.epoll_fd);
	return c.restart ? CONTROL_RESTART : err || c.failed ? CONTROL_FAILED : CONTROL_STOPPED;
}

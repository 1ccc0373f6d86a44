/* SPDX-License-Identifier: Apache-2.0 */
/* Starts device, memory, workers, routes and control socket; stops them in the order that loses no
 * datagram. */
#include "sidecar/base/log.h"
#include "sidecar/confine/confine.h"
#include "sidecar/control/internal.h"
#include "sidecar/memory/guard.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <udplane/clock.h>
#include <udplane/udplane.h>
#include <unistd.h>

#define SPIN_LATENCY_NS 1000000 /* mode latency: longer than any gap in a stream worth the name */
/* about what waking a sleeping vCPU costs (40-100 us, docs/measurements.md): spinning less would
 * not pay */
#define SPIN_BALANCED_NS 50000
/* mode balanced, while traffic comes in bursts: longer than the gaps in one */
#define SPIN_BURST_NS	  200000
#define SPIN_POWERSAVE_NS 10000
#define LEAVE_ROUNDS	  5 /* looks at the rings, 2 ms apart, while clients notice that we leave */
#define DEVICE_SHARE	  6144 /* frames that a queue may hold: fill, RX and TX rings of 2048 */

static enum memzone_pages wanted_pages(const struct config *cfg)
{
	switch (cfg->hugepages) {
	case CONFIG_HUGEPAGES_REQUIRED: return MEMZONE_HUGE_ONLY;
	case CONFIG_HUGEPAGES_OFF: return MEMZONE_SMALL_ONLY;
	default: return MEMZONE_AUTO;
	}
}

static int read_sysctl(const char *path, int fallback)
{
	FILE *f = fopen(path, "re");
	int v = fallback;

	if (f) {
		if (fscanf(f, "%d", &v) != 1)
			v = fallback;
		fclose(f);
	}
	return v;
}

/* Descriptors that one process may need. The control process has a wake socket per claimed socket,
 * and per client its connection, its memory and its doorbells. The keeper, which inherits the
 * limit, has the kernel sockets and what it is about to close. */
static rlim_t files_wanted(const struct config *cfg)
{
	return 2048 + (rlim_t)cfg->max_sockets + (8 + cfg->workers) * (rlim_t)cfg->max_clients;
}

/* CAP_SYS_RESOURCE raises the hard limit, up to fs.nr_open. */
static void raise_files(const struct config *cfg)
{
	rlim_t want = files_wanted(cfg);
	struct rlimit files, more;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	more.rlim_cur = more.rlim_max = files.rlim_max > want ? files.rlim_max : want;
	if (!setrlimit(RLIMIT_NOFILE, &more))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	log_info("RLIMIT_NOFILE is %llu: not enough for max_sockets %u and max_clients %u "
		 "together, which may want %llu",
		 (unsigned long long)files.rlim_max, cfg->max_sockets, cfg->max_clients,
		 (unsigned long long)want);
}

static void raise_limits(const struct config *cfg)
{
	struct rlimit lock = {RLIM_INFINITY, RLIM_INFINITY};

	/* Frames are pinned for the device. */
	if (setrlimit(RLIMIT_MEMLOCK, &lock) && !getrlimit(RLIMIT_MEMLOCK, &lock)) {
		/* all there is without CAP_SYS_RESOURCE; the device says if it is too little */
		lock.rlim_cur = lock.rlim_max;
		setrlimit(RLIMIT_MEMLOCK, &lock);
	}
	raise_files(cfg);
}

/* Sets the CPUs that workers are pinned to: those that were asked for, if we may run on all of
 * them; else none. */
static void choose_cpus(struct control *c)
{
	const struct config_cpus *asked = &c->cfg->cpus;
	cpu_set_t set;

	c->cpus = *asked;
	if (sched_getaffinity(0, sizeof(set), &set))
		return;
	for (uint32_t cpu = 0; cpu < CONFIG_CPUS_MAX && cpu < CPU_SETSIZE; cpu++) {
		if (asked->own && CPU_ISSET(cpu, &set)) {
			c->cpus.bits[cpu / 64] |= 1ull << cpu % 64;
			c->cpus.count++;
		} else if (config_cpus_contains(asked, cpu) && !CPU_ISSET(cpu, &set)) {
			log_warn("cpus (by %s): CPU %u is not in the cpuset; workers are not "
				 "pinned; allowed: own, or CPUs that this container may run on",
				 config_source_name(config_source_of(c->cfg, "cpus")), cpu);
			c->cpus = (struct config_cpus){0};
			return;
		}
	}
}

static int cpu_of(const struct control *c, uint32_t worker)
{
	uint32_t seen = 0;

	for (uint32_t cpu = 0; cpu < CONFIG_CPUS_MAX; cpu++)
		if (config_cpus_contains(&c->cpus, cpu) && seen++ == worker % c->cpus.count)
			return (int)cpu;
	return -1;
}

/* If worker and client threads spin on fewer cores than there are threads, they must yield to each
 * other. */
static bool must_yield(const struct control *c)
{
	cpu_set_t set;

	if (c->cfg->yield != CONFIG_YIELD_AUTO)
		return c->cfg->yield == CONFIG_YIELD_ON;
	if (sched_getaffinity(0, sizeof(set), &set))
		return true;
	return (uint32_t)CPU_COUNT(&set) <
	       c->cfg->workers + 2; /* a core for the clients, and one for the kernel's NAPI */
}

static uint64_t spin_ns(const struct control *c)
{
	if (c->cfg->spin_us >= 0)
		return (uint64_t)c->cfg->spin_us * 1000;
	return c->cfg->mode == UDPLANE_MODE_LATENCY    ? SPIN_LATENCY_NS
	       : c->cfg->mode == UDPLANE_MODE_BALANCED ? SPIN_BALANCED_NS
						       : SPIN_POWERSAVE_NS;
}

static uint64_t burst_spin_ns(const struct control *c)
{
	if (c->cfg->mode != UDPLANE_MODE_BALANCED)
		return 0;
	return c->cfg->spin_us < 0 ? SPIN_BURST_NS : spin_ns(c);
}

static uint32_t queues_per_worker(const struct control *c)
{
	uint32_t n = (c->dev->queue_used + c->cfg->workers - 1) / c->cfg->workers;

	return n ? n : 1;
}

static int start_workers(struct control *c, struct error *error)
{
	struct worker_options o = {
		.worker_cnt = c->cfg->workers,
		.frames = c->frames.addr,
		.frame_cnt = c->cfg->frames,
		.frame_size = c->frame_size,
		.frames_reserved = DEVICE_SHARE * queues_per_worker(c),
		.socket_max = c->cfg->max_sockets,
		.checksum = c->dev->local_frames ? PACKET_CHECKSUM_LOCAL : PACKET_CHECKSUM_WIRE,
		.mode = c->cfg->mode,
		.spin_ns = spin_ns(c),
		.burst_spin_ns = burst_spin_ns(c),
		.yield = must_yield(c),
	};
	char path[128];

	o.ttl4 = (uint8_t)read_sysctl("/proc/sys/net/ipv4/ip_default_ttl", 64);
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/hop_limit", c->dev->ifname);
	o.hop_limit6 = (uint8_t)read_sysctl(path, 64);
	if (getrandom(&o.hash_seed, sizeof(o.hash_seed), 0) != sizeof(o.hash_seed))
		o.hash_seed = clock_now_ns();
	choose_cpus(c);
	for (uint32_t i = 0; i < c->cfg->workers; i++) {
		int err;

		o.id = i;
		o.cpu = cpu_of(c, i);
		o.queue = c->dev->ops->queue(c->dev, i);
		o.zone = stats_worker(&c->stats, i);
		err = worker_start(&c->worker[i], &o, error);
		if (err)
			return err;
		c->worker_cnt++;
		c->worker_watch[i] =
			(struct watch){.fd = worker_event_fd(c->worker[i]), .ready = slow_events};
		err = watch_add(c, &c->worker_watch[i], EPOLLIN);
		if (err)
			return err;
	}
	return 0;
}

static int start_device(struct control *c, struct error *error)
{
	struct udplane_stats_zone *z = c->stats.z;
	int err;

	if (!c->dev)
		return 0;
	z->ifindex = c->dev->ifindex;
	z->mtu = c->dev->mtu;
	snprintf(z->ifname, sizeof(z->ifname), "%s", c->dev->ifname);
	snprintf(z->device, sizeof(z->device), "%s", c->dev->text);
	z->attached = 1;
	if (!z->mode_text[0])
		snprintf(z->mode_text, sizeof(z->mode_text), "%s", c->dev->why);
	c->rules.ifindex = c->dev->ifindex;
	c->rules.ports = &c->cfg->ports;
	err = claim_netns_cookie(&c->rules.netns_cookie);
	if (err)
		return error_set(error, err, "SO_NETNS_COOKIE: %s; Linux 5.14 or newer is needed",
				 strerror(-err));
	err = shared_open(c);
	if (!err)
		err = mcast_open(c);
	if (err)
		return error_set(error, err, "NETLINK_SOCK_DIAG: %s", strerror(-err));
	err = start_workers(c, error);
	/* before the first claim */
	return err ? err : control_environment_start(c, error);
}

static int start_stats(struct control *c, struct error *error)
{
	struct udplane_stats_zone *z;
	int err;

	c->workers_wanted = c->cfg->workers;
	c->stats.zone.budget = &c->budget;
	err = stats_create(&c->stats, c->cfg->workers, c->cfg->max_sockets, c->pages, error);

	if (err)
		return err;
	if (error->text[0])
		log_warn("%s; ordinary pages are used", error->text);
	z = c->stats.z;
	z->state = UDPLANE_STATE_STARTING;
	z->mode = c->cfg->mode;
	z->pid = getpid();
	z->start_ns = clock_now_ns();
	snprintf(z->version, sizeof(z->version), "%s", UDPLANE_VERSION);
	snprintf(z->ifname, sizeof(z->ifname), "%s", c->cfg->interface);
	stats_set_ports(&c->stats, (const uint8_t *)c->cfg->ports.bits);
	return 0;
}

static bool is_vfio(const struct control *c)
{
	return c->stats.z->backend == UDPLANE_BACKEND_VFIO;
}

/* The device is open and programs are loaded. The workers inherit what is left. */
static void drop_capabilities(struct control *c)
{
	bool bpf_stays;
	int err = confine_capabilities(is_vfio(c), &bpf_stays);

	if (err)
		log_warn("capabilities are not dropped: %s", strerror(-err));
	else if (bpf_stays)
		log_info("CAP_BPF is kept: this kernel needs it for maps, too "
			 "(kernel.unprivileged_bpf_disabled)");
}

/* All threads run. */
static void limit_syscalls(struct control *c)
{
	int err = confine_syscalls(is_vfio(c) ? CONFINE_OTHER : CONFINE_AF_XDP);

	if (err)
		log_warn("system calls are not limited: seccomp: %s", strerror(-err));
}

static int start_keeper(struct control *c, struct error *error)
{
	int err = keeper_start(&c->keeper, error);

	if (err)
		return err;
	c->keeper_watch = (struct watch){.fd = c->keeper.fd, .ready = request_replies};
	return watch_add(c, &c->keeper_watch, EPOLLIN);
}

int control_start(struct control *c)
{
	struct error error = {0};
	int err;

	c->pages = wanted_pages(c->cfg);
	raise_limits(c->cfg);
	err = start_keeper(c, &error); /* first, so that it inherits no descriptor */
	if (err) {
		log_error("%s", error.text);
		return err;
	}
	budget_init(&c->budget, (uint64_t)c->cfg->memory_max << 20, "/sys/fs/cgroup",
		    "/proc/self/cgroup");
	err = guard_install();
	if (err)
		log_warn("no SIGBUS handler: %s; a client could end udplaned by punching holes "
			 "into its channel",
			 strerror(-err));
	c->session = calloc(c->cfg->max_clients, sizeof(*c->session));
	c->sock = calloc(c->cfg->max_sockets, sizeof(*c->sock));
	c->id_free = calloc(c->cfg->max_sockets, sizeof(*c->id_free));
	for (uint32_t i = c->cfg->max_sockets; c->id_free && i-- > 0;)
		c->id_free[c->id_free_cnt++] = i;
	if (!c->session || !c->sock || !c->id_free || index_init(&c->index, c->cfg->max_sockets)) {
		log_error("no memory for %u clients and %u sockets", c->cfg->max_clients,
			  c->cfg->max_sockets);
		return -ENOMEM;
	}
	/* before the device: a second udplaned must not disturb the first */
	err = listen_open(c, &error);
	if (!err) {
		library_publish(c->cfg->library_dir);
		err = start_stats(c, &error);
	}
	if (!err) {
		c->ready = device_af_xdp.ready(
			c->cfg); /* before: what comes up meanwhile shows as a change */
		err = backend_choose(c);
		if (err)
			return err;
		c->cgroup_top = environment_cgroup_top();
		drop_capabilities(c);
		err = start_device(c, &error);
	}
	if (err) {
		log_error("%s", error.text);
		return err;
	}
	limit_syscalls(c);
	refresh_counters(c);
	recent_restart(c);
	udplane_store32(&c->stats.z->state, UDPLANE_STATE_RUNNING);
	return 0;
}

static void drain_all(struct control *c)
{
	for (uint32_t i = 0; i < c->worker_cnt; i++) {
		struct worker_order o = {.op = WORKER_DRAIN};

		worker_call(c->worker[i], &o);
		slow_drain(c, i);
	}
}

/* The kernel takes over first; then what we still hold goes to the clients and to the wire; then
 * goodbye. */
void control_leave(struct control *c)
{
	struct session *s;

	c->leaving = true;
	udplane_store32(&c->stats.z->state, UDPLANE_STATE_LEAVING);
	listen_close(c);
	if (c->dev) {
		c->dev->ops->detach(c->dev);
		for (int i = 0; i < LEAVE_ROUNDS; i++) {
			drain_all(c);
			/* frames still in the kernel's softirq, and clients that saw us running
			 * a moment ago */
			poll(NULL, 0, 2);
		}
		drain_all(c);
	}
	refresh_counters(c);
	udplane_store32(&c->stats.z->state, UDPLANE_STATE_GONE);
	TAILQ_FOREACH(s, &c->all, link)
		session_goodbye(c, s);
}

void control_free(struct control *c)
{
	listen_close(c);
	while (!TAILQ_EMPTY(&c->all)) {
		TAILQ_FIRST(&c->all)->close_reason[0] = 0;
		session_close(c, TAILQ_FIRST(&c->all));
	}
	for (uint32_t i = 0; i < c->worker_cnt; i++)
		worker_stop(c->worker[i]);
	control_environment_stop(c);
	if (c->cgroup_top >= 0)
		close(c->cgroup_top);
	backend_close(c);
	shared_close(c);
	mcast_close(c);
	sock_unprepare(c);
	if (c->stats.z)
		stats_destroy(&c->stats);
	index_free(&c->index);
	free(c->id_free);
	free(c->session);
	free(c->sock);
	keeper_stop(&c->keeper);
	fd_discard_stop(c);
}

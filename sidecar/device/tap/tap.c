/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/device/tap/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <udplane/clock.h>
#include <unistd.h>

#include "sidecar/base/log.h"

#define LINK_POLL_MS 500    /* how often the link of a NIC without a link interrupt is read */
#define BURST	     64	    /* packets of one ring before the other rings get their turn */
#define FULL_WAIT_NS 200000 /* the worker takes no packets, since its NIC does not send */
#define ETH_SPARE    22 /* Ethernet header, VLAN tag, reserve: bytes of a slot besides the MTU */

#ifndef TUNSETCARRIER
#define TUNSETCARRIER _IOW('T', 226, int) /* Linux 5.0 */
#endif

enum { EVENT_TAP, EVENT_BELL, EVENT_LINK, EVENT_STOP };

/* The thread's ends of a lane's rings. */
struct thread_lane {
	struct udplane_ring to, from;
};

struct tap {
	char name[IFNAMSIZ];
	int ifindex, fd;
	uint32_t mtu, slot_size;
	uint32_t lane_cnt;
	struct tap_lane *lane;
	struct thread_lane *mine;
	struct tap_link link;
	int epoll_fd, bell_fd, stop_fd;
	bool running, removed;
	int carrier; /* -1 if unknown yet */
	struct tap_counts n;
	uint64_t link_asked_ns;
	pthread_t thread;
};

/* --- life cycle --- */

static int open_fd(struct tap *t, struct error *error)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int err;

	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd < 0) {
		err = -errno;
		return error_set(
			error, err,
			"/dev/net/tun: %s; load the module tun, and give the container the device",
			strerror(-err));
	}
	memcpy(ifr.ifr_name, t->name, sizeof(ifr.ifr_name));
	if (ioctl(t->fd, TUNSETIFF, &ifr)) {
		err = -errno;
		return error_set(
			error, err, "TAP %s: %s; %s", t->name, strerror(-err),
			err == -EBUSY	 ? "another program has it open: stop that udplaned, or "
					   "choose another name by --interface"
			: err == -EINVAL ? "an interface of that name exists and is no TAP: "
					   "choose another name by --interface"
					 : "CAP_NET_ADMIN is needed");
	}
	memcpy(t->name, ifr.ifr_name, sizeof(t->name));
	t->ifindex = (int)if_nametoindex(t->name);
	return 0;
}

static bool read_sys(const char *ifname, const char *what, char *out, size_t size)
{
	char path[128];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/sys/class/net/%.15s/%s", ifname, what);
	f = fopen(path, "re");
	ok = f && fgets(out, (int)size, f);
	if (f)
		fclose(f);
	if (ok)
		out[strcspn(out, "\n")] = 0;
	return ok;
}

/* A TAP that no process holds can be opened; no longer persistent, it disappears when the
 * descriptor is closed. */
static void remove_tap(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.15s", name);
	if (fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr) && !ioctl(fd, TUNSETPERSIST, 0))
		log_warn("interface %s, left behind by an earlier udplaned for the same device, "
			 "was removed: the name is another now",
			 name);
	if (fd >= 0)
		close(fd);
}

/* A udplaned with another --interface has left its TAP. Two interfaces with the NIC's MAC and
 * addresses would take each other's traffic. */
static void remove_others(const struct tap_config *cfg)
{
	struct if_nameindex *all = if_nameindex();
	char text[64];
	uint8_t mac[6];

	for (struct if_nameindex *i = all; i && i->if_index; i++)
		if (strcmp(i->if_name, cfg->name) &&
		    read_sys(i->if_name, "tun_flags", text, sizeof(text)) &&
		    read_sys(i->if_name, "address", text, sizeof(text)) &&
		    tap_parse_mac(text, mac) && !memcmp(mac, cfg->mac, 6))
			remove_tap(i->if_name);
	if (all)
		if_freenameindex(all);
}

int tap_open(struct tap **out, const struct tap_config *cfg, struct error *error)
{
	struct tap *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return error_set(error, -ENOMEM, "out of memory");
	t->fd = t->epoll_fd = t->bell_fd = t->stop_fd = -1;
	t->carrier = -1;
	memcpy(t->name, cfg->name, sizeof(t->name));
	t->mtu = cfg->mtu;
	t->slot_size = (cfg->mtu + ETH_SPARE + 1 + 4 + 63) &
		       ~63u; /* one byte more, to detect packets that are too long */
	err = open_fd(t, error);
	if (!err)
		remove_others(cfg);
	if (!err)
		err = tap_setup(t->ifindex, cfg, error);
	if (err) {
		tap_close(t);
		return err;
	}
	*out = t;
	return 0;
}

static int make_ring(struct tap *t, struct tap_ring *r, struct udplane_ring *producer,
		     struct udplane_ring *consumer)
{
	size_t len = sizeof(*r->head) + (size_t)TAP_SLOTS * t->slot_size;

	r->head =
		aligned_alloc(UDPLANE_LINE, (len + UDPLANE_LINE - 1) & ~(size_t)(UDPLANE_LINE - 1));
	if (!r->head)
		return -ENOMEM;
	memset(r->head, 0, len); /* and fault it in, so that the packet path need not */
	r->slots = (uint8_t *)(r->head + 1);
	r->slot_size = t->slot_size;
	udplane_ring_init(producer, r->head, TAP_SLOTS, 0);
	udplane_ring_init(consumer, r->head, TAP_SLOTS, 0);
	return 0;
}

static int make_lanes(struct tap *t, uint32_t cnt)
{
	int err = 0;

	t->lane = calloc(cnt, sizeof(*t->lane));
	t->mine = calloc(cnt, sizeof(*t->mine));
	if (!t->lane || !t->mine)
		return -ENOMEM;
	for (uint32_t i = 0; i < cnt; i++)
		t->lane[i].worker_fd = -1;
	t->lane_cnt = cnt;
	for (uint32_t i = 0; i < cnt && !err; i++) {
		struct tap_lane *l = &t->lane[i];

		err = make_ring(t, &l->to_ring, &l->to, &t->mine[i].to);
		if (!err)
			err = make_ring(t, &l->from_ring, &t->mine[i].from, &l->from);
		l->thread_fd = t->bell_fd;
		l->worker_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (!err && l->worker_fd < 0)
			err = -errno;
	}
	return err;
}

static void free_lanes(struct tap *t)
{
	for (uint32_t i = 0; i < t->lane_cnt; i++) {
		free(t->lane[i].to_ring.head);
		free(t->lane[i].from_ring.head);
		if (t->lane[i].worker_fd >= 0)
			close(t->lane[i].worker_fd);
	}
	free(t->lane);
	free(t->mine);
}

void tap_close(struct tap *t)
{
	int fds[] = {t->fd, t->epoll_fd, t->bell_fd, t->stop_fd};

	if (t->running) {
		(void)!write(t->stop_fd, &(uint64_t){1}, 8);
		pthread_join(t->thread, NULL);
	}
	free_lanes(t);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(t);
}

const char *tap_name(const struct tap *t)
{
	return t->name;
}

int tap_ifindex(const struct tap *t)
{
	return t->ifindex;
}

struct tap_lane *tap_lane(struct tap *t, uint32_t i)
{
	return i < t->lane_cnt ? &t->lane[i] : NULL;
}

void tap_counts(const struct tap *t, struct tap_counts *out)
{
	out->to_kernel = udplane_load64(&t->n.to_kernel);
	out->from_kernel = udplane_load64(&t->n.from_kernel);
	out->to_kernel_failed = udplane_load64(&t->n.to_kernel_failed);
	out->from_kernel_long = udplane_load64(&t->n.from_kernel_long);
}

void tap_lane_flush(struct tap_lane *l)
{
	if (!l->staged)
		return;
	udplane_ring_publish(&l->to, l->staged);
	l->staged = 0;
	udplane_fence();
	if (udplane_ring_take_arm(&l->to))
		(void)!write(l->thread_fd, &(uint64_t){1}, 8);
}

/* --- the thread --- */

static uint8_t *slot_of(const struct tap_ring *r, const struct udplane_ring *end)
{
	return r->slots + (size_t)udplane_ring_slot(end, end->idx) * r->slot_size;
}

/* A TAP that is down refuses packets (EIO). It is never full, since write() delivers to the
 * stack. */
static uint32_t to_kernel(struct tap *t, uint32_t i)
{
	struct udplane_ring *r = &t->mine[i].to;
	uint32_t n = udplane_ring_avail(r, 1), failed = 0;

	if (n > BURST)
		n = BURST;
	for (uint32_t k = 0; k < n; k++) {
		const uint8_t *slot = slot_of(&t->lane[i].to_ring, r);
		uint32_t len = *(const uint32_t *)slot;

		failed += write(t->fd, slot + 4, len) != (ssize_t)len;
		udplane_ring_consume(r, 1);
	}
	udplane_count(&t->n.to_kernel, n - failed);
	udplane_count(&t->n.to_kernel_failed, failed);
	return n;
}

/* Returns the number of packets read. *full is set if the worker is behind. */
static uint32_t from_kernel(struct tap *t, bool *full)
{
	struct udplane_ring *r = &t->mine[0].from;
	uint32_t n = 0;

	*full = udplane_ring_free(r, 1) == 0;
	for (uint32_t i = 0; i < BURST && udplane_ring_free(r, 1); i++) {
		uint8_t *slot = slot_of(&t->lane[0].from_ring, r);
		ssize_t len = read(t->fd, slot + 4, t->slot_size - 4);

		if (len <= 0)
			break;
		if ((size_t)len > t->mtu + ETH_SPARE) { /* and was cut */
			udplane_count(&t->n.from_kernel_long, 1);
			continue;
		}
		*(uint32_t *)slot = (uint32_t)len;
		udplane_ring_publish(r, 1);
		n++;
	}
	if (!n)
		return 0;
	udplane_count(&t->n.from_kernel, n);
	udplane_fence();
	if (udplane_ring_take_arm(r))
		(void)!write(t->lane[0].worker_fd, &(uint64_t){1}, 8);
	return n;
}

/* Sets the TAP's carrier to the NIC's link, so that routes and neighbours follow it as with a
 * kernel driver. */
static void show_link(struct tap *t)
{
	int up;

	t->link_asked_ns = clock_now_ns();
	if (t->link.gone && t->link.gone(t->link.arg)) {
		ioctl(t->fd, TUNSETPERSIST, 0);
		close(t->fd);
		t->fd = -1;
		t->removed = true;
		return;
	}
	up = t->link.up ? t->link.up(t->link.arg) : 1;
	if (up == t->carrier)
		return;
	ioctl(t->fd, TUNSETCARRIER, &up);
	t->carrier = up;
}

/* Arms every ring. Returns true if one is not empty. */
static bool arm_all(struct tap *t)
{
	bool some = false;

	for (uint32_t i = 0; i < t->lane_cnt; i++) {
		udplane_ring_arm(&t->mine[i].to);
		some |= udplane_ring_avail(&t->mine[i].to, 1) != 0;
	}
	return some;
}

/* Returns false if the thread must end. */
static bool wait_events(struct tap *t)
{
	struct epoll_event ev[4];
	int n = epoll_wait(t->epoll_fd, ev, 4, LINK_POLL_MS);
	uint64_t cnt;

	for (int i = 0; i < n; i++) {
		if (ev[i].data.u32 == EVENT_STOP)
			return false;
		if (ev[i].data.u32 == EVENT_BELL)
			(void)!read(t->bell_fd, &cnt, 8);
		if (ev[i].data.u32 == EVENT_LINK) {
			(void)!read(t->link.event_fd, &cnt, 8);
			show_link(t);
		}
	}
	return true;
}

static bool stop_asked(struct tap *t)
{
	uint64_t cnt;

	return read(t->stop_fd, &cnt, 8) == 8;
}

static void *tap_main(void *arg)
{
	struct tap *t = arg;
	struct timespec full_wait = {.tv_nsec = FULL_WAIT_NS};
	bool full = false;

	pthread_setname_np(pthread_self(), "udplane-tap");
	show_link(t);
	while (!t->removed) {
		uint32_t work = from_kernel(t, &full);

		for (uint32_t i = 0; i < t->lane_cnt; i++)
			work += to_kernel(t, i);
		if (clock_now_ns() - t->link_asked_ns > LINK_POLL_MS * 1000000ull) {
			show_link(t);
			if (stop_asked(t))
				return NULL;
		}
		if (work)
			continue;
		if (full)
			nanosleep(&full_wait, NULL); /* its descriptor is always readable */
		if (!arm_all(t) && !wait_events(t))
			return NULL;
	}
	return NULL;
}

static int watch(struct tap *t, int fd, uint32_t what)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = what};

	return fd < 0 || !epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? 0 : -errno;
}

static int make_fds(struct tap *t)
{
	int err;

	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	t->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	t->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->epoll_fd < 0 || t->bell_fd < 0 || t->stop_fd < 0)
		return -errno;
	err = watch(t, t->fd, EVENT_TAP);
	if (!err)
		err = watch(t, t->bell_fd, EVENT_BELL);
	if (!err)
		err = watch(t, t->stop_fd, EVENT_STOP);
	return err ? err : watch(t, t->link.event_fd, EVENT_LINK);
}

int tap_start(struct tap *t, uint32_t lane_cnt, const struct tap_link *link, struct error *error)
{
	int err;

	t->link = *link;
	err = make_fds(t);
	if (!err)
		err = make_lanes(t, lane_cnt);
	/* Done last, so that a start that fails leaves no interface with the NIC's addresses
	 * behind. */
	if (!err && ioctl(t->fd, TUNSETPERSIST, 1))
		err = -errno;
	if (!err)
		err = -pthread_create(&t->thread, NULL, tap_main, t);
	if (err)
		return error_set(error, err, "TAP %s: its thread does not start: %s", t->name,
				 strerror(-err));
	t->running = true;
	return 0;
}

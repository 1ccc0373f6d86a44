/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the XDP program, binds the AF_XDP sockets, and attaches the program. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <udplane/clock.h>
#include <unistd.h>

#include "sidecar/device/af_xdp_internal.h"
#include "sidecar/device/xdp/udplane_xdp.skel.h"

/* XDP_PACKET_HEADROOM: bytes that the kernel keeps free in front of each received packet */
#define UMEM_HEADROOM 256
/* The kernel frees a dead process's sockets late, so that binding fails with EBUSY for 15 to 27 ms
 * (docs/measurements.md). */
#define RETRY_MS 500

static const char *const way_name[] = {"native, zero-copy", "native, copy", "generic, copy"};

static int load(struct af_xdp *dev, bool generic, bool frags, bool conntrack, bool receivers)
{
	struct udplane_xdp *prog = udplane_xdp__open();
	int err;

	if (!prog)
		return -errno;
	prog->rodata->generic = generic;
	prog->rodata->frags = frags;
	prog->rodata->conntrack = conntrack;
	prog->rodata->receivers = receivers;
	prog->rodata->timers =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_timer_start, NULL) == 1;
	err = bpf_map__set_max_entries(prog->maps.claims_addr, dev->claim_max);
	if (!err)
		err = bpf_map__set_max_entries(prog->maps.claims_conn, dev->claim_max);
	if (!err)
		err = bpf_map__set_max_entries(prog->maps.members, dev->claim_max);
	if (!err && frags)
		err = bpf_program__set_flags(prog->progs.udplane, BPF_F_XDP_HAS_FRAGS);
	if (!err)
		err = udplane_xdp__load(prog);
	if (err) {
		udplane_xdp__destroy(prog);
		return err;
	}
	dev->prog = prog;
	dev->frags = frags;
	dev->base.sees_translation = conntrack;
	dev->base.sees_receivers = receivers;
	return 0;
}

int af_xdp_load(struct af_xdp *dev, bool generic, struct error *error)
{
	/* The first attempts are expected to fail on some kernels; libbpf's messages about them
	 * would only alarm the user. */
	libbpf_print_fn_t print = libbpf_set_print(NULL);
	int err = load(dev, generic, true, true, true);

	if (err)
		err = load(dev, generic, true, false, true);
	if (err)
		err = load(dev, generic, true, false, false);
	if (err && err != -EPERM && err != -EACCES)
		err = load(dev, generic, false, false, false);
	libbpf_set_print(print);
	if (err)
		return error_set(error, err, "loading the XDP program: %s%s", strerror(-err),
				 err == -EPERM || err == -EACCES
					 ? "; the capabilities must be of the host's user namespace"
					 : "");
	err = xdp_claims_use(
		&dev->claims, &dev->prog->bss->shared, bpf_map__fd(dev->prog->maps.local),
		bpf_map__fd(dev->prog->maps.claims_addr), bpf_map__fd(dev->prog->maps.claims_conn),
		bpf_map__fd(dev->prog->maps.sources), bpf_map__fd(dev->prog->maps.excluded6),
		bpf_map__fd(dev->prog->maps.members));
	if (err) {
		error_set(error, err, "filling the XDP program's maps: %s", strerror(-err));
		af_xdp_unload(dev);
	}
	return err;
}

void af_xdp_write_mac(struct af_xdp *dev)
{
	struct xdp_shared *s = &dev->prog->bss->shared;

	memcpy(&s->mac0, dev->base.mac, 4);
	memcpy(&s->mac1, dev->base.mac + 4, 2);
}

void af_xdp_unload(struct af_xdp *dev)
{
	xdp_claims_use(&dev->claims, NULL, -1, -1, -1, -1, -1, -1);
	if (dev->twin)
		udplane_xdp__destroy(dev->twin);
	dev->twin = NULL;
	udplane_xdp__destroy(dev->prog);
	dev->prog = NULL;
}

/* --- sockets --- */

void af_xdp_unbind(struct af_xdp *dev)
{
	for (uint32_t i = 0; i < dev->hw_cnt; i++) {
		struct af_xdp_hw *hw = &dev->hw[i];

		if (dev->prog)
			dev->prog->bss->shared.queue[i].state = XDP_STATE_UNBOUND;
		if (hw->xsk)
			xsk_socket__delete(hw->xsk);
		hw->xsk = NULL;
		hw->fd = -1;
	}
	for (uint32_t w = 0; dev->queue && w < dev->worker_cnt; w++)
		af_xdp_queue_reset(&dev->queue[w]);
	if (dev->umem)
		xsk_umem__delete(dev->umem);
	dev->umem = NULL;
}

static int bind_all(struct af_xdp *dev, bool zerocopy)
{
	const struct xsk_umem_config umem = {.fill_size = AF_XDP_FILL_RING,
					     .comp_size = AF_XDP_RING,
					     .frame_size = dev->mem.frame_size};
	const struct xsk_socket_config sock = {
		.rx_size = AF_XDP_RING,
		.tx_size = AF_XDP_RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_USE_NEED_WAKEUP | (zerocopy ? XDP_ZEROCOPY : XDP_COPY),
	};
	int err = xsk_umem__create(&dev->umem, dev->mem.addr, dev->mem.len, &dev->hw[0].fill,
				   &dev->hw[0].comp, &umem);

	if (err)
		dev->umem = NULL;
	for (uint32_t i = 0; i < dev->hw_cnt && !err; i++) {
		struct af_xdp_hw *hw = &dev->hw[i];

		err = xsk_socket__create_shared(&hw->xsk, dev->base.ifname, i, dev->umem, &hw->rx,
						&hw->tx, &hw->fill, &hw->comp, &sock);
		if (err)
			hw->xsk = NULL;
		else
			hw->fd = xsk_socket__fd(hw->xsk);
	}
	if (err)
		af_xdp_unbind(dev);
	return err;
}

static void pause_ms(uint32_t ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000L};

	nanosleep(&t, NULL);
}

static int bind_patiently(struct af_xdp *dev, bool zerocopy)
{
	uint64_t until = clock_now_ms() + RETRY_MS;
	int err;

	while ((err = bind_all(dev, zerocopy)) == -EBUSY && clock_now_ms() < until)
		pause_ms(5);
	return err;
}

static int register_all(struct af_xdp *dev)
{
	int map = bpf_map__fd(dev->prog->maps.xsks), err = 0;

	for (uint32_t i = 0; i < dev->hw_cnt && !err; i++) {
		struct af_xdp_hw *hw = &dev->hw[i];

		err = bpf_map_update_elem(map, &i, &hw->fd, BPF_ANY);
		hw->state = &dev->prog->bss->shared.queue[i].state;
		hw->idle = &dev->prog->bss->shared.counters[i].count[XDP_COUNT_IDLE];
		hw->asked_ns = &dev->prog->bss->shared.queue[i].asked_ns;
		hw->answered_ns = &dev->prog->bss->shared.queue[i].answered_ns;
		hw->answered = 0;
		*hw->state = XDP_STATE_IDLE;
	}
	return err;
}

/* --- program --- */

static uint32_t id_of(int prog_fd)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(prog_fd, &info, &len) ? 0 : info.id;
}

static int link_program(struct af_xdp *dev, bool generic)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	int fd = bpf_program__fd((generic && dev->twin ? dev->twin : dev->prog)->progs.udplane);
	uint64_t until = clock_now_ms() + RETRY_MS;

	dev->prog_id = id_of(fd);
	do {
		dev->link_fd = bpf_link_create(fd, dev->base.ifindex, BPF_XDP, &opts);
		if (dev->link_fd >= 0)
			return 0;
		pause_ms(5);
	} while ((dev->link_fd == -EBUSY || dev->link_fd == -EEXIST) && clock_now_ms() < until);
	return dev->link_fd;
}

void af_xdp_unlink(struct af_xdp *dev)
{
	if (dev->link_fd < 0)
		return;
	bpf_link_detach(dev->link_fd); /* synchronous, unlike close() */
	close(dev->link_fd);
	dev->link_fd = -1;
}

/* Another process may detach a link by its number, or replace the program in it. */
bool af_xdp_is_linked(const struct af_xdp *dev)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);

	if (dev->link_fd < 0)
		return false;
	if (bpf_obj_get_info_by_fd(dev->link_fd, &info, &len))
		return true; /* cannot be determined */
	return info.xdp.ifindex == (uint32_t)dev->base.ifindex &&
	       (!dev->prog_id || info.prog_id == dev->prog_id);
}

/* The program is compiled for one mode (`generic` is constant to the verifier), but its maps and
 * global data serve both: workers and claims are not affected when one replaces the other. */
static int load_twin(struct af_xdp *dev)
{
	struct udplane_xdp *twin = udplane_xdp__open();
	struct {
		struct bpf_map *mine, *old;
	} maps[] = {
		{twin ? twin->maps.bss : NULL, dev->prog->maps.bss},
		{twin ? twin->maps.xsks : NULL, dev->prog->maps.xsks},
		{twin ? twin->maps.local : NULL, dev->prog->maps.local},
		{twin ? twin->maps.settles : NULL, dev->prog->maps.settles},
		{twin ? twin->maps.claims_addr : NULL, dev->prog->maps.claims_addr},
		{twin ? twin->maps.claims_conn : NULL, dev->prog->maps.claims_conn},
		{twin ? twin->maps.sources : NULL, dev->prog->maps.sources},
		{twin ? twin->maps.excluded6 : NULL, dev->prog->maps.excluded6},
		{twin ? twin->maps.members : NULL, dev->prog->maps.members},
	};
	int err = 0;

	if (!twin)
		return -errno;
	twin->rodata->generic = true;
	twin->rodata->frags = dev->frags;
	twin->rodata->conntrack = dev->base.sees_translation;
	twin->rodata->receivers = dev->base.sees_receivers;
	twin->rodata->timers = dev->prog->rodata->timers;
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]) && !err; i++)
		err = bpf_map__reuse_fd(maps[i].mine, bpf_map__fd(maps[i].old));
	if (!err && dev->frags)
		err = bpf_program__set_flags(twin->progs.udplane, BPF_F_XDP_HAS_FRAGS);
	if (!err)
		err = udplane_xdp__load(twin);
	if (err)
		udplane_xdp__destroy(twin);
	else
		dev->twin = twin;
	return err;
}

static const char *driver_name(const struct af_xdp *dev)
{
	return dev->netif.driver[0] ? dev->netif.driver : "?";
}

static void describe(struct af_xdp *dev)
{
	snprintf(dev->base.text, sizeof(dev->base.text), "%.24s, %u queue%s, %s", driver_name(dev),
		 dev->hw_cnt, dev->hw_cnt == 1 ? "" : "s", way_name[dev->way]);
}

int af_xdp_relink(struct af_xdp *dev, bool generic, struct error *error)
{
	int err;

	af_xdp_unlink(dev); /* remove what is left of the old link */
	if (af_xdp_name_other(&dev->netif, error))
		return -EBUSY;
	if (generic && dev->way != AF_XDP_WAY_GENERIC && !dev->twin)
		return error_set(error, -EOPNOTSUPP, "no program for generic mode was loaded");
	err = link_program(dev, generic || dev->way == AF_XDP_WAY_GENERIC);
	if (err)
		return error_set(error, err, "attach: %s", strerror(-err));
	if (generic)
		dev->way = AF_XDP_WAY_GENERIC;
	describe(dev);
	return 0;
}

/* --- ways --- */

/* Attaches in this way. Returns 0, or -errno with a short text in `error` that says which step
 * failed. */
static int try_way(struct af_xdp *dev, enum af_xdp_way way, struct error *error)
{
	bool generic = way == AF_XDP_WAY_GENERIC;
	int err = af_xdp_load(dev, generic, error);

	if (err)
		return err;
	err = bind_patiently(dev, way == AF_XDP_WAY_ZEROCOPY);
	if (err) {
		af_xdp_explain_bind(err, dev->mem.len, error);
		error_prefix(error, err, "bind: ");
		goto unload;
	}
	err = register_all(dev);
	if (err) {
		error_set(error, err, "socket map: %s", strerror(-err));
		goto unbind;
	}
	af_xdp_write_mac(dev);
	dev->prog->bss->shared.max_len = (uint16_t)(dev->mem.frame_size - UMEM_HEADROOM);
	for (uint32_t w = 0; w < dev->worker_cnt; w++)
		af_xdp_queue_prime(&dev->queue[w]);
	err = link_program(dev, generic);
	if (!err)
		return 0;
	error_set(error, err, "attach: %s", strerror(-err));
unbind:
	af_xdp_unbind(dev);
unload:
	af_xdp_unload(dev);
	return err;
}

static void append(char *text, size_t len, const char *format, ...)
{
	size_t used = strlen(text);
	va_list ap;

	va_start(ap, format);
	vsnprintf(text + used, len - used, format, ap);
	va_end(ap);
}

/* Returns true if a worse way cannot work either after this error. */
static bool hopeless(int err)
{
	return err == -EPERM || err == -EACCES || err == -ENOBUFS || err == -ENOMEM ||
	       err == -EBUSY || err == -EEXIST;
}

static const enum af_xdp_way first_way[] = {
	[CONFIG_XDP_AUTO] = AF_XDP_WAY_ZEROCOPY,
	[CONFIG_XDP_ZEROCOPY] = AF_XDP_WAY_ZEROCOPY,
	[CONFIG_XDP_COPY] = AF_XDP_WAY_COPY,
	[CONFIG_XDP_GENERIC] = AF_XDP_WAY_GENERIC,
};

/* A bond's native XDP runs on its ports, and an AF_XDP socket of the bond does not accept frames of
 * the ports (xsk_rcv_check), so they would be lost. Generic mode runs after the frames have been
 * assigned to the bond. */
#define BOND_TEXT "%s is a bond, whose ports deliver past an AF_XDP socket in native mode"

static bool is_bond(const struct af_xdp *dev)
{
	return !strcmp(dev->netif.driver, "bonding");
}

int af_xdp_bind(struct af_xdp *dev, struct error *error)
{
	enum af_xdp_way way = dev->mode == CONFIG_XDP_AUTO && is_bond(dev) ? AF_XDP_WAY_GENERIC
									   : first_way[dev->mode];
	enum af_xdp_way last = dev->mode == CONFIG_XDP_AUTO ? AF_XDP_WAY_GENERIC : way;
	char *why = dev->base.why;
	struct error failed;
	int err;

	why[0] = '\0';
	if (is_bond(dev) && way != AF_XDP_WAY_GENERIC)
		return error_set(
			error, -EOPNOTSUPP,
			BOND_TEXT
			"; use xdp_mode generic or auto, or name one of its ports with --interface",
			dev->base.ifname);
	if (is_bond(dev))
		snprintf(why, sizeof(dev->base.why), BOND_TEXT, dev->base.ifname);
	for (;; way++) {
		err = try_way(dev, way, &failed);
		if (!err)
			break;
		append(why, sizeof(dev->base.why), "%s%s: %s", why[0] ? "; " : "", way_name[way],
		       failed.text);
		if (way == last || hopeless(err))
			break;
	}
	if (err) {
		/* Another program may have been attached since open() checked. */
		if ((err == -EBUSY || err == -EEXIST) && af_xdp_check_other(&dev->netif, error))
			return -EBUSY;
		return error_set(error, err, "AF_XDP on %s: %s", dev->base.ifname, why);
	}
	if (!why[0])
		snprintf(why, sizeof(dev->base.why),
			 dev->mode == CONFIG_XDP_AUTO ? "the best there is" : "as configured");
	dev->way = way;
	describe(dev);
	/* Load the twin now, because the permission to load is given up later. If this fails, only
	 * the later switch to generic mode is lost. */
	if (dev->mode == CONFIG_XDP_AUTO && way == AF_XDP_WAY_COPY && load_twin(dev))
		dev->twin = NULL;
	for (uint32_t w = 0; w < dev->worker_cnt; w++)
		dev->queue[w].zerocopy = way == AF_XDP_WAY_ZEROCOPY;
	af_xdp_super_open(dev);
	return 0;
}

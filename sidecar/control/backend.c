/* SPDX-License-Identifier: Apache-2.0 */
/* The backend: chooses one, opens its device, and gives it up when it is lost. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include "sidecar/device/vfio/target.h"
#include "sidecar/device/vfio/vfio.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <udplane/clock.h>

#define FRAME_OVERHEAD 64	     /* Ethernet header and room to align, beside the IP packet */
#define RESTART_NS     5000000000ull /* a device that lasts shorter is not tried again */

static int make_frames(struct control *c, struct error *error)
{
	int err;

	c->frame_size = c->cfg->frame_size;
	if (!c->frame_size)
		c->frame_size = c->dev->frame_size > 2048 || c->dev->mtu + FRAME_OVERHEAD > 2048
					? 4096
					: 2048;
	c->frames.budget = &c->budget;
	err = memzone_create(&c->frames, "udplane-frames", (size_t)c->cfg->frames * c->frame_size,
			     c->pages, c->dev->numa_node, error);
	if (err)
		return err;
	if (error->text[0]) {
		log_warn("%s; ordinary pages are used", error->text);
		error_copy(error, c->stats.z->mode_text, sizeof(c->stats.z->mode_text));
	}
	return 0;
}

static int attach_device(struct control *c, struct error *error)
{
	struct device_memory mem = {
		.addr = c->frames.addr,
		.len = c->frames.len,
		.page_size = c->frames.page_size,
		.frame_cnt = c->cfg->frames,
		.frame_size = c->frame_size,
	};
	int err = c->dev->ops->attach(c->dev, &mem, c->cfg->workers, error);

	if (err)
		return err;
	/* The workers know how to write every frame already; from now on nobody else can. */
	err = memzone_seal_readonly(&c->frames);
	if (err)
		error_set(error, err, "cannot seal the frames zone: %s", strerror(-err));
	return err;
}

void backend_close(struct control *c)
{
	if (c->dev) {
		c->dev->ops->detach(c->dev);
		c->dev->ops->close(c->dev);
		c->dev = NULL;
	}
	memzone_destroy(&c->frames);
}

/* A worker without a queue would have nothing to do. */
static void fit_workers(struct control *c)
{
	c->cfg->workers = c->workers_wanted;
	if (c->cfg->workers > c->dev->queue_cnt) {
		log_warn("%u workers wanted, %s has %u receive queues: %u workers start",
			 c->cfg->workers, c->dev->ifname, c->dev->queue_cnt, c->dev->queue_cnt);
		c->cfg->workers = c->dev->queue_cnt;
	}
	stats_set_workers(&c->stats, c->cfg->workers);
}

static int open_device(struct control *c, enum udplane_backend backend, struct error *error)
{
	int err;

	if (backend == UDPLANE_BACKEND_VFIO) {
		err = vfio_open(&c->dev, c->cfg, error);
	} else {
		err = device_af_xdp.open(&c->dev, c->cfg, error);
	}
	if (err) {
		c->dev = NULL;
		return err;
	}
	fit_workers(c);
	err = make_frames(c, error);
	if (!err)
		err = attach_device(c, error);
	if (err)
		backend_close(c);
	else
		c->stats.z->backend = backend;
	return err;
}

/* Tries one backend. 0; or -errno, with the reason logged and in `why`. */
static int try_backend(struct control *c, enum udplane_backend backend, struct error *why)
{
	const char *name = backend == UDPLANE_BACKEND_VFIO ? "vfio" : "af_xdp";
	int err = open_device(c, backend, why);

	if (!err) {
		why->text[0] = '\0'; /* warnings on the way are in mode_text */
		return 0;
	}
	if (c->cfg->backend == CONFIG_BACKEND_AUTO)
		log_warn("%s: %s; backend auto goes on with %s", name, why->text,
			 backend == UDPLANE_BACKEND_VFIO ? "af_xdp" : "the kernel path");
	else
		log_error("%s: %s", name, why->text);
	return err;
}

/* No VFIO device is configured, or it cannot be read: sets the reason. */
static void no_vfio(const struct control *c, struct error *why)
{
	char target[VFIO_TARGET_SIZE];
	bool pci;

	error_set(why, -ENODEV, "no VFIO device is given");
	if (!c->cfg->resource[0])
		return;
	vfio_target(c->cfg, target, &pci, why);
	log_warn("vfio: %s; backend auto goes on with af_xdp", why->text);
}

/* Sets a text of the stats zone. If it is too long it is cut; the log has it whole. */
static void __attribute__((format(printf, 2, 3)))
set_text(char out[UDPLANE_TEXT_LEN], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(out, UDPLANE_TEXT_LEN, fmt, ap) >= UDPLANE_TEXT_LEN)
		memcpy(out + UDPLANE_TEXT_LEN - 4, "...", 4);
	va_end(ap);
}

/* vfio, af_xdp: why each was not used, or empty. */
static void set_backend_text(struct control *c, const char *vfio, const char *af_xdp)
{
	struct udplane_stats_zone *z = c->stats.z;
	const char *asked = c->cfg->backend == CONFIG_BACKEND_AUTO ? "chosen by auto" : "asked for";
	const char *step = vfio_is_given(c->cfg) ? "vfio: " : "";

	if (z->backend == UDPLANE_BACKEND_VFIO) {
		set_text(z->backend_text, "VFIO on %s, %s", c->dev->ifname, asked);
	} else if (z->backend == UDPLANE_BACKEND_AF_XDP) {
		set_text(z->backend_text, "AF_XDP on %s, %s%s%s%s", c->dev->ifname, asked,
			 vfio[0] ? ": " : "", vfio[0] ? step : "", vfio);
	} else if (*step) {
		set_text(z->backend_text, "%s%s", step, vfio);
		set_text(z->mode_text, "af_xdp: %s",
			 af_xdp); /* there is no device that it would be about */
	} else {
		set_text(z->backend_text, "%s%saf_xdp: %s", vfio, vfio[0] ? "; " : "", af_xdp);
	}
}

int backend_choose(struct control *c)
{
	bool asked = c->cfg->backend != CONFIG_BACKEND_AUTO;
	struct udplane_stats_zone *z = c->stats.z;
	struct error vfio = {0}, af_xdp = {0};
	int err = -ENODEV;

	z->backend = UDPLANE_BACKEND_KERNEL;
	if (c->cfg->backend == CONFIG_BACKEND_KERNEL) {
		snprintf(z->backend_text, sizeof(z->backend_text), "asked for (--backend kernel)");
		return 0;
	}
	if (c->cfg->backend == CONFIG_BACKEND_VFIO || (!asked && vfio_is_given(c->cfg)))
		err = try_backend(c, UDPLANE_BACKEND_VFIO, &vfio);
	else if (!asked)
		no_vfio(c, &vfio);
	if (err && c->cfg->backend != CONFIG_BACKEND_VFIO)
		err = try_backend(c, UDPLANE_BACKEND_AF_XDP, &af_xdp);
	if (err && asked)
		return err;
	set_backend_text(c, vfio.text, err ? af_xdp.text : "");
	return 0;
}

/* Starting again in place is better than ending, unless the device is lost again and again: then
 * the supervisor of udplaned decides when to try again. */
void backend_lose(struct control *c, bool again)
{
	c->failed = true;
	if (again && clock_now_ns() - c->began_ns < RESTART_NS)
		log_error("the device was lost within %llu s of the start: not starting again in "
			  "place",
			  RESTART_NS / 1000000000ull);
	else
		c->restart = again;
}

void backend_check(struct control *c)
{
	if (c->dev && !c->failed && __atomic_load_n(&c->dev->restart, __ATOMIC_ACQUIRE)) {
		log_warn("%s: starting again in place; sockets use the kernel until then",
			 c->dev->ifname);
		backend_lose(c, true);
	}
}

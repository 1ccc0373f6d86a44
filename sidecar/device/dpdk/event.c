/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events from DPDK's interrupt thread (eal_intr_thread_main, which waits in an epoll of its own):
 * link, removal, reset, errors. The callbacks only note them and signal event_fd. The TAP thread
 * does the rest: it sets the TAP's carrier to the link, and removes the TAP if the NIC was removed.
 * The control thread then sees by netlink that an interface is gone, as for any other.
 *
 * After a reset of a virtual function by its owner, or an error that the driver could not repair,
 * the device must be set up again from the start: no thread touches it any more, the TAP stays
 * without a carrier, and udplaned restarts itself (device.restart).
 */
#include <errno.h>
#include <rte_dev.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sidecar/base/log.h"
#include "sidecar/device/dpdk/dpdk.h"

static void ring(struct dpdk *d)
{
	(void)!write(d->event_fd, &(uint64_t){1}, 8);
}

static void count(uint64_t *event)
{
	__atomic_fetch_add(event, 1, __ATOMIC_RELAXED);
}

static void lose(struct dpdk *d, const char *why)
{
	if (!__atomic_exchange_n(&d->removed, 1, __ATOMIC_SEQ_CST))
		log_error("%s: the device %s: it is let go, and its interface with it", d->target,
			  why);
	ring(d);
}

static void start_again(struct dpdk *d, const char *why)
{
	if (!__atomic_load_n(&d->removed, __ATOMIC_SEQ_CST))
		log_warn("%s: the device %s: it needs to be set up from the start", d->target, why);
	__atomic_store_n(&d->base.restart, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&d->removed, 1, __ATOMIC_SEQ_CST);
	ring(d);
}

static int on_port(uint16_t port, enum rte_eth_event_type type, void *arg, void *param)
{
	struct dpdk *d = arg;

	(void)port;
	(void)param;
	switch (type) {
	case RTE_ETH_EVENT_INTR_LSC: ring(d); break;
	case RTE_ETH_EVENT_INTR_RMV:
		count(&d->events.removals);
		lose(d, "was removed");
		break;
	case RTE_ETH_EVENT_INTR_RESET:
		count(&d->events.resets);
		start_again(d, "was reset by its owner");
		break;
	/* its driver has stopped the packet path by itself, and starts it again */
	case RTE_ETH_EVENT_ERR_RECOVERING:
		count(&d->events.errors);
		log_warn("%s: the device has failed, its driver recovers it", d->target);
		break;
	case RTE_ETH_EVENT_RECOVERY_SUCCESS:
		log_info("%s: the device has recovered", d->target);
		dpdk_port_open_filters(d);
		ring(d);
		break;
	case RTE_ETH_EVENT_RECOVERY_FAILED:
		count(&d->events.errors);
		start_again(d, "has failed, and its driver could not recover it");
		break;
	default: break;
	}
	return 0;
}

/* VFIO asks for the device back (hot unplug): close it. */
static void on_device(const char *name, enum rte_dev_event_type type, void *arg)
{
	struct dpdk *d = arg;

	(void)name;
	if (type != RTE_DEV_EVENT_REMOVE)
		return;
	count(&d->events.removals);
	lose(d, "is being removed");
}

static const enum rte_eth_event_type heard[] = {
	RTE_ETH_EVENT_INTR_LSC,	      RTE_ETH_EVENT_INTR_RMV,	      RTE_ETH_EVENT_INTR_RESET,
	RTE_ETH_EVENT_ERR_RECOVERING, RTE_ETH_EVENT_RECOVERY_SUCCESS, RTE_ETH_EVENT_RECOVERY_FAILED,
};

int dpdk_event_open(struct dpdk *d)
{
	int err = 0;

	d->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->event_fd < 0)
		return -errno;
	for (size_t i = 0; i < RTE_DIM(heard) && !err; i++)
		err = rte_eth_dev_callback_register(d->port, heard[i], on_port, d);
	if (!err && d->pci)
		err = rte_dev_event_callback_register(d->target, on_device, d);
	return err;
}

void dpdk_event_close(struct dpdk *d)
{
	if (d->event_fd < 0)
		return;
	for (size_t i = 0; i < RTE_DIM(heard); i++)
		rte_eth_dev_callback_unregister(d->port, heard[i], on_port, d);
	if (d->pci)
		rte_dev_event_callback_unregister(d->target, on_device, d);
	close(d->event_fd);
	d->event_fd = -1;
}

static bool is_lost(const struct dpdk *d)
{
	return __atomic_load_n(&d->removed, __ATOMIC_ACQUIRE);
}

bool dpdk_is_gone(void *dev)
{
	struct dpdk *d = dev;

	return is_lost(d) && !__atomic_load_n(&d->base.restart, __ATOMIC_ACQUIRE);
}

bool dpdk_link_up(void *dev)
{
	struct dpdk *d = dev;
	struct rte_eth_link link = {0};
	uint32_t up;

	if (is_lost(d) || rte_eth_link_get_nowait(d->port, &link))
		link.link_status = RTE_ETH_LINK_DOWN;
	up = link.link_status == RTE_ETH_LINK_UP;
	if (up != __atomic_exchange_n(&d->link_up, up, __ATOMIC_RELAXED))
		__atomic_fetch_add(&d->events.link_changes, 1, __ATOMIC_RELAXED);
	return up;
}

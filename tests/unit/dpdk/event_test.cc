// SPDX-License-Identifier: Apache-2.0
// What DPDK tells of a device: counted, and what becomes of the packet path. No virtual device has
// such events, so they are sent from here through DPDK's own dispatcher, as a driver does.
#include <poll.h>

#include "tests/unit/dpdk/bed.h"

extern "C" int rte_eth_dev_callback_process(rte_eth_dev *dev, rte_eth_event_type event,
					    void *ret_param);
extern "C" rte_eth_dev rte_eth_devices[]; // both are for drivers, whose header Debian does not ship

namespace
{

// rte_eth_dev's size is not public: port 0, the only one here, begins where the array does.
bool Tell(Bed *bed, rte_eth_event_type event)
{
	EXPECT_EQ(bed->d()->port, 0);
	rte_eth_dev_callback_process(rte_eth_devices, event, nullptr);
	pollfd p{bed->d()->event_fd, POLLIN, 0};
	uint64_t n;
	return poll(&p, 1, 0) == 1 &&
	       read(bed->d()->event_fd, &n, 8) == 8; // is the TAP thread woken?
}

TEST(Event, EachIsCountedAndHasItsEffect)
{
	Bed bed("net_null0");
	ASSERT_NE(bed.dev, nullptr) << bed.error.text;
	dpdk *d = bed.d();
	device_frame f[DEVICE_BURST];

	EXPECT_TRUE(Tell(&bed, RTE_ETH_EVENT_INTR_LSC));
	EXPECT_EQ(bed.Counter(UDPLANE_DEVICE_NIC_EVENTS), 0u);

	Tell(&bed, RTE_ETH_EVENT_ERR_RECOVERING);
	EXPECT_EQ(bed.Counter(UDPLANE_DEVICE_NIC_EVENTS), 1u);
	EXPECT_TRUE(Tell(&bed, RTE_ETH_EVENT_RECOVERY_SUCCESS));
	EXPECT_EQ(bed.Counter(UDPLANE_DEVICE_NIC_EVENTS), 1u);
	uint32_t n = bed.q->ops->rx_burst(bed.q, f, 8);
	EXPECT_EQ(n, 8u) << "it goes on";
	for (uint32_t i = 0; i < n; i++)
		bed.q->ops->frames_put(bed.q, &f[i].frame, 1);
	EXPECT_FALSE(d->base.restart || dpdk_is_gone(d));

	EXPECT_TRUE(Tell(&bed, RTE_ETH_EVENT_INTR_RESET));
	EXPECT_EQ(bed.Counter(UDPLANE_DEVICE_NIC_EVENTS), 2u);
	EXPECT_EQ(bed.q->ops->rx_burst(bed.q, f, 8), 0u) << "nobody touches it any more";
	EXPECT_TRUE(d->base.restart);
	EXPECT_FALSE(dpdk_is_gone(d)) << "the TAP stays";
	EXPECT_FALSE(dpdk_link_up(d)) << "without a carrier";

	__atomic_store_n(&d->removed, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&d->base.restart, 0, __ATOMIC_SEQ_CST);
	EXPECT_TRUE(Tell(&bed, RTE_ETH_EVENT_RECOVERY_FAILED));
	EXPECT_EQ(bed.Counter(UDPLANE_DEVICE_NIC_EVENTS), 3u);
	EXPECT_TRUE(d->base.restart);

	__atomic_store_n(&d->removed, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&d->base.restart, 0, __ATOMIC_SEQ_CST);
	EXPECT_TRUE(Tell(&bed, RTE_ETH_EVENT_INTR_RMV));
	EXPECT_EQ(bed.Counter(UDPLANE_DEVICE_NIC_EVENTS), 4u);
	EXPECT_TRUE(dpdk_is_gone(d));
	EXPECT_FALSE(d->base.restart);
	EXPECT_EQ(bed.q->ops->rx_burst(bed.q, f, 8), 0u);
}

} // namespace

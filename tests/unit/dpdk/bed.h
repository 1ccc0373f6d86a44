/* SPDX-License-Identifier: Apache-2.0 */
// A DPDK virtual device with frames in ordinary memory, and, if wanted, the worker on it with one
// client. EAL starts once in a process, so each test program has one device.
#ifndef TESTS_UNIT_DPDK_BED_H
#define TESTS_UNIT_DPDK_BED_H

#include <sys/mman.h>

#include "tests/unit/worker/bed.h"

extern "C" {
#include "sidecar/device/dpdk/dpdk.h"
}

constexpr uint32_t kFrames = 4096, kFrameSize = 2048, kRing = 1024, kTxSlots = 512, kSock = 1;

struct Bed {
	config cfg{};
	device *dev = nullptr;
	device_queue *q = nullptr;
	uint8_t *frames = nullptr;
	struct error error = {};

	// With the MAC of a former interface, as if deploy/bind-vfio had saved one.
	explicit Bed(const std::string &vdev, const uint8_t *former_mac = nullptr)
	{
		config_set_defaults(&cfg);
		snprintf(cfg.device, sizeof(cfg.device), "%s", vdev.c_str());
		cfg.hugepages = CONFIG_HUGEPAGES_OFF;
		frames = (uint8_t *)mmap((void *)(256ull << 30), (size_t)kFrames * kFrameSize,
					 PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (dpdk_open(&dev, &cfg, false, &error))
			return;
		if (former_mac)
			memcpy(dev->mac, former_mac, 6);
		device_memory mem{frames, (size_t)kFrames * kFrameSize, 4096, kFrames, kFrameSize};
		if (dev->ops->attach(dev, &mem, 1, &error)) {
			dev->ops->close(dev);
			dev = nullptr;
			return;
		}
		q = dev->ops->queue(dev, 0);
	}
	~Bed()
	{
		if (dev)
			dev->ops->close(dev);
		munmap(frames, (size_t)kFrames * kFrameSize);
	}
	dpdk *d()
	{
		return to_dpdk(dev);
	}
	uint8_t *At(const device_frame &f)
	{
		return frames + (size_t)f.frame * kFrameSize + f.off;
	}
	uint64_t Counter(udplane_device_counter c)
	{
		uint64_t v[UDPLANE_DEVICE_COUNTER_CNT] = {};
		dev->ops->counters(dev, v);
		return v[c];
	}
};

// Nothing is received before the socket is there. Benchmarks measure the bare driver through
// `closed`, on the worker's own thread.
struct Gate {
	bool open = false;
	uint32_t (*closed)(device_queue *q) = [](device_queue *) { return 0u; };
	uint32_t (*opened)(device_queue *q, device_frame *out,
			   uint32_t max) = dpdk_queue_ops.rx_burst;
	int cpu = -1; // of the worker; with one of its own it need not yield
	uint64_t spin_ns = 50000;
};
inline Gate gate;
inline uint32_t GatedRx(device_queue *q, device_frame *out, uint32_t max)
{
	return __atomic_load_n(&gate.open, __ATOMIC_ACQUIRE)
		       ? __atomic_load_n(&gate.opened, __ATOMIC_RELAXED)(q, out, max)
		       : gate.closed(q);
}

// The worker on a bed, with a client that holds UDP port 5000 on both addresses.
struct WorkerBed : Bed, BedClient {
	worker *w = nullptr;
	udplane_worker_zone *zone = BedAlloc<udplane_worker_zone>(sizeof(udplane_worker_zone));
	route_table *route = nullptr;

	explicit WorkerBed(const std::string &vdev, const uint8_t *former_mac = nullptr)
	    : Bed(vdev, former_mac), BedClient(0, {kFrames, kFrameSize, kTxSlots, kRing})
	{
		if (dev)
			Start();
	}
	~WorkerBed()
	{
		Stop();
		free(zone);
	}
	void Stop()
	{
		if (!w)
			return;
		for (uint8_t family : {AF_INET, AF_INET6}) {
			port_key key = BedKey(5000, family);
			EXPECT_EQ(BedCall(w, WORKER_KEY_REMOVE, kSock, nullptr, nullptr, &key), 0);
		}
		EXPECT_EQ(BedCall(w, WORKER_SOCKET_REMOVE, kSock), 0);
		EXPECT_EQ(BedCall(w, WORKER_LANE_REMOVE, kSock, &lane), 0);
		worker_stop(w);
		w = nullptr;
		route_table_destroy(route);
	}
	uint64_t Count(udplane_worker_counter c)
	{
		return udplane_load64(&zone->counter[c]);
	}
	void Start()
	{
		worker_options o{};
		o.worker_cnt = 1;
		o.queue = q;
		o.zone = zone;
		o.frames = frames;
		o.frame_cnt = kFrames;
		o.frame_size = kFrameSize;
		o.frames_reserved = 1024;
		o.socket_max = 8;
		o.checksum = PACKET_CHECKSUM_WIRE;
		o.spin_ns = gate.spin_ns;
		o.yield = gate.cpu < 0;
		o.cpu = gate.cpu;
		o.ttl4 = o.hop_limit6 = 64;
		static device_queue_ops gated;
		gated = dpdk_queue_ops;
		gated.rx_burst = GatedRx;
		q->ops = &gated;
		ASSERT_EQ(worker_start(&w, &o, &error), 0) << error.text;
		route = BedRoute();
		port_key key6 = BedKey(5000, AF_INET6);
		ASSERT_EQ(BedUseRoute(w, route), 0);
		BedAttach(w, this, kSock, 5000);
		ASSERT_EQ(BedCall(w, WORKER_KEY_INSERT, kSock, nullptr, nullptr, &key6), 0);
		__atomic_store_n(&gate.open, true, __ATOMIC_RELEASE);
	}
	// Takes a datagram and returns its frame. Returns false if there is none.
	bool Receive(std::string *out)
	{
		udplane_rx_desc d;
		if (!Take(&d))
			return false;
		out->assign((const char *)frames + (size_t)d.frame * kFrameSize + d.offset, d.len);
		Return(d.frame, false);
		return true;
	}
	void ExpectConservation()
	{
		::ExpectConservation(zone);
	}
};

#endif

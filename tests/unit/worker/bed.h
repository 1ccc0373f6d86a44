/* SPDX-License-Identifier: Apache-2.0 */
// What a worker needs around it in a test, whatever device is below: a client made of plain memory,
// the control thread's orders, a route table, and frames as they come by the wire. The world is
// always the same:
//
//   the peer, kPeerMac                               the worker, whose client holds a UDP port
//     192.0.2.2, 2001:db8::2, port 1000  ----------->  192.0.2.1/24, 2001:db8::1/64, interface 1
//
// One thread uses all of this; the worker has its own.
#ifndef TESTS_UNIT_WORKER_BED_H
#define TESTS_UNIT_WORKER_BED_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <udplane/clock.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "sidecar/worker/worker.h"
}

constexpr uint8_t kPeerMac[6] = {2, 0, 0, 0, 0, 2};

inline bool Until(const std::function<bool()> &ok, int seconds = 10)
{
	for (uint64_t end = clock_now_ns() + (uint64_t)seconds * 1000000000ull;
	     clock_now_ns() < end;) {
		if (ok())
			return true;
		sched_yield();
	}
	return ok();
}

// Memory as shared zones have it: on lines of its own, zeroed.
template <class T> T *BedAlloc(size_t n)
{
	size_t len = (n + UDPLANE_LINE - 1) / UDPLANE_LINE * UDPLANE_LINE;
	return (T *)memset(aligned_alloc(UDPLANE_LINE, len), 0, len);
}

struct BedSize {
	uint32_t frames, frame_size, tx_slots, rx_slots;
};

// A client with one socket's ring. `my_` are its ends of the rings.
struct BedClient {
	BedClient(uint32_t id, const BedSize &s)
	    : size(s), payload((size_t)s.tx_slots * s.frame_size)
	{
		tx = BedAlloc<udplane_tx_ring>(sizeof(udplane_tx_ring) +
					       size.tx_slots * sizeof(udplane_tx_desc));
		ret = BedAlloc<udplane_return_ring>(sizeof(udplane_return_ring) + size.frames * 4);
		ring = BedAlloc<udplane_rx_ring>(sizeof(udplane_rx_ring) +
						 size.rx_slots * sizeof(udplane_rx_desc));
		ready = BedAlloc<udplane_ready>(sizeof(udplane_ready) + kReadyWords * 8);
		lane.ready = foreign_of(ready);
		lane.id = id;
		udplane_ring_init(&lane.tx, &tx->head, size.tx_slots, 0);
		udplane_ring_init(&lane.ret, &ret->head, size.frames, 0);
		lane.tx_desc = foreign_of(tx->desc);
		lane.ret_frame = foreign_of(ret->frame);
		lane.tx_payload = foreign_of(payload.data());
		lane.tx_slot_size = size.frame_size;
		lane.doorbell_fd = eventfd(0, EFD_NONBLOCK);
		udplane_ring_init(&my_tx, &tx->head, size.tx_slots, 0);
		udplane_ring_init(&my_ret, &ret->head, size.frames, 0);
		udplane_ring_init(&my_rx, &ring->head, size.rx_slots, 0);
		EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, wake_fd), 0);
	}
	BedClient(const BedClient &) = delete;
	~BedClient()
	{
		for (int fd : {lane.doorbell_fd, wake_fd[0], wake_fd[1]})
			close(fd);
		free(ready);
		free(tx);
		free(ret);
		free(ring);
	}
	void Bell()
	{
		uint64_t one = 1;
		EXPECT_EQ(write(lane.doorbell_fd, &one, 8), 8);
	}
	// `len` is what the descriptor says, for any data.
	void Send(uint32_t sock, const std::string &data, uint16_t len, uint32_t dst_be,
		  uint16_t port)
	{
		ASSERT_GE(udplane_ring_free(&my_tx, 1), 1u);
		uint32_t slot = udplane_ring_slot(&my_tx, my_tx.idx);
		udplane_tx_desc *d = &tx->desc[slot];
		memset(d, 0, sizeof(*d));
		d->sock = sock;
		d->len = len;
		d->dst_port_be = htons(port);
		memcpy(d->dst, &dst_be, 4);
		memcpy(payload.data() + (size_t)slot * size.frame_size, data.data(), data.size());
		udplane_ring_publish(&my_tx, 1);
		Bell();
	}
	// Any descriptor with any slot.
	void Queue(udplane_tx_desc d, const std::string &in_slot)
	{
		ASSERT_GE(udplane_ring_free(&my_tx, 1), 1u);
		uint32_t slot = udplane_ring_slot(&my_tx, my_tx.idx);
		tx->desc[slot] = d;
		memcpy(payload.data() + (size_t)slot * size.frame_size, in_slot.data(),
		       in_slot.size());
		udplane_ring_publish(&my_tx, 1);
		Bell();
	}
	// The next datagram's descriptor; false: none.
	bool Take(udplane_rx_desc *d)
	{
		if (udplane_ring_avail(&my_rx, 1) == 0)
			return false;
		*d = ring->desc[udplane_ring_slot(&my_rx, my_rx.idx)];
		udplane_ring_consume(&my_rx, 1);
		return true;
	}
	void Return(uint32_t frame, bool bell = true)
	{
		ret->frame[udplane_ring_slot(&my_ret, my_ret.idx)] = frame;
		udplane_ring_publish(&my_ret, 1);
		if (bell)
			Bell();
	}
	BedSize size;
	udplane_tx_ring *tx;
	udplane_return_ring *ret;
	udplane_rx_ring *ring;
	static constexpr uint32_t kReadyWords = 1024;
	udplane_ready *ready;
	std::vector<uint8_t> payload;
	worker_lane lane{};
	udplane_ring my_tx, my_ret, my_rx;
	udplane_socket_counters counters{};
	int wake_fd[2]; // the client's end, the worker's
};

// ---- orders ----

inline int BedCall(worker *w, worker_op op, uint32_t sock, worker_lane *lane = nullptr,
		   const worker_socket_info *info = nullptr, const port_key *key = nullptr,
		   uint16_t port = 0)
{
	worker_order o{};
	o.op = op;
	o.sock = sock;
	o.lane = lane;
	o.info = info;
	o.source.addr.port_be = htons(port);
	if (key)
		o.key = *key;
	return worker_call(w, &o);
}

inline int BedUseRoute(worker *w, route_table *t)
{
	worker_order o{};
	o.op = WORKER_ROUTE;
	o.route = t;
	return worker_call(w, &o);
}

inline port_key BedKey(uint16_t port, uint8_t family = AF_INET)
{
	port_key key{};
	key.local.family = family;
	key.local.port_be = htons(port);
	return key;
}

// The client's channel, and its socket on this port.
inline void BedAttach(worker *w, BedClient *c, uint32_t sock, uint16_t port)
{
	worker_socket_info info{&c->lane, foreign_of(c->ring), c->size.rx_slots, c->wake_fd[1],
				&c->counters};
	port_key key = BedKey(port);
	EXPECT_EQ(BedCall(w, WORKER_LANE_ADD, 0, &c->lane), 0);
	EXPECT_EQ(BedCall(w, WORKER_SOCKET_ADD, sock, nullptr, &info, nullptr, port), 0);
	EXPECT_EQ(BedCall(w, WORKER_KEY_INSERT, sock, nullptr, nullptr, &key), 0);
}

// ---- the world ----

inline route_table *BedRoute()
{
	struct {
		uint8_t family, len;
		const char *own, *net, *peer;
	} world[2] = {{AF_INET, 24, "192.0.2.1", "192.0.2.0", "192.0.2.2"},
		      {AF_INET6, 64, "2001:db8::1", "2001:db8::", "2001:db8::2"}};
	route_addr addr[2] = {};
	route_route r[2] = {};
	route_neigh n[2] = {};
	route_input in{};
	for (int i = 0; i < 2; i++) {
		addr[i].family = r[i].family = n[i].family = world[i].family;
		addr[i].prefix_len = r[i].prefix_len = world[i].len;
		addr[i].ifindex = r[i].ifindex = n[i].ifindex = 1;
		inet_pton(world[i].family, world[i].own, addr[i].addr);
		r[i].type = RTN_UNICAST;
		r[i].scope = RT_SCOPE_LINK;
		r[i].table = RT_TABLE_MAIN;
		r[i].has_prefsrc = true;
		inet_pton(world[i].family, world[i].net, r[i].dst);
		inet_pton(world[i].family, world[i].own, r[i].prefsrc);
		n[i].state = NUD_PERMANENT;
		inet_pton(world[i].family, world[i].peer, n[i].addr);
		memcpy(n[i].mac, kPeerMac, 6);
	}
	in.ifindex = 1;
	in.mtu = 1500;
	in.up = true;
	in.addrs = addr;
	in.routes = r;
	in.neighs = n;
	in.addr_cnt = in.route_cnt = in.neigh_cnt = 2;
	return route_table_build(&in);
}

// A UDP frame from the peer's port 1000 to this port at the MAC and address given.
inline std::vector<uint8_t> UdpFrame(const uint8_t *mac, uint16_t port, const std::string &data,
				     const char *dst = "192.0.2.1")
{
	packet_flow f{};
	f.family = strchr(dst, ':') ? AF_INET6 : AF_INET;
	f.ttl = 64;
	memcpy(f.src_mac, kPeerMac, 6);
	memcpy(f.dst_mac, mac, 6);
	f.src_port_be = htons(1000);
	inet_pton(f.family, f.family == AF_INET ? "192.0.2.2" : "2001:db8::2", f.src.bytes);
	packet_template t;
	packet_template_init(&t, &f);
	packet_endpoint to{};
	inet_pton(f.family, dst, to.addr.bytes);
	to.port_be = htons(port);
	std::vector<uint8_t> p(data.size() + 64);
	p.resize(packet_build(p.data(), &t, &to, data.data(), (uint16_t)data.size(), 0));
	return p;
}

// ---- the books ----

inline uint64_t BedSum(const udplane_worker_zone *z,
		       std::initializer_list<udplane_worker_counter> counters)
{
	uint64_t sum = 0;
	for (auto c : counters)
		sum += udplane_load64(&z->counter[c]);
	return sum;
}

// Every frame received is accounted for, and so is every descriptor taken.
inline void ExpectConservation(const udplane_worker_zone *z)
{
	EXPECT_EQ(BedSum(z, {UDPLANE_WORKER_RX_FRAMES, UDPLANE_WORKER_RX_COPIES}),
		  BedSum(z, {UDPLANE_WORKER_RX_DELIVERED, UDPLANE_WORKER_RX_PASSED,
			     UDPLANE_WORKER_RX_DROP_MALFORMED, UDPLANE_WORKER_RX_DROP_IP_CHECKSUM,
			     UDPLANE_WORKER_RX_DROP_UDP_CHECKSUM, UDPLANE_WORKER_RX_DROP_NO_SOCKET,
			     UDPLANE_WORKER_RX_DROP_RING_FULL, UDPLANE_WORKER_RX_DROP_QUOTA,
			     UDPLANE_WORKER_MARTIANS, UDPLANE_WORKER_RX_DROP_STALLED,
			     UDPLANE_WORKER_RX_DROP_FILTERED}));
	EXPECT_EQ(BedSum(z, {UDPLANE_WORKER_TX_TAKEN}),
		  BedSum(z, {UDPLANE_WORKER_TX_SENT, UDPLANE_WORKER_TX_SLOW,
			     UDPLANE_WORKER_TX_DROP_INVALID, UDPLANE_WORKER_TX_DROP_NO_FRAME,
			     UDPLANE_WORKER_TX_DROP_SLOW_FULL}));
}

#endif

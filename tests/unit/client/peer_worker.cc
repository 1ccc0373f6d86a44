// SPDX-License-Identifier: Apache-2.0
// The peer as the worker: rings, frames, doorbells.
#include "tests/unit/client/peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

void Peer::Awake(bool awake, bool engaged)
{
	for (uint32_t i = 0; i < opt_.workers; i++) {
		auto *z = reinterpret_cast<struct udplane_worker_zone *>(stats_.addr +
									 Stats()->worker_off) +
			  i;

		udplane_store32(&z->awake, awake);
		udplane_store32(&z->engaged, engaged);
	}
	udplane_fence();
}

void Peer::Disengage(uint32_t worker)
{
	auto *z =
		reinterpret_cast<struct udplane_worker_zone *>(stats_.addr + Stats()->worker_off) +
		worker;

	udplane_store32(&z->awake, 0);
	udplane_store32(&z->engaged, 0);
	udplane_fence();
}

bool Peer::IsAwake() const
{
	auto *z = reinterpret_cast<const struct udplane_stats_zone *>(stats_.addr);

	return udplane_load32(
		&reinterpret_cast<const struct udplane_worker_zone *>(stats_.addr + z->worker_off)
			 ->awake);
}

/* The latest session that has it: numbers are not reused within a test. */
Peer::Session *Peer::Of(uint32_t sock, Rings **rings)
{
	for (auto i = sessions_.rbegin(); i != sessions_.rend(); ++i) {
		auto k = (*i)->socks.find(sock);

		if (k == (*i)->socks.end())
			continue;
		*rings = &k->second;
		return i->get();
	}
	return nullptr;
}

void Peer::TakeReturns(Session *s)
{
	for (uint32_t w = 0; w < s->ret.size(); w++) {
		struct udplane_ring *r = &s->ret[w];
		auto *shared = (struct udplane_return_ring *)(r->head);
		uint32_t n = udplane_ring_avail(r, kReturns);

		ASSERT_NE(n, UDPLANE_RING_CORRUPT);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t f = shared->frame[udplane_ring_slot(r, r->idx + i)];

			ASSERT_LT(f, kFrames);
			ASSERT_TRUE(out_[f]) << "frame " << f << " was returned twice";
			ASSERT_EQ(w, f * opt_.workers / kFrames)
				<< "frame " << f << " went back through another lane";
			out_[f] = false;
			frames_out_--;
			free_[w].push_back(f);
		}
		udplane_ring_consume(r, n);
	}
}

/* The fields of IP and UDP that control messages tell, and with UDPLANE_RX_STAMPED what stands in
 * front of them. */
static void PutHeaders(uint8_t *frame, const struct udplane_rx_desc &d)
{
	const struct udplane_rx_front front = {kStampNs, kDrops};
	uint8_t *udp = frame + kPayloadOff - 8, *ip = udp - 20;
	uint16_t flags = d.flags;

	memcpy(udp, &d.src_port_be, 2);
	udp[2] = kDstPort >> 8;
	udp[3] = kDstPort & 0xff;
	if (flags & UDPLANE_RX_IPV6) {
		ip = udp - 40;
		ip[0] = 0x60 | kTos >> 4;
		ip[1] = static_cast<uint8_t>(kTos << 4 | 1); /* and a flow label of 0x10203 */
		ip[2] = 2;
		ip[3] = 3;
		ip[7] = kTtl;
		inet_pton(AF_INET6, kDst6, ip + 24);
	} else {
		ip[1] = kTos;
		ip[8] = kTtl;
		memcpy(ip + 12, &d.src4_be, 4);
		inet_pton(AF_INET, kDst4, ip + 16);
	}
	if (flags & UDPLANE_RX_STAMPED)
		memcpy(ip - 14 - sizeof(front), &front, sizeof(front));
}

bool Peer::Put(uint32_t sock, const std::string &payload, const std::string &src, uint16_t flags,
	       uint32_t worker)
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	struct sockaddr_storage ss;
	struct udplane_rx_desc d = {};
	Rings *k = nullptr;
	Session *s = Of(sock, &k);
	uint8_t *frame;

	if (!s)
		return false;
	TakeReturns(s);
	struct udplane_ring *r = &k->ring[worker];
	uint32_t room = udplane_ring_free(r, 1);
	if (room == 0 || room == UDPLANE_RING_CORRUPT || free_[worker].empty())
		return false;
	Address(src, &ss);
	d.frame = free_[worker].back();
	free_[worker].pop_back();
	out_[d.frame] = true;
	frames_out_++;
	d.offset = kPayloadOff;
	d.len = static_cast<uint16_t>(payload.size());
	d.flags = flags;
	frame = frames_.addr + static_cast<size_t>(d.frame) * kFrameSize;
	if (ss.ss_family == AF_INET) {
		auto *in = reinterpret_cast<struct sockaddr_in *>(&ss);

		d.src4_be = in->sin_addr.s_addr;
		d.src_port_be = in->sin_port;
	} else {
		auto *in6 = reinterpret_cast<struct sockaddr_in6 *>(&ss);

		d.flags |= UDPLANE_RX_IPV6;
		d.src_port_be = in6->sin6_port;
		memcpy(frame + kPayloadOff - 40, &in6->sin6_addr, 16);
	}
	PutHeaders(frame, d);
	memcpy(frame + kPayloadOff, payload.data(), payload.size());
	k->shared[worker]->desc[udplane_ring_slot(r, r->idx)] = d;
	udplane_ring_publish(r, 1);
	return true;
}

void Peer::PutRaw(uint32_t sock, const struct udplane_rx_desc &d, uint32_t worker)
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	Rings *k = nullptr;

	if (!Of(sock, &k))
		return;
	struct udplane_ring *r = &k->ring[worker];
	if (d.frame < kFrames) {
		out_[d.frame] = true;
		frames_out_++;
	}
	k->shared[worker]->desc[udplane_ring_slot(r, r->idx)] = d;
	udplane_ring_publish(r, 1);
}

void Peer::Signal(uint32_t sock, uint32_t worker)
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	Rings *k = nullptr;

	udplane_fence();
	if (!Of(sock, &k) || !udplane_ring_take_arm(&k->ring[worker]))
		return;
	tokens_++;
	if (write(k->wake_write, "", 1) != 1)
		abort();
}

bool Peer::Deliver(uint32_t sock, const std::string &payload, const std::string &src,
		   uint16_t flags, uint32_t worker)
{
	if (!Put(sock, payload, src, flags, worker))
		return false;
	Signal(sock, worker);
	return true;
}

const struct udplane_rx_ring *Peer::Ring(uint32_t sock, uint32_t worker)
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	Rings *k = nullptr;

	return Of(sock, &k) ? k->shared[worker] : nullptr;
}

bool Peer::Armed(uint32_t sock, uint32_t worker)
{
	const struct udplane_rx_ring *r = Ring(sock, worker);

	return r && udplane_load32(&r->head.armed) == 1;
}

std::vector<Sent> Peer::Take(uint32_t max, uint32_t worker)
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	std::vector<Sent> all;

	for (auto &s : sessions_) {
		if (s->tx.empty())
			continue;
		struct udplane_ring *r = &s->tx[worker];
		auto *shared = (struct udplane_tx_ring *)(r->head);
		uint32_t return_off = Up(sizeof(struct udplane_tx_ring) +
					 opt_.tx_slots * sizeof(struct udplane_tx_desc));
		const uint8_t *payload =
			Lane(s.get(), worker) +
			Up(return_off + sizeof(struct udplane_return_ring) + kReturns * 4);
		uint32_t n = udplane_ring_avail(r, UINT32_MAX);

		EXPECT_NE(n, UDPLANE_RING_CORRUPT);
		n = n > max ? max : n;
		for (uint32_t i = 0; i < n; i++) {
			uint32_t slot = udplane_ring_slot(r, r->idx + i);
			const struct udplane_tx_desc &d = shared->desc[slot];
			Sent out = {
				d.sock,
				std::string(reinterpret_cast<const char *>(payload) + slot * 2048,
					    d.len),
				(d.flags & UDPLANE_TX_IPV6) != 0,
				{},
				ntohs(d.dst_port_be)};

			memcpy(out.dst, d.dst, 16);
			all.push_back(out);
		}
		udplane_ring_consume(r, n);
	}
	return all;
}

void Peer::Redirect(const uint8_t dst[4], uint16_t port)
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);

	for (auto &s : sessions_) {
		for (struct udplane_ring &r : s->tx) {
			auto *shared = (struct udplane_tx_ring *)(r.head);
			uint32_t n = udplane_ring_avail(&r, UINT32_MAX);

			for (uint32_t i = 0; i < n; i++) {
				struct udplane_tx_desc *d =
					&shared->desc[udplane_ring_slot(&r, r.idx + i)];

				memcpy(d->dst, dst, 4);
				d->dst_port_be = htons(port);
			}
		}
	}
}

uint32_t Peer::FramesOut()
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);

	for (auto &s : sessions_)
		TakeReturns(s.get());
	return frames_out_;
}

bool Peer::DoorbellRang(uint32_t worker)
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	bool rang = false;
	uint64_t n;

	for (auto &s : sessions_)
		if (worker < s->doorbell.size())
			rang |= read(s->doorbell[worker], &n, 8) == 8;
	return rang;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the AF_XDP device: the device on interface "va" of this network namespace, kernel
 * sockets here and in the peer's namespace (named by UDPLANE_PEER_NS) behind "vb". af_xdp_test.sh
 * makes both, afresh for each test.
 */
#ifndef TESTS_INTEGRATION_DEVICE_AF_XDP_FIXTURE_H
#define TESTS_INTEGRATION_DEVICE_AF_XDP_FIXTURE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <udplane/clock.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "sidecar/config/config.h"
#include "sidecar/device/device.h"
}

using Bytes = std::vector<uint8_t>;

constexpr uint16_t claimed_port = 5060, other_port = 7777;
constexpr const char *here4 = "10.99.0.1", *here6 = "fd99::1";

/* Sends frames from the peer's interface; the arguments are xdp_gen's. Returns its exit status. */
inline int flood(const std::string &arguments)
{
	std::string command = "ip netns exec $UDPLANE_PEER_NS $XDP_GEN --netns-interface vb "
			      "--dst-mac $(cat /sys/class/net/va/address) ";

	return system((command + arguments + " >/dev/null").c_str());
}

/* Polls until done() or ms have passed; returns what done() said last. */
inline bool within(uint64_t ms, const std::function<bool()> &done)
{
	uint64_t end = clock_now_ms() + ms;

	while (!done()) {
		if (clock_now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

inline sockaddr_storage address(bool v6, const char *text, uint16_t port, socklen_t *len)
{
	sockaddr_storage ss{};
	auto *in = reinterpret_cast<sockaddr_in *>(&ss);
	auto *in6 = reinterpret_cast<sockaddr_in6 *>(&ss);

	ss.ss_family = v6 ? AF_INET6 : AF_INET;
	*len = v6 ? sizeof(*in6) : sizeof(*in);
	(v6 ? in6->sin6_port : in->sin_port) = htons(port);
	EXPECT_EQ(inet_pton(ss.ss_family, text,
			    v6 ? static_cast<void *>(&in6->sin6_addr) : &in->sin_addr),
		  1);
	return ss;
}

/* A kernel UDP socket, of this namespace or the peer's. */
class KernelSocket
{
	int fd_ = -1;

      public:
	KernelSocket(bool peer, bool v6, uint16_t port)
	{
		int home = open("/proc/self/ns/net", O_RDONLY), size = 32 << 20, one = 1;
		const char *name = getenv("UDPLANE_PEER_NS");
		socklen_t len;
		sockaddr_storage ss = address(v6, v6 ? "::" : "0.0.0.0", port, &len);

		if (peer) {
			int there = open((std::string("/run/netns/") + name).c_str(), O_RDONLY);

			EXPECT_EQ(setns(there, CLONE_NEWNET), 0) << name << ": " << strerror(errno);
			close(there);
		}
		fd_ = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		EXPECT_EQ(setns(home, CLONE_NEWNET), 0);
		close(home);
		if (v6)
			setsockopt(fd_, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
		EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr *>(&ss), len), 0) << strerror(errno);
	}
	KernelSocket(const KernelSocket &) = delete;
	~KernelSocket()
	{
		close(fd_);
	}

	int fd() const
	{
		return fd_;
	}

	ssize_t send(const char *to, uint16_t port, const Bytes &data) const
	{
		socklen_t len;
		sockaddr_storage ss = address(strchr(to, ':'), to, port, &len);

		return sendto(fd_, data.data(), data.size(), 0, reinterpret_cast<sockaddr *>(&ss),
			      len);
	}

	/* Datagrams waiting, or those that come within ms. */
	std::vector<Bytes> receive(size_t want = SIZE_MAX, uint64_t ms = 0) const
	{
		std::vector<Bytes> got;
		uint64_t end = clock_now_ms() + ms;
		uint8_t buf[65536];

		while (got.size() < want) {
			ssize_t n = recv(fd_, buf, sizeof(buf), MSG_DONTWAIT);

			if (n >= 0)
				got.emplace_back(buf, buf + n);
			else if (clock_now_ms() >= end)
				break;
		}
		return got;
	}
};

/* A worker reduced to its device queue. */
class AfXdp : public testing::Test
{
      protected:
	config cfg{};
	device *dev = nullptr;
	device_memory mem{};
	struct error error = {};
	std::vector<uint64_t> received = std::vector<uint64_t>(UDPLANE_MAX_WORKERS);
	bool dual_worker = false;

	AfXdp()
	{
		strcpy(cfg.interface, "va");
		cfg.max_sockets = 4352;
	}

	void TearDown() override
	{
		if (dev)
			device_af_xdp.close(dev);
		if (mem.addr)
			munmap(mem.addr, mem.len);
	}

	int try_open()
	{
		return device_af_xdp.open(&dev, &cfg, &error);
	}

	int try_attach(uint32_t workers = 1, uint32_t frames = 8192, uint32_t frame_size = 2048)
	{
		mem.frame_cnt = frames;
		mem.frame_size = frame_size;
		mem.page_size = 4096;
		mem.len = (size_t)frames * frame_size;
		mem.addr = mmap(nullptr, mem.len, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		EXPECT_NE(mem.addr, MAP_FAILED);
		return device_af_xdp.attach(dev, &mem, workers, &error);
	}

	/* Open, attached, diverting claimed_port of both families. */
	void start(uint32_t workers = 1, uint32_t frames = 8192, uint32_t frame_size = 2048)
	{
		ASSERT_EQ(try_open(), 0) << error.text;
		ASSERT_EQ(try_attach(workers, frames, frame_size), 0) << error.text;
		set_up();
		for (uint32_t w = 0; w < workers; w++)
			queue(w)->ops->engage(queue(w));
	}

	void set_up()
	{
		uint8_t local[2][16] = {};
		device_claim c{};

		inet_pton(AF_INET6, "::ffff:10.99.0.1", local[0]);
		inet_pton(AF_INET6, "fd99::1", local[1]);
		ASSERT_EQ(device_af_xdp.set_local(dev, local, 2), 0);
		c.local.port_be = htons(claimed_port);
		for (uint8_t family : {AF_INET, AF_INET6}) {
			c.local.family = family;
			ASSERT_EQ(device_af_xdp.claim_insert(dev, &c), 0);
		}
	}

	device_queue *queue(uint32_t w = 0)
	{
		return device_af_xdp.queue(dev, w);
	}
	uint8_t *at(const device_frame &f)
	{
		return static_cast<uint8_t *>(mem.addr) + (size_t)f.frame * mem.frame_size + f.off;
	}

	/* What one burst brings; the frames stay with us. */
	std::vector<device_frame> burst(uint32_t w = 0)
	{
		std::vector<device_frame> f(DEVICE_BURST);

		f.resize(queue(w)->ops->rx_burst(queue(w), f.data(), DEVICE_BURST));
		received[w] += f.size();
		return f;
	}

	void put(const std::vector<device_frame> &f, uint32_t w = 0)
	{
		for (const device_frame &one : f)
			queue(w)->ops->frames_put(queue(w), &one.frame, 1);
	}

	static size_t payload_off(const uint8_t *p)
	{
		return p[12] == 0x08 ? 42 : 62;
	}

	/* UDP payloads that arrive until there are as many as wanted, or for ms. */
	std::vector<Bytes> receive(size_t want, uint64_t ms = 2000)
	{
		std::vector<Bytes> got;

		within(ms, [&] {
			std::vector<device_frame> frames = burst();

			for (const device_frame &f : frames)
				got.emplace_back(at(f) + payload_off(at(f)), at(f) + f.len);
			put(frames);
			return got.size() >= want;
		});
		return got;
	}

	/* Takes and gives back whatever comes, until nothing has for ms. */
	void drain(uint64_t ms = 100)
	{
		uint64_t end = clock_now_ms() + ms;

		while (clock_now_ms() < end) {
			for (uint32_t w = 0; w < UDPLANE_MAX_WORKERS && queue(w); w++) {
				std::vector<device_frame> f = burst(w);

				put(f, w);
				if (!f.empty())
					end = clock_now_ms() + ms;
			}
		}
	}

	static const char *counter_name(int i)
	{
		static const char *const name[] = {
#define UDPLANE_COUNTER(id, name, help) name,
#include <udplane/counters_device.h>
#undef UDPLANE_COUNTER
		};
		return name[i];
	}

	std::vector<uint64_t> counters()
	{
		std::vector<uint64_t> c(UDPLANE_DEVICE_COUNTER_CNT);

		device_af_xdp.counters(dev, c.data());
		return c;
	}

	void expect_conserved()
	{
		std::vector<uint64_t> c = counters();
		uint64_t passed = 0, taken = 0;

		for (int i = 0; i < UDPLANE_DEVICE_COUNTER_CNT; i++)
			if (!strncmp(counter_name(i), "rx_passed_", 10))
				passed += c[i];
		for (uint64_t n : received)
			taken += n;
		EXPECT_EQ(c[UDPLANE_DEVICE_RX_SEEN], passed + c[UDPLANE_DEVICE_RX_DIVERTED]);
		EXPECT_EQ(c[UDPLANE_DEVICE_RX_DIVERTED],
			  taken + c[UDPLANE_DEVICE_RX_LOST_RING_FULL] +
				  c[UDPLANE_DEVICE_RX_LOST_NO_FRAME]);
	}

	uint32_t frames_free(uint32_t w = 0)
	{
		return queue(w)->ops->frames_free(queue(w));
	}

	/* Turns a received datagram round, checksum and all. */
	static void turn_round(uint8_t *p, size_t len)
	{
		bool v6 = p[12] == 0x86;
		size_t addr = v6 ? 16 : 4, src = v6 ? 22 : 26, udp = v6 ? 54 : 34;
		uint32_t sum = IPPROTO_UDP + (len - udp);

		std::swap_ranges(p, p + 6, p + 6);
		std::swap_ranges(p + src, p + src + addr, p + src + addr);
		std::swap_ranges(p + udp, p + udp + 2, p + udp + 2);
		p[udp + 6] = p[udp + 7] = 0;
		for (size_t i = src; i < src + 2 * addr; i += 2)
			sum += p[i] << 8 | p[i + 1];
		for (size_t i = udp; i < len; i++)
			sum += (i - udp) & 1 ? p[i] : p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
		sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
		sum = sum ? sum : 0xffff;
		p[udp + 6] = sum >> 8;
		p[udp + 7] = sum;
	}

	/* Sends all, with as many calls as it takes. */
	void transmit(std::vector<device_frame> f, uint32_t w = 0)
	{
		device_queue *q = queue(w);

		EXPECT_TRUE(within(2000, [&] {
			f.erase(f.begin(), f.begin() + q->ops->tx_burst(q, f.data(), f.size()));
			q->ops->tx_flush(q);
			return f.empty();
		}));
	}
};

inline Bytes numbered(uint32_t n, size_t len = 32)
{
	Bytes b(len);

	memcpy(b.data(), &n, 4);
	for (size_t i = 4; i < len; i++)
		b[i] = n + i;
	return b;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A stats zone made by hand, as udplaned would lay it out. */
#ifndef UDPLANE_TESTS_UNIT_CTL_IMAGE_H
#define UDPLANE_TESTS_UNIT_CTL_IMAGE_H

#include <arpa/inet.h>
#include <stdio.h>

#include <cstring>
#include <string>
#include <vector>

#include "client/ctl/snapshot.h"
#include "udplane/abi.h"

class Image
{
      public:
	Image(uint32_t workers = 2, uint32_t sockets = 8)
	{
		uint32_t at = (sizeof(udplane_stats_zone) + 127) / 128 * 128;
		udplane_stats_zone z = {};

		z.magic = UDPLANE_ABI_MAGIC;
		z.major = UDPLANE_ABI_MAJOR;
		z.state = UDPLANE_STATE_RUNNING;
		z.backend = UDPLANE_BACKEND_AF_XDP;
		z.worker_cnt = workers;
		z.socket_max = sockets;
		z.socket_len = sizeof(udplane_socket_zone);
		z.worker_off = at;
		at += workers * sizeof(udplane_worker_zone);
		z.socket_off = at;
		at += sockets * sizeof(udplane_socket_zone);
		z.counters_off = at;
		at += sockets * workers * sizeof(udplane_socket_counters);
		z.ports_off = at;
		at += 8192;
		z.pid = 7;
		z.ifindex = 3;
		z.mtu = 1500;
		z.start_ns = 1000000000;
		z.refresh_ns = 4000000000;
		z.hugepage_bytes = 32 << 20;
		z.attached = 1;
		z.prefix_cnt = 1;
		z.recent_ns = 4000000000;
		strcpy(z.version, "0.1.0");
		strcpy(z.ifname, "eth0");
		strcpy(z.device, "veth, 1 queue, native, copy");
		strcpy(z.backend_text, "asked for auto");
		strcpy(z.mode_text, "no zero-copy: EOPNOTSUPP");
		words.resize(at / 8);
		memcpy(words.data(), &z, sizeof(z));
		for (uint32_t w = 0; w < workers; w++) {
			worker(w)->awake = worker(w)->engaged = 1;
			worker(w)->cpu = static_cast<int32_t>(w);
		}
	}

	udplane_stats_zone *zone()
	{
		return reinterpret_cast<udplane_stats_zone *>(words.data());
	}
	udplane_worker_zone *worker(uint32_t w)
	{
		return at<udplane_worker_zone>(zone()->worker_off) + w;
	}
	udplane_socket_zone *socket(uint32_t s)
	{
		return at<udplane_socket_zone>(zone()->socket_off) + s;
	}
	uint64_t *counters(uint32_t s, uint32_t w)
	{
		return at<udplane_socket_counters>(zone()->counters_off)[s * zone()->worker_cnt + w]
			.counter;
	}
	void ask(uint16_t port)
	{
		at<uint8_t>(zone()->ports_off)[port >> 3] |= 1 << (port & 7);
	}

	/* An entry of the table, at the end of it. */
	udplane_socket_zone *claim(const char *host, uint16_t port, uint32_t state,
				   uint32_t reason = UDPLANE_REASON_NONE, const char *text = "")
	{
		udplane_socket_zone *s = socket(zone()->socket_high++);

		s->state = state;
		s->reason = reason;
		s->local = address(host, port);
		s->pid = 812;
		s->cookie = 99;
		strcpy(s->comm, "server");
		strcpy(s->text, text);
		return s;
	}

	static udplane_addr address(const char *host, uint16_t port)
	{
		udplane_addr a = {};

		a.family = strchr(host, ':') ? AF_INET6 : AF_INET;
		inet_pton(a.family, host, a.addr);
		a.port_be = htons(port);
		return a;
	}

	size_t size() const
	{
		return words.size() * 8;
	}

	template <typename T> T *at(uint32_t off)
	{
		return reinterpret_cast<T *>(reinterpret_cast<char *>(words.data()) + off);
	}

	std::vector<uint64_t> words;
};

/* A snapshot that frees itself. */
struct Shot {
	explicit Shot(Image &image, uint64_t now_ns = 5000000000)
	{
		s.now_ns = now_ns;
		ret = snapshot_read(&s, image.words.data(), image.size(), &error);
	}
	~Shot()
	{
		if (!ret)
			snapshot_free(&s);
	}
	Shot(const Shot &) = delete;
	Shot &operator=(const Shot &) = delete;

	struct snapshot s = {};
	struct error error = {};
	int ret;
};

/* What print(FILE *) writes. */
template <typename F> std::string text_of(F print)
{
	char *text = nullptr;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	print(f);
	fclose(f);
	std::string s(text, len);
	free(text);
	return s;
}

#endif

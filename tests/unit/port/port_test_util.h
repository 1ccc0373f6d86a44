/* SPDX-License-Identifier: Apache-2.0 */
// Shorthand for the tests of the port table.
#ifndef TESTS_UNIT_PORT_PORT_TEST_UTIL_H
#define TESTS_UNIT_PORT_PORT_TEST_UTIL_H

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <array>
#include <cstring>
#include <memory>
#include <set>
#include <string>

#include "sidecar/port/port.h"

using Address = std::array<uint8_t, 16>;

// "10.0.0.1" or "fd00::1"; "" is the wildcard of either family.
inline Address Addr(const std::string &text)
{
	Address a = {};

	if (text.empty())
		return a;
	EXPECT_EQ(inet_pton(text.find(':') == std::string::npos ? AF_INET : AF_INET6, text.c_str(),
			    a.data()),
		  1)
		<< text;
	return a;
}

inline port_key Bound(int family, const std::string &addr, uint16_t port)
{
	port_key key = {};

	key.local.family = family;
	key.local.port_be = htons(port);
	memcpy(key.local.addr, Addr(addr).data(), 16);
	return key;
}

inline port_key Connected(int family, const std::string &addr, uint16_t port,
			  const std::string &peer, uint16_t peer_port)
{
	port_key key = Bound(family, addr, port);

	key.peer.family = family;
	key.peer.port_be = htons(peer_port);
	memcpy(key.peer.addr, Addr(peer).data(), 16);
	return key;
}

inline port_key V6Only(port_key key)
{
	key.v6only = true;
	return key;
}

inline port_key Mapped(port_key key)
{
	key.mapped = true;
	return key;
}

inline port_key OnDevice(port_key key)
{
	key.device = true;
	return key;
}

class Table
{
      public:
	Table() : t_(port_table_create(), port_table_destroy)
	{
		EXPECT_NE(t_, nullptr);
	}

	int Insert(const port_key &key, uint32_t sock)
	{
		return port_table_insert(t_.get(), &key, sock);
	}

	int Remove(const port_key &key, uint32_t sock)
	{
		return port_table_remove(t_.get(), &key, sock);
	}

	uint32_t size() const
	{
		return port_table_size(t_.get());
	}

	uint32_t Lookup(int family, const Address &src, uint16_t src_port, const Address &dst,
			uint16_t dst_port, uint32_t hash = 0) const
	{
		port_tuple d = {static_cast<uint8_t>(family),
				htons(src_port),
				htons(dst_port),
				src.data(),
				dst.data(),
				hash,
				0,
				nullptr};

		return port_table_lookup(t_.get(), &d);
	}

	// The family is that of the text.
	uint32_t Lookup(const std::string &src, uint16_t src_port, const std::string &dst,
			uint16_t dst_port, uint32_t hash = 0) const
	{
		return Lookup(dst.find(':') == std::string::npos ? AF_INET : AF_INET6, Addr(src),
			      src_port, Addr(dst), dst_port, hash);
	}

	// Every socket that some flow hash leads to, for groups of up to 32: they have no more than
	// 1024 buckets.
	std::set<uint32_t> All(int family, const Address &src, uint16_t src_port,
			       const Address &dst, uint16_t dst_port) const
	{
		std::set<uint32_t> all;
		uint32_t last = PORT_NONE - 1;

		for (uint32_t i = 0; i < 1024; i++) {
			uint32_t sock = Lookup(family, src, src_port, dst, dst_port, i << 22);

			if (sock != last)
				all.insert(sock);
			last = sock;
		}
		return all;
	}

	const port_table *get() const
	{
		return t_.get();
	}

      private:
	std::unique_ptr<port_table, decltype(&port_table_destroy)> t_;
};

#endif

// SPDX-License-Identifier: Apache-2.0
// The address that library, daemon and tools share: its conversions and what is told of it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <udplane/abi.h>
#include <udplane/addr.h>

#include <cstring>
#include <string>

namespace
{

int FamilyOf(const std::string &ip)
{
	return ip.find(':') == std::string::npos ? AF_INET : AF_INET6;
}

// What udplane_addr_set() makes of the text's bytes.
udplane_addr Addr(const std::string &ip, uint16_t port = 0, uint32_t scope = 0)
{
	udplane_addr a;
	uint8_t bytes[16];

	EXPECT_EQ(1, inet_pton(FamilyOf(ip), ip.c_str(), bytes)) << ip;
	udplane_addr_set(&a, FamilyOf(ip), bytes);
	a.port_be = htons(port);
	a.scope_id = scope;
	return a;
}

sockaddr_storage Name4(const std::string &ip, uint16_t port)
{
	sockaddr_storage ss = {};
	auto *in = reinterpret_cast<sockaddr_in *>(&ss);

	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	EXPECT_EQ(1, inet_pton(AF_INET, ip.c_str(), &in->sin_addr)) << ip;
	return ss;
}

sockaddr_storage Name6(const std::string &ip, uint16_t port, uint32_t scope = 0)
{
	sockaddr_storage ss = {};
	auto *in6 = reinterpret_cast<sockaddr_in6 *>(&ss);

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	in6->sin6_scope_id = scope;
	EXPECT_EQ(1, inet_pton(AF_INET6, ip.c_str(), &in6->sin6_addr)) << ip;
	return ss;
}

std::string Bytes(const udplane_addr &a)
{
	return std::string(reinterpret_cast<const char *>(&a), sizeof(a));
}

std::string Text(const sockaddr_storage &ss)
{
	const auto *in = reinterpret_cast<const sockaddr_in *>(&ss);
	const auto *in6 = reinterpret_cast<const sockaddr_in6 *>(&ss);
	char ip[INET6_ADDRSTRLEN];

	if (ss.ss_family == AF_INET)
		return std::string(inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip))) + " " +
		       std::to_string(ntohs(in->sin_port));
	return std::string(inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip))) + "%" +
	       std::to_string(in6->sin6_scope_id) + " " + std::to_string(ntohs(in6->sin6_port));
}

// The layout is the ABI's: byte by byte.
TEST(Addr, Layout)
{
	udplane_addr a = Addr("fe80::1", 0x1234, 7);
	const uint8_t want[] = {0xfe, 0x80, 0, 0, 0, 0, 0,    0,    0,	      0,
				0,    0,    0, 0, 0, 1, 0x12, 0x34, AF_INET6, 0};

	EXPECT_EQ(24u, sizeof(a));
	EXPECT_EQ(0, memcmp(&a, want, sizeof(want)));
	EXPECT_EQ(7u, a.scope_id);
}

TEST(Addr, FromSockaddr)
{
	const socklen_t len4 = sizeof(sockaddr_in), len6 = sizeof(sockaddr_in6);
	const struct {
		const char *name;
		sockaddr_storage ss;
		socklen_t len;
		bool ok;
		udplane_addr want;
	} table[] = {
		{"IPv4", Name4("192.0.2.1", 5060), len4, true, Addr("192.0.2.1", 5060)},
		{"IPv4, wildcard, no port", Name4("0.0.0.0", 0), len4, true, Addr("0.0.0.0")},
		{"IPv4, longer", Name4("192.0.2.1", 5060), sizeof(sockaddr_storage), true,
		 Addr("192.0.2.1", 5060)},
		{"IPv4, a byte short", Name4("192.0.2.1", 5060), len4 - 1, false, {}},
		{"IPv6", Name6("2001:db8::1", 5060), len6, true, Addr("2001:db8::1", 5060)},
		{"IPv6, wildcard", Name6("::", 5060), len6, true, Addr("::", 5060)},
		{"IPv6, link-local", Name6("fe80::1", 5060, 3), len6, true,
		 Addr("fe80::1", 5060, 3)},
		{"IPv6, longer", Name6("2001:db8::1", 1), sizeof(sockaddr_storage), true,
		 Addr("2001:db8::1", 1)},
		{"IPv6, without its scope (RFC 2133)", Name6("2001:db8::1", 5060), 24, false, {}},
		{"IPv6, of IPv4's length", Name6("2001:db8::1", 5060), len4, false, {}},
		{"v4-mapped", Name6("::ffff:192.0.2.1", 5060), len6, true, Addr("192.0.2.1", 5060)},
		{"v4-mapped, wildcard", Name6("::ffff:0.0.0.0", 5060), len6, true,
		 Addr("0.0.0.0", 5060)},
		{"v4-mapped, a scope is none of IPv4", Name6("::ffff:192.0.2.1", 5060, 3), len6,
		 true, Addr("192.0.2.1", 5060)},
		{"v4-compatible is IPv6", Name6("::192.0.2.1", 5060), len6, true,
		 Addr("::192.0.2.1", 5060)},
		{"UNIX", {AF_UNIX, {}, 0}, sizeof(sockaddr_storage), false, {}},
		{"no family", {AF_UNSPEC, {}, 0}, sizeof(sockaddr_storage), false, {}},
		{"nothing", Name4("192.0.2.1", 5060), 0, false, {}},
	};

	for (const auto &t : table) {
		udplane_addr a;

		memset(&a, 0xa5, sizeof(a));
		EXPECT_EQ(t.ok, udplane_addr_from_sockaddr(&a, &t.ss, t.len)) << t.name;
		EXPECT_EQ(Bytes(t.want), Bytes(a)) << t.name;
	}
}

// Nothing behind len may be read: the family of a short name is not there either.
TEST(Addr, FromSockaddrReadsNoFurther)
{
	const sockaddr_storage ss = Name6("2001:db8::1", 5060);

	for (socklen_t len = 0; len < sizeof(sockaddr_in6); len++) {
		std::string exact(reinterpret_cast<const char *>(&ss), len);
		udplane_addr a;

		exact.shrink_to_fit();
		EXPECT_FALSE(udplane_addr_from_sockaddr(&a, exact.data(), len)) << len;
	}
}

TEST(Addr, ToSockaddr)
{
	const socklen_t len4 = sizeof(sockaddr_in), len6 = sizeof(sockaddr_in6);
	const struct {
		udplane_addr a;
		int domain;
		socklen_t len;
		sockaddr_storage want;
	} table[] = {
		{Addr("192.0.2.1", 5060), AF_INET, len4, Name4("192.0.2.1", 5060)},
		{Addr("192.0.2.1", 5060), AF_INET6, len6, Name6("::ffff:192.0.2.1", 5060)},
		{Addr("0.0.0.0", 5060), AF_INET6, len6, Name6("::ffff:0.0.0.0", 5060)},
		{Addr("192.0.2.1", 5060, 3), AF_INET6, len6, Name6("::ffff:192.0.2.1", 5060)},
		{Addr("2001:db8::1", 5060), AF_INET6, len6, Name6("2001:db8::1", 5060)},
		{Addr("fe80::1", 5060, 3), AF_INET6, len6, Name6("fe80::1", 5060, 3)},
		// as it is: the kernel says what it thinks of it
		{Addr("2001:db8::1", 5060), AF_INET, len6, Name6("2001:db8::1", 5060)},
	};

	for (const auto &t : table) {
		sockaddr_storage ss;

		memset(&ss, 0xa5, sizeof(ss));
		EXPECT_EQ(t.len, udplane_addr_to_sockaddr(&t.a, t.domain, &ss));
		EXPECT_EQ(Text(t.want), Text(ss));
		EXPECT_EQ(0, memcmp(&t.want, &ss, t.len)) << Text(t.want);
	}
}

// There and back, by a socket of either domain.
TEST(Addr, RoundTrip)
{
	for (const auto &a : {Addr("192.0.2.1", 5060), Addr("0.0.0.0", 1), Addr("127.0.0.1", 65535),
			      Addr("2001:db8::1", 5060), Addr("fe80::1", 5060, 3), Addr("::", 1)}) {
		for (int domain : {AF_INET, AF_INET6}) {
			sockaddr_storage ss;
			socklen_t len = udplane_addr_to_sockaddr(&a, domain, &ss);
			udplane_addr b;

			EXPECT_TRUE(udplane_addr_from_sockaddr(&b, &ss, len));
			EXPECT_EQ(Bytes(a), Bytes(b)) << Text(ss);
		}
	}
}

TEST(Addr, SetOfAnotherFamily)
{
	const uint8_t ip[16] = {1, 2, 3, 4};
	udplane_addr a, none = {};

	memset(&a, 0xa5, sizeof(a));
	udplane_addr_set(&a, AF_UNIX, ip);
	EXPECT_EQ(Bytes(none), Bytes(a));
}

TEST(Addr, Mapped)
{
	const struct {
		const char *ip, *mapped;
	} table[] = {
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"0.0.0.0", "::ffff:0.0.0.0"},
		{"2001:db8::1", "2001:db8::1"},
		{"::192.0.2.1", "::192.0.2.1"},
	};

	for (const auto &t : table) {
		uint8_t ip[16] = {}, want[16], got[16];

		memset(got, 0xa5, sizeof(got));
		inet_pton(FamilyOf(t.ip), t.ip, ip);
		inet_pton(AF_INET6, t.mapped, want);
		udplane_addr_to_mapped(got, FamilyOf(t.ip), ip);
		EXPECT_EQ(0, memcmp(want, got, 16)) << t.ip;
		EXPECT_EQ(FamilyOf(t.ip) == AF_INET, udplane_addr_is_mapped(got)) << t.ip;
	}
}

TEST(Addr, Kinds)
{
	const struct {
		const char *ip;
		bool any, loopback, multicast, link_local;
	} table[] = {
		{"0.0.0.0", true, false, false, false},
		{"0.0.0.1", false, false, false, false},
		{"192.0.2.1", false, false, false, false},
		{"126.255.255.255", false, false, false, false},
		{"127.0.0.1", false, true, false, false},
		{"127.255.255.255", false, true, false, false},
		{"128.0.0.0", false, false, false, false},
		{"223.255.255.255", false, false, false, false},
		{"224.0.0.1", false, false, true, false},
		{"239.255.255.255", false, false, true, false},
		{"240.0.0.1", false, false, false, false},
		{"255.255.255.255", false, false, false, false},
		{"254.128.0.1", false, false, false, false}, // the bytes of fe80::
		{"169.254.0.1", false, false, false, false},
		{"::", true, false, false, false},
		{"::1", false, true, false, false},
		{"::2", false, false, false, false},
		{"2001:db8::1", false, false, false, false},
		{"7f00::1", false, false, false, false},
		{"e000::1", false, false, false, false},
		{"fe7f::1", false, false, false, false},
		{"fe80::", false, false, false, true},
		{"febf::1", false, false, false, true},
		{"fec0::1", false, false, false, false},
		{"ff02::1", false, false, true, false},
		{"::ffff:127.0.0.1", false, true, false, false},
		{"::ffff:224.0.0.1", false, false, true, false},
		{"::ffff:0.0.0.0", true, false, false, false},
	};
	udplane_addr none = {};

	for (const auto &t : table) {
		udplane_addr a = Addr(t.ip);

		EXPECT_EQ(t.any, udplane_addr_is_any(&a)) << t.ip;
		EXPECT_EQ(t.loopback, udplane_addr_is_loopback(&a)) << t.ip;
		EXPECT_EQ(t.multicast, udplane_addr_is_multicast(&a)) << t.ip;
		EXPECT_EQ(t.link_local, udplane_addr_is_link_local(&a)) << t.ip;
	}
	EXPECT_TRUE(udplane_addr_is_any(&none));
	EXPECT_FALSE(udplane_addr_is_loopback(&none));
	EXPECT_FALSE(udplane_addr_is_multicast(&none));
	EXPECT_FALSE(udplane_addr_is_link_local(&none));
}

TEST(Addr, Equal)
{
	const struct {
		udplane_addr a, b;
		bool equal, same_ip;
	} table[] = {
		{Addr("192.0.2.1", 1), Addr("192.0.2.1", 1), true, true},
		{Addr("192.0.2.1", 1), Addr("::ffff:192.0.2.1", 1), true, true},
		{Addr("192.0.2.1", 1), Addr("192.0.2.1", 2), false, true},
		{Addr("192.0.2.1", 1), Addr("192.0.2.2", 1), false, false},
		{Addr("fe80::1", 1, 3), Addr("fe80::1", 1, 3), true, true},
		{Addr("fe80::1", 1, 3), Addr("fe80::1", 1, 4), false, true},
		{Addr("fe80::1", 1), Addr("fe80::2", 1), false, false},
		{Addr("1.2.3.4", 1), Addr("102:304::", 1), false, false}, // the same bytes
		{Addr("0.0.0.0", 1), Addr("::", 1), false, false},
	};

	for (const auto &t : table) {
		EXPECT_EQ(t.equal, udplane_addr_equal(&t.a, &t.b)) << &t - table;
		EXPECT_EQ(t.equal, udplane_addr_equal(&t.b, &t.a)) << &t - table;
		EXPECT_EQ(t.same_ip, udplane_addr_same_ip(&t.a, &t.b)) << &t - table;
	}
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
#include "client/ctl/view.h"

#include <gtest/gtest.h>

#include "client/ctl/format.h"
#include "client/ctl/screen.h"
#include "client/ctl/table.h"
#include "tests/unit/ctl/image.h"

namespace
{

bool contains(const std::string &text, const std::string &part)
{
	return text.find(part) != std::string::npos;
}

/* Runs of spaces count as one: columns are as wide as they need to be. */
std::string squeeze(const std::string &text)
{
	std::string out;
	for (char c : text)
		if (c != ' ' || (!out.empty() && out.back() != ' '))
			out += c;
	return out;
}

TEST(Format, Addresses)
{
	char out[FORMAT_ADDR_SIZE];
	auto text = [&](udplane_addr a) { return std::string(format_addr(out, &a)); };

	EXPECT_EQ("10.1.2.3:5060", text(Image::address("10.1.2.3", 5060)));
	EXPECT_EQ("*:5060", text(Image::address("0.0.0.0", 5060)));
	EXPECT_EQ("[*]:1", text(Image::address("::", 1)));
	EXPECT_EQ("[2001:db8::1]:65535", text(Image::address("2001:db8::1", 65535)));
	EXPECT_EQ("-", text(udplane_addr{}));
	udplane_addr link = Image::address("fe80::1", 7);
	link.scope_id = 4294967295;
	EXPECT_EQ("[fe80::1%4294967295]:7", text(link));
	link = Image::address("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", 65535);
	link.scope_id = 4294967295;
	EXPECT_EQ("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535", text(link));
}

TEST(Format, Numbers)
{
	char out[FORMAT_SIZE];

	EXPECT_STREQ("0 B", format_bytes(out, 0));
	EXPECT_STREQ("32.0 MiB", format_bytes(out, 32 << 20));
	EXPECT_STREQ("4s", format_duration(out, 4000000000));
	EXPECT_STREQ("2h 03m 04s", format_duration(out, 7384000000000));
	EXPECT_STREQ("1d 00h 00m", format_duration(out, 86400000000000));
	EXPECT_STREQ("0", format_rate(out, 0));
	EXPECT_STREQ("0.5", format_rate(out, 0.5));
	EXPECT_STREQ("999", format_rate(out, 999));
	EXPECT_STREQ("1.00k", format_rate(out, 999.7));
	EXPECT_STREQ("3.91M", format_rate(out, 3912345));
	EXPECT_STREQ("12.3M", format_rate(out, 12345678));
	EXPECT_STREQ("100.0 %", format_share(out, 1.5));
	EXPECT_STREQ("0.0 %", format_share(out, -1));
}

TEST(Format, Ports)
{
	std::vector<uint8_t> bitmap(8192);
	std::vector<char> out(FORMAT_PORTS_SIZE);

	EXPECT_EQ(0u, format_ports(out.data(), bitmap.data()));
	EXPECT_STREQ("", out.data());
	for (int port : {1, 5060, 10000, 10001, 10002, 65535})
		bitmap[port >> 3] |= 1 << (port & 7);
	EXPECT_EQ(6u, format_ports(out.data(), bitmap.data()));
	EXPECT_STREQ("1,5060,10000-10002,65535", out.data());
	format_cut_ports(out.data(), 20);
	EXPECT_STREQ("1,5060,...", out.data());

	std::fill(bitmap.begin(), bitmap.end(), 0x55); /* the longest text */
	EXPECT_EQ(32768u, format_ports(out.data(), bitmap.data()));
	EXPECT_LT(strlen(out.data()), out.size());
	std::fill(bitmap.begin(), bitmap.end(), 0xff);
	EXPECT_EQ(65536u, format_ports(out.data(), bitmap.data()));
	EXPECT_STREQ("0-65535", out.data());
}

TEST(Table, ColumnsAlign)
{
	std::string text = text_of([](FILE *f) {
		struct table t = table_create("<NAME", ">N", "<WHY", nullptr);
		for (const char *cell : {"a", "1", "x", "longer", "12345", ""})
			table_cell(&t, "%s", cell);
		table_print(&t, f);
	});
	EXPECT_EQ("NAME        N  WHY\n"
		  "a           1  x\n"
		  "longer  12345\n",
		  text);
}

TEST(Screen, LinesAreCutAndNothingScrolls)
{
	std::string text = text_of([](FILE *f) { screen_paint(f, "abcdef\ngh\nij\nkl\n", 3, 4); });
	EXPECT_EQ("\033[Habcd\033[K\r\ngh\033[K\r\nij\033[K\033[J", text);
}

TEST(ViewStats, SaysEverythingOnce)
{
	Image image;
	uint64_t *d = image.zone()->device_counter;
	d[UDPLANE_DEVICE_RX_SEEN] = 100;
	d[UDPLANE_DEVICE_RX_PASSED_NOT_UDP] = 40;
	d[UDPLANE_DEVICE_RX_PASSED_UNCLAIMED] = 2;
	image.worker(0)->counter[UDPLANE_WORKER_RX_DELIVERED] = 50;
	image.worker(0)->counter[UDPLANE_WORKER_RX_DROP_QUOTA] = 8;
	image.worker(1)->counter[UDPLANE_WORKER_SLEEP_NS] = 3000000000;
	image.zone()->refused[UDPLANE_REASON_OTHER_NETNS] = 3;
	image.ask(5060);
	image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_ACTIVE);
	image.counters(0, 1)[UDPLANE_SOCKET_RX_DELIVERED] = 50;

	Shot shot(image);
	std::string text = squeeze(text_of([&](FILE *f) { view_stats(f, &shot.s, nullptr); }));
	for (const char *part :
	     {"udplaned 0.1.0 running up 4s", "af_xdp: asked for auto",
	      "eth0 (index 3, mtu 1500): veth, 1 queue, native, copy", "no zero-copy: EOPNOTSUPP",
	      "32.0 MiB in hugepages", "1 asked for: 5060", "passed to the kernel 42", "not_udp 40",
	      "unclaimed 2", "worker 0 dropped in total: rx_drop_quota 8", "75.0 %",
	      "refused other_network_namespace 3", "*:5060 - 812/server active 50",
	      "received 100 = delivered 50 + passed 42 + dropped 8\n"})
		EXPECT_TRUE(contains(text, part)) << part << "\n---\n" << text;
	EXPECT_FALSE(contains(text, "fragment"));
}

TEST(ViewStats, RatesOfTheInterval)
{
	Image image;
	image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_ACTIVE);
	image.zone()->device_counter[UDPLANE_DEVICE_RX_SEEN] = 1000;
	image.worker(0)->counter[UDPLANE_WORKER_SLEEP_NS] = 900000000;
	Shot before(image, 5000000000);
	image.zone()->device_counter[UDPLANE_DEVICE_RX_SEEN] = 9000;
	image.worker(0)->counter[UDPLANE_WORKER_SLEEP_NS] = 1400000000;
	image.worker(0)->counter[UDPLANE_WORKER_SLEEPS] = 1;
	image.counters(0, 0)[UDPLANE_SOCKET_RX_DELIVERED] = 5000;
	image.worker(1)->awake = 0;
	Shot now(image, 7000000000);

	std::string text = squeeze(text_of([&](FILE *f) { view_stats(f, &now.s, &before.s); }));
	EXPECT_TRUE(contains(text, "received 9000 4.00k")) << text;
	EXPECT_TRUE(contains(text, "active 2.50k")) << text;
	EXPECT_DOUBLE_EQ(0.25, view_sleep_share(&now.s, &before.s, 0));

	/* Asleep all the time: the counter does not move until it wakes. */
	image.worker(0)->awake = 0;
	Shot asleep(image, 7000000000), still(image, 9000000000);
	EXPECT_DOUBLE_EQ(1, view_sleep_share(&still.s, &asleep.s, 0));
}

TEST(ViewStats, ManySocketsAreSummedUp)
{
	Image image(1, 500);
	for (uint32_t i = 0; i < 500; i++) {
		image.claim("10.0.0.1", static_cast<uint16_t>(1000 + i), UDPLANE_SOCKET_ACTIVE);
		image.counters(i, 0)[UDPLANE_SOCKET_RX_DELIVERED] = i;
	}
	Shot shot(image);
	std::string text = squeeze(text_of([&](FILE *f) { view_stats(f, &shot.s, nullptr); }));
	EXPECT_TRUE(contains(text, "10.0.0.1:1499"));
	EXPECT_FALSE(contains(text, "10.0.0.1:1000"));
	EXPECT_TRUE(contains(text, "and 490 more 119805")) << text; /* 0 + 1 + ... + 489 */
	text = text_of([&](FILE *f) { view_sockets(f, &shot.s); });
	EXPECT_TRUE(contains(text, "10.0.0.1:1000"));
}

TEST(ViewPorts, UsesByPort)
{
	Image image;
	struct plain_socket plain[2] = {};
	struct plain_list list = {plain, 2, 2};
	struct port_use *uses = nullptr;

	for (uint16_t port : {5060, 5061, 5062, 5063})
		image.ask(port);
	image.claim("0.0.0.0", 5061, UDPLANE_SOCKET_ACTIVE);
	image.claim("10.0.0.1", 5061, UDPLANE_SOCKET_KERNEL, UDPLANE_REASON_FILTER, "by tool");
	image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_ACTIVE);
	plain[0].local = Image::address("0.0.0.0", 5062);
	plain[1].local = Image::address("0.0.0.0", 9); /* not asked for */
	Shot shot(image);
	ASSERT_EQ(3, view_port_uses(&shot.s, &list, &uses));
	EXPECT_EQ(5060, uses[0].port);
	EXPECT_STREQ("yes", view_accelerated(&uses[0]));
	EXPECT_STREQ("partly", view_accelerated(&uses[1]));
	EXPECT_STREQ("by tool", uses[1].text);
	EXPECT_STREQ("no", view_accelerated(&uses[2]));
	std::string text = squeeze(text_of([&](FILE *f) { view_ports(f, &shot.s, uses, 3); }));
	EXPECT_TRUE(contains(text, "asked for (4): 5060-5063\n")) << text;
	EXPECT_TRUE(contains(text, "5061 2 partly socket_filter: by tool\n")) << text;
	EXPECT_TRUE(contains(text, "5062 1 no no claim: see udplanectl why 5062\n")) << text;
	EXPECT_FALSE(contains(text, " \n")) << text;
	free(uses);
}

TEST(ViewPorts, AClaimThatTheKernelCarriesIsNotAccelerated)
{
	Image image;
	image.zone()->mode = UDPLANE_MODE_LATENCY;
	image.ask(53);
	udplane_socket_zone *k = image.claim("0.0.0.0", 53, UDPLANE_SOCKET_ACTIVE);
	k->recent[UDPLANE_RECENT_RX_KERNEL] = 1000;
	image.zone()->recent_host_counter[UDPLANE_HOST_INTERFACE_RX] = 1000;
	Shot shot(image);
	struct plain_list none = {};
	struct port_use *uses;
	int cnt = view_port_uses(&shot.s, &none, &uses);
	ASSERT_EQ(1, cnt);
	EXPECT_STREQ("no", view_accelerated(&uses[0]));
	std::string text = text_of([&](FILE *f) { view_ports(f, &shot.s, uses, cnt); });
	EXPECT_NE(std::string::npos, text.find("see udplanectl why 53")) << text;
	free(uses);
}

TEST(ViewPorts, NeighboursShareARow)
{
	Image image(1, 400);
	struct plain_list none = {};
	struct port_use *uses = nullptr;

	for (uint16_t i = 0; i < 300; i++)
		image.claim("0.0.0.0", 65535 - 299 + i, UDPLANE_SOCKET_ACTIVE);
	image.claim("10.0.0.1", 65400, UDPLANE_SOCKET_ACTIVE);
	Shot shot(image);
	ASSERT_EQ(300, view_port_uses(&shot.s, &none, &uses));
	std::string text = squeeze(text_of([&](FILE *f) { view_ports(f, &shot.s, uses, 300); }));
	EXPECT_TRUE(contains(text, "65236-65399 1 yes\n65400 2 yes\n65401-65535 1 yes\n")) << text;
	free(uses);
}

} // namespace

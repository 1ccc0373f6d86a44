// SPDX-License-Identifier: Apache-2.0
#include "client/ctl/json.h"

#include <cjson/cJSON.h>
#include <gtest/gtest.h>

#include <memory>

#include "client/ctl/names.h"
#include "tests/unit/ctl/image.h"

namespace
{

using Json = std::unique_ptr<cJSON, void (*)(cJSON *)>;

Json parse(const std::string &text)
{
	return Json(cJSON_Parse(text.c_str()), cJSON_Delete);
}

const cJSON *get(const cJSON *o, std::initializer_list<const char *> path)
{
	for (const char *key : path)
		o = cJSON_GetObjectItemCaseSensitive(o, key);
	return o;
}

TEST(Json, ParsesBackWithEveryCounter)
{
	Image image;
	udplane_socket_zone *k = image.claim("2001:db8::1", 5060, UDPLANE_SOCKET_KERNEL,
					     UDPLANE_REASON_OPTION, "\"quoted\" \\ \x01");
	k->peer = Image::address("10.0.0.9", 9);
	k->flags = UDPLANE_SOCKET_F_REUSEPORT;
	image.ask(5060);
	image.zone()->prefix_cnt = 1;
	image.zone()->prefix[0] = {{10, 0, 0, 0}, AF_INET, 24, 1, 0};
	image.zone()->refused[UDPLANE_REASON_TOO_MANY] = 4;
	Shot shot(image);
	std::string text = text_of([&](FILE *f) { EXPECT_EQ(0, json_stats(f, &shot.s, false)); });
	Json root = parse(text);
	ASSERT_TRUE(root) << text;

	for (uint32_t i = 0; i < device_counters.cnt; i++)
		EXPECT_TRUE(cJSON_IsNumber(
			get(root.get(), {"device", "counters", device_counters.entry[i].name})));
	for (uint32_t i = 0; i < control_counters.cnt; i++)
		EXPECT_TRUE(cJSON_IsNumber(
			get(root.get(), {"control", control_counters.entry[i].name})));
	const cJSON *worker = cJSON_GetArrayItem(get(root.get(), {"workers"}), 1);
	for (uint32_t i = 0; i < worker_counters.cnt; i++)
		EXPECT_TRUE(
			cJSON_IsNumber(get(worker, {"counters", worker_counters.entry[i].name})));
	const cJSON *socket = cJSON_GetArrayItem(get(root.get(), {"sockets"}), 0);
	for (uint32_t i = 0; i < socket_counters.cnt; i++)
		EXPECT_TRUE(
			cJSON_IsNumber(get(socket, {"counters", socket_counters.entry[i].name})));

	EXPECT_STREQ("running", get(root.get(), {"state"})->valuestring);
	EXPECT_STREQ("af_xdp", get(root.get(), {"backend"})->valuestring);
	EXPECT_STREQ("5060", get(root.get(), {"ports", "asked"})->valuestring);
	EXPECT_EQ(4, get(root.get(), {"refused", "too_many_sockets"})->valueint);
	EXPECT_STREQ(
		"10.0.0.0/24",
		get(cJSON_GetArrayItem(get(root.get(), {"prefixes"}), 0), {"prefix"})->valuestring);
	EXPECT_STREQ("socket_option", get(socket, {"reason"})->valuestring);
	EXPECT_STREQ("\"quoted\" \\ ?", get(socket, {"text"})->valuestring);
	EXPECT_STREQ("2001:db8::1", get(socket, {"local", "address"})->valuestring);
	EXPECT_EQ(5060, get(socket, {"local", "port"})->valueint);
	EXPECT_STREQ("ipv4", get(socket, {"peer", "family"})->valuestring);
	EXPECT_TRUE(cJSON_IsTrue(get(socket, {"reuseport"})));
	EXPECT_TRUE(cJSON_IsFalse(get(socket, {"dual_stack"})));
}

TEST(Json, NumbersAreExact)
{
	Image image;
	image.zone()->device_counter[UDPLANE_DEVICE_RX_SEEN] = UINT64_MAX;
	image.worker(0)->counter[UDPLANE_WORKER_RX_BYTES] = (UINT64_C(1) << 53) + 1;
	Shot shot(image);
	std::string text = text_of([&](FILE *f) { json_stats(f, &shot.s, true); });
	EXPECT_NE(std::string::npos, text.find("\"rx_seen\":18446744073709551615"));
	EXPECT_NE(std::string::npos, text.find("\"rx_bytes\":9007199254740993"));
	EXPECT_EQ(text.size() - 1, text.find('\n')) << "one line a document";
	EXPECT_TRUE(parse(text));
}

TEST(Json, PortsAndVerdict)
{
	Image image;
	struct port_use use = {5060, 2, 1, 0, UDPLANE_REASON_FILTER, "x", 0};
	struct verdict v = {5060, false, "nobody", "text", "todo", false, {}, {}};
	image.ask(5060);
	Shot shot(image);
	Json ports = parse(text_of([&](FILE *f) { json_ports(f, &shot.s, &use, 1); }));
	const cJSON *first = cJSON_GetArrayItem(get(ports.get(), {"in_use"}), 0);
	EXPECT_EQ(2, get(first, {"sockets"})->valueint);
	EXPECT_TRUE(cJSON_IsTrue(get(first, {"accelerated"})));
	EXPECT_STREQ("socket_filter", get(first, {"reason"})->valuestring);
	Json verdict = parse(text_of([&](FILE *f) { json_verdict(f, &v); }));
	EXPECT_STREQ("nobody", get(verdict.get(), {"reason"})->valuestring);
	EXPECT_TRUE(cJSON_IsFalse(get(verdict.get(), {"accelerated"})));
	Json sockets = parse(text_of([&](FILE *f) { json_sockets(f, &shot.s); }));
	EXPECT_EQ(0, cJSON_GetArraySize(get(sockets.get(), {"sockets"})));
}

} // namespace

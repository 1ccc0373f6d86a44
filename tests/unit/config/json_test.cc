// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "sidecar/config/layer.h"
#include "tests/unit/config/load.h"

namespace
{

struct Case {
	std::string text, expected;
};

Loaded apply(const std::string &text)
{
	Loaded loaded;
	config_set_defaults(loaded.config.get());
	/* No NUL behind it, for ASan's sake. */
	std::vector<char> bytes(text.begin(), text.end());
	loaded.ret = layer_json(loaded.config.get(), "/etc/u.json", bytes.data(), bytes.size(),
				&loaded.err);
	return loaded;
}

TEST(Json, SetsEveryKindOfKey)
{
	Loaded loaded =
		apply("\xEF\xBB\xBF \n{\"ports\": \"5060,10000-10099\",\r\n\t\"workers\" :2,"
		      "\"worker_spin_us\":-1,\"frame_size\":2048,\"socket_mode\":\"0600\","
		      "\"backend\":\"af\\u005fxdp\",\"cpus\":\"\"}\n");
	ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	EXPECT_EQ(101u, loaded.config->ports.count);
	EXPECT_EQ(2u, loaded.config->workers);
	EXPECT_EQ(-1, loaded.config->spin_us);
	EXPECT_EQ(2048u, loaded.config->frame_size);
	EXPECT_EQ(0600u, loaded.config->socket_mode);
	EXPECT_EQ(CONFIG_BACKEND_AF_XDP, loaded.config->backend);
	EXPECT_EQ(CONFIG_SOURCE_FILE, config_source_of(loaded.config.get(), "workers"));
	EXPECT_EQ(CONFIG_SOURCE_DEFAULT, config_source_of(loaded.config.get(), "frames"));
}

TEST(Json, AnEmptyObjectChangesNothing)
{
	EXPECT_EQ(0, apply("{}").ret);
	EXPECT_EQ(0, apply("\xEF\xBB\xBF{ }").ret);
}

TEST(Json, FrameSizeMayBeAWordOrANumber)
{
	EXPECT_EQ(0u, apply("{\"frame_size\":\"auto\"}").config->frame_size);
	EXPECT_EQ(4096u, apply("{\"frame_size\":4096}").config->frame_size);
	EXPECT_EQ(4096u, apply("{\"frame_size\":\"4096\"}").config->frame_size);
}

class BadJson : public testing::TestWithParam<Case>
{
};

TEST_P(BadJson, IsRefusedWithItsPlace)
{
	Loaded loaded = apply(GetParam().text);
	ASSERT_EQ(-EINVAL, loaded.ret);
	std::string start = "/etc/u.json:" + GetParam().expected;
	EXPECT_EQ(start, std::string(loaded.err.text).substr(0, start.size()));
	EXPECT_NE(std::string::npos, std::string(loaded.err.text).find("; allowed: "));
}

INSTANTIATE_TEST_SUITE_P(
	Texts, BadJson,
	testing::Values(
		Case{"[]", "1:1: not a JSON object"}, Case{"null", "1:1: not a JSON object"},
		Case{"5", "1:1: not a JSON object"},
		Case{std::string("{\"ports\":\"1\"}\0", 14), "1:14: a NUL byte"},
		Case{std::string("{\"por\0ts\":\"1\"}", 14), "1:6: a NUL byte"},
		Case{"{\"interface\":\"eth0\\u0000x\"}", "1:14: a string with a NUL"},
		Case{"{\"interface\\u0000x\":\"eth0\"}", "1:2: a string with a NUL"},
		Case{"{\n  \"portz\": \"1\"}",
		     "2:12: key \"portz\": unknown, the nearest is \"ports\""},
		Case{"{\"Ports\":\"1\"}", "1:10: key \"Ports\": unknown, the nearest is \"ports\""},
		Case{"{\"max-sockets\":1}",
		     "1:16: key \"max-sockets\": unknown, the nearest is \"max_sockets\""},
		Case{"{\"\":1}", "1:5: key \"\": unknown"},
		Case{"{\"workers\":1,\"workers\":1}", "1:24: key \"workers\": \"1\": given twice"},
		Case{"{\"workers\":1,\"worker\\u0073\":2}",
		     "1:29: key \"workers\": \"2\": given twice"},
		Case{"{\"workers\":\"1\"}",
		     "1:12: key \"workers\": \"1\": is a string, must be a number"},
		Case{"{\"workers\":true}",
		     "1:12: key \"workers\": \"true\": is a boolean, must be a number"},
		Case{"{\"workers\":null}",
		     "1:12: key \"workers\": \"null\": is null, must be a number"},
		Case{"{\"workers\":[1]}",
		     "1:12: key \"workers\": \"[1]\": is an array, must be a number"},
		Case{"{\"ports\":5060}",
		     "1:10: key \"ports\": \"5060\": is a number, must be a string"},
		Case{"{\"ports\":[5060, \"]\"]}",
		     "1:10: key \"ports\": \"[5060, \\\"]\\\"]\": is an array, must be a string"},
		Case{"{\"ports\":{\"a\":{}}}",
		     "1:10: key \"ports\": \"{\\\"a\\\":{}}\": is an object, must be a string"},
		Case{"{\"frame_size\":false}", "1:15: key \"frame_size\": \"false\": is a boolean, "
					       "must be a string or a number"},
		Case{"{\"socket_mode\":666}",
		     "1:16: key \"socket_mode\": \"666\": is a number, must be a string"},
		Case{"{\"workers\":1.5}", "1:12: key \"workers\": \"1.5\": not a whole number"},
		Case{"{\"workers\":1.0000000000000000001}",
		     "1:12: key \"workers\": \"1.0000000000000000001\": not a whole number"},
		Case{"{\"workers\":1e0}", "1:12: key \"workers\": \"1e0\": not a whole number"},
		Case{"{\"workers\":02}", "1:12: key \"workers\": \"02\": leading zero"},
		Case{"{\"workers\":1e999}", "1:12: key \"workers\": \"1e999\": not a whole number"},
		Case{"{\"workers\":4294967297}",
		     "1:12: key \"workers\": \"4294967297\": out of range"},
		Case{"{\"workers\":99999999999999999999}",
		     "1:12: key \"workers\": \"99999999999999999999\": too large"},
		Case{"{\"workers\":-0}", "1:12: key \"workers\": \"-0\": not a whole number"},
		Case{"{\"a\\\\u0000\":1}", "1:13: key \"a\\\\u0000\": unknown"},
		Case{"{\n\n  \"mode\":\n \"fast\"}", "4:2: key \"mode\": \"fast\": unknown value; "
						     "allowed: latency, balanced, powersave"}));

/* Columns are cJSON's, and differ by one between its versions. */
TEST(Json, SyntaxErrorsNameTheLine)
{
	for (const Case &bad : {
		     Case{"", "1"},
		     Case{"   \n", "2"},
		     Case{"{", "1"},
		     Case{"{\n\"ports\":\"1\"", "2"},
		     Case{"{\"ports\":\n\"1\",}", "2"},
		     Case{"{\"ports\":\"1\"}\n x", "2"},
		     Case{"{\"ports\":\"1\"}{}", "1"},
		     Case{"{\n\nports:\"1\"}", "3"},
		     Case{"{'ports':'1'}", "1"},
		     Case{"{\"ports\":\"1}", "1"},
		     Case{"{\"workers\":0x1}", "1"},
		     Case{"{\"workers\":+1}", "1"},
	     }) {
		Loaded loaded = apply(bad.text);
		std::string text = loaded.err.text;
		EXPECT_EQ(-EINVAL, loaded.ret) << bad.text;
		EXPECT_EQ(0u, text.find("/etc/u.json:" + bad.expected + ":")) << text;
		EXPECT_NE(std::string::npos,
			  text.find(": not valid JSON around here; allowed: one JSON object"));
	}
}

TEST(Json, DeepNestingIsAnErrorNotACrash)
{
	EXPECT_EQ(-EINVAL, apply("{\"ports\":" + std::string(100000, '[')).ret);
	EXPECT_EQ(-EINVAL, apply(std::string(100000, '{')).ret);
}

TEST(Json, AnErrorWithoutAReceiverIsFine)
{
	struct config config;
	config_set_defaults(&config);
	EXPECT_EQ(-EINVAL, layer_json(&config, "f", "{\"x\":1}", 7, nullptr));
}

} // namespace

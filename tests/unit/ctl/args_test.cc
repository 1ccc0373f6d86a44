// SPDX-License-Identifier: Apache-2.0
#include "client/ctl/args.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace
{

struct Parsed {
	explicit Parsed(std::vector<std::string> words, const char *positional = nullptr)
	{
		const struct flag flags[] = {{"json", FLAG_SWITCH, &json, 0},
					     {"watch", FLAG_SECONDS, &watch, 2},
					     {"w", FLAG_TEXT, &file, 0},
					     {nullptr, FLAG_SWITCH, nullptr, 0}};
		struct args a = {"verb", "usage text\n", flags, &socket, positional, nullptr};
		std::vector<char *> argv;

		words.insert(words.begin(), "verb");
		for (std::string &w : words)
			argv.push_back(w.data());
		argv.push_back(nullptr);
		testing::internal::CaptureStderr();
		testing::internal::CaptureStdout();
		ret = args_parse(&a, static_cast<int>(words.size()), argv.data());
		out = testing::internal::GetCapturedStdout();
		err = testing::internal::GetCapturedStderr();
		operand = a.operand ? a.operand : "";
		path = socket;
	}

	const char *socket = "default";
	bool json = false;
	double watch = 0;
	const char *file = "";
	int ret;
	std::string out, err, operand, path;
};

TEST(Args, Flags)
{
	EXPECT_EQ(0, Parsed({}).ret);
	EXPECT_TRUE(Parsed({"--json"}).json);
	EXPECT_DOUBLE_EQ(2, Parsed({"--watch"}).watch);
	EXPECT_DOUBLE_EQ(0.5, Parsed({"--watch", "0.5"}).watch);
	EXPECT_DOUBLE_EQ(3, Parsed({"--watch=3", "--json"}).watch);
	EXPECT_TRUE(Parsed({"--watch", "--json"}).json);
	EXPECT_STREQ("-", Parsed({"-w", "-"}).file);
	EXPECT_STREQ("-x", Parsed({"-w", "-x", "--json"}).file);
	EXPECT_EQ(EXIT_USAGE, Parsed({"-w"}).ret);
	EXPECT_EQ(EXIT_USAGE, Parsed({"--w", "x"}).ret);
	EXPECT_EQ(EXIT_USAGE, Parsed({"-wx"}).ret);
	EXPECT_EQ("/a", Parsed({"--socket", "/a"}).path);
	EXPECT_EQ("/a", Parsed({"--socket=/a"}).path);
	EXPECT_EQ("5060", Parsed({"5060", "--json"}, "PORT").operand);
	EXPECT_EQ(1, Parsed({"--help", "--nonsense"}).ret);
	EXPECT_EQ("usage text\n", Parsed({"-h"}).out);
}

TEST(Args, MistakesAreNamed)
{
	auto wrong = [](std::vector<std::string> words, const char *part,
			const char *positional = nullptr) {
		Parsed p(std::move(words), positional);
		EXPECT_EQ(EXIT_USAGE, p.ret);
		EXPECT_NE(std::string::npos, p.err.find(part)) << p.err;
	};
	wrong({"--jsno"}, "\"--jsno\"; did you mean --json?");
	wrong({"--zzz"}, "see: udplanectl verb --help");
	wrong({"-j"}, "unknown option \"-j\"");
	wrong({"--json=1"}, "takes no value");
	wrong({"--watch=0"}, "--watch=0: not a number of seconds; allowed: 0.1 to 86400");
	wrong({"--watch=nan"}, "not a number");
	wrong({"--watch="}, "not a number");
	wrong({"--socket"}, "a path must follow");
	wrong({"x"}, "unexpected argument \"x\"");
	wrong({"1", "2"}, "unexpected argument \"2\"", "PORT");
	wrong({}, "PORT is missing", "PORT");
}

TEST(Args, Ports)
{
	uint16_t port = 0;
	EXPECT_TRUE(args_port("1", &port));
	EXPECT_TRUE(args_port("65535", &port));
	EXPECT_EQ(65535, port);
	for (const char *bad : {"", "0", "65536", "99999", "-1", "+1", "1x", " 1", "01", "123456"})
		EXPECT_FALSE(args_port(bad, &port)) << bad;
}

TEST(Args, Nearest)
{
	const char *const names[] = {"stats", "sockets", "ports", "why", nullptr};
	EXPECT_STREQ("stats", args_nearest("stat", names));
	EXPECT_STREQ("stats", args_nearest("sttas", names));
	EXPECT_STREQ("sockets", args_nearest("sock", names));
	EXPECT_STREQ("ports", args_nearest("port", names));
	EXPECT_EQ(nullptr, args_nearest("completely", names));
	EXPECT_EQ(nullptr, args_nearest(std::string(1000, 'x').c_str(), names));
}

} // namespace

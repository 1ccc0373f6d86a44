// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/config/load.h"

namespace
{

TEST(Flags, BothSpellings)
{
	Loaded loaded = load({"--ports", "53", "--backend=kernel", "--max-clients", "7"});
	ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	EXPECT_EQ("53", loaded.format("ports"));
	EXPECT_EQ(CONFIG_BACKEND_KERNEL, loaded.config->backend);
	EXPECT_EQ(7u, loaded.config->max_clients);
}

TEST(Flags, TheLaterOfTwoWinsAndBothAreChecked)
{
	EXPECT_EQ("54", load({"--ports=53", "--ports=54"}).format("ports"));
	EXPECT_EQ(-EINVAL, load({"--ports=x", "--ports=54"}).ret);
}

TEST(Flags, AValueMayHoldAnEqualsSignOrStartWithADash)
{
	EXPECT_STREQ("net_tap0,iface=x",
		     load({"--ports=1", "--device=net_tap0,iface=x"}).config->device);
	EXPECT_STREQ("--x", load({"--ports=1", "--device=--x"}).config->device);
	EXPECT_EQ(-1, load({"--ports=1", "--worker-spin-us", "-1"}).config->spin_us);
}

struct Bad {
	std::vector<std::string> flags;
	std::string message;
};

class BadFlags : public testing::TestWithParam<Bad>
{
};

TEST_P(BadFlags, AreRefused)
{
	Loaded loaded = load(GetParam().flags);
	EXPECT_EQ(-EINVAL, loaded.ret);
	EXPECT_EQ(GetParam().message,
		  std::string(loaded.err.text).substr(0, GetParam().message.size()));
}

INSTANTIATE_TEST_SUITE_P(
	Flags, BadFlags,
	testing::Values(
		Bad{{"--portz", "1"},
		    "argument \"--portz\": unknown, the nearest is --ports; allowed: --help"},
		Bad{{"--portz=1"},
		    "argument \"--portz\": unknown, the nearest is --ports; allowed: --help"},
		Bad{{"--max_sockets=1"},
		    "argument \"--max_sockets\": unknown, the nearest is --max-sockets"},
		Bad{{"--port=1"}, "argument \"--port\": unknown, the nearest is --ports"},
		Bad{{"-p", "1"}, "argument \"-p\": not a flag; allowed: --help"},
		Bad{{"--"}, "argument \"--\": not a flag; allowed: "},
		Bad{{""}, "argument \"\": not a flag"},
		Bad{{"eth0"}, "argument \"eth0\": not a flag"},
		Bad{{"=1"}, "argument \"\": not a flag"},
		Bad{{"--help=1"}, "argument \"--help=1\": takes no value"},
		Bad{{"--ports=1", "eth0"}, "argument \"eth0\": not a flag"},
		Bad{{"--ports"}, "flag --ports: no value given; allowed: ports 1-65535 and ranges"},
		Bad{{"--ports", "--backend", "kernel"},
		    "flag --ports: no value given; allowed: ports"},
		Bad{{"--config"}, "flag --config: no value given; allowed: path of a JSON file"},
		Bad{{"--ports="}, "flag --ports: \"\": empty; allowed: ports"},
		Bad{{},
		    "ports: none given; allowed: ports 1-65535 and ranges LOW-HIGH, "
		    "comma-separated, by flag --ports"},
		Bad{{"--ports=1", "--workers=3", "--cpus=1-2"},
		    "workers (by flag): 3, but cpus (by flag) has only 2; allowed: at most one "
		    "worker per CPU"}));

TEST(Flags, AHugeArgumentIsShownInPart)
{
	Loaded loaded = load({"--" + std::string(100000, 'x') + "=1"});
	EXPECT_EQ(-EINVAL, loaded.ret);
	EXPECT_EQ(0u, std::string(loaded.err.text).find("argument \"--xxxx"));
}

TEST(Flags, HelpAndVersionPrintAndReadNothingElse)
{
	testing::internal::CaptureStdout();
	EXPECT_EQ(CONFIG_PRINTED, load({"--config", "/nonexistent", "--help"}).ret);
	EXPECT_EQ(0u, testing::internal::GetCapturedStdout().find("usage: udplaned"));
	testing::internal::CaptureStdout();
	EXPECT_EQ(CONFIG_PRINTED, load({"--version"}).ret);
	EXPECT_EQ(0u, testing::internal::GetCapturedStdout().find("udplaned "));
}

TEST(Flags, NoArgumentsAtAll)
{
	auto config = std::make_unique<struct config>();
	EXPECT_EQ(-EINVAL, config_load(config.get(), 0, nullptr, nullptr, nullptr));
}

} // namespace

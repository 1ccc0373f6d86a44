// SPDX-License-Identifier: Apache-2.0
#include "sidecar/config/port_set.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace
{

std::string format(const struct port_set &set)
{
	std::vector<char> text(PORT_SET_TEXT_SIZE);
	size_t len = port_set_format(&set, text.data(), text.size());
	EXPECT_EQ(len, std::string(text.data()).size());
	return text.data();
}

struct Good {
	const char *text, *formatted;
	uint64_t count;
};

class GoodList : public testing::TestWithParam<Good>
{
};

TEST_P(GoodList, ParsesAndFormatsToTheShortestList)
{
	struct port_set set, again;
	struct error err = {};
	ASSERT_EQ(0, port_set_parse(GetParam().text, &set, &err)) << err.text;
	EXPECT_EQ(GetParam().formatted, format(set));
	EXPECT_EQ(GetParam().count, set.count);
	ASSERT_EQ(0, port_set_parse(format(set).c_str(), &again, nullptr));
	EXPECT_TRUE(port_set_equal(&set, &again));
}

INSTANTIATE_TEST_SUITE_P(Lists, GoodList,
			 testing::Values(Good{"1", "1", 1}, Good{"65535", "65535", 1},
					 Good{"1-65535", "1-65535", 65535},
					 Good{"5060,10000-10099", "5060,10000-10099", 101},
					 Good{" 5060 ,\t10000-10099 \n", "5060,10000-10099", 101},
					 Good{"3,2,1", "1-3", 3}, Good{"53,53,53", "53", 1},
					 Good{"1-10,5-20,15", "1-20", 20}, Good{"7-7", "7", 1},
					 Good{"7-8", "7-8", 2}, Good{"63-64", "63-64", 2},
					 Good{"64-127", "64-127", 64},
					 Good{"1-65535,1-65535,80", "1-65535", 65535}));

struct Bad {
	const char *text, *message;
};

class BadList : public testing::TestWithParam<Bad>
{
};

TEST_P(BadList, IsRefusedWithValueReasonAndAllowed)
{
	struct port_set set;
	struct error err = {};
	EXPECT_EQ(-EINVAL, port_set_parse(GetParam().text, &set, &err));
	EXPECT_EQ(GetParam().message + std::string("; allowed: ports 1-65535 and ranges LOW-HIGH, "
						   "comma-separated"),
		  err.text);
	EXPECT_EQ(0u, set.count);
	EXPECT_EQ(-1, port_set_next(&set, 0));
}

INSTANTIATE_TEST_SUITE_P(
	Lists, BadList,
	testing::Values(Bad{"", "\"\": empty"}, Bad{"  ", "\"  \": empty"},
			Bad{"0", "\"0\": out of range"}, Bad{"65536", "\"65536\": out of range"},
			Bad{"4294967297", "\"4294967297\": out of range"},
			Bad{"18446744073709551617", "\"18446744073709551617\": too large"},
			Bad{"0-5", "\"0-5\": out of range"},
			Bad{"5-65536", "\"5-65536\": out of range"},
			Bad{"10099-10000", "\"10099-10000\": range runs backwards"},
			Bad{"-5", "\"-5\": range with an end missing"},
			Bad{"5-", "\"5-\": range with an end missing"},
			Bad{"-", "\"-\": range with an end missing"},
			Bad{"1-2-3", "\"1-2-3\": not a whole number"},
			Bad{"5 - 6", "\"5 - 6\": not a whole number"},
			Bad{"+5", "\"+5\": not a whole number"},
			Bad{"0x35", "\"0x35\": not a whole number"},
			Bad{"053", "\"053\": leading zero"}, Bad{"00", "\"00\": leading zero"},
			Bad{"5.0", "\"5.0\": not a whole number"},
			Bad{"5060;5061", "\"5060;5061\": not a whole number"},
			Bad{"5060 5061", "\"5060 5061\": not a whole number"},
			Bad{"sip", "\"sip\": not a whole number"},
			Bad{"53,", "\"53,\": item 2 \"\": empty item"},
			Bad{",53", "\",53\": item 1 \"\": empty item"},
			Bad{"1,,2", "\"1,,2\": item 2 \"\": empty item"},
			Bad{"1, 9-3", "\"1, 9-3\": item 2 \"9-3\": range runs backwards"},
			Bad{"1\xff", "\"1\\xff\": not a whole number"},
			Bad{"1\n2", "\"1\\x0a2\": not a whole number"}));

TEST(PortSet, FormatsEveryPortAndEverySecond)
{
	auto set = std::make_unique<struct port_set>();
	auto again = std::make_unique<struct port_set>();
	for (int port = 1; port < PORT_SET_BITS; port += 2)
		port_set_add(set.get(), static_cast<uint16_t>(port));
	ASSERT_EQ(32768u, set->count);
	ASSERT_LT(format(*set).size(), static_cast<size_t>(PORT_SET_TEXT_SIZE));
	ASSERT_EQ(0, port_set_parse(format(*set).c_str(), again.get(), nullptr));
	EXPECT_TRUE(port_set_equal(set.get(), again.get()));
}

TEST(PortSet, FormatReportsTheLengthOfACutText)
{
	struct port_set set;
	char small[5];
	ASSERT_EQ(0, port_set_parse("1,1000-2000", &set, nullptr));
	EXPECT_EQ(11u, port_set_format(&set, small, sizeof(small)));
	EXPECT_STREQ("1,10", small);
	EXPECT_EQ(11u, port_set_format(&set, nullptr, 0));
}

TEST(PortSet, AddIgnoresZeroAndRepetition)
{
	struct port_set set;
	port_set_clear(&set);
	port_set_add(&set, 0);
	EXPECT_EQ(0u, set.count);
	port_set_add(&set, 53);
	port_set_add(&set, 53);
	EXPECT_EQ(1u, set.count);
	EXPECT_TRUE(port_set_contains(&set, 53));
	EXPECT_FALSE(port_set_contains(&set, 52));
	EXPECT_FALSE(port_set_contains(&set, 0));
}

TEST(PortSet, NextWalksInOrderAndEnds)
{
	struct port_set set;
	std::vector<int> seen;
	ASSERT_EQ(0, port_set_parse("1,63-64,65535", &set, nullptr));
	for (int port = port_set_next(&set, 0); port >= 0; port = port_set_next(&set, port + 1))
		seen.push_back(port);
	EXPECT_EQ((std::vector<int>{1, 63, 64, 65535}), seen);
	EXPECT_EQ(-1, port_set_next(&set, 65536));
	EXPECT_EQ(-1, port_set_next(&set, -1));
}

/* A pod's author writes the list, and the control thread parses it. */
TEST(PortSet, AMegabyteOfFullRangesTakesNoSeconds)
{
	std::string text = "1-65535";
	struct port_set set;
	while (text.size() < (1 << 20))
		text += ",1-65535";
	auto start = std::chrono::steady_clock::now();
	ASSERT_EQ(0, port_set_parse(text.c_str(), &set, nullptr));
	EXPECT_EQ(65535u, set.count);
	EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

} // namespace

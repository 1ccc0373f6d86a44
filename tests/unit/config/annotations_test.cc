// SPDX-License-Identifier: Apache-2.0
#include "sidecar/config/annotations.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace
{

using Pairs = std::vector<std::pair<std::string, std::string>>;

int collect(void *arg, const char *name, const char *value)
{
	static_cast<Pairs *>(arg)->emplace_back(name, value);
	return 0;
}

int parse(const std::string &text, Pairs *pairs, struct error *err,
	  const char *prefix = ANNOTATION_PREFIX)
{
	std::vector<char> bytes(text.begin(), text.end()); /* no NUL behind it */
	return annotations_each("/a/ann", bytes.data(), bytes.size(), prefix, collect, pairs, err);
}

TEST(Annotations, OnlyThePrefixIsRead)
{
	Pairs pairs;
	struct error err = {};
	ASSERT_EQ(0, parse("cni.projectcalico.org/podIP=\"10.0.0.1/32\"\n"
			   "kubernetes.io/config.source=\"api\"\n"
			   "udplane.io/backend=\"auto\"\n"
			   "udplane.io/ports=\"5060,10000-10099\"\n"
			   "zz.example/broken=no quotes \\\"\n"
			   "udplane.iox=\"x\"\n\n"
			   "x=\"udplane.io/mode=\"",
			   &pairs, &err))
		<< err.text;
	EXPECT_EQ((Pairs{{"backend", "auto"}, {"ports", "5060,10000-10099"}}), pairs);
}

/* Issue 5 reads it for the TAP's address. */
TEST(Annotations, OtherPrefixesCanBeAskedFor)
{
	Pairs pairs;
	ASSERT_EQ(0, parse("k8s.v1.cni.cncf.io/network-status=\"[{\\n    \\\"name\\\": "
			   "\\\"net1\\\"\\n}]\"\n",
			   &pairs, nullptr, "k8s.v1.cni.cncf.io/"));
	EXPECT_EQ((Pairs{{"network-status", "[{\n    \"name\": \"net1\"\n}]"}}), pairs);
}

TEST(Annotations, GoQuotingIsUndone)
{
	Pairs pairs;
	ASSERT_EQ(0, parse("udplane.io/a=\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\"\n"
			   "udplane.io/b=\"\\x41\\xff\\u00e9\\u20ac\\U0001F600\\u007f\"\n"
			   "udplane.io/c=\"a=b#'\xc3\xa9\"\n"
			   "udplane.io/=\"\"",
			   &pairs, nullptr));
	EXPECT_EQ((Pairs{{"a", "\a\b\f\n\r\t\v\\\""},
			 {"b", "A\xff\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f"},
			 {"c", "a=b#'\xc3\xa9"},
			 {"", ""}}),
		  pairs);
}

TEST(Annotations, AnEmptyFileIsNoAnnotations)
{
	Pairs pairs;
	EXPECT_EQ(0, parse("", &pairs, nullptr));
	EXPECT_EQ(0, parse("\n\n", &pairs, nullptr));
	EXPECT_TRUE(pairs.empty());
}

TEST(Annotations, TheCallbacksResultEndsTheWalk)
{
	int calls = 0;
	const char text[] = "udplane.io/a=\"\"\nudplane.io/b=\"\"\n";
	auto stop = [](void *arg, const char *, const char *) {
		return ++*static_cast<int *>(arg), -5;
	};
	EXPECT_EQ(-5, annotations_each("f", text, sizeof(text) - 1, ANNOTATION_PREFIX, stop, &calls,
				       nullptr));
	EXPECT_EQ(1, calls);
}

struct Bad {
	std::string line, wrong;
};

class BadLine : public testing::TestWithParam<Bad>
{
};

TEST_P(BadLine, IsRefusedWithFileAndLine)
{
	Pairs pairs;
	struct error err = {};
	EXPECT_EQ(-EINVAL, parse("other=\"1\"\n" + GetParam().line, &pairs, &err));
	std::string text = err.text;
	EXPECT_EQ(0u, text.find("/a/ann:2: annotation \"udplane.io/")) << text;
	EXPECT_NE(std::string::npos,
		  text.find(": " + GetParam().wrong + "; allowed: lines of key=\"value\""))
		<< text;
	EXPECT_TRUE(pairs.empty());
}

INSTANTIATE_TEST_SUITE_P(
	Lines, BadLine,
	testing::Values(
		Bad{"udplane.io/ports", "no '='"}, Bad{"udplane.io/", "no '='"},
		Bad{"udplane.io/ports=", "the value is not in double quotes"},
		Bad{"udplane.io/ports=53", "the value is not in double quotes"},
		Bad{"udplane.io/ports= \"53\"", "the value is not in double quotes"},
		Bad{"udplane.io/ports='53'", "the value is not in double quotes"},
		Bad{"udplane.io/ports=\"", "the closing quote is missing"},
		Bad{"udplane.io/ports=\"53", "the closing quote is missing"},
		Bad{"udplane.io/ports=\"53\nx\"", "the closing quote is missing"},
		Bad{"udplane.io/ports=\"53\" ", "more after the closing quote"},
		Bad{"udplane.io/ports=\"53\"\"", "more after the closing quote"},
		Bad{"udplane.io/ports=\"\\", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\q\"", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\'\"", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\x\"", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\x4", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\xg0\"", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\x00\"", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\u0000\"", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\ud800\"", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\U00110000\"", "an invalid escape, or one for NUL"},
		Bad{"udplane.io/ports=\"\\Uffffffff\"", "an invalid escape, or one for NUL"},
		Bad{std::string("udplane.io/p\0=\"1\"", 16), "a NUL byte"},
		Bad{std::string("udplane.io/p=\"1\0\"", 17), "a NUL byte"}));

} // namespace

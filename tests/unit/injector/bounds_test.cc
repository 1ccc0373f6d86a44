// SPDX-License-Identifier: Apache-2.0
#include "deploy/injector/bounds.h"

#include <cjson/cJSON.h>
#include <gtest/gtest.h>

#include <string>

namespace
{

struct bounds Measure(const std::string &text, size_t values = 1000, unsigned int depth = 100)
{
	struct bounds limit = {values, depth};

	return bounds_measure(text.data(), text.size(), &limit);
}

size_t Count(const cJSON *item)
{
	size_t count = 1;

	for (const cJSON *child = item->child; child; child = child->next)
		count += Count(child);
	return count;
}

TEST(Bounds, CountsWhatTheParserMakes)
{
	for (const char *text : {
		     "1",
		     "\"\"",
		     "[]",
		     "{}",
		     " [ ] ",
		     "[1]",
		     "[1,2,3]",
		     "[[],[],[[]]]",
		     R"({"a":1,"b":{"c":[]},"d":[{},{}]})",
		     R"(["a,b","[[[","{\"x\":1,","]]"])",
		     R"(["\"",1,"\\",2,"\\\"",3,"\\\\"])",
		     R"({"a\"b,c":"d\\","e":",,,"})",
		     "[\n\t1 ,\r\n 2 ]",
		     R"({"":"","":""})",
	     }) {
		cJSON *json = cJSON_Parse(text);

		ASSERT_TRUE(json) << text;
		EXPECT_EQ(Measure(text).values, Count(json)) << text;
		cJSON_Delete(json);
	}
}

TEST(Bounds, FindsTheDepth)
{
	EXPECT_EQ(Measure("1").depth, 0u);
	EXPECT_EQ(Measure("[]").depth, 1u);
	EXPECT_EQ(Measure("[[],[[]],{}]").depth, 3u);
	EXPECT_EQ(Measure(R"(["[[[[["])").depth, 1u);
	EXPECT_EQ(Measure(R"({"a":{"b":[{"c":1}]}})").depth, 4u);
	EXPECT_EQ(Measure("]]]]}}[").depth, 1u);
}

TEST(Bounds, StopsBehindALimit)
{
	std::string wide = "[" + std::string(10000, ','), deep(10000, '[');

	EXPECT_EQ(Measure(wide, 50).values, 51u);
	EXPECT_EQ(Measure(deep, 100000, 20).depth, 21u);
	EXPECT_EQ(Measure("[1,2,3]", 4).values, 4u);
}

/* Behind the end there is an unreadable page, or ASan's. */
TEST(Bounds, StaysWithinTheText)
{
	for (const char *text : {"", "\"", "\"\\", "[\"a\\", "\"\\\\", "[\"a\\\"", "{\"a\":"}) {
		size_t len = strlen(text);
		char *exact = static_cast<char *>(malloc(len ? len : 1));
		struct bounds limit = {100, 100};

		memcpy(exact, text, len);
		EXPECT_LE(bounds_measure(exact, len, &limit).values, 2u) << text;
		free(exact);
	}
}

} // namespace

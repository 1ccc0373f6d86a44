// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "deploy/injector/yaml.h"
#include "tests/unit/injector/corpus.h"

namespace
{

int add(void *arg, cJSON *document, struct error *err)
{
	cJSON *list = cJSON_GetObjectItem(document, "list");

	(void)arg;
	(void)err;
	if (cJSON_IsNull(list))
		cJSON_ReplaceItemInObject(document, "list", cJSON_CreateArray());
	else if (!list)
		cJSON_AddArrayToObject(document, "list");
	list = cJSON_GetObjectItem(document, "list");
	cJSON_InsertItemInArray(list, 0, cJSON_CreateString("first"));
	cJSON_AddItemToArray(list, cJSON_CreateString("5"));
	cJSON_AddTrueToObject(document, "new");
	return 0;
}

std::string patched(const std::string &text)
{
	struct error err = {};
	char *out = yaml_patch("t", text.data(), text.size(), "marked", add, nullptr, &err);
	std::string result = out ? out : std::string("error: ") + err.text;

	free(out);
	return result;
}

TEST(Yaml, AddsWhereTheCallbackDid)
{
	EXPECT_EQ(patched("list:\n- a # c\n\n# end\n"),
		  "list:\n- first\n- a\n- \"5\"\nnew: true\n");
	EXPECT_EQ(patched("list: [a, b]\n"), "list:\n- first\n- a\n- b\n- \"5\"\nnew: true\n");
	EXPECT_EQ(patched("list: []\nz: 1"), "list:\n- first\n- \"5\"\nz: 1\nnew: true\n");
	EXPECT_EQ(patched("{list: [a]}"), "list:\n- first\n- a\n- \"5\"\nnew: true\n");
	EXPECT_EQ(patched("a: b\n"), "a: b\nlist:\n- first\n- \"5\"\nnew: true\n");
	EXPECT_EQ(patched("list:\na: |\n  x\n"), "list:\n- first\n- \"5\"\na: |\n  x\nnew: true\n");
}

TEST(Yaml, EachDocumentIsPatched)
{
	EXPECT_EQ(patched("a: b\n---\nlist: [x]\n...\n"),
		  "a: b\nlist:\n- first\n- \"5\"\nnew: true\n---\nlist:\n- first\n- x\n- \"5\"\n"
		  "new: true\n...\n");
}

TEST(Yaml, ScalarsKeepTheirQuotesAndDigits)
{
	EXPECT_EQ(patched("ü: é\nlist: ['1', \"yes\", yes, 0644, 12:30, ~, 9007199254740993]\n"),
		  "ü: é\nlist:\n- first\n- '1'\n- \"yes\"\n- yes\n- 0644\n- 12:30\n- ~\n"
		  "- 9007199254740993\n- \"5\"\nnew: true\n");
	EXPECT_EQ(patched("\xef\xbb\xbf"
			  "a: !!str 5\nlist: []\n"),
		  "a: !!str 5\nlist:\n- first\n- \"5\"\nnew: true\n");
}

TEST(Yaml, AnchorsStay)
{
	EXPECT_EQ(patched("a: &x {b: 1}\nc: *x\nlist: [&y d, *y]\n"),
		  "a: &x\n  b: 1\nc: *x\nlist:\n- first\n- &y d\n- *y\n- \"5\"\nnew: true\n");
	EXPECT_EQ(patched("a: *x\n"),
		  "error: t: line 1: an alias (*name) without its anchor (&name)");
}

TEST(Yaml, AliasesAreRefusedWhereMarked)
{
	EXPECT_NE(patched("marked: &a [x]\nlist: *a\n").find("error: t: line 1: "),
		  std::string::npos);
	EXPECT_NE(patched("a: [\n").find("error: t: line"), std::string::npos);
	EXPECT_NE(patched("? [a]\n: b\n").find("error: "), std::string::npos);
}

TEST(Yaml, ScalarsAreWhatKubernetesTakesThemFor)
{
	struct error err = {};
	std::string text = "{a: 53, b: '53', c: yes, d: off, e: ~, f: null, g: 1.5, h: 12:30, i: "
			   "-x, j: \"true\"}";
	json item(yaml_parse("t", text.data(), text.size(), &err));
	char *printed = cJSON_PrintUnformatted(item.get());

	EXPECT_STREQ(
		printed,
		R"({"a":53,"b":"53","c":true,"d":false,"e":null,"f":null,"g":1.5,"h":"12:30","i":"-x","j":"true"})");
	free(printed);
}

int replace(void *arg, cJSON *document, struct error *err)
{
	(void)err;
	cJSON_ReplaceItemInObject(document, "x",
				  cJSON_Duplicate(static_cast<const cJSON *>(arg), true));
	return 0;
}

TEST(Yaml, WhatIsNewMeansTheSame)
{
	json item(cJSON_Parse(
		R"({"a":["x",{"k":"yes","l":[]},["n"]],"b":{},"c":"5","d":"a: b","e":true,
		    "k.io/x":null,"f":"a #","g":"a:","h":"","i":"- a","j":"two\nlines","k":-5,
		    "y":"Null","null":"/a/b","l":"~","m":"1e3","n":"p\ttab ","o":"2001-01-01"})"));
	struct error err = {};

	for (std::string old : {"", "null", "5", "'a'", "[1, {b: 2}]", "{c: [d]}"}) {
		std::string text = "x: " + old + "\nz: 1\n";
		char *out =
			yaml_patch("t", text.data(), text.size(), "", replace, item.get(), &err);
		ASSERT_TRUE(out) << err.text;
		json again(yaml_parse("t", out, strlen(out), &err));
		EXPECT_TRUE(cJSON_Compare(item.get(), cJSON_GetObjectItem(again.get(), "x"), true))
			<< out;
		EXPECT_TRUE(strstr(out, "\nz: 1\n")) << out;
		free(out);
	}
}

TEST(Yaml, NothingIsEmpty)
{
	struct error err = {};

	EXPECT_EQ(patched(""), "");
	EXPECT_FALSE(yaml_parse("t", "# a\n", 4, &err));
	EXPECT_STREQ(err.text, "t: empty");
}

} // namespace

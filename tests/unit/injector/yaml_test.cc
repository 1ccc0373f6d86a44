// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "deploy/injector/yaml.h"
#include "tests/unit/injector/corpus.h"

namespace
{

int add(void *arg, cJSON *document, struct config_error *err)
{
	cJSON *list = cJSON_GetObjectItem(document, "list");

	(void)arg;
	(void)err;
	if (!list || cJSON_IsNull(list)) {
		cJSON_DeleteItemFromObject(document, "list");
		list = cJSON_AddArrayToObject(document, "list");
	}
	cJSON_InsertItemInArray(list, 0, cJSON_CreateString("first"));
	cJSON_AddItemToArray(list, cJSON_CreateString("5"));
	cJSON_AddTrueToObject(document, "new");
	return 0;
}

std::string patched(const std::string &text)
{
	struct config_error err = {};
	char *out = yaml_patch("t", text.data(), text.size(), "marked", add, nullptr, &err);
	std::string result = out ? out : std::string("error: ") + err.text;

	free(out);
	return result;
}

TEST(Yaml, AddsInTheStyleThatItFinds)
{
	EXPECT_EQ(patched("list:\n- a # c\n\n# end\n"),
		  "list:\n- first\n- a # c\n- \"5\"\nnew: true\n\n# end\n");
	EXPECT_EQ(patched("list: [a, b]\n"), "list: [\"first\", a, b, \"5\"]\nnew: true\n");
	EXPECT_EQ(patched("list: []\nz: 1"), "list: [\"first\", \"5\"]\nz: 1\nnew: true\n");
	EXPECT_EQ(patched("{list: [a]}"), "{list: [\"first\", a, \"5\"], \"new\": true}");
	EXPECT_EQ(patched("a: b\n"), "a: b\nlist:\n- first\n- \"5\"\nnew: true\n");
	EXPECT_EQ(patched("list:\na: |\n  x\n"), "list: [\"first\",\"5\"]\na: |\n  x\nnew: true\n");
}

TEST(Yaml, EachDocumentIsPatched)
{
	EXPECT_EQ(patched("a: b\n---\nlist: [x]\n...\n"),
		  "a: b\nlist:\n- first\n- \"5\"\nnew: true\n---\nlist: [\"first\", x, "
		  "\"5\"]\nnew: true\n...\n");
}

TEST(Yaml, CharactersAreNotBytes)
{
	EXPECT_EQ(patched("ü: é\nlist: [ö]\n"), "ü: é\nlist: [\"first\", ö, \"5\"]\nnew: true\n");
	EXPECT_EQ(patched("\xef\xbb\xbflist: [a]\n"),
		  "\xef\xbb\xbflist: [\"first\", a, \"5\"]\nnew: true\n");
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
	struct config_error err = {};
	std::string text = "{a: 53, b: '53', c: yes, d: off, e: ~, f: null, g: 1.5, h: 12:30, i: "
			   "-x, j: \"true\"}";
	json item(yaml_parse("t", text.data(), text.size(), &err));
	char *printed = cJSON_PrintUnformatted(item.get());

	EXPECT_STREQ(
		printed,
		R"({"a":53,"b":"53","c":true,"d":false,"e":null,"f":null,"g":1.5,"h":"12:30","i":"-x","j":"true"})");
	free(printed);
}

TEST(Yaml, PrintsWhatItReads)
{
	json item(cJSON_Parse(
		R"({"a":["x",{"k":"yes","l":[]},["n"]],"b":{},"c":"5","d":"a: b","e":true,"k.io/x":null})"));
	struct text out = {};
	struct config_error err = {};

	yaml_print(&out, item.get(), 0);
	char *text = text_take(&out);
	json again(yaml_parse("t", text, strlen(text), &err));
	EXPECT_TRUE(cJSON_Compare(item.get(), again.get(), true)) << text;
	free(text);
}

} // namespace

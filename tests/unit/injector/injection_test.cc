// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/injector/corpus.h"

namespace
{

const std::string start =
	R"({"version":3,"defaults":{"backend":"auto","hugepages":"auto","resource":"",)"
	R"("requests":{},"limits":{},"guaranteed":{"cpu":"1","memory":"1Mi"}},)"
	R"("inherit":[],"nodePorts":"","hugepages":[],"node":false,)";

std::string error_of(const std::string &text)
{
	struct error err = {};
	injection_ptr injection(injection_parse("t", text.data(), text.size(), &err));

	return injection ? "" : err.text;
}

TEST(Injection, BuiltInIsWhole)
{
	injection_ptr injection = load_injection(false);

	ASSERT_TRUE(injection);
	EXPECT_GT(injection->count, 15u);
	EXPECT_FALSE(injection->node);
}

TEST(Injection, TakesYamlAndConfigMaps)
{
	std::string document = start + R"("operations":[]})", quoted;

	EXPECT_EQ(error_of(document), "");
	EXPECT_EQ(error_of("# yaml\nversion: 3\ndefaults: {backend: auto, hugepages: auto, "
			   "resource: '', requests: {}, limits: {}, guaranteed: {cpu: '1', "
			   "memory: 1Mi}}\ninherit: []\nnodePorts: '1'\n"
			   "hugepages: []\nnode: false\noperations: []\n"),
		  "");
	for (char c : document)
		quoted += c == '"' ? std::string("\\\"") : std::string(1, c);
	EXPECT_EQ(error_of(R"({"kind":"ConfigMap","data":{"injection.json":")" + quoted + "\"}}"),
		  "");
}

TEST(Injection, RefusesWhatItDoesNotUnderstand)
{
	EXPECT_NE(error_of(""), "");
	EXPECT_NE(error_of(R"({"version":1})").find("version 3"), std::string::npos);
	EXPECT_NE(error_of(start + "}").find("operations"), std::string::npos);
	EXPECT_NE(error_of(start + R"("operations":[{"path":"/x","value":1,"if":["vfoi"]}]})")
			  .find("unknown condition"),
		  std::string::npos);
	EXPECT_NE(error_of(start + R"("operations":[{"path":"x","value":1}]})").find("path"),
		  std::string::npos);
	EXPECT_NE(error_of(start + R"("operations":[{"path":"/x"}]})").find("value"),
		  std::string::npos);
	EXPECT_NE(error_of(start + R"("operations":[{"path":"/x","value":1,"if":["preload"]}]})")
			  .find("without \"each\""),
		  std::string::npos);
	for (const char *wrong :
	     {R"("prepend":"A","value":"x")", R"("each":"container","prepend":"A","value":1)",
	      R"("each":"container","prepend":"A","value":"x","path":"$(container)/env")"})
		EXPECT_NE(error_of(start + R"("operations":[{)" + wrong + "}]}").find("prepend"),
			  std::string::npos)
			<< wrong;
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
/* Annotation udplane.io/preload: what it selects, what LD_PRELOAD becomes, and what is refused. The
 * corpus has whole manifests of the same, which tests/e2e gives to the API server's policy, too. */
#include <gtest/gtest.h>

#include "deploy/injector/check.h"
#include "deploy/injector/patch.h"
#include "deploy/injector/preload.h"
#include "tests/unit/injector/corpus.h"

namespace
{

const std::string library = "/run/udplane/lib/libudplane-preload.so";

json parse(const std::string &text)
{
	json item(cJSON_Parse(text.c_str()));

	EXPECT_TRUE(item) << text;
	return item;
}

/* A pod with the annotation, an init container "once" and the containers "app" and "udplane-x". */
json pod_of(const std::string &value, const std::string &env = "", const std::string &more = "")
{
	const std::string ours = R"("restartPolicy":"Always","volumeMounts":[{"name":"udplane",)"
				 R"("mountPath":"/run/udplane"}]},)";

	return parse(
		R"({"metadata":{"annotations":{"udplane.io/ports":"53","udplane.io/preload":")" +
		value + R"("}},"spec":{)" + more + R"("initContainers":[{"name":"udplane",)" +
		ours +
		R"({"name":"once"},)"
		R"({"name":"udplane-metrics",)" +
		ours.substr(0, ours.size() - 1) +
		R"(],)"
		R"("containers":[{"name":"app")" +
		(env.empty() ? "" : R"(,"env":)" + env) + R"(},{"name":"udplane-x"}]}})");
}

std::string refusal(const cJSON *pod, const std::string &value)
{
	struct error err = {};
	int ret = preload_check(pod, value.c_str(), &err);

	EXPECT_TRUE(ret == 0 || ret == -EINVAL);
	return ret ? err.text : "";
}

const cJSON *container(const json &pod, const char *list, int index)
{
	return cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(pod.get(), "spec"), list),
				  index);
}

/* The values of a variable in a container, each followed by ";". */
std::string values_of(const cJSON *container, const std::string &name)
{
	std::string all;
	const cJSON *item;

	cJSON_ArrayForEach(item, cJSON_GetObjectItem(container, "env")) {
		const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(item, "value"));

		if (name == cJSON_GetStringValue(cJSON_GetObjectItem(item, "name")))
			all += std::string(value ? value : "(none)") + ";";
	}
	return all;
}

bool is_mounted(const cJSON *container)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, cJSON_GetObjectItem(container, "volumeMounts")) {
		if (!strcmp(cJSON_GetObjectItem(item, "mountPath")->valuestring, "/run/udplane"))
			return true;
	}
	return false;
}

void inject(json &pod)
{
	injection_ptr injection = load_injection(false);
	struct error err = {};

	ASSERT_EQ(check_pod(injection.get(), pod.get(), &err), 0) << err.text;
	json patch(patch_make(injection.get(), pod.get()));
	ASSERT_EQ(patch_apply(pod.get(), patch.get()), 0);
}

/* What LD_PRELOAD of "app" becomes when its "env" is that. */
std::string preloaded(const std::string &env)
{
	json pod = pod_of("app", env);

	inject(pod);
	std::string once = values_of(container(pod, "containers", 0), "LD_PRELOAD");
	inject(pod);
	EXPECT_EQ(values_of(container(pod, "containers", 0), "LD_PRELOAD"), once);
	return once;
}

TEST(Preload, SelectsByNameAndStar)
{
	json app = parse(R"({"name":"app"})"), nameless = parse(R"({"image":"app"})");

	for (const char *value : {"app", " app ", "x,app", "x,\tapp\n,y", "*", "x,*", "app,app"})
		EXPECT_TRUE(preload_selects(value, app.get())) << value;
	for (const char *value : {"", " ", ",", "ap", "apps", "x", "**", "a pp", "App"})
		EXPECT_FALSE(preload_selects(value, app.get())) << value;
	EXPECT_FALSE(preload_selects(nullptr, app.get()));
	EXPECT_FALSE(preload_selects("*", nameless.get()));
}

TEST(Preload, FindsTheFileInAnyFolder)
{
	for (const char *list :
	     {"f.so", "/f.so", "/a/f.so", "x:f.so", "x f.so", "/a/f.so:y", ":f.so:", "  /b/f.so"})
		EXPECT_TRUE(preload_lists(list, "f.so")) << list;
	for (const char *list : {"", ":", "xf.so", "f.so.1", "/f.so/x", "f", "so:f", "/a/xf.so"})
		EXPECT_FALSE(preload_lists(list, "f.so")) << list;
}

TEST(Preload, TakesEveryFormOfAList)
{
	json pod = pod_of("*");

	for (const char *value :
	     {"*", " * ", "app", "app,once", "app , once", "app,app", "*,app", "udplane-x"})
		EXPECT_EQ(refusal(pod.get(), value), "") << value;
}

TEST(Preload, RefusesWithItemAndContainers)
{
	const std::string allowed =
		"; allowed: *, or a comma-separated list of app, udplane-x, once";
	const std::string head = "annotation udplane.io/preload: ";
	json pod = pod_of("*");

	EXPECT_EQ(refusal(pod.get(), ""), head + "\"\": empty" + allowed);
	EXPECT_EQ(refusal(pod.get(), " "), head + "\" \": empty" + allowed);
	EXPECT_EQ(refusal(pod.get(), "ap"), head + "\"ap\": no container of this pod" + allowed);
	EXPECT_EQ(refusal(pod.get(), ",app"), head + "\",app\": item 1 \"\": empty item" + allowed);
	EXPECT_EQ(refusal(pod.get(), "app,App"),
		  head + "\"app,App\": item 2 \"App\": no container of this pod" + allowed);
	EXPECT_EQ(refusal(pod.get(), "*,x"),
		  head + "\"*,x\": item 2 \"x\": no container of this pod" + allowed);
	for (const char *ours : {"udplane", "udplane-metrics"})
		EXPECT_EQ(refusal(pod.get(), ours),
			  head + "\"" + ours + "\": no container of this pod" + allowed);
}

TEST(Preload, RefusesWhatIsTooLong)
{
	std::string fits = "app" + std::string(PRELOAD_VALUE_MAX - 3, ' ');
	json pod = pod_of("*");

	EXPECT_EQ(refusal(pod.get(), fits), "");
	EXPECT_NE(refusal(pod.get(), fits + " ").find("...\": too long; allowed: "),
		  std::string::npos);
}

TEST(Preload, NamesNoMoreContainersThanFit)
{
	std::string list;

	for (int i = 0; i < 20; i++)
		list += (i ? ",{\"name\":\"" : "{\"name\":\"") + std::string(62, 'a') +
			(char)('a' + i) + "\"}";
	json pod = parse(R"({"spec":{"containers":[)" + list + "]}}");
	std::string text = refusal(pod.get(), "x");

	EXPECT_NE(text.find("a comma-separated list of aaa"), std::string::npos) << text;
	EXPECT_LT(text.size(), sizeof(error::text));
}

TEST(Preload, RefusesAValueFromElsewhereOnlyWhereItCounts)
{
	const char *from = R"([{"name":"LD_PRELOAD","valueFrom":{"configMapKeyRef":{}}}])";
	const char *hidden = R"([{"name":"LD_PRELOAD","valueFrom":{"configMapKeyRef":{}}},)"
			     R"({"name":"LD_PRELOAD","value":"/x.so"}])";

	EXPECT_EQ(refusal(pod_of("", from).get(), "once,app"),
		  "annotation udplane.io/preload: \"once,app\": container \"app\" takes LD_PRELOAD "
		  "from elsewhere (valueFrom), so the library cannot be put in front of it; "
		  "allowed: containers that set it by value, or not at all");
	EXPECT_EQ(refusal(pod_of("", from).get(), "once"), "");
	EXPECT_EQ(refusal(pod_of("", hidden).get(), "app"), "");
	EXPECT_EQ(refusal(pod_of("", R"([{"name":"LD_PRELOAD","valueFrom":null}])").get(), "app"),
		  "");
}

TEST(Preload, IsPutInFrontOfWhatIsThere)
{
	EXPECT_EQ(preloaded(""), library + ";");
	EXPECT_EQ(preloaded("[]"), library + ";");
	EXPECT_EQ(preloaded(R"([{"name":"A","value":"1"}])"), library + ";");
	EXPECT_EQ(preloaded(R"([{"name":"LD_PRELOAD","value":"/x.so"}])"), library + ":/x.so;");
	EXPECT_EQ(preloaded(R"([{"name":"A"},{"name":"LD_PRELOAD","value":"/x.so /y.so"}])"),
		  library + ":/x.so /y.so;");
	for (const char *empty : {"", R"(,"value":"")", R"(,"value":null)"})
		EXPECT_EQ(preloaded(R"([{"name":"LD_PRELOAD")" + std::string(empty) + "}]"),
			  library + ";");
	EXPECT_EQ(preloaded(R"([{"name":"LD_PRELOAD","value":"/o/libudplane-preload.so"}])"),
		  "/o/libudplane-preload.so;");
	EXPECT_EQ(preloaded(R"([{"name":"LD_PRELOAD","value":"/o/libudplane-preload.so"},)"
			    R"({"name":"LD_PRELOAD","value":"/x.so"}])"),
		  "/o/libudplane-preload.so;" + library + ":/x.so;");
}

TEST(Preload, StarIsAllContainersButOurs)
{
	json pod = pod_of("*");

	inject(pod);
	for (const cJSON *own : {container(pod, "containers", 0), container(pod, "containers", 1),
				 container(pod, "initContainers", 1)}) {
		SCOPED_TRACE(cJSON_GetObjectItem(own, "name")->valuestring);
		EXPECT_EQ(values_of(own, "LD_PRELOAD"), library + ";");
		EXPECT_EQ(values_of(own, "UDPLANE_SOCKET"), "/run/udplane/udplane.sock;");
		EXPECT_TRUE(is_mounted(own));
	}
	for (int ours : {0, 2})
		EXPECT_FALSE(cJSON_GetObjectItem(container(pod, "initContainers", ours), "env"));
}

TEST(Preload, OthersGetTheSocketAtMost)
{
	json pod = pod_of("app");

	inject(pod);
	EXPECT_TRUE(is_mounted(container(pod, "containers", 1)));
	EXPECT_EQ(values_of(container(pod, "containers", 1), "LD_PRELOAD"), "");
	EXPECT_FALSE(is_mounted(container(pod, "initContainers", 1)));
	EXPECT_FALSE(cJSON_GetObjectItem(container(pod, "initContainers", 1), "env"));
}

TEST(Preload, OnAnExistingPodSaysWhoRunsWithoutIt)
{
	json pod = pod_of("udplane-x,app");
	struct config_warnings notes = {};

	check_notes(pod.get(), nullptr, &notes);
	EXPECT_EQ(notes.count, 0u);
	check_notes(pod.get(), pod.get(), &notes);
	ASSERT_EQ(notes.count, 1u);
	EXPECT_STREQ(notes.entry[0].text,
		     "annotation udplane.io/preload: container \"app\" runs without the library, "
		     "which comes at a pod's creation; annotate the template of its Deployment (or "
		     "the like) instead");
	inject(pod);
	check_notes(pod.get(), pod.get(), &notes);
	EXPECT_EQ(notes.count, 1u);
}

TEST(Preload, WrongTypesAreLeftToTheApiServer)
{
	for (const char *env : {"{}", "7", "[7,null]", R"([{"name":7}])", R"(["LD_PRELOAD"])"})
		EXPECT_EQ(refusal(pod_of("", env).get(), "app"), "") << env;
	json pod = pod_of("app", R"([{"name":"LD_PRELOAD","value":7}])");
	inject(pod);
	EXPECT_EQ(values_of(container(pod, "containers", 0), "LD_PRELOAD"), "(none);");
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
/* Every manifest of the corpus through `udplane-injector patch`, with the chart's default values
 * and with everything on. */
#include <gtest/gtest.h>

#include <algorithm>

#include "deploy/injector/check.h"
#include "deploy/injector/manifest.h"
#include "deploy/injector/patch.h"
#include "deploy/injector/yaml.h"
#include "tests/unit/injector/corpus.h"

namespace
{

struct result {
	bool done;
	std::string text, error;
	struct manifest_counts counts;
};

result run(const struct injection *injection, const std::string &text)
{
	struct config_warnings notes = {};
	struct error err = {};
	result result = {};
	char *out = manifest_patch(injection, "manifest", text.c_str(), text.size(), nullptr,
				   &result.counts, &notes, &err);

	result.done = out != nullptr;
	if (out)
		result.text = out;
	else
		result.error = err.text;
	free(out);
	return result;
}

json parse(const std::string &text)
{
	struct error err = {};

	return json(yaml_parse("out", text.c_str(), text.size(), &err));
}

const cJSON *at(const cJSON *item, std::initializer_list<const char *> path)
{
	for (const char *name : path)
		item = cJSON_GetObjectItemCaseSensitive(item, name);
	return item;
}

class Corpus : public testing::TestWithParam<bool>
{
      protected:
	injection_ptr injection = load_injection(GetParam());

	void SetUp() override
	{
		ASSERT_TRUE(injection);
	}
};

TEST_P(Corpus, TextAndPatchGiveTheSamePod)
{
	for (const std::string &file : files_of("pods")) {
		SCOPED_TRACE(file);
		std::string text = read_file(file);
		result result = run(injection.get(), text);
		ASSERT_TRUE(result.done) << result.error;
		EXPECT_EQ(result.counts.injected, 1u);

		json pod = parse(text), patched = parse(result.text);
		ASSERT_TRUE(pod && patched) << result.text;
		json patch(patch_make(injection.get(), pod.get()));
		ASSERT_EQ(patch_apply(pod.get(), patch.get()), 0);
		EXPECT_TRUE(cJSON_Compare(pod.get(), patched.get(), true)) << result.text;
	}
}

TEST_P(Corpus, InjectedPodsGetNothingAgain)
{
	for (const char *folder : {"pods", "workloads"}) {
		for (const std::string &file : files_of(folder)) {
			SCOPED_TRACE(file);
			result once = run(injection.get(), read_file(file));
			ASSERT_TRUE(once.done) << once.error;
			result twice = run(injection.get(), once.text);
			EXPECT_EQ(twice.text, once.text);
			EXPECT_EQ(twice.counts.injected, 0u);
		}
	}
}

TEST_P(Corpus, SidecarIsFirstAndMounted)
{
	for (const std::string &file : files_of("pods")) {
		SCOPED_TRACE(file);
		json pod = parse(run(injection.get(), read_file(file)).text);
		const cJSON *sidecar =
			cJSON_GetArrayItem(at(pod.get(), {"spec", "initContainers"}), 0);
		const cJSON *container;

		EXPECT_STREQ(cJSON_GetStringValue(at(sidecar, {"name"})), "udplane");
		EXPECT_STREQ(cJSON_GetStringValue(at(sidecar, {"restartPolicy"})), "Always");
		EXPECT_TRUE(at(pod.get(), {"metadata", "annotations",
					   "kubectl.kubernetes.io/default-container"}));
		cJSON_ArrayForEach(container, at(pod.get(), {"spec", "containers"})) {
			const cJSON *mount;
			int mounts = 0;

			cJSON_ArrayForEach(mount, at(container, {"volumeMounts"}))
				mounts += !strcmp(at(mount, {"mountPath"})->valuestring,
						  "/run/udplane");
			EXPECT_EQ(mounts, 1) << at(container, {"name"})->valuestring;
		}
	}
}

TEST_P(Corpus, OthersStayByteForByte)
{
	for (const std::string &file : files_of("untouched")) {
		SCOPED_TRACE(file);
		std::string text = read_file(file);
		result result = run(injection.get(), text);
		EXPECT_TRUE(result.done) << result.error;
		EXPECT_EQ(result.text, text);
		EXPECT_EQ(result.counts.injected, 0u);
	}
}

TEST_P(Corpus, EveryWorkloadHasItsPodInjected)
{
	for (const std::string &file : files_of("workloads")) {
		SCOPED_TRACE(file);
		result result = run(injection.get(), read_file(file));
		ASSERT_TRUE(result.done) << result.error;
		EXPECT_GE(result.counts.pods, 1u);
		EXPECT_EQ(result.counts.injected, result.counts.pods);
	}
}

INSTANTIATE_TEST_SUITE_P(Values, Corpus, testing::Bool(),
			 [](const auto &info) { return info.param ? "Full" : "Default"; });

TEST(Denied, SaysWhatWhereAndWhatIsAllowed)
{
	injection_ptr injection = load_injection(false);

	for (const std::string &file : files_of("denied")) {
		SCOPED_TRACE(file);
		std::string text = read_file(file);
		size_t start = text.find("# denied: ") + 10;
		std::string expected = text.substr(start, text.find('\n', start) - start);
		json pod = parse(text);
		struct error err = {};

		ASSERT_TRUE(pod && check_concerned(pod.get()));
		EXPECT_EQ(check_pod(injection.get(), pod.get(), &err), -EINVAL);
		EXPECT_EQ(std::string(err.text), expected);
		EXPECT_FALSE(run(injection.get(), text).done);
	}
}

TEST(Node, HostNetworkGetsTheNodesVolumeAndNoSidecar)
{
	injection_ptr injection = load_injection(true);
	json pod = parse(
		run(injection.get(), read_file(corpus_root + "corpus/denied/host-network.yaml"))
			.text);
	const cJSON *volume = cJSON_GetArrayItem(at(pod.get(), {"spec", "volumes"}), 0);

	ASSERT_TRUE(pod);
	EXPECT_FALSE(at(pod.get(), {"spec", "initContainers"}));
	EXPECT_STREQ(cJSON_GetStringValue(at(volume, {"hostPath", "path"})), "/run/udplane");
}

TEST(Vfio, AddsTheResourceAndTheTunDevice)
{
	injection_ptr injection = load_injection(false);
	json pod =
		parse(run(injection.get(), read_file(corpus_root + "corpus/pods/backend-vfio.yaml"))
			      .text);
	const cJSON *sidecar = cJSON_GetArrayItem(at(pod.get(), {"spec", "initContainers"}), 0);

	for (const char *list : {"requests", "limits"})
		EXPECT_STREQ(cJSON_GetStringValue(
				     at(sidecar, {"resources", list, "intel.com/sriov_vfio"})),
			     "1");
	json capabilities(
		cJSON_Duplicate(at(sidecar, {"securityContext", "capabilities", "add"}), true));
	EXPECT_EQ(cJSON_GetArraySize(capabilities.get()), 2);
	EXPECT_EQ(cJSON_GetArraySize(at(sidecar, {"volumeMounts"})), 4);
}

TEST(Hugepages, AreRequestedWhenRequiredOnly)
{
	injection_ptr injection = load_injection(false);
	json required = parse(
		run(injection.get(), read_file(corpus_root + "corpus/pods/backend-af-xdp.yaml"))
			.text);
	json plain =
		parse(run(injection.get(), read_file(corpus_root + "corpus/pods/plain.yaml")).text);
	auto request = [](const json &pod) {
		return at(cJSON_GetArrayItem(at(pod.get(), {"spec", "initContainers"}), 0),
			  {"resources", "requests", "hugepages-2Mi"});
	};

	EXPECT_STREQ(cJSON_GetStringValue(request(required)), "64Mi");
	EXPECT_FALSE(request(plain));
}

TEST(Changed, SaysWhenItTakesEffect)
{
	injection_ptr injection = load_injection(false);
	std::string plain = read_file(corpus_root + "corpus/pods/plain.yaml");
	json old = parse(run(injection.get(), plain).text), pod(cJSON_Duplicate(old.get(), true));
	cJSON *notes_of =
		cJSON_GetObjectItem(cJSON_GetObjectItem(pod.get(), "metadata"), "annotations");
	struct config_warnings notes = {};

	cJSON_AddStringToObject(notes_of, "udplane.io/mode", "latency");
	cJSON_AddStringToObject(notes_of, "udplane.io/memory", "1Gi");
	cJSON_AddStringToObject(notes_of, "udplane.io/inject", "true");
	check_notes(pod.get(), old.get(), &notes);
	ASSERT_EQ(notes.count, 2u);
	EXPECT_STREQ(notes.entry[0].text,
		     "annotation udplane.io/mode: takes effect when the sidecar starts again");
	EXPECT_STREQ(notes.entry[1].text,
		     "annotation udplane.io/memory: takes effect when the pod is created again");
	notes = {};
	check_notes(old.get(), pod.get(), &notes);
	EXPECT_EQ(notes.count, 2u);
}

std::string notes_of(const std::string &text, const char *const *paths, unsigned int *injected)
{
	injection_ptr injection = load_injection(false);
	struct config_warnings notes = {};
	struct manifest_counts counts = {};
	struct error err = {};
	char *out = manifest_patch(injection.get(), "manifest", text.c_str(), text.size(), paths,
				   &counts, &notes, &err);
	std::string all = out ? "" : err.text;

	free(out);
	for (unsigned int i = 0; i < notes.count; i++)
		all += notes.entry[i].text;
	*injected = counts.injected;
	return all;
}

TEST(Kinds, UnknownOnesNeedAPathAndAreNamed)
{
	const std::string custom =
		"apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\n"
		"spec: {pods: {inner: {metadata: {annotations: {udplane.io/ports: '53'}}, "
		"spec: {containers: [{name: a, image: x}]}}}}\n";
	const char *const path[] = {"spec.pods.inner", nullptr};
	const char *const wrong[] = {"spec.template", nullptr};
	unsigned int injected;

	EXPECT_EQ(notes_of(custom, path, &injected), "");
	EXPECT_EQ(injected, 1u);
	for (const char *const *none : {(const char *const *)nullptr, (const char *const *)wrong}) {
		EXPECT_EQ(notes_of(custom, none, &injected),
			  "Thing t: left alone: no place of a pod template is known for this kind; "
			  "name it by --pod-path, such as spec.template");
		EXPECT_EQ(injected, 0u);
	}
	/* a kind of the same name in another group */
	EXPECT_EQ(notes_of("apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"
			   "spec: {ports: [{port: 53}]}\n",
			   nullptr, &injected),
		  "");
}

TEST(Kinds, AnnotationsOfTheWorkloadItselfAreNoted)
{
	unsigned int injected;

	EXPECT_EQ(notes_of("apiVersion: apps/v1\nkind: Deployment\n"
			   "metadata: {name: d, annotations: {udplane.io/ports: '53'}}\n"
			   "spec: {template: {spec: {containers: [{name: a, image: x}]}}}\n",
			   nullptr, &injected),
		  "Deployment d: annotation udplane.io/ports: without effect on the Deployment "
		  "itself; allowed: on its pod template");
	EXPECT_EQ(injected, 0u);
}

TEST(Node, PortsThatTheNodesDoNotDivertAreDenied)
{
	injection_ptr injection = load_injection(true);
	struct error err = {};

	for (const char *ports : {"53", "1-29999", " 61000-65535 ,53", "29999,61000"}) {
		json pod =
			parse(std::string("{metadata: {annotations: {udplane.io/ports: '") + ports +
			      "'}}, spec: {hostNetwork: true, containers: [{name: a}]}}");
		EXPECT_EQ(check_pod(injection.get(), pod.get(), &err), 0) << err.text;
	}
	for (const char *ports : {"30000", "29999-30000", "1-65535", "53,40000"}) {
		json pod =
			parse(std::string("{metadata: {annotations: {udplane.io/ports: '") + ports +
			      "'}}, spec: {hostNetwork: true, containers: [{name: a}]}}");
		EXPECT_EQ(check_pod(injection.get(), pod.get(), &err), -EINVAL) << ports;
		EXPECT_TRUE(strstr(err.text, "not among the ports that the nodes divert; allowed: "
					     "within one of 1-29999,61000-65535"))
			<< err.text;
	}
}

} // namespace

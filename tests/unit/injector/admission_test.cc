// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "deploy/injector/admission.h"
#include "tests/unit/injector/corpus.h"

namespace
{

const char pod[] = R"({"metadata":{"name":"p","annotations":{"udplane.io/ports":"53"}},)"
		   R"("spec":{"containers":[{"name":"a"}]}})";

std::string review_of(const std::string &object, const std::string &operation = "CREATE")
{
	return R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","namespace":"n",)"
	       R"("kind":{"group":"","version":"v1","kind":"Pod"},"operation":")" +
	       operation + R"(","object":)" + object + "}}";
}

class Admission : public testing::Test
{
      protected:
	injection_ptr injection = load_injection(false);
	struct bounds limit = {ADMISSION_VALUES, ADMISSION_DEPTH};
	struct admission admission = {};
	json response;

	const cJSON *review(const std::string &body)
	{
		free(admission.response);
		admission_review(injection.get(), &limit, body.data(), body.size(), &admission);
		response.reset(cJSON_Parse(admission.response ? admission.response : ""));
		return cJSON_GetObjectItemCaseSensitive(response.get(), "response");
	}
	void TearDown() override
	{
		free(admission.response);
	}
};

TEST_F(Admission, InjectsAnAnnotatedPod)
{
	const cJSON *answer = review(review_of(pod));

	EXPECT_EQ(admission.result, ADMISSION_INJECTED);
	EXPECT_STREQ(admission.pod, "n/p");
	EXPECT_STREQ(cJSON_GetObjectItem(answer, "uid")->valuestring, "u-1");
	EXPECT_TRUE(cJSON_IsTrue(cJSON_GetObjectItem(answer, "allowed")));
	EXPECT_STREQ(cJSON_GetObjectItem(answer, "patchType")->valuestring, "JSONPatch");
	/* base64 of [{"op":"add" */
	EXPECT_EQ(std::string(cJSON_GetObjectItem(answer, "patch")->valuestring).substr(0, 18),
		  "W3sib3AiOiJhZGQiLC");
}

TEST_F(Admission, DeniesABadAnnotation)
{
	std::string bad = pod;
	bad.replace(bad.find("53"), 2, "0");
	const cJSON *answer = review(review_of(bad));

	EXPECT_EQ(admission.result, ADMISSION_DENIED);
	EXPECT_TRUE(cJSON_IsFalse(cJSON_GetObjectItem(answer, "allowed")));
	EXPECT_FALSE(cJSON_GetObjectItem(answer, "patch"));
	EXPECT_STREQ(
		cJSON_GetObjectItem(cJSON_GetObjectItem(answer, "status"), "message")->valuestring,
		"annotation udplane.io/ports: \"0\": out of range; allowed: ports 1-65535 and "
		"ranges "
		"LOW-HIGH, comma-separated");
}

TEST_F(Admission, ChecksButDoesNotPatchAnUpdate)
{
	const cJSON *answer = review(review_of(pod, "UPDATE"));

	EXPECT_EQ(admission.result, ADMISSION_UNCHANGED);
	EXPECT_FALSE(cJSON_GetObjectItem(answer, "patch"));
	EXPECT_EQ(cJSON_GetArraySize(cJSON_GetObjectItem(answer, "warnings")), 1);
}

TEST_F(Admission, LeavesOthersAlone)
{
	for (const std::string &body :
	     {review_of(R"({"metadata":{},"spec":{"containers":[{"name":"a"}]}})"),
	      review_of("null"), review_of(pod, "DELETE"),
	      review_of(R"({"metadata":{"annotations":["udplane.io/ports"]}})")}) {
		const cJSON *answer = review(body);

		EXPECT_EQ(admission.result, ADMISSION_UNCHANGED) << body;
		EXPECT_TRUE(cJSON_IsTrue(cJSON_GetObjectItem(answer, "allowed")));
		EXPECT_FALSE(cJSON_GetObjectItem(answer, "patch"));
	}
}

TEST_F(Admission, RefusesWhatIsNoReview)
{
	std::string whole = review_of(pod);

	for (const std::string &body :
	     {std::string(), std::string("{}"), std::string("[]"), std::string("null"),
	      whole.substr(0, 50),
	      std::string(R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"})"),
	      std::string(
		      R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":7}})"),
	      std::string(
		      R"({"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"x"}})")}) {
		review(body);
		EXPECT_EQ(admission.result, ADMISSION_MALFORMED) << body;
		EXPECT_FALSE(admission.response);
		EXPECT_TRUE(*admission.message);
	}
}

TEST_F(Admission, PodsWithWrongTypesAreLeftToTheApiServer)
{
	for (const char *spec : {"{}", "[]", "null", R"({"containers":[]})",
				 R"({"containers":[7]})", R"({"containers":{"name":"a"}})"}) {
		review(review_of(
			std::string(
				R"({"metadata":{"annotations":{"udplane.io/ports":"53"}},"spec":)") +
			spec + "}"));
		EXPECT_EQ(admission.result, ADMISSION_UNCHANGED) << spec;
	}
}

TEST_F(Admission, RefusesWhatIsTooLargeBeforeItIsParsed)
{
	std::string arguments, deep(ADMISSION_DEPTH + 1, '[');

	for (int i = 0; i < ADMISSION_VALUES; i++)
		arguments += ",\"\"";
	for (const std::string &body :
	     {review_of(R"({"spec":{"containers":[{"name":"a","args":[0)" + arguments + "]}]}}"),
	      "[0" + arguments + "]", deep}) {
		review(body);
		EXPECT_EQ(admission.result, ADMISSION_TOO_LARGE);
		EXPECT_FALSE(admission.response);
		EXPECT_TRUE(strstr(admission.message, "more than")) << admission.message;
	}
	limit.values = 13;
	review(review_of(R"({"metadata":"[,[,[,{,,,"})"));
	EXPECT_EQ(admission.result, ADMISSION_UNCHANGED);
	limit.values = 12;
	review(review_of(R"({"metadata":"[,[,[,{,,,"})"));
	EXPECT_EQ(admission.result, ADMISSION_TOO_LARGE);
}

TEST_F(Admission, DeniesMoreContainersThanAPatchHasRoomFor)
{
	std::string one = R"({"name":"a"})", containers = one;

	for (int i = 1; i < ADMISSION_CONTAINERS; i++)
		containers += "," + one;
	std::string head =
		R"({"metadata":{"annotations":{"udplane.io/ports":"53"}},"spec":{"containers":[)";
	review(review_of(head + containers + "]}}"));
	EXPECT_EQ(admission.result, ADMISSION_INJECTED);
	review(review_of(head + containers + R"(],"initContainers":[)" + one + "]}}"));
	EXPECT_EQ(admission.result, ADMISSION_DENIED);
	EXPECT_STREQ(admission.message,
		     "the pod has 257 containers; at most 256 can be given the library");
}

/* A patch has a copy of it. */
TEST_F(Admission, DeniesMoreOfLdPreloadThanAPatchHasRoomFor)
{
	std::string head =
		R"({"metadata":{"annotations":{"udplane.io/ports":"53","udplane.io/preload":"a"}},)"
		R"("spec":{"containers":[{"name":"a","env":[{"name":"LD_PRELOAD","value":")";
	std::string list(ADMISSION_LISTS, 'x'), tail = R"("}]},{"name":"b"}]}})";

	review(review_of(head + list + tail));
	EXPECT_EQ(admission.result, ADMISSION_INJECTED);
	review(review_of(head + list + "x" + tail));
	EXPECT_EQ(admission.result, ADMISSION_DENIED);
	EXPECT_STREQ(admission.message,
		     "the LD_PRELOAD of the pod's containers has 65537 bytes; at most 65536 can be "
		     "given the library");
}

/* Otherwise each of 8192 names would be looked for among all of them. */
TEST_F(Admission, CountsContainersBeforeItLooksForThem)
{
	std::string containers, value = "z";

	for (int i = 0; i < 30000; i++)
		containers += R"({"name":"a"},)";
	while (value.size() + 2 <= 16384)
		value += ",z";
	review(review_of(R"({"metadata":{"annotations":{"udplane.io/ports":"53",)"
			 R"("udplane.io/preload":")" +
			 value + R"("}},"spec":{"containers":[)" + containers +
			 R"({"name":"z"}]}})"));
	EXPECT_EQ(admission.result, ADMISSION_DENIED);
	EXPECT_STREQ(admission.message,
		     "the pod has 30001 containers; at most 256 can be given the library");
}

/* Its name would be in the patch, and more than once. */
TEST_F(Admission, AContainersNameThatIsNoneIsLeftToTheApiServer)
{
	review(review_of(
		R"({"metadata":{"annotations":{"udplane.io/ports":"53"}},"spec":{"containers":[{"name":")" +
		std::string(64, 'a') + "\"}]}}"));
	EXPECT_EQ(admission.result, ADMISSION_UNCHANGED);
}

} // namespace

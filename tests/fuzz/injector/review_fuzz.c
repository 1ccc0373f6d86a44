/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an AdmissionReview: there is an answer, it is JSON, and an injected pod would not be
 * injected again. */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/admission.h"
#include "deploy/injector/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pod_again(const struct injection *injection, const char *body, size_t len)
{
	cJSON *review = cJSON_ParseWithLength(body, len);
	cJSON *request = cJSON_GetObjectItemCaseSensitive(review, "request");
	cJSON *pod = cJSON_GetObjectItemCaseSensitive(request, "object");
	cJSON *patch = patch_make(injection, pod);

	if (patch_apply(pod, patch) == 0) {
		cJSON *again = patch_make(injection, pod);

		if (again && again->child)
			abort();
		cJSON_Delete(again);
	}
	cJSON_Delete(patch);
	cJSON_Delete(review);
}

static size_t count_values(const cJSON *item, unsigned int *depth, unsigned int at)
{
	size_t count = 1;
	const cJSON *child;

	if (cJSON_IsObject(item) || cJSON_IsArray(item))
		at++;
	if (at > *depth)
		*depth = at;
	cJSON_ArrayForEach(child, item)
		count += count_values(child, depth, at);
	return count;
}

/* What is measured beforehand is no less than what the parser makes, and no more for whole JSON. */
static void check_count(const char *data, size_t size)
{
	static const struct bounds all = {.values = SIZE_MAX, .depth = UINT_MAX};
	struct bounds found = bounds_measure(data, size, &all);
	const char *end;
	cJSON *json = cJSON_ParseWithLengthOpts(data, size, &end, false);
	unsigned int depth = 0;
	size_t count;

	if (!json)
		return;
	count = count_values(json, &depth, 0);
	if (found.values < count || found.depth < depth)
		abort();
	if (end == data + size && (found.values != count || found.depth != depth))
		abort();
	cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Low ones, which a fuzzer's inputs reach. */
	static const struct bounds limit = {.values = 300, .depth = 20};
	static struct injection *injection;
	struct admission admission;
	cJSON *answer;

	if (!injection)
		injection = injection_default(NULL);
	check_count((const char *)data, size);
	admission_review(injection, &limit, (const char *)data, size, &admission);
	answer = cJSON_Parse(admission.response);
	if (!answer !=
	    (admission.result == ADMISSION_MALFORMED || admission.result == ADMISSION_TOO_LARGE))
		abort();
	if (admission.result == ADMISSION_INJECTED)
		check_pod_again(injection, (const char *)data, size);
	cJSON_Delete(answer);
	free(admission.response);
	return 0;
}

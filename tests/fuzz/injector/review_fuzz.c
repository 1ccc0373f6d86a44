// SPDX-License-Identifier: Apache-2.0
/* Any bytes as an AdmissionReview: there is an answer, it is JSON, and an injected pod would not be
 * injected again. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct injection *injection;
	struct admission admission;
	cJSON *answer;

	if (!injection)
		injection = injection_default(NULL);
	admission_review(injection, (const char *)data, size, &admission);
	answer = cJSON_Parse(admission.response);
	if (!answer != (admission.result == ADMISSION_MALFORMED))
		abort();
	if (admission.result == ADMISSION_INJECTED)
		check_pod_again(injection, (const char *)data, size);
	cJSON_Delete(answer);
	free(admission.response);
	return 0;
}

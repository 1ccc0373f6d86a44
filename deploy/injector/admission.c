/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/admission.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/check.h"
#include "deploy/injector/patch.h"
#include "deploy/injector/preload.h"

#define API_VERSION "admission.k8s.io/v1"
#define UID_MAX	    256

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *string(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(member(object, name));

	return text ? text : "";
}

static char *base64(const char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = (const unsigned char *)text;
	size_t len = strlen(text), i;
	char *out = malloc((len + 2) / 3 * 4 + 1), *at = out;

	if (!out)
		return NULL;
	for (i = 0; i < len; i += 3) {
		uint32_t bits = (uint32_t)in[i] << 16;

		if (i + 1 < len)
			bits |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < len)
			bits |= in[i + 2];
		*at++ = digits[bits >> 18];
		*at++ = digits[bits >> 12 & 63];
		*at++ = i + 1 < len ? digits[bits >> 6 & 63] : '=';
		*at++ = i + 2 < len ? digits[bits & 63] : '=';
	}
	*at = 0;
	return out;
}

static bool add_patch(cJSON *response, const cJSON *patch)
{
	char *text = cJSON_PrintUnformatted(patch);
	char *encoded = text ? base64(text) : NULL;
	bool done = encoded && cJSON_AddStringToObject(response, "patchType", "JSONPatch") &&
		    cJSON_AddStringToObject(response, "patch", encoded);

	free(encoded);
	free(text);
	return done;
}

static bool add_denial(cJSON *response, const char *message)
{
	cJSON *status = cJSON_AddObjectToObject(response, "status");

	return status && cJSON_AddStringToObject(status, "message", message) &&
	       cJSON_AddStringToObject(status, "reason", "Invalid") &&
	       cJSON_AddNumberToObject(status, "code", 422);
}

static bool add_notes(cJSON *response, const struct config_warnings *notes)
{
	unsigned int i;
	cJSON *list;

	if (!notes->count)
		return true;
	list = cJSON_AddArrayToObject(response, "warnings");
	for (i = 0; list && i < notes->count && i < CONFIG_WARNINGS_MAX; i++) {
		cJSON *note = cJSON_CreateString(notes->entry[i].text);

		if (!note || !cJSON_AddItemToArray(list, note)) {
			cJSON_Delete(note);
			return false;
		}
	}
	return list != NULL;
}

/* Returns the answer to a well-formed review as JSON text, which the caller frees, or NULL if out
 * of memory. patch: NULL if there is nothing to patch. */
static char *print_response(const char *uid, const struct admission *admission, const cJSON *patch,
			    const struct config_warnings *notes)
{
	bool denied = admission->result == ADMISSION_DENIED, done;
	cJSON *review = cJSON_CreateObject();
	cJSON *response = cJSON_AddObjectToObject(review, "response");
	char *text = NULL;

	done = response && cJSON_AddStringToObject(review, "apiVersion", API_VERSION) &&
	       cJSON_AddStringToObject(review, "kind", "AdmissionReview") &&
	       cJSON_AddStringToObject(response, "uid", uid) &&
	       cJSON_AddBoolToObject(response, "allowed", !denied) && add_notes(response, notes);
	if (done && denied)
		done = add_denial(response, admission->message);
	if (done && patch)
		done = add_patch(response, patch);
	if (done)
		text = cJSON_PrintUnformatted(review);
	cJSON_Delete(review);
	return text;
}

/* Each container adds to the patch, so the patch of a pod with very many containers would be many
 * times larger than the pod. */
static bool has_too_many_containers(const cJSON *pod, struct admission *admission)
{
	const cJSON *spec = member(pod, "spec");
	int count = cJSON_GetArraySize(member(spec, "containers"));
	int init = cJSON_GetArraySize(member(spec, "initContainers"));

	if (count <= ADMISSION_CONTAINERS && init <= ADMISSION_CONTAINERS - count)
		return false;
	config_print(admission->message, sizeof(admission->message),
		     "the pod has %lld containers; at most %d can be given the library",
		     (long long)count + init, ADMISSION_CONTAINERS);
	return true;
}

/* The patch has a copy of every LD_PRELOAD in front of which the library is put. */
static bool has_too_long_lists(const cJSON *pod, struct admission *admission)
{
	const cJSON *annotations = member(member(pod, "metadata"), "annotations");
	size_t len = preload_lists_len(
		pod, cJSON_GetStringValue(member(annotations, PRELOAD_ANNOTATION)));

	if (len <= ADMISSION_LISTS)
		return false;
	config_print(admission->message, sizeof(admission->message),
		     "the LD_PRELOAD of the pod's containers has %zu bytes; at most %d can be "
		     "given the library",
		     len, ADMISSION_LISTS);
	return true;
}

/* Patches a pod when it is created and checks it when it is updated. Allows everything else
 * unchanged. Returns the patch, which the caller deletes, or NULL if there is none. */
static cJSON *decide(const struct injection *injection, const cJSON *request,
		     struct admission *admission, struct config_warnings *notes)
{
	const cJSON *pod = member(request, "object"), *old;
	bool create = !strcmp(string(request, "operation"), "CREATE");
	bool update = !strcmp(string(request, "operation"), "UPDATE");
	struct error err;
	cJSON *patch;

	admission->result = ADMISSION_UNCHANGED;
	if (strcmp(string(member(request, "kind"), "kind"), "Pod") ||
	    *string(request, "subResource") || !cJSON_IsObject(pod) || (!create && !update) ||
	    !check_concerned(pod))
		return NULL;
	if (has_too_many_containers(pod, admission)) { /* first: it bounds what a check costs */
		admission->result = ADMISSION_DENIED;
		return NULL;
	}
	if (check_pod(injection, pod, &err)) {
		admission->result = ADMISSION_DENIED;
		config_print(admission->message, sizeof(admission->message), "%s", err.text);
		return NULL;
	}
	old = cJSON_IsObject(member(request, "oldObject")) ? member(request, "oldObject") : pod;
	check_notes(pod, update ? old : NULL, notes);
	if (update)
		return NULL;
	if (has_too_long_lists(pod, admission)) {
		admission->result = ADMISSION_DENIED;
		return NULL;
	}
	patch = patch_make(injection, pod);
	if (!patch)
		admission->result = ADMISSION_NO_MEMORY;
	else if (patch->child)
		admission->result = ADMISSION_INJECTED;
	if (admission->result == ADMISSION_INJECTED)
		return patch;
	cJSON_Delete(patch);
	return NULL;
}

static void name_pod(const cJSON *request, struct admission *admission)
{
	const cJSON *metadata = member(member(request, "object"), "metadata");
	const char *name = string(request, "name");

	if (!*name)
		name = string(metadata, "name");
	if (!*name)
		name = string(metadata, "generateName");
	config_print(admission->pod, sizeof(admission->pod), "%s/%s", string(request, "namespace"),
		     name);
}

static const char *wrong_review(const cJSON *review)
{
	const cJSON *request = member(review, "request");

	if (!review)
		return "the body is no JSON";
	if (strcmp(string(review, "kind"), "AdmissionReview") ||
	    strcmp(string(review, "apiVersion"), API_VERSION))
		return "not an AdmissionReview of " API_VERSION;
	if (!cJSON_IsObject(request))
		return "the review has no request";
	if (!*string(request, "uid") || strlen(string(request, "uid")) > UID_MAX)
		return "the request has no uid";
	return NULL;
}

/* Measures a review before any memory is allocated for it. */
static bool is_too_large(const struct bounds *limit, const char *body, size_t len,
			 struct admission *admission)
{
	struct bounds found = bounds_measure(body, len, limit);

	if (found.values > limit->values)
		config_print(admission->message, sizeof(admission->message),
			     "the review has more than %zu JSON values (udplane-injector's "
			     "--max-values, the chart's webhook.limits.values)",
			     limit->values);
	else if (found.depth > limit->depth)
		config_print(admission->message, sizeof(admission->message),
			     "the review has objects and arrays more than %u deep", limit->depth);
	else
		return false;
	admission->result = ADMISSION_TOO_LARGE;
	return true;
}

void admission_review(const struct injection *injection, const struct bounds *limit,
		      const char *body, size_t len, struct admission *admission)
{
	struct config_warnings notes = {0};
	cJSON *review, *patch;
	const cJSON *request;
	const char *wrong;

	memset(admission, 0, sizeof(*admission));
	if (is_too_large(limit, body, len, admission))
		return;
	review = cJSON_ParseWithLength(body, len);
	request = member(review, "request");
	wrong = wrong_review(review);
	if (wrong) {
		admission->result = ADMISSION_MALFORMED;
		config_print(admission->message, sizeof(admission->message), "%s", wrong);
		cJSON_Delete(review);
		return;
	}
	name_pod(request, admission);
	patch = decide(injection, request, admission, &notes);
	if (admission->result != ADMISSION_NO_MEMORY)
		admission->response =
			print_response(string(request, "uid"), admission, patch, &notes);
	if (!admission->response)
		admission->result = ADMISSION_NO_MEMORY;
	cJSON_Delete(patch);
	cJSON_Delete(review);
}

const char *admission_result_name(enum admission_result result)
{
	static const char *const names[] = {"injected",	 "unchanged", "denied",
					    "malformed", "too_large", "no_memory"};

	return names[result];
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/resources.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/preload.h"
#include "sidecar/config/text.h"

#define DIGITS_MAX	 9u /* of an annotation's quantity, as in the policy's regular expression */
#define DIGITS_AFTER_MAX 3u

static const struct suffix {
	const char *text;
	long double factor;
	bool cpu, memory; /* allowed in an annotation */
} suffixes[] = {
	{"", 1, true, true},
	{"m", 1e-3L, true, false},
	{"k", 1e3L, false, true},
	{"M", 1e6L, false, true},
	{"G", 1e9L, false, true},
	{"T", 1e12L, false, true},
	{"P", 1e15L, false, false},
	{"E", 1e18L, false, false},
	{"n", 1e-9L, false, false},
	{"u", 1e-6L, false, false},
	{"Ki", 1024.L, false, true},
	{"Mi", 1048576.L, false, true},
	{"Gi", 1073741824.L, false, true},
	{"Ti", 1099511627776.L, false, true},
	{"Pi", 0x1p50L, false, false},
	{"Ei", 0x1p60L, false, false},
};

static const struct suffix *suffix_find(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (strlen(suffixes[i].text) == len && !memcmp(suffixes[i].text, text, len))
			return &suffixes[i];
	return NULL;
}

/* Reads a quantity of a pod. Returns false for what is none. */
static bool quantity_of(const cJSON *item, long double *value)
{
	const char *text = cJSON_GetStringValue(item);
	const struct suffix *suffix;
	char *end;

	if (cJSON_IsNumber(item)) {
		*value = item->valuedouble;
		return true;
	}
	if (!text || !isdigit((unsigned char)*text) || (text[0] == '0' && tolower(text[1]) == 'x'))
		return false;
	*value = strtold(text, &end);
	suffix = suffix_find(end, strlen(end));
	if (!suffix)
		return false;
	*value *= suffix->factor;
	return true;
}

/* 0.1 and 100m are the same quantity, though not the same floating-point number. */
static bool same(long double a, long double b)
{
	long double apart = a > b ? a - b : b - a;

	return apart <= a * 1e-12L;
}

/* ---- annotations ---- */

/* Reads one quantity of an annotation, of `len` bytes. Returns false if it is none. */
static bool part_read(enum resource_kind kind, const char *text, size_t len, long double *value)
{
	size_t digits = strspn(text, "0123456789"), after = 0, at = digits;
	const struct suffix *suffix;

	if (!digits || digits > DIGITS_MAX || digits > len)
		return false;
	if (at < len && text[at] == '.') {
		after = strspn(text + at + 1, "0123456789");
		if (!after || after > DIGITS_AFTER_MAX)
			return false;
		at += 1 + after;
	}
	suffix = suffix_find(text + at, len - at);
	if (!suffix || !(kind == RESOURCE_CPU ? suffix->cpu : suffix->memory) ||
	    (after && suffix->factor < 1))
		return false;
	*value = strtold(text, NULL) * suffix->factor;
	return true;
}

const char *resources_wrong(enum resource_kind kind, const char *value)
{
	size_t first = strcspn(value, "/");
	const char *second = value[first] ? value + first + 1 : NULL;
	long double request, limit = 1;

	if (!part_read(kind, value, first, &request) ||
	    (second && !part_read(kind, second, strlen(second), &limit)))
		return "not a quantity";
	if (request <= 0 || limit <= 0)
		return "zero";
	return second && request > limit && !same(request, limit) ? "request above limit" : NULL;
}

void resources_split(enum resource_kind kind, const char *value, bool guaranteed,
		     struct share *share)
{
	size_t first = strcspn(value, "/");
	const char *last = value[first] ? value + first + 1 : value;
	bool limited = last != value || guaranteed || kind == RESOURCE_MEMORY;

	config_print(share->limit, sizeof(share->limit), "%s", limited ? last : "");
	if (guaranteed)
		config_print(share->request, sizeof(share->request), "%s", last);
	else
		config_print(share->request, sizeof(share->request), "%.*s", (int)first, value);
}

/* ---- the pod ---- */

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

static bool is_bounded(const cJSON *container, const char *name)
{
	const cJSON *resources = member(container, "resources");
	const cJSON *request = member(member(resources, "requests"), name);
	long double limit, least;

	if (!quantity_of(member(member(resources, "limits"), name), &limit) || limit <= 0)
		return false;
	return !request || cJSON_IsNull(request) ||
	       (quantity_of(request, &least) && same(limit, least));
}

bool resources_guaranteed(const cJSON *pod)
{
	static const char *const lists[] = {"containers", "initContainers"};
	const cJSON *container;
	size_t i;

	for (i = 0; i < 2; i++) {
		cJSON_ArrayForEach(container, member(member(pod, "spec"), lists[i])) {
			if (i == 1 && preload_is_sidecar(container))
				continue;
			if (!is_bounded(container, "cpu") || !is_bounded(container, "memory"))
				return false;
		}
	}
	return true;
}

bool resources_of_pod(const cJSON *pod)
{
	const cJSON *resources = member(member(pod, "spec"), "resources");
	const cJSON *requests = member(resources, "requests"),
		    *limits = member(resources, "limits");

	return member(requests, "cpu") || member(requests, "memory") || member(limits, "cpu") ||
	       member(limits, "memory");
}

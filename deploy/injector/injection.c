/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/injection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/builtin.h"
#include "deploy/injector/yaml.h"

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *string(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(member(object, name));
}

static const struct {
	const char *name;
	unsigned int bit;
} conditions[] = {
	{"node", CONDITION_NODE},
	{"af_xdp", CONDITION_AF_XDP},
	{"vfio", CONDITION_VFIO},
	{"hugepages", CONDITION_HUGEPAGES},
	{"preload", CONDITION_PRELOAD},
	{"guaranteed", CONDITION_GUARANTEED},
	{"image", CONDITION_IMAGE},
	{"pod_resources", CONDITION_POD_RESOURCES},
	{"cpu_request", CONDITION_CPU_REQUEST},
	{"cpu_limit", CONDITION_CPU_LIMIT},
	{"memory_request", CONDITION_MEMORY_REQUEST},
	{"memory_limit", CONDITION_MEMORY_LIMIT},
};

/* Adds one name of "if". Returns false if the name is unknown. */
static bool condition_parse(const char *name, struct operation *operation)
{
	bool negated = !strncmp(name, "not-", 4);
	size_t i;

	if (!strcmp(name, "sidecar")) {
		operation->none |= CONDITION_NODE;
		return true;
	}
	if (negated)
		name += 4;
	for (i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++) {
		if (strcmp(name, conditions[i].name))
			continue;
		*(negated ? &operation->none : &operation->all) |= conditions[i].bit;
		return true;
	}
	return false;
}

static const char *conditions_parse(const cJSON *list, struct operation *operation)
{
	const cJSON *item;

	if (!list)
		return NULL;
	if (!cJSON_IsArray(list))
		return "\"if\" is no list";
	cJSON_ArrayForEach(item, list) {
		if (!cJSON_IsString(item) || !condition_parse(item->valuestring, operation))
			return "\"if\" has an unknown condition; allowed: sidecar, node, af_xdp, "
			       "vfio, hugepages, preload, guaranteed, pod_resources, image, "
			       "cpu_request, cpu_limit, memory_request, memory_limit, and not- "
			       "before one";
	}
	return NULL;
}

/* Returns NULL, or a text that says what is wrong. */
static const char *operation_parse(const cJSON *item, struct operation *operation)
{
	const cJSON *each = member(item, "each"), *missing = member(item, "missing");
	const cJSON *absent = member(item, "absent");
	const char *wrong = conditions_parse(member(item, "if"), operation);

	if (wrong)
		return wrong;
	operation->each_container = each != NULL;
	if (each && (!cJSON_IsString(each) || strcmp(each->valuestring, "container")))
		return "\"each\" is not \"container\"";
	operation->path = string(item, "path");
	operation->value = member(item, "value");
	operation->prepend = string(item, "prepend");
	if (!each && ((operation->all | operation->none) & CONDITION_PRELOAD))
		return "condition \"preload\" without \"each\"";
	if (operation->prepend)
		return !each || operation->path || !cJSON_IsString(operation->value)
			       ? "\"prepend\" without \"each\", with \"path\", or its \"value\" "
				 "is no string"
			       : NULL;
	if (!operation->path || operation->path[0] != (each ? '$' : '/'))
		return "\"path\" is no JSON pointer, or not one that fits \"each\"";
	if (!operation->value)
		return "\"value\" is missing";
	operation->absent = string(item, "absent");
	if (absent && !operation->absent)
		return "\"absent\" is no string";
	if (!missing)
		return NULL;
	operation->missing.in = string(missing, "in");
	operation->missing.key = string(missing, "key");
	operation->missing.is = string(missing, "is");
	if (!operation->missing.in || !operation->missing.key || !operation->missing.is)
		return "\"missing\" lacks \"in\", \"key\" or \"is\"";
	return NULL;
}

static int operations_parse(struct injection *injection, const char *name, struct error *err)
{
	const cJSON *list = member(injection->document, "operations"), *item;

	if (!cJSON_IsArray(list))
		return error_set(err, -EINVAL, "%.200s: \"operations\" is no list", name);
	cJSON_ArrayForEach(item, list) {
		const char *wrong =
			injection->count == INJECTION_OPERATIONS
				? "more operations than this version takes"
				: operation_parse(item, &injection->operations[injection->count]);

		if (wrong)
			return error_set(err, -EINVAL, "%.200s: operation %u: %s", name,
					 injection->count, wrong);
		injection->count++;
	}
	return 0;
}

static int document_parse(struct injection *injection, const char *name, struct error *err)
{
	const cJSON *version = member(injection->document, "version");
	const cJSON *defaults = member(injection->document, "defaults");

	if (!cJSON_IsNumber(version) || version->valuedouble != INJECTION_VERSION)
		return error_set(err, -EINVAL,
				 "%.200s: not an injection document of version %d; allowed: what "
				 "the chart's "
				 "ConfigMap ...-injection holds, by the same release of udplane",
				 name, INJECTION_VERSION);
	injection->backend = string(defaults, "backend");
	injection->hugepages = string(defaults, "hugepages");
	injection->resource = string(defaults, "resource");
	injection->requests = member(defaults, "requests");
	injection->limits = member(defaults, "limits");
	injection->guaranteed = member(defaults, "guaranteed");
	injection->inherit = member(injection->document, "inherit");
	injection->hugepages_for = member(injection->document, "hugepages");
	injection->node = cJSON_IsTrue(member(injection->document, "node"));
	injection->node_ports = string(injection->document, "nodePorts");
	if (!injection->backend || !injection->hugepages || !injection->resource ||
	    !cJSON_IsArray(injection->hugepages_for) || !cJSON_IsObject(injection->requests) ||
	    !cJSON_IsObject(injection->limits) || !string(injection->guaranteed, "cpu") ||
	    !string(injection->guaranteed, "memory") || !cJSON_IsArray(injection->inherit) ||
	    !injection->node_ports)
		return error_set(err, -EINVAL,
				 "%.200s: \"defaults\", \"hugepages\", \"inherit\" or "
				 "\"nodePorts\" is incomplete",
				 name);
	return operations_parse(injection, name, err);
}

/* Replaces a ConfigMap by the document in it, and returns any other document as it is. Returns NULL
 * with `err` set if that document is not JSON. */
static cJSON *unwrap(cJSON *document, const char *name, struct error *err)
{
	const char *inner = string(member(document, "data"), "injection.json");
	cJSON *parsed;

	if (!inner)
		return document;
	parsed = cJSON_Parse(inner);
	if (!parsed)
		error_set(err, -EINVAL, "%.200s: data \"injection.json\" is no JSON", name);
	cJSON_Delete(document);
	return parsed;
}

struct injection *injection_parse(const char *name, const char *text, size_t len, struct error *err)
{
	struct injection *injection = calloc(1, sizeof(*injection));

	if (!injection) {
		error_set(err, -ENOMEM, "%.200s: out of memory", name);
		return NULL;
	}
	injection->document = cJSON_ParseWithLength(text, len);
	if (!injection->document)
		injection->document = yaml_parse(name, text, len, err);
	if (injection->document)
		injection->document = unwrap(injection->document, name, err);
	if (!injection->document || document_parse(injection, name, err)) {
		injection_destroy(injection);
		return NULL;
	}
	return injection;
}

void injection_destroy(struct injection *injection)
{
	if (!injection)
		return;
	cJSON_Delete(injection->document);
	free(injection);
}

struct injection *injection_default(struct error *err)
{
	return injection_parse("the built-in injection document", injection_builtin,
			       strlen(injection_builtin), err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/check.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "deploy/injector/preload.h"
#include "sidecar/config/annotations.h"
#include "sidecar/config/config.h"

#define KNOWN "ports, backend, interface, resource, cpus, hugepages, mode, preload, inject"

static const cJSON *annotations_of(const cJSON *pod)
{
	const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(pod, "metadata");

	return cJSON_GetObjectItemCaseSensitive(metadata, "annotations");
}

static const cJSON *annotation(const cJSON *pod, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(annotations_of(pod), key);
}

static bool is_ours(const cJSON *item)
{
	return item->string && !strncmp(item->string, ANNOTATION_PREFIX, strlen(ANNOTATION_PREFIX));
}

bool check_concerned(const cJSON *pod)
{
	const char *inject = cJSON_GetStringValue(annotation(pod, ANNOTATION_PREFIX "inject"));
	const cJSON *item;

	if (annotation(pod, "kubernetes.io/config.mirror") || (inject && !strcmp(inject, "false")))
		return false;
	cJSON_ArrayForEach(item, annotations_of(pod)) {
		if (is_ours(item))
			return true;
	}
	return false;
}

static const char *value_or(const cJSON *pod, const char *key, const char *otherwise)
{
	const char *value = cJSON_GetStringValue(annotation(pod, key));

	return value ? value : otherwise;
}

static bool has_host_network(const cJSON *pod)
{
	const cJSON *spec = cJSON_GetObjectItemCaseSensitive(pod, "spec");

	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(spec, "hostNetwork"));
}

static bool is_among(const char *text, const cJSON *list)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, list) {
		if (cJSON_IsString(item) && !strcmp(item->valuestring, text))
			return true;
	}
	return false;
}

unsigned int check_conditions(const struct injection *injection, const cJSON *pod,
			      const char **resource)
{
	const char *backend = value_or(pod, ANNOTATION_PREFIX "backend", injection->backend);
	const char *hugepages = value_or(pod, ANNOTATION_PREFIX "hugepages", injection->hugepages);
	bool any = !strcmp(backend, "auto"), vfio = !strcmp(backend, "vfio");
	unsigned int holds = 0;

	*resource = value_or(pod, ANNOTATION_PREFIX "resource", "");
	if (!**resource && vfio)
		*resource = injection->resource;
	if (has_host_network(pod))
		holds |= CONDITION_NODE;
	if (any || !strcmp(backend, "af_xdp"))
		holds |= CONDITION_AF_XDP;
	if ((any || vfio) && **resource)
		holds |= CONDITION_VFIO;
	if (is_among(hugepages, injection->hugepages_for))
		holds |= CONDITION_HUGEPAGES;
	return holds;
}

/* ---- checks ---- */

/* Returns true for DOMAIN/NAME, the form of an extended resource's name. The API server checks it
 * as well, but its message is less clear. */
static bool is_resource(const char *text)
{
	const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : NULL, *at;

	if (!slash || slash == text || !*name || !isalnum((unsigned char)*name) ||
	    !isalnum((unsigned char)name[strlen(name) - 1]))
		return false;
	for (at = text; at < slash; at++) {
		bool edge = at == text || at + 1 == slash;

		if (!islower((unsigned char)*at) && !isdigit((unsigned char)*at) &&
		    (edge || (*at != '-' && *at != '.')))
			return false;
	}
	for (at = name; *at; at++)
		if (!isalnum((unsigned char)*at) && !strchr("-_.", *at))
			return false;
	return true;
}

static int refuse(const char *name, const char *value, const char *why, const char *allowed,
		  struct error *err)
{
	char quoted[CONFIG_QUOTE_SIZE];

	return error_set(err, -EINVAL, "annotation " ANNOTATION_PREFIX "%s: %s: %s; allowed: %s",
			 name, config_quote(value, quoted), why, allowed);
}

static int check_value(const char *name, const char *value, struct error *err)
{
	int ret = config_check_annotation(name, value, err);

	if (ret == -ENOENT && strcmp(value, "true") && strcmp(value, "false"))
		return refuse(name, value, "unknown value", "true, false", err);
	if (ret && ret != -ENOENT)
		return ret;
	if (!strcmp(name, "resource") && *value && !is_resource(value))
		return refuse(name, value, "not DOMAIN/NAME",
			      "a resource name such as intel.com/sriov, at most 255 characters",
			      err);
	return 0;
}

static bool is_known(const char *name)
{
	static const char *const names[] = {"ports",	 "backend", "interface", "resource", "cpus",
					    "hugepages", "mode",    "preload",	 "inject"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/* Refuses the first unknown key in byte order, which is the one that the policy's min() finds. */
static int check_unknown(const cJSON *pod, struct error *err)
{
	const char *first = NULL;
	const cJSON *item;

	cJSON_ArrayForEach(item, annotations_of(pod)) {
		if (is_ours(item) && !is_known(item->string + strlen(ANNOTATION_PREFIX)) &&
		    (!first || strcmp(item->string, first) < 0))
			first = item->string;
	}
	if (!first)
		return 0;
	return error_set(err, -EINVAL, "annotation %.300s: unknown; allowed: " KNOWN, first);
}

static int check_values(const cJSON *pod, struct error *err)
{
	static const char *const names[] = {"ports",	 "backend", "interface", "resource", "cpus",
					    "hugepages", "mode",    "preload",	 "inject"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char key[40];
		const cJSON *item;
		int ret;

		config_print(key, sizeof(key), ANNOTATION_PREFIX "%s", names[i]);
		item = annotation(pod, key);
		if (!item)
			continue;
		if (!cJSON_IsString(item))
			return error_set(err, -EINVAL,
					 "annotation %s: not a string; allowed: a value in quotes",
					 key);
		ret = strcmp(key, PRELOAD_ANNOTATION)
			      ? check_value(names[i], item->valuestring, err)
			      : preload_check(pod, item->valuestring, err);
		if (ret)
			return ret;
	}
	return 0;
}

int check_pod(const struct injection *injection, const cJSON *pod, struct error *err)
{
	const char *resource, *backend;
	unsigned int holds;
	int ret = check_unknown(pod, err);

	if (!ret && !annotation(pod, ANNOTATION_PREFIX "ports"))
		ret = error_set(err, -EINVAL,
				"annotation " ANNOTATION_PREFIX
				"ports: missing, and other udplane.io annotations mean nothing "
				"without it; allowed: " PORT_SET_ALLOWED);
	if (!ret)
		ret = check_values(pod, err);
	if (ret)
		return ret;
	holds = check_conditions(injection, pod, &resource);
	backend = value_or(pod, ANNOTATION_PREFIX "backend", injection->backend);
	if (!(holds & CONDITION_NODE) && !strcmp(backend, "vfio") && !*resource)
		return refuse("backend", backend, "no device",
			      "with annotation udplane.io/resource naming a device-plugin "
			      "resource, such as "
			      "intel.com/sriov",
			      err);
	if ((holds & CONDITION_NODE) && !injection->node)
		return error_set(err, -EINVAL,
				 "annotation " ANNOTATION_PREFIX
				 "ports: the pod has hostNetwork, and the nodes run no udplaned; "
				 "allowed: with the chart's value node.enabled=true, or annotation "
				 "udplane.io/inject: \"false\"");
	return 0;
}

static bool has_sidecar(const cJSON *pod)
{
	const cJSON *spec = cJSON_GetObjectItemCaseSensitive(pod, "spec"), *item;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(spec, "initContainers")) {
		const char *name =
			cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "name"));

		if (name && !strcmp(name, "udplane"))
			return true;
	}
	return false;
}

void check_notes(const cJSON *pod, bool update, struct config_warnings *notes)
{
	const char *missing;

	if (!update)
		return;
	if (!has_host_network(pod) && !has_sidecar(pod)) {
		config_warn(
			notes,
			"annotation " ANNOTATION_PREFIX
			"ports: this pod runs without udplane, which comes at a pod's creation; "
			"annotate the template of its Deployment (or the like) instead");
		return;
	}
	missing = preload_missing(pod, cJSON_GetStringValue(annotation(pod, PRELOAD_ANNOTATION)));
	if (missing)
		config_warn(
			notes,
			"annotation " PRELOAD_ANNOTATION
			": container \"%.63s\" runs without the library, which comes at a pod's "
			"creation; annotate the template of its Deployment (or the like) "
			"instead",
			missing);
}

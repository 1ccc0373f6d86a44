/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/check.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/preload.h"
#include "sidecar/config/annotations.h"
#include "sidecar/config/config.h"

#define IMAGE_MAX 255u

#define KNOWN                                                                                \
	"ports, backend, interface, resource, cpus, hugepages, mode, preload, inject, cpu, " \
	"memory, "                                                                           \
	"workers, frames, image, log-level"

/* in the order in which they are checked */
static const char *const names[] = {"ports",	 "backend", "interface", "resource", "cpus",
				    "hugepages", "mode",    "preload",	 "inject",   "cpu",
				    "memory",	 "workers", "frames",	 "image",    "log-level"};
#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

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

static bool is_windows(const cJSON *pod)
{
	const cJSON *spec = cJSON_GetObjectItemCaseSensitive(pod, "spec");
	const cJSON *os = cJSON_GetObjectItemCaseSensitive(spec, "os");
	const cJSON *selector = cJSON_GetObjectItemCaseSensitive(spec, "nodeSelector");
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(os, "name"));
	const char *label = cJSON_GetStringValue(
		cJSON_GetObjectItemCaseSensitive(selector, "kubernetes.io/os"));

	return (name && !strcmp(name, "windows")) || (label && !strcmp(label, "windows"));
}

bool check_concerned(const cJSON *pod)
{
	const char *inject = cJSON_GetStringValue(annotation(pod, ANNOTATION_PREFIX "inject"));
	const cJSON *item;

	if (annotation(pod, "kubernetes.io/config.mirror") || is_windows(pod) ||
	    (inject && !strcmp(inject, "false")))
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

static const char *value_of(const cJSON *object, const char *name)
{
	const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return value ? value : "";
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

/* Sets one request and limit of the sidecar. */
static void want_share(const struct injection *injection, enum resource_kind kind,
		       const struct wanted *wanted, const char *given, struct share *share)
{
	const char *name = kind == RESOURCE_CPU ? "cpu" : "memory";
	bool guaranteed = wanted->holds & CONDITION_GUARANTEED;
	const cJSON *requests = guaranteed ? injection->guaranteed : injection->requests;
	const cJSON *limits = guaranteed ? injection->guaranteed : injection->limits;
	const char *request = cJSON_GetStringValue(cJSON_GetObjectItem(requests, name));
	const char *limit = cJSON_GetStringValue(cJSON_GetObjectItem(limits, name));

	memset(share, 0, sizeof(*share));
	if (*given) {
		resources_split(kind, given, guaranteed, share);
	} else if (!(wanted->holds & CONDITION_POD_RESOURCES)) {
		config_print(share->request, sizeof(share->request), "%s", request ? request : "");
		config_print(share->limit, sizeof(share->limit), "%s", limit ? limit : "");
	} else if (kind == RESOURCE_MEMORY && (wanted->holds & CONDITION_HUGEPAGES)) {
		/* the API server wants some memory or CPU beside hugepages */
		request = cJSON_GetStringValue(cJSON_GetObjectItem(injection->requests, name));
		config_print(share->request, sizeof(share->request), "%s", request ? request : "");
	}
}

static void want_resources(const struct injection *injection, const cJSON *pod,
			   struct wanted *wanted)
{
	if (resources_guaranteed(pod))
		wanted->holds |= CONDITION_GUARANTEED;
	if (resources_of_pod(pod))
		wanted->holds |= CONDITION_POD_RESOURCES;
	want_share(injection, RESOURCE_CPU, wanted, value_or(pod, ANNOTATION_PREFIX "cpu", ""),
		   &wanted->cpu);
	want_share(injection, RESOURCE_MEMORY, wanted,
		   value_or(pod, ANNOTATION_PREFIX "memory", ""), &wanted->memory);
	if (wanted->cpu.request[0])
		wanted->holds |= CONDITION_CPU_REQUEST;
	if (wanted->cpu.limit[0])
		wanted->holds |= CONDITION_CPU_LIMIT;
	if (wanted->memory.request[0])
		wanted->holds |= CONDITION_MEMORY_REQUEST;
	if (wanted->memory.limit[0])
		wanted->holds |= CONDITION_MEMORY_LIMIT;
}

void check_wanted(const struct injection *injection, const cJSON *pod, struct wanted *wanted)
{
	const char *backend = value_or(pod, ANNOTATION_PREFIX "backend", injection->backend);
	const char *hugepages = value_or(pod, ANNOTATION_PREFIX "hugepages", injection->hugepages);
	bool any = !strcmp(backend, "auto"), vfio = !strcmp(backend, "vfio");

	wanted->holds = 0;
	wanted->resource = value_or(pod, ANNOTATION_PREFIX "resource", "");
	wanted->image = value_or(pod, ANNOTATION_PREFIX "image", "");
	if (!*wanted->resource && vfio)
		wanted->resource = injection->resource;
	if (has_host_network(pod))
		wanted->holds |= CONDITION_NODE;
	if (any || !strcmp(backend, "af_xdp"))
		wanted->holds |= CONDITION_AF_XDP;
	if ((any || vfio) && *wanted->resource)
		wanted->holds |= CONDITION_VFIO;
	if (is_among(hugepages, injection->hugepages_for))
		wanted->holds |= CONDITION_HUGEPAGES;
	if (*wanted->image)
		wanted->holds |= CONDITION_IMAGE;
	want_resources(injection, pod, wanted);
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

static int check_image(const char *value, struct error *err)
{
	const char *at, *why = !*value ? "empty" : strlen(value) > IMAGE_MAX ? "too long" : NULL;

	for (at = value; *at && !why; at++)
		if ((unsigned char)*at <= ' ' || *at == 0x7f)
			why = "contains whitespace or control characters";
	return !why ? 0
		    : refuse("image", value, why,
			     "an image such as registry.example/udplane/sidecar:1.0, at most 255 "
			     "characters",
			     err);
}

static int check_resource(const char *name, const char *value, struct error *err)
{
	bool cpu = !strcmp(name, "cpu");
	const char *why = resources_wrong(cpu ? RESOURCE_CPU : RESOURCE_MEMORY, value);

	return !why ? 0
		    : refuse(name, value, why,
			     cpu ? "CPUs such as 500m, or REQUEST/LIMIT such as 100m/2"
				 : "bytes such as 512Mi, or REQUEST/LIMIT such as 128Mi/512Mi",
			     err);
}

static int check_value(const char *name, const char *value, struct error *err)
{
	int ret;

	if (!strcmp(name, "image"))
		return check_image(value, err);
	if (!strcmp(name, "cpu") || !strcmp(name, "memory"))
		return check_resource(name, value, err);
	ret = config_check_annotation(name, value, err);
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
	size_t i;

	for (i = 0; i < NAME_COUNT; i++)
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
	size_t i;

	for (i = 0; i < NAME_COUNT; i++) {
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

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

static bool is_ours_by_mount(const cJSON *container)
{
	const cJSON *mount;

	if (strcmp(value_of(container, "restartPolicy"), "Always"))
		return false;
	cJSON_ArrayForEach(mount, member(container, "volumeMounts")) {
		if (!strcmp(value_of(mount, "name"), "udplane") &&
		    !strcmp(value_of(mount, "mountPath"), "/run/udplane"))
			return true;
	}
	return false;
}

static bool is_foreign(const cJSON *volume, bool node)
{
	const char *name = value_of(volume, "name");

	if (!strcmp(name, "udplane"))
		return !member(volume, node ? "hostPath" : "emptyDir");
	if (node)
		return false;
	return (!strcmp(name, "udplane-annotations") && !member(volume, "downwardAPI")) ||
	       (!strcmp(name, "udplane-tun") && !member(volume, "hostPath"));
}

/* Refuses a pod that has a container or volume by a name of ours. */
static int check_names(const cJSON *pod, bool node, struct error *err)
{
	const cJSON *spec = member(pod, "spec"), *item;
	const char *kind = NULL, *name = NULL;

	cJSON_ArrayForEach(item, member(spec, "containers")) {
		if (!node && !kind && preload_is_sidecar(item)) {
			kind = "container";
			name = value_of(item, "name");
		}
	}
	cJSON_ArrayForEach(item, member(spec, "initContainers")) {
		if (!node && !kind && preload_is_sidecar(item) && !is_ours_by_mount(item)) {
			kind = "init container";
			name = value_of(item, "name");
		}
	}
	cJSON_ArrayForEach(item, member(spec, "volumes")) {
		if (!kind && is_foreign(item, node)) {
			kind = "volume";
			name = value_of(item, "name");
		}
	}
	return !kind ? 0
		     : error_set(err, -EINVAL,
				 "%s \"%s\": the sidecar takes this name; allowed: any other name",
				 kind, name);
}

/* Reads LOW or LOW-HIGH, and moves *list behind the comma after it. */
static bool range_next(const char **list, unsigned long *low, unsigned long *high)
{
	char *end;

	if (!**list)
		return false;
	*low = *high = strtoul(*list, &end, 10);
	if (*end == '-')
		*high = strtoul(end + 1, &end, 10);
	end += strcspn(end, ",");
	*list = *end ? end + 1 : end;
	return true;
}

static bool is_within(const char *ranges, unsigned long low, unsigned long high)
{
	unsigned long first, last;

	while (range_next(&ranges, &first, &last))
		if (low >= first && high <= last)
			return true;
	return false;
}

/* Refuses a range of ports, in a list that is good, that the nodes do not divert as a whole. */
static int check_node_ports(const struct injection *injection, const char *ports, struct error *err)
{
	unsigned long low, high;
	char item[24];

	while (range_next(&ports, &low, &high)) {
		if (is_within(injection->node_ports, low, high))
			continue;
		config_print(item, sizeof(item), "%lu", low);
		if (low != high)
			config_print(item, sizeof(item), "%lu-%lu", low, high);
		return error_set(err, -EINVAL,
				 "annotation " ANNOTATION_PREFIX
				 "ports: %s: not among the ports that the nodes divert; allowed: "
				 "within one of %.200s (the chart's value node.ports)",
				 item, injection->node_ports);
	}
	return 0;
}

int check_pod(const struct injection *injection, const cJSON *pod, struct error *err)
{
	struct wanted wanted;
	const char *backend;
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
	check_wanted(injection, pod, &wanted);
	backend = value_or(pod, ANNOTATION_PREFIX "backend", injection->backend);
	if (!(wanted.holds & CONDITION_NODE) && !strcmp(backend, "vfio") && !*wanted.resource)
		return refuse("backend", backend, "no device",
			      "with annotation udplane.io/resource naming a device-plugin "
			      "resource, such as "
			      "intel.com/sriov",
			      err);
	ret = check_names(pod, wanted.holds & CONDITION_NODE, err);
	if (ret)
		return ret;
	if ((wanted.holds & CONDITION_NODE) && !injection->node)
		return error_set(err, -EINVAL,
				 "annotation " ANNOTATION_PREFIX
				 "ports: the pod has hostNetwork, and the nodes run no udplaned; "
				 "allowed: with the chart's value node.enabled=true, or annotation "
				 "udplane.io/inject: \"false\"");
	if (wanted.holds & CONDITION_NODE)
		return check_node_ports(injection, value_or(pod, ANNOTATION_PREFIX "ports", ""),
					err);
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

/* Notes what changed and is not read before something else happens. */
static void note_changes(const cJSON *pod, const cJSON *old, struct config_warnings *notes)
{
	static const char again[] = "the sidecar starts again", anew[] = "the pod is created again";
	static const struct {
		const char *key, *when;
	} late[] = {
		{ANNOTATION_PREFIX "backend", again},	{ANNOTATION_PREFIX "cpus", again},
		{ANNOTATION_PREFIX "frames", again},	{ANNOTATION_PREFIX "interface", again},
		{ANNOTATION_PREFIX "log-level", again}, {ANNOTATION_PREFIX "mode", again},
		{ANNOTATION_PREFIX "workers", again},	{ANNOTATION_PREFIX "cpu", anew},
		{ANNOTATION_PREFIX "hugepages", anew},	{ANNOTATION_PREFIX "image", anew},
		{ANNOTATION_PREFIX "memory", anew},	{ANNOTATION_PREFIX "resource", anew},
	};
	size_t i;

	for (i = 0; i < sizeof(late) / sizeof(late[0]); i++)
		if (strcmp(value_or(pod, late[i].key, ""), value_or(old, late[i].key, "")))
			config_warn(notes, "annotation %s: takes effect when %s", late[i].key,
				    late[i].when);
}

void check_notes(const cJSON *pod, const cJSON *old, struct config_warnings *notes)
{
	const char *missing;

	if (!old)
		return;
	if (!has_host_network(pod) && !has_sidecar(pod)) {
		config_warn(
			notes,
			"annotation " ANNOTATION_PREFIX
			"ports: this pod runs without udplane, which comes at a pod's creation; "
			"annotate the template of its Deployment (or the like) instead");
		return;
	}
	note_changes(pod, old, notes);
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

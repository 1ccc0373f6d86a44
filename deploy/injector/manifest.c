/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/check.h"
#include "deploy/injector/patch.h"
#include "deploy/injector/yaml.h"

struct run {
	const struct injection *injection;
	struct manifest_counts *counts;
	struct config_warnings *notes;
	const char *const *paths; /* of --pod-path, NULL at the end; may be NULL */
};

static const char *string(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text ? text : "";
}

#define STEPS 6

/* Where kinds have their pod template. A group of NULL: any, since no other one has such a kind. */
static const struct place {
	const char *group, *kind, *path[STEPS + 1];
} places[] = {
	{"", "Pod", {NULL}},
	{"", "PodTemplate", {"template", NULL}},
	{NULL, "Deployment", {"spec", "template", NULL}},
	{NULL, "StatefulSet", {"spec", "template", NULL}}, /* and OpenKruise's, as the next */
	{NULL, "DaemonSet", {"spec", "template", NULL}},
	{NULL, "ReplicaSet", {"spec", "template", NULL}},
	{NULL, "ReplicationController", {"spec", "template", NULL}},
	{"batch", "Job", {"spec", "template", NULL}},
	{"batch", "CronJob", {"spec", "jobTemplate", "spec", "template", NULL}},
	{"argoproj.io", "Rollout", {"spec", "template", NULL}},
	{"agones.dev", "GameServer", {"spec", "template", NULL}},
	{"agones.dev", "GameServerSet", {"spec", "template", "spec", "template", NULL}},
	{"agones.dev", "Fleet", {"spec", "template", "spec", "template", NULL}},
	{"apps.kruise.io", "CloneSet", {"spec", "template", NULL}},
	{"apps.kruise.io", "BroadcastJob", {"spec", "template", NULL}},
	{"apps.kruise.io",
	 "AdvancedCronJob",
	 {"spec", "template", "jobTemplate", "spec", "template", NULL}},
	{"serving.knative.dev", "Service", {"spec", "template", NULL}},
	{"serving.knative.dev", "Configuration", {"spec", "template", NULL}},
};

static bool is_of_group(const cJSON *manifest, const char *group)
{
	const char *version = string(manifest, "apiVersion"), *slash = strchr(version, '/');
	size_t len = slash ? (size_t)(slash - version) : 0;

	return !group || (strlen(group) == len && !strncmp(version, group, len));
}

/* Returns what the path of --pod-path leads to, or NULL. */
static cJSON *follow(cJSON *item, const char *path)
{
	while (item && *path) {
		size_t len = strcspn(path, ".");
		char name[64];

		config_print(name, sizeof(name), "%.*s", (int)len, path);
		item = cJSON_GetObjectItemCaseSensitive(item, name);
		path += len + (path[len] == '.');
	}
	return item;
}

/* Returns the pod or pod template of a manifest, or NULL if its kind has none that is known. */
static cJSON *find_pod(const struct run *run, cJSON *manifest)
{
	const char *kind = string(manifest, "kind");
	const char *const *path;
	cJSON *found;
	size_t i, step;

	for (path = run->paths; path && *path; path++) {
		found = follow(manifest, *path);
		if (cJSON_IsObject(found))
			return found;
	}
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (strcmp(kind, places[i].kind) || !is_of_group(manifest, places[i].group))
			continue;
		for (step = 0; places[i].path[step]; step++)
			manifest = cJSON_GetObjectItemCaseSensitive(manifest, places[i].path[step]);
		return manifest;
	}
	return NULL;
}

static bool is_ours(const cJSON *item)
{
	return item->string && !strncmp(item->string, "udplane.io/", strlen("udplane.io/"));
}

/* Returns true if annotations of ours are anywhere in it. The depth is bounded by the parsers. */
static bool mentions(const cJSON *item)
{
	const cJSON *inner;

	cJSON_ArrayForEach(inner, item) {
		if (is_ours(inner) || mentions(inner))
			return true;
	}
	return false;
}

/* Notes annotations that have no effect where they are. pod: NULL if none was found. */
static void note_misplaced(const struct run *run, const cJSON *manifest, const cJSON *pod)
{
	const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(manifest, "metadata"), *item;
	const cJSON *own = cJSON_GetObjectItemCaseSensitive(metadata, "annotations");

	if (!pod && mentions(manifest)) {
		config_warn(run->notes,
			    "%.40s %.100s: left alone: no place of a pod template is known for "
			    "this kind; name it by --pod-path, such as spec.template",
			    string(manifest, "kind"), string(metadata, "name"));
		return;
	}
	cJSON_ArrayForEach(item, own) {
		if (pod && pod != manifest && is_ours(item)) {
			config_warn(run->notes,
				    "%.40s %.100s: annotation %.100s: without effect on the %.40s "
				    "itself; allowed: on its pod template",
				    string(manifest, "kind"), string(metadata, "name"),
				    item->string, string(manifest, "kind"));
			return;
		}
	}
}

/* Puts the manifest's kind and name in front of a message about it. */
static int refuse(const cJSON *manifest, const struct error *why, struct error *err)
{
	const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(manifest, "metadata");

	return error_set(err, -EINVAL, "%.40s %.100s: %.360s", string(manifest, "kind"),
			 string(metadata, "name"), why->text);
}

static int patch_pod(struct run *run, const cJSON *manifest, cJSON *pod, struct error *err)
{
	struct error why;
	cJSON *patch;
	int ret;

	run->counts->pods++;
	if (!check_concerned(pod)) {
		if (mentions(pod))
			config_warn(run->notes,
				    "%.40s %.100s: left alone: it has udplane.io/inject: false, or "
				    "is for Windows, or a static pod's mirror",
				    string(manifest, "kind"),
				    string(cJSON_GetObjectItemCaseSensitive(manifest, "metadata"),
					   "name"));
		return 0;
	}
	if (check_pod(run->injection, pod, &why))
		return refuse(manifest, &why, err);
	check_notes(pod, NULL, run->notes);
	patch = patch_make(run->injection, pod);
	ret = patch ? patch_apply(pod, patch) : -ENOMEM;
	if (patch && patch->child)
		run->counts->injected++;
	cJSON_Delete(patch);
	if (ret) {
		error_set(&why, ret, "cannot be patched: %s", strerror(-ret));
		return refuse(manifest, &why, err);
	}
	return 0;
}

static int patch_one(struct run *run, cJSON *manifest, struct error *err)
{
	cJSON *pod = find_pod(run, manifest);

	if (!cJSON_IsObject(pod))
		pod = NULL;
	note_misplaced(run, manifest, pod);
	return pod ? patch_pod(run, manifest, pod, err) : 0;
}

static int patch_manifest(void *arg, cJSON *manifest, struct error *err)
{
	struct run *run = arg;
	cJSON *item;
	int ret;

	if (strcmp(string(manifest, "kind"), "List"))
		return patch_one(run, manifest, err);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(manifest, "items")) {
		/* kubectl never nests lists. Not following them bounds the depth. */
		ret = patch_one(run, item, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* Returns the text of one patched JSON manifest. It is one line, and so also valid YAML at any
 * place in a stream. */
static char *patch_json(struct run *run, cJSON *manifest, struct error *err)
{
	char *out;

	if (patch_manifest(run, manifest, err))
		return NULL;
	out = cJSON_PrintUnformatted(manifest);
	if (!out)
		error_set(err, -ENOMEM, "out of memory");
	return out;
}

char *manifest_patch(const struct injection *injection, const char *name, const char *text,
		     size_t len, const char *const *paths, struct manifest_counts *counts,
		     struct config_warnings *notes, struct error *err)
{
	struct run run = {injection, counts, notes, paths};
	unsigned int before = counts->injected;
	cJSON *manifest = NULL;
	const char *end;
	char *out;

	if (text[strspn(text, " \t\r\n")] == '{')
		manifest = cJSON_ParseWithLengthOpts(text, len, &end, false);
	if (manifest && end + strspn(end, " \t\r\n") == text + len)
		out = patch_json(&run, manifest, err);
	else /* YAML, or several documents in JSON */
		out = yaml_patch(name, text, len, "udplane.io/", patch_manifest, &run, err);
	cJSON_Delete(manifest);
	if (!out || counts->injected > before)
		return out;
	free(out);
	out = strndup(text, len); /* nothing was injected: keep comments and layout */
	if (!out)
		error_set(err, -ENOMEM, "out of memory");
	return out;
}

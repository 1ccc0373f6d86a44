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
};

static const char *string(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text ? text : "";
}

/* Returns the pod or pod template of a manifest, or NULL if its kind has none. */
static cJSON *find_pod(cJSON *manifest)
{
	static const struct {
		const char *kind, *path[4];
	} kinds[] = {
		{"Pod", {NULL}},
		{"PodTemplate", {"template", NULL}},
		{"Deployment", {"spec", "template", NULL}},
		{"StatefulSet", {"spec", "template", NULL}},
		{"DaemonSet", {"spec", "template", NULL}},
		{"ReplicaSet", {"spec", "template", NULL}},
		{"ReplicationController", {"spec", "template", NULL}},
		{"Job", {"spec", "template", NULL}},
		{"CronJob", {"spec", "jobTemplate", "spec", "template"}},
	};
	const char *kind = string(manifest, "kind");
	size_t i, step;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kind, kinds[i].kind))
			continue;
		for (step = 0; step < 4 && kinds[i].path[step]; step++)
			manifest = cJSON_GetObjectItemCaseSensitive(manifest, kinds[i].path[step]);
		return manifest;
	}
	return NULL;
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
	if (!check_concerned(pod))
		return 0;
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

static int patch_manifest(void *arg, cJSON *manifest, struct error *err)
{
	cJSON *pod = find_pod(manifest), *item;
	struct run *run = arg;
	int ret;

	if (cJSON_IsObject(pod))
		return patch_pod(run, manifest, pod, err);
	if (strcmp(string(manifest, "kind"), "List"))
		return 0;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(manifest, "items")) {
		/* kubectl never nests lists. Not following them bounds the depth. */
		pod = find_pod(item);
		ret = cJSON_IsObject(pod) ? patch_pod(run, item, pod, err) : 0;
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
		     size_t len, struct manifest_counts *counts, struct config_warnings *notes,
		     struct error *err)
{
	struct run run = {injection, counts, notes};
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

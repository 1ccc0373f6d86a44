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

/* Where each kind keeps its pod. */
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

/* Puts what the manifest is before a message about it. */
static int refuse(const cJSON *manifest, const struct config_error *why, struct config_error *err)
{
	const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(manifest, "metadata");

	config_error_set(err, "%.40s %.100s: %.360s", string(manifest, "kind"),
			 string(metadata, "name"), why->text);
	return -EINVAL;
}

static int patch_pod(struct run *run, const cJSON *manifest, cJSON *pod, struct config_error *err)
{
	struct config_error why;
	cJSON *patch;
	int ret;

	run->counts->pods++;
	if (!check_concerned(pod))
		return 0;
	if (check_pod(run->injection, pod, &why))
		return refuse(manifest, &why, err);
	check_notes(pod, false, run->notes);
	patch = patch_make(run->injection, pod);
	ret = patch ? patch_apply(pod, patch) : -ENOMEM;
	if (patch && patch->child)
		run->counts->injected++;
	cJSON_Delete(patch);
	if (ret) {
		config_error_set(&why, "cannot be patched: %s", strerror(-ret));
		return refuse(manifest, &why, err);
	}
	return 0;
}

static int patch_manifest(void *arg, cJSON *manifest, struct config_error *err)
{
	cJSON *pod = find_pod(manifest), *item;
	struct run *run = arg;
	int ret;

	if (cJSON_IsObject(pod))
		return patch_pod(run, manifest, pod, err);
	if (strcmp(string(manifest, "kind"), "List"))
		return 0;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(manifest, "items")) {
		/* A list in a list is none of kubectl's; this bounds the depth. */
		pod = find_pod(item);
		ret = cJSON_IsObject(pod) ? patch_pod(run, item, pod, err) : 0;
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- JSON ---- */

/* The indentation of the first member's line; 0 when it is on the first line. */
static size_t indentation_of(const char *text)
{
	const char *open = strchr(text, '{'), *newline;

	newline = open ? open + 1 + strspn(open + 1, " \t\r") : NULL;
	return newline && *newline == '\n' ? strspn(newline + 1, " ") : 0;
}

/* cJSON indents by tabs, and puts one after each colon; outside of strings, tabs are nothing else.
 */
static char *reindent(const char *text, size_t indentation)
{
	bool quoted = false, line_start = true;
	struct text out = {0};

	for (; *text; text++) {
		if (*text == '"' || (quoted && *text == '\\')) {
			if (*text == '"')
				quoted = !quoted;
			else
				text_append(&out, text++, 1);
		}
		if (quoted || *text != '\t')
			text_append(&out, text, 1);
		else
			text_repeat(&out, ' ', line_start ? indentation : 1);
		line_start = *text == '\n' || (line_start && *text == '\t');
	}
	return text_take(&out);
}

static char *print_json(const char *text, size_t len, const cJSON *manifest)
{
	size_t indentation = indentation_of(text);
	char *plain = indentation ? cJSON_Print(manifest) : cJSON_PrintUnformatted(manifest);
	char *out = plain && indentation ? reindent(plain, indentation) : NULL;
	struct text whole = {0};

	if (plain)
		text_add(&whole, out ? out : plain);
	else
		whole.failed = true;
	if (len && text[len - 1] == '\n')
		text_add(&whole, "\n");
	free(out);
	cJSON_free(plain);
	return text_take(&whole);
}

/* `manifest` is the parsed text, deleted here. */
static char *patch_json(struct run *run, const char *text, size_t len, cJSON *manifest,
			struct config_error *err)
{
	unsigned int before = run->counts->injected;
	char *out = NULL;

	if (!patch_manifest(run, manifest, err)) {
		if (run->counts->injected == before) {
			struct text same = {0};

			text_append(&same, text, len);
			out = text_take(&same);
		} else {
			out = print_json(text, len, manifest);
		}
		if (!out)
			config_error_set(err, "out of memory");
	}
	cJSON_Delete(manifest);
	return out;
}

char *manifest_patch(const struct injection *injection, const char *name, const char *text,
		     size_t len, struct manifest_counts *counts, struct config_warnings *notes,
		     struct config_error *err)
{
	struct run run = {injection, counts, notes};
	size_t blank = strspn(text, " \t\r\n");
	const char *end = NULL;
	cJSON *manifest;

	if (blank < len && text[blank] == '{') {
		manifest = cJSON_ParseWithLengthOpts(text, len, &end, false);
		if (manifest && end && end + strspn(end, " \t\r\n") == text + len)
			return patch_json(&run, text, len, manifest, err);
		cJSON_Delete(manifest); /* flow style YAML, or not one document */
	}
	return yaml_patch(name, text, len, "udplane.io/", patch_manifest, &run, err);
}

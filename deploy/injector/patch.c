/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/patch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/check.h"
#include "deploy/injector/preload.h"
#include "deploy/injector/text.h"

#define CONTAINER "$(container)"
#define RESOURCE  "$(resource)"
#define FIRST	  "$(first)"

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

static bool is_string(const cJSON *item, const char *text)
{
	return cJSON_IsString(item) && !strcmp(item->valuestring, text);
}

/* Returns a copy of the next token of a JSON pointer, unescaped, and advances *pointer past it.
 * Returns NULL if out of memory. */
static char *token_next(const char **pointer)
{
	const char *at = *pointer + 1;
	size_t len = strcspn(at, "/");
	char *token = malloc(len + 1), *out = token;

	*pointer = at + len;
	if (!token)
		return NULL;
	for (; len; at++, len--) {
		if (*at == '~' && len > 1 && (at[1] == '0' || at[1] == '1')) {
			at++;
			len--;
			*out++ = *at == '1' ? '/' : '~';
		} else {
			*out++ = *at;
		}
	}
	*out = 0;
	return token;
}

/* Follows a pointer through objects. Returns what it finds, or NULL if that is absent or null. */
static const cJSON *find(const cJSON *root, const char *pointer)
{
	while (root && *pointer) {
		char *token = token_next(&pointer);

		if (!token)
			return NULL;
		root = member(root, token);
		free(token);
	}
	return cJSON_IsNull(root) ? NULL : root;
}

/* The pod, or one of its containers, to which operations apply. */
struct subject {
	const struct injection *injection;
	const cJSON *pod, *container;
	const char *path;    /* of the container */
	const char *preload; /* the annotation's value, or NULL */
	struct wanted wanted;
};

static const cJSON *find_in(const struct subject *subject, const char *pointer)
{
	if (!strncmp(pointer, CONTAINER, strlen(CONTAINER)))
		return find(subject->container, pointer + strlen(CONTAINER));
	return find(subject->pod, pointer);
}

/* Returns the value in front of which the operation's can be put, or NULL if there is none, if it
 * comes from elsewhere, or if the file is in it already. Sets *index to the variable's place. */
static const char *find_list(const struct subject *subject, const struct operation *operation,
			     unsigned int *index)
{
	const cJSON *variable = preload_variable(subject->container, operation->prepend, index);
	const cJSON *value = member(variable, "value");
	const char *file = strrchr(operation->value->valuestring, '/');
	const char *list = !value || cJSON_IsNull(value) ? "" : cJSON_GetStringValue(value);

	if (!variable || find(variable, "/valueFrom") || !list ||
	    preload_lists(list, file ? file + 1 : operation->value->valuestring))
		return NULL;
	return list;
}

static bool applies(const struct subject *subject, const struct operation *operation)
{
	const cJSON *item;
	unsigned int index;

	if ((subject->wanted.holds & operation->all) != operation->all ||
	    (subject->wanted.holds & operation->none))
		return false;
	if (operation->absent && find_in(subject, operation->absent))
		return false;
	if (operation->prepend && !find_list(subject, operation, &index))
		return false;
	if (!operation->missing.in)
		return true;
	cJSON_ArrayForEach(item, find_in(subject, operation->missing.in)) {
		if (is_string(member(item, operation->missing.key), operation->missing.is))
			return false;
	}
	return true;
}

static void add_escaped(struct text *path, const char *token)
{
	for (; *token; token++) {
		if (*token == '~')
			text_add(path, "~0");
		else if (*token == '/')
			text_add(path, "~1");
		else
			text_append(path, token, 1);
	}
}

static char *make_path(const struct subject *subject, const char *path)
{
	struct text text = {0};
	const char *resource;

	if (!strncmp(path, CONTAINER, strlen(CONTAINER))) {
		text_add(&text, subject->path);
		path += strlen(CONTAINER);
	}
	resource = strstr(path, RESOURCE);
	if (resource) {
		text_append(&text, path, (size_t)(resource - path));
		add_escaped(&text, subject->wanted.resource);
		path = resource + strlen(RESOURCE);
	}
	text_add(&text, path);
	return text_take(&text);
}

static cJSON *make_value(const struct subject *subject, const cJSON *value)
{
	const cJSON *containers = member(member(subject->pod, "spec"), "containers");
	const struct wanted *wanted = &subject->wanted;
	const struct {
		const char *name, *text;
	} known[] = {
		{FIRST, cJSON_GetStringValue(member(cJSON_GetArrayItem(containers, 0), "name"))},
		{"$(image)", wanted->image},
		{"$(cpu_request)", wanted->cpu.request},
		{"$(cpu_limit)", wanted->cpu.limit},
		{"$(memory_request)", wanted->memory.request},
		{"$(memory_limit)", wanted->memory.limit},
	};
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (is_string(value, known[i].name))
			return cJSON_CreateString(known[i].text ? known[i].text : "");
	return cJSON_Duplicate(value, true);
}

/* Sets *path and *value to those of an operation that prepends; NULL if out of memory. */
static void make_list(const struct subject *subject, const struct operation *operation, char **path,
		      cJSON **value)
{
	struct text where = {0}, list = {0};
	unsigned int index = 0;
	const char *old = find_list(subject, operation, &index);
	char *text;

	text_print(&where, "%s/env/%u/value", subject->path, index);
	*path = text_take(&where);
	text_add(&list, operation->value->valuestring);
	if (*old)
		text_print(&list, ":%s", old);
	text = text_take(&list);
	*value = text ? cJSON_CreateString(text) : NULL;
	free(text);
}

/* Appends one operation. Returns 0 or -ENOMEM. */
static int emit(const struct subject *subject, const struct operation *operation, cJSON *patch)
{
	cJSON *item = cJSON_CreateObject(), *value;
	char *path;
	bool done;

	if (operation->prepend) {
		make_list(subject, operation, &path, &value);
	} else {
		path = make_path(subject, operation->path);
		value = make_value(subject, operation->value);
	}
	done = path && value && item && cJSON_AddStringToObject(item, "op", "add") &&
	       cJSON_AddStringToObject(item, "path", path);
	free(path);
	if (done && cJSON_AddItemToObject(item, "value", value) &&
	    cJSON_AddItemToArray(patch, item))
		return 0;
	if (!item || member(item, "value") != value)
		cJSON_Delete(value);
	cJSON_Delete(item);
	return -ENOMEM;
}

/* Returns true if operations apply to an init container. One that ends before the pod's containers
 * start is left alone, unless udplane.io/preload selects it. */
static bool is_init_concerned(const struct subject *subject)
{
	return !preload_is_sidecar(subject->container) &&
	       (is_string(member(subject->container, "restartPolicy"), "Always") ||
		(subject->wanted.holds & CONDITION_PRELOAD));
}

static int emit_each(struct subject *subject, const struct operation *operation, cJSON *patch)
{
	static const char *const lists[] = {"containers", "initContainers"};
	const cJSON *spec = member(subject->pod, "spec");
	size_t i;
	int ret = 0;

	for (i = 0; i < 2; i++) {
		unsigned int index = 0;

		cJSON_ArrayForEach(subject->container, member(spec, lists[i])) {
			char path[64];

			config_print(path, sizeof(path), "/spec/%s/%u", lists[i], index++);
			subject->path = path;
			subject->wanted.holds &= ~CONDITION_PRELOAD;
			if (preload_selects(subject->preload, subject->container))
				subject->wanted.holds |= CONDITION_PRELOAD;
			if (cJSON_IsObject(subject->container) &&
			    (i == 0 || is_init_concerned(subject)) && applies(subject, operation))
				ret = emit(subject, operation, patch);
			subject->path = NULL;
			if (ret)
				return ret;
		}
	}
	return 0;
}

#define NAME_MAX_LEN 63

static bool is_name(const cJSON *item)
{
	return cJSON_IsString(item) && strlen(item->valuestring) <= NAME_MAX_LEN;
}

/* Returns false if the pod lacks what every pod must have; the API server refuses such a pod. */
static bool is_whole(const cJSON *pod)
{
	const cJSON *containers = member(member(pod, "spec"), "containers"), *item;

	cJSON_ArrayForEach(item, containers) {
		if (!cJSON_IsObject(item) || !is_name(member(item, "name")))
			return false;
	}
	return cJSON_IsArray(containers) && containers->child;
}

cJSON *patch_make(const struct injection *injection, const cJSON *pod)
{
	struct subject subject = {.injection = injection, .pod = pod};
	cJSON *patch = cJSON_CreateArray();
	unsigned int i;

	if (!patch || !is_whole(pod))
		return patch;
	check_wanted(injection, pod, &subject.wanted);
	subject.preload = cJSON_GetStringValue(
		member(member(member(pod, "metadata"), "annotations"), PRELOAD_ANNOTATION));
	for (i = 0; i < injection->count; i++) {
		const struct operation *operation = &injection->operations[i];
		int ret = 0;

		if (operation->each_container)
			ret = emit_each(&subject, operation, patch);
		else if (applies(&subject, operation))
			ret = emit(&subject, operation, patch);
		if (ret) {
			cJSON_Delete(patch);
			return NULL;
		}
	}
	return patch;
}

/* ---- applying ---- */

static int array_index(const char *token)
{
	char *end;
	unsigned long index = strtoul(token, &end, 10);

	return *token >= '0' && *token <= '9' && !*end && index < 1u << 20 ? (int)index : -1;
}

/* Adds `value` to `parent`. In an object, it replaces the member named `token`. */
static int insert(cJSON *parent, const char *token, cJSON *value)
{
	int index = array_index(token), size = cJSON_GetArraySize(parent);

	if (member(parent, token))
		return cJSON_ReplaceItemInObjectCaseSensitive(parent, token, value) ? 0 : -ENOMEM;
	if (cJSON_IsObject(parent))
		return cJSON_AddItemToObject(parent, token, value) ? 0 : -ENOMEM;
	if (!cJSON_IsArray(parent))
		return -EINVAL;
	if (!strcmp(token, "-") || index == size)
		return cJSON_AddItemToArray(parent, value) ? 0 : -ENOMEM;
	if (index < 0 || index > size)
		return -EINVAL;
	return cJSON_InsertItemInArray(parent, index, value) ? 0 : -ENOMEM;
}

static int apply(cJSON *root, const cJSON *operation)
{
	const char *path = cJSON_GetStringValue(member(operation, "path"));
	cJSON *value, *parent = root;
	int ret = -EINVAL;

	if (!path || *path != '/' || !member(operation, "value"))
		return -EINVAL;
	while (parent) {
		char *token = token_next(&path);

		if (!token)
			return -ENOMEM;
		if (!*path) {
			value = cJSON_Duplicate(member(operation, "value"), true);
			ret = value ? insert(parent, token, value) : -ENOMEM;
			if (ret)
				cJSON_Delete(value);
			free(token);
			return ret;
		}
		parent = cJSON_IsArray(parent) ? cJSON_GetArrayItem(parent, array_index(token))
					       : cJSON_GetObjectItemCaseSensitive(parent, token);
		free(token);
	}
	return ret;
}

int patch_apply(cJSON *pod, const cJSON *patch)
{
	const cJSON *operation;

	cJSON_ArrayForEach(operation, patch) {
		int ret = apply(pod, operation);

		if (ret)
			return ret;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/preload.h"

#include <errno.h>
#include <string.h>

#include "sidecar/config/text.h"

#define VARIABLE    "LD_PRELOAD"
#define LIBRARY	    "libudplane-preload.so"
#define NAMES_SHOWN 8
#define ITEM_SHOWN  24 /* as in lists of ports */

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *name_of(const cJSON *container)
{
	const char *name = cJSON_GetStringValue(member(container, "name"));

	return name ? name : "";
}

/* ---- the list ---- */

struct item {
	const char *text;
	size_t len;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Takes the next item, without the whitespace around it. *list is NULL behind the last one. */
static struct item item_next(const char **list)
{
	const char *comma = strchr(*list, ',');
	struct item item = {*list, comma ? (size_t)(comma - *list) : strlen(*list)};

	*list = comma ? comma + 1 : NULL;
	while (item.len && is_space(item.text[0])) {
		item.text++;
		item.len--;
	}
	while (item.len && is_space(item.text[item.len - 1]))
		item.len--;
	return item;
}

static bool item_is(struct item item, const char *text)
{
	return strlen(text) == item.len && !memcmp(item.text, text, item.len);
}

bool preload_selects(const char *value, const cJSON *container)
{
	const char *name = name_of(container);

	while (value && *name) {
		struct item item = item_next(&value);

		if (item_is(item, "*") || item_is(item, name))
			return true;
	}
	return false;
}

/* ---- the pod's own containers ---- */

bool preload_is_sidecar(const cJSON *container)
{
	return !strcmp(name_of(container), "udplane") ||
	       !strcmp(name_of(container), "udplane-metrics");
}

/* Calls `each` for every container of the pod that is not ours, until it returns true. Returns that
 * container, or NULL. */
static const cJSON *find_own(const cJSON *pod, bool (*each)(const cJSON *container, void *arg),
			     void *arg)
{
	static const char *const lists[] = {"containers", "initContainers"};
	const cJSON *container;
	size_t i;

	for (i = 0; i < 2; i++) {
		cJSON_ArrayForEach(container, member(member(pod, "spec"), lists[i])) {
			if ((i == 0 || !preload_is_sidecar(container)) && each(container, arg))
				return container;
		}
	}
	return NULL;
}

static bool is_named(const cJSON *container, void *arg)
{
	const struct item *item = arg;

	return item->len && item_is(*item, name_of(container));
}

/* ---- LD_PRELOAD ---- */

const cJSON *preload_variable(const cJSON *container, const char *name, unsigned int *index)
{
	const cJSON *item, *last = NULL;
	unsigned int i = 0;

	cJSON_ArrayForEach(item, member(container, "env")) {
		if (!strcmp(name_of(item), name)) {
			last = item;
			*index = i;
		}
		i++;
	}
	return last;
}

bool preload_lists(const char *list, const char *file)
{
	size_t len = strlen(file);

	while (*list) {
		size_t item = strcspn(list, ": ");

		if (item >= len && !memcmp(list + item - len, file, len) &&
		    (item == len || list[item - len - 1] == '/'))
			return true;
		list += item;
		list += strspn(list, ": ");
	}
	return false;
}

static bool has_reference(const cJSON *container, void *value)
{
	unsigned int index;
	const cJSON *from, *variable;

	if (!preload_selects(value, container))
		return false;
	variable = preload_variable(container, VARIABLE, &index);
	from = member(variable, "valueFrom");
	return from && !cJSON_IsNull(from);
}

/* Returns the value of the container's LD_PRELOAD, or "". */
static const char *list_of(const cJSON *container)
{
	unsigned int index;
	const char *list = cJSON_GetStringValue(
		member(preload_variable(container, VARIABLE, &index), "value"));

	return list ? list : "";
}

static bool lacks_library(const cJSON *container, void *value)
{
	return preload_selects(value, container) && !preload_lists(list_of(container), LIBRARY);
}

struct total {
	const char *value;
	size_t len;
};

static bool add_len(const cJSON *container, void *arg)
{
	struct total *total = arg;

	if (preload_selects(total->value, container))
		total->len += strlen(list_of(container));
	return false;
}

size_t preload_lists_len(const cJSON *pod, const char *value)
{
	struct total total = {value, 0};

	find_own(pod, add_len, &total);
	return total.len;
}

const char *preload_missing(const cJSON *pod, const char *value)
{
	const cJSON *container = find_own(pod, lacks_library, (void *)value);

	return container ? name_of(container) : NULL;
}

/* ---- the check ---- */

struct names {
	unsigned int count;
	char text[400];
};

/* Appends a name. Returns true when no more are shown. */
static bool add_name(const cJSON *container, void *arg)
{
	struct names *names = arg;
	size_t len = strlen(names->text);
	bool last = names->count == NAMES_SHOWN;

	config_print(names->text + len, sizeof(names->text) - len, "%s%s",
		     names->count++ ? ", " : "", last ? "..." : name_of(container));
	return last;
}

/* Refuses item number `index` of the list, which the text names only if there are several. */
static int refuse_item(const cJSON *pod, const char *value, struct item item, unsigned int index,
		       const char *wrong, struct error *err)
{
	char shown[CONFIG_QUOTE_SIZE], quoted[CONFIG_QUOTE_SIZE], whole[CONFIG_QUOTE_SIZE];
	struct names names = {0};
	char where[120] = "";

	find_own(pod, add_name, &names);
	if (strchr(value, ',') && index) {
		config_print(shown, sizeof(shown), "%.*s",
			     item.len > ITEM_SHOWN ? ITEM_SHOWN : (int)item.len, item.text);
		config_print(where, sizeof(where), "item %u %s: ", index,
			     config_quote(shown, quoted));
	}
	return error_set(err, -EINVAL,
			 "annotation " PRELOAD_ANNOTATION
			 ": %s: %s%s; allowed: *, or a comma-separated list of %s",
			 config_quote(value, whole), where, wrong, names.text);
}

static int check_items(const cJSON *pod, const char *value, struct error *err)
{
	const char *rest = value;
	unsigned int index = 1;

	if (strlen(value) > PRELOAD_VALUE_MAX)
		return refuse_item(pod, value, (struct item){0}, 0, "too long", err);
	for (; rest; index++) {
		struct item item = item_next(&rest);

		if (!item.len)
			return refuse_item(pod, value, item, index,
					   strchr(value, ',') ? "empty item" : "empty", err);
		if (!item_is(item, "*") && !find_own(pod, is_named, &item))
			return refuse_item(pod, value, item, index, "no container of this pod",
					   err);
	}
	return 0;
}

int preload_check(const cJSON *pod, const char *value, struct error *err)
{
	char quoted[CONFIG_QUOTE_SIZE];
	const cJSON *container;
	int ret = check_items(pod, value, err);

	if (ret)
		return ret;
	container = find_own(pod, has_reference, (void *)value);
	if (!container)
		return 0;
	return error_set(
		err, -EINVAL,
		"annotation " PRELOAD_ANNOTATION ": %s: container \"%s\" takes " VARIABLE
		" from elsewhere (valueFrom), so the library cannot be put in front of it; "
		"allowed: containers that set it by value, or not at all",
		config_quote(value, quoted), name_of(container));
}

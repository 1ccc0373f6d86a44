/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/config/layer.h"

#include <errno.h>
#include <string.h>

#include "sidecar/config/annotations.h"
#include "sidecar/config/json.h"

struct layer {
	struct config *config;
	const char *file;
	uint64_t seen; /* bit per key */
	struct error *err;
};

_Static_assert(CONFIG_KEYS_MAX <= 64, "seen");

/* ---- JSON ---- */

static int refuse_unknown_member(const struct layer *layer, const struct json_member *member)
{
	char quoted[CONFIG_QUOTE_SIZE], names[300];

	key_list(false, names, sizeof(names));
	return error_set(layer->err, -EINVAL,
			 "%.100s:%u:%u: key %s: unknown, the nearest is \"%s\"; allowed: %s",
			 layer->file, member->line, member->column,
			 config_quote(member->name, quoted), key_nearest(member->name, false, NULL),
			 names);
}

static int apply_member(void *arg, const struct json_member *member)
{
	struct layer *layer = arg;
	const struct key *key = key_find(member->name);
	struct origin origin = {CONFIG_SOURCE_FILE, layer->file, member->line, member->column};
	unsigned int type = member->type == JSON_STRING	  ? VALUE_JSON_STRING
			    : member->type == JSON_NUMBER ? VALUE_JSON_NUMBER
							  : 0;
	char why[64];

	if (!key)
		return refuse_unknown_member(layer, member);
	if (layer->seen & UINT64_C(1) << key_index(key))
		return key_refuse(key, &origin, member->text, "given twice, a key may stand once",
				  layer->err);
	layer->seen |= UINT64_C(1) << key_index(key);
	if (key->type->json & type)
		return key_apply(key, layer->config, &origin, member->text, layer->err);
	config_print(why, sizeof(why), "is %s, must be %s", json_type_name(member->type),
		     key->type->json == VALUE_JSON_STRING   ? "a string"
		     : key->type->json == VALUE_JSON_NUMBER ? "a number"
							    : "a string or a number");
	return key_refuse(key, &origin, member->text, why, layer->err);
}

int layer_json(struct config *config, const char *file, const char *text, size_t len,
	       struct error *err)
{
	struct layer layer = {config, file, 0, err};

	return json_each(file, text, len, apply_member, &layer, err);
}

/* ---- annotations ---- */

/* Annotations of udplane that are not settings of udplaned. */
static bool is_for_others(const char *name)
{
	static const char *const names[] = {"preload", "inject", "cpu", "memory", "image"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static int apply_annotation(void *arg, const char *name, const char *value)
{
	struct layer *layer = arg;
	const struct key *key = key_find_annotated(name);
	struct origin origin = {CONFIG_SOURCE_ANNOTATION, layer->file, 0, 0};
	char quoted[CONFIG_QUOTE_SIZE], names[300];

	if (key)
		return key_apply(key, layer->config, &origin, value, layer->err);
	if (is_for_others(name))
		return 0;
	key_list(true, names, sizeof(names));
	config_warn(&layer->config->warnings,
		    "annotation " ANNOTATION_PREFIX "... in %.100s: key %s: unknown and ignored, "
		    "the nearest is \"%s\"; allowed: %s, preload, inject, cpu, memory, image",
		    layer->file, config_quote(name, quoted), key_nearest(name, true, NULL), names);
	return 0;
}

int layer_annotations(struct config *config, const char *file, const char *text, size_t len,
		      struct error *err)
{
	struct layer layer = {config, file, 0, err};

	return annotations_each(file, text, len, ANNOTATION_PREFIX, apply_annotation, &layer, err);
}

/* ---- environment ---- */

const char *environment_get(char **envp, const char *name)
{
	size_t len = strlen(name);

	for (; envp && *envp; envp++)
		if (!strncmp(*envp, name, len) && (*envp)[len] == '=')
			return *envp + len + 1;
	return NULL;
}

/* PCIDEVICE_<RESOURCE>=<addresses>. Some plugins also set ..._INFO to a JSON text. */
static void collect_pci(struct config *config, const char *entry)
{
	const char *equals = strchr(entry, '=');

	if (strncmp(entry, "PCIDEVICE_", 10) || !equals || !equals[1] || equals[1] == '{')
		return;
	if (config->pci_count == CONFIG_PCI_MAX) {
		config_warn(&config->warnings,
			    "environment %.*s: more than %d PCIDEVICE_ variables; ignored",
			    (int)(equals - entry > 100 ? 100 : equals - entry), entry,
			    CONFIG_PCI_MAX);
		return;
	}
	config->pci[config->pci_count++] = (struct config_pci){entry, equals + 1};
}

static bool is_key_variable(const char *name)
{
	char variable[KEY_NAME_SIZE];
	const struct key *key;
	size_t i;

	for (i = 0; (key = key_at(i)); i++)
		if (!strcmp(key_environment(key, variable), name))
			return true;
	return false;
}

/*
 * A misspelt UDPLANE_PROTS=53 should not be ignored silently. But other names may be links of a
 * Service (their values are URLs), belong to the client library, or to other programs. So only a
 * name that differs from a key in one or two letters causes a warning.
 */
static void warn_of_slip(struct config *config, const char *entry)
{
	static const char *const others[] = {"UDPLANE_CONFIG", "UDPLANE_LOG", "UDPLANE_SPIN_US",
					     "UDPLANE_DISABLE"};
	char name[KEY_NAME_SIZE], variable[KEY_NAME_SIZE];
	const char *equals = strchr(entry, '='), *nearest;
	unsigned int distance;
	size_t i;

	if (strncmp(entry, "UDPLANE_", 8) || !equals || (size_t)(equals - entry) >= sizeof(name) ||
	    strstr(equals, "://"))
		return;
	config_print(name, sizeof(name), "%.*s", (int)(equals - entry), entry);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strcmp(name, others[i]))
			return;
	nearest = key_nearest(name + 8, false, &distance);
	if (is_key_variable(name) || distance > 2)
		return;
	config_warn(&config->warnings, "environment %s: unknown and ignored, the nearest is %s",
		    name, key_environment(key_find(nearest), variable));
}

int layer_environment(struct config *config, char **envp, struct error *err)
{
	struct origin origin = {CONFIG_SOURCE_ENVIRONMENT, NULL, 0, 0};
	char variable[KEY_NAME_SIZE];
	const struct key *key;
	size_t i;

	for (i = 0; (key = key_at(i)); i++) {
		const char *value = environment_get(envp, key_environment(key, variable));
		int ret;

		if (!value || !*value)
			continue;
		ret = key_apply(key, config, &origin, value, err);
		if (ret)
			return ret;
	}
	for (; envp && *envp; envp++) {
		collect_pci(config, *envp);
		warn_of_slip(config, *envp);
	}
	return 0;
}

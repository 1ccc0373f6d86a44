/* SPDX-License-Identifier: Apache-2.0 */
// Prints a document of yaml.h.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/yaml.h"

/* Words that YAML 1.1 takes for something else than a string. */
static bool is_word(const char *text)
{
	static const char *const words[] = {"y",    "n",     "yes",  "no",   "on",  "off",
					    "true", "false", "null", ".inf", ".nan"};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcasecmp(text, words[i]))
			return true;
	return false;
}

/* Strict, as quotes are never wrong: a letter or '/', then letters, digits and what paths have. */
static bool may_be_plain(const char *text)
{
	const char *at;

	if (!isalpha((unsigned char)*text) && *text != '/')
		return false;
	for (at = text; *at; at++)
		if (!isalnum((unsigned char)*at) && !strchr("/._-:", *at))
			return false;
	return at[-1] != ':' && !is_word(text);
}

static void print_flow(struct text *out, const cJSON *item)
{
	char *json = cJSON_PrintUnformatted(item);

	if (json)
		text_add(out, json);
	else
		out->failed = true;
	free(json);
}

static void print_scalar(struct text *out, const cJSON *item)
{
	if (cJSON_IsString(item) && may_be_plain(item->valuestring))
		text_add(out, item->valuestring);
	else
		print_flow(out, item); /* JSON is YAML */
}

static bool is_block(const cJSON *item)
{
	return (cJSON_IsObject(item) || cJSON_IsArray(item)) && item->child;
}

static void print_key(struct text *out, const char *key)
{
	cJSON name = {.type = cJSON_String, .valuestring = (char *)key};

	print_scalar(out, &name);
	text_add(out, ":");
}

static void print_member(struct text *out, const cJSON *item, size_t column)
{
	/* A list stands below its key, as kubectl writes it. */
	size_t inner = cJSON_IsArray(item) ? column : column + 2;

	print_key(out, item->string);
	if (!is_block(item)) {
		text_add(out, " ");
		print_scalar(out, item);
		text_add(out, "\n");
		return;
	}
	text_add(out, "\n");
	text_repeat(out, ' ', inner);
	yaml_print(out, item, inner);
}

void yaml_print(struct text *out, const cJSON *item, size_t column)
{
	const cJSON *child;

	if (!is_block(item)) {
		print_scalar(out, item);
		text_add(out, "\n");
		return;
	}
	cJSON_ArrayForEach(child, item) {
		if (child != item->child)
			text_repeat(out, ' ', column);
		if (cJSON_IsArray(item)) {
			text_add(out, "- ");
			yaml_print(out, child, column + 2);
		} else {
			print_member(out, child, column);
		}
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cJSON parses the text, but it keeps no positions, reads numbers as doubles (16384.5, 1e4 and 010
 * become integers) and cuts strings at \u0000. So a second, simple pass over text that cJSON has
 * accepted finds each member's position and its number as written.
 */
#include "sidecar/config/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define RAW_SIZE 128

struct scan {
	const char *file;
	const char *text, *end;
	const char *at;
	bool has_nul; /* a string spelt \u0000 */
};

const char *json_type_name(enum json_type type)
{
	static const char *const names[] = {
		[JSON_STRING] = "a string",   [JSON_NUMBER] = "a number",
		[JSON_OBJECT] = "an object",  [JSON_ARRAY] = "an array",
		[JSON_BOOLEAN] = "a boolean", [JSON_NULL] = "null",
	};

	return names[type];
}

static void locate(const struct scan *scan, const char *at, unsigned int *line,
		   unsigned int *column)
{
	const char *c, *start = scan->text;

	*line = 1;
	for (c = scan->text; c < at; c++) {
		if (*c != '\n')
			continue;
		++*line;
		start = c + 1;
	}
	*column = (unsigned int)(at - start) + 1;
}

static int refuse(const struct scan *scan, const char *at, const char *wrong, struct error *err)
{
	unsigned int line, column;

	locate(scan, at, &line, &column);
	return error_set(err, -EINVAL, "%.200s:%u:%u: %s; allowed: one JSON object", scan->file,
			 line, column, wrong);
}

/* Whitespace as cJSON defines it. */
static void skip_space(struct scan *scan)
{
	while (scan->at < scan->end && (unsigned char)*scan->at <= ' ')
		scan->at++;
}

static void skip_string(struct scan *scan)
{
	for (scan->at++; scan->at < scan->end && *scan->at != '"'; scan->at++) {
		if (*scan->at != '\\')
			continue;
		if (scan->end - scan->at > 5 && !memcmp(scan->at + 1, "u0000", 5))
			scan->has_nul = true;
		scan->at++;
	}
	if (scan->at < scan->end)
		scan->at++;
}

static void skip_value(struct scan *scan)
{
	unsigned int depth = 0;

	while (scan->at < scan->end) {
		char c = *scan->at;

		if (c == '"') {
			skip_string(scan);
		} else if (c == '{' || c == '[') {
			depth++;
			scan->at++;
		} else if (depth && (c == '}' || c == ']')) {
			depth--;
			scan->at++;
		} else if (!depth && (c == ',' || c == '}' || (unsigned char)c <= ' ')) {
			return;
		} else {
			scan->at++;
		}
	}
}

static enum json_type type_of(const cJSON *item)
{
	if (cJSON_IsString(item))
		return JSON_STRING;
	if (cJSON_IsNumber(item))
		return JSON_NUMBER;
	if (cJSON_IsObject(item))
		return JSON_OBJECT;
	if (cJSON_IsArray(item))
		return JSON_ARRAY;
	return cJSON_IsBool(item) ? JSON_BOOLEAN : JSON_NULL;
}

/* Steps over `"name": value` and fills `member`; `raw` is RAW_SIZE bytes long. */
static int scan_member(struct scan *scan, const cJSON *item, struct json_member *member, char *raw,
		       struct error *err)
{
	const char *start;
	size_t len;

	scan->at++; /* the '{' or ',' */
	skip_space(scan);
	start = scan->at;
	skip_string(scan);
	skip_space(scan);
	scan->at++; /* the ':' */
	skip_space(scan);
	if (!scan->has_nul)
		start = scan->at;
	skip_value(scan);
	if (scan->at > scan->end || scan->has_nul)
		return refuse(scan, start > scan->end ? scan->end : start, "a string with a NUL",
			      err);

	len = (size_t)(scan->at - start);
	if (len >= RAW_SIZE)
		len = RAW_SIZE - 1;
	memcpy(raw, start, len);
	raw[len] = 0;
	member->name = item->string;
	member->type = type_of(item);
	member->text = member->type == JSON_STRING ? item->valuestring : raw;
	locate(scan, start, &member->line, &member->column);
	skip_space(scan);
	return 0;
}

static int walk(struct scan *scan, const cJSON *root,
		int (*each)(void *arg, const struct json_member *member), void *arg,
		struct error *err)
{
	const cJSON *item;

	if (scan->end - scan->at >= 3 && !memcmp(scan->at, "\xEF\xBB\xBF", 3))
		scan->at += 3;
	skip_space(scan);
	cJSON_ArrayForEach(item, root) {
		struct json_member member;
		char raw[RAW_SIZE];
		int ret = scan_member(scan, item, &member, raw, err);

		if (!ret)
			ret = each(arg, &member);
		if (ret)
			return ret;
	}
	return 0;
}

int json_each(const char *file, const char *text, size_t len,
	      int (*each)(void *arg, const struct json_member *member), void *arg,
	      struct error *err)
{
	char *copy = malloc(len + 1); /* cJSON requires the NUL */
	struct scan scan = {file, copy, copy + len, copy, false};
	const char *stop = NULL, *nul;
	cJSON *root = NULL;
	int ret;

	if (!copy)
		return error_set(err, -ENOMEM, "%.200s: out of memory", file);
	if (len)
		memcpy(copy, text, len);
	copy[len] = 0;
	nul = memchr(copy, 0, len);
	if (nul) {
		ret = refuse(&scan, nul, "a NUL byte", err);
		goto cleanup;
	}
	root = cJSON_ParseWithLengthOpts(copy, len + 1, &stop, true);
	if (!root)
		ret = refuse(&scan, stop ? stop : copy, "not valid JSON around here", err);
	else if (!cJSON_IsObject(root))
		ret = refuse(&scan, copy, "not a JSON object", err);
	else
		ret = walk(&scan, root, each, arg, err);
cleanup:
	cJSON_Delete(root);
	free(copy);
	return ret;
}

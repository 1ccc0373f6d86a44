/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: libyaml's document of nodes, each with the place of its text, becomes a cJSON tree.
 * Every item made from a node is marked FROM_TEXT, and an object or array keeps its node's number
 * in valueint (which cJSON uses for numbers only). Patching leaves items where they are, so
 * whatever lacks the mark afterwards is new, and is inserted at its parent's place in the text.
 */
#include "deploy/injector/yaml.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define FROM_TEXT (1 << 12) /* above cJSON's own bits of type */

struct insertion {
	size_t at;
	char *text;
	size_t order;	 /* at equal places, the earlier first */
	size_t replaced; /* bytes that it takes the place of */
};

struct document {
	const char *name;
	const char *text;
	size_t len;
	const uint32_t *offsets; /* of each character, as libyaml counts characters */
	size_t characters;
	yaml_document_t nodes;
	bool *seen;
	bool aliases, failed;
	struct insertion *insertions;
	size_t count;
	struct config_error *err;
};

static int refuse(struct document *document, size_t line, const char *why)
{
	config_error_set(document->err, "%.200s: line %zu: %s", document->name, line + 1, why);
	return -EINVAL;
}

/* ---- reading ---- */

static bool is_tag(const yaml_node_t *node, const char *tag)
{
	return node->tag && !strcmp((const char *)node->tag, tag);
}

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(text, *words))
			return true;
	return false;
}

/* A plain scalar's meaning, as Kubernetes' own parser (YAML 1.1) has it. */
static cJSON *read_plain(const char *text)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES",
					    "on",   "On",   "ON",   "y",   "Y",	  NULL};
	static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO",
					     "off",   "Off",   "OFF",	"n",  "N",  NULL};
	const char *digits = text + (*text == '-' || *text == '+' || *text == '.');
	char *end;
	double number;

	if (is_one_of(text, nulls))
		return cJSON_CreateNull();
	if (is_one_of(text, trues))
		return cJSON_CreateTrue();
	if (is_one_of(text, falses))
		return cJSON_CreateFalse();
	number = strtod(text, &end);
	if (*digits >= '0' && *digits <= '9' && !*end)
		return cJSON_CreateNumber(number);
	return cJSON_CreateString(text);
}

static cJSON *read_scalar(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;

	if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && is_tag(node, YAML_STR_TAG))
		return read_plain(text); /* libyaml gives every untagged scalar this tag */
	return cJSON_CreateString(text);
}

static cJSON *read_node(struct document *document, int index, unsigned int depth);

static bool read_pairs(struct document *document, const yaml_node_t *node, cJSON *object,
		       unsigned int depth)
{
	const yaml_node_pair_t *pair = node->data.mapping.pairs.start;

	for (; pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(&document->nodes, pair->key);
		const char *name = key && key->type == YAML_SCALAR_NODE
					   ? (const char *)key->data.scalar.value
					   : NULL;
		cJSON *value;

		if (!name) {
			refuse(document, node->start_mark.line, "a key that is no string");
			return false;
		}
		value = read_node(document, pair->value, depth);
		if (!value)
			return false;
		if (!cJSON_AddItemToObject(object, name, value)) {
			cJSON_Delete(value);
			return false;
		}
	}
	return true;
}

static bool read_items(struct document *document, const yaml_node_t *node, cJSON *array,
		       unsigned int depth)
{
	const yaml_node_item_t *item = node->data.sequence.items.start;

	for (; item < node->data.sequence.items.top; item++) {
		cJSON *value = read_node(document, *item, depth);

		if (!value)
			return false;
		if (!cJSON_AddItemToArray(array, value)) {
			cJSON_Delete(value);
			return false;
		}
	}
	return true;
}

/* NULL with the error set, or for out of memory. */
static cJSON *read_node(struct document *document, int index, unsigned int depth)
{
	const yaml_node_t *node = yaml_document_get_node(&document->nodes, index);
	bool mapping = node && node->type == YAML_MAPPING_NODE, done = true;
	cJSON *item;

	if (!node || depth > YAML_DEPTH_MAX) {
		refuse(document, node ? node->start_mark.line : 0, "nested too deeply");
		return NULL;
	}
	if (document->seen[index]) {
		document->aliases = true;
		item = cJSON_CreateNull();
	} else if (node->type == YAML_SCALAR_NODE) {
		item = read_scalar(node);
	} else {
		item = mapping ? cJSON_CreateObject() : cJSON_CreateArray();
		if (item)
			item->valueint = index;
	}
	if (item && !document->seen[index] && node->type != YAML_SCALAR_NODE) {
		document->seen[index] = true; /* before its children: an alias may be one of them */
		done = mapping ? read_pairs(document, node, item, depth + 1)
			       : read_items(document, node, item, depth + 1);
	}
	document->seen[index] = true;
	if (!done) {
		cJSON_Delete(item);
		return NULL;
	}
	if (item)
		item->type |= FROM_TEXT;
	return item;
}

/* ---- places in the text ---- */

static size_t offset_of(const struct document *document, const yaml_mark_t *mark)
{
	size_t index = mark->index < document->characters ? mark->index : document->characters;

	return document->offsets[index];
}

static bool is_flow(const yaml_node_t *node)
{
	return node->type == YAML_MAPPING_NODE
		       ? node->data.mapping.style == YAML_FLOW_MAPPING_STYLE
		       : node->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE;
}

/* Where a node's last character is followed. A block's own end mark is where the next token starts,
 * so its last leaf's counts. */
static size_t end_of(const struct document *document, int index)
{
	yaml_document_t *nodes = (yaml_document_t *)&document->nodes;
	const yaml_node_t *node = yaml_document_get_node(nodes, index);

	while (node->type != YAML_SCALAR_NODE && !is_flow(node)) {
		if (node->type == YAML_MAPPING_NODE) {
			if (node->data.mapping.pairs.top == node->data.mapping.pairs.start)
				break;
			index = node->data.mapping.pairs.top[-1].value;
		} else {
			if (node->data.sequence.items.top == node->data.sequence.items.start)
				break;
			index = node->data.sequence.items.top[-1];
		}
		node = yaml_document_get_node(nodes, index);
	}
	return offset_of(document, &node->end_mark);
}

/* Where the line after `at` starts; `at` itself if it starts one. */
static size_t next_line(const struct document *document, size_t at)
{
	const char *newline;

	if (at && document->text[at - 1] == '\n')
		return at;
	newline = memchr(document->text + at, '\n', document->len - at);
	return newline ? (size_t)(newline - document->text) + 1 : document->len;
}

/* ---- writing ---- */

static void add_insertion(struct document *document, size_t at, size_t replaced, struct text *text)
{
	struct insertion *grown =
		realloc(document->insertions, (document->count + 1) * sizeof(*grown));
	char *taken = text_take(text);

	if (grown)
		document->insertions = grown;
	if (!grown || !taken) {
		document->failed = true;
		free(taken);
		return;
	}
	grown[document->count] = (struct insertion){at, taken, document->count, replaced};
	document->count++;
}

static bool is_new(const cJSON *item)
{
	return !(item->type & FROM_TEXT);
}

static void flow_item(struct text *out, const cJSON *item, bool member)
{
	char *json = cJSON_PrintUnformatted(item);
	cJSON key = {.type = cJSON_String, .valuestring = item->string};
	char *name = member ? cJSON_PrintUnformatted(&key) : NULL;

	if (!json || (member && !name))
		out->failed = true;
	else if (member)
		text_print(out, "%s: %s", name, json);
	else
		text_add(out, json);
	free(name);
	free(json);
}

/* Into {...} or [...]: new items before the first old one, and after the last. */
static void insert_flow(struct document *document, const yaml_node_t *node, const cJSON *item)
{
	size_t start = offset_of(document, &node->start_mark);
	size_t end = offset_of(document, &node->end_mark) - 1, before = end;
	struct text front = {0}, back = {0};
	bool old = false, comma;
	const cJSON *child;

	start = (size_t)((const char *)memchr(document->text + start,
					      cJSON_IsArray(item) ? '[' : '{', end - start) -
			 document->text);
	while (before > start && strchr(" \t\r\n", document->text[before - 1]))
		before--;
	comma = document->text[before - 1] != ',' && before > start + 1;
	cJSON_ArrayForEach(child, item) {
		if (!is_new(child)) {
			old = true;
			continue;
		}
		if (old && (comma || back.len))
			text_add(&back, ", ");
		else if (!old && front.len)
			text_add(&front, ", ");
		flow_item(old ? &back : &front, child, cJSON_IsObject(item));
	}
	if (front.len) {
		if (old)
			text_add(&front, ", ");
		add_insertion(document, start + 1, 0, &front);
	}
	if (back.len)
		add_insertion(document, before, 0, &back);
}

/* libyaml counts a byte order mark as a column of the first line. */
static size_t column_of(const struct document *document, const yaml_node_t *node)
{
	bool marked = document->len >= 3 && !memcmp(document->text, "\xef\xbb\xbf", 3);

	return node->start_mark.column - (marked && !node->start_mark.line);
}

/* Whole lines below a block, or, before an old item of a list, in its place. */
static void insert_block(struct document *document, const yaml_node_t *node, const cJSON *item)
{
	size_t column = column_of(document, node);
	size_t first = offset_of(document, &node->start_mark);
	size_t last = next_line(document, end_of(document, item->valueint));
	struct text front = {0}, back = {0};
	const cJSON *child;
	bool old = false;

	if (last == document->len && last && document->text[last - 1] != '\n')
		text_add(&back, "\n");
	cJSON_ArrayForEach(child, item) {
		struct text *out = old || cJSON_IsObject(item) ? &back : &front;

		if (!is_new(child)) {
			old = true;
			continue;
		}
		if (out == &back)
			text_repeat(out, ' ', column);
		if (cJSON_IsArray(item)) {
			text_add(out, "- ");
			yaml_print(out, child, column + 2);
		} else {
			cJSON copy = *child, parent = {.type = cJSON_Object, .child = &copy};

			copy.next = NULL;
			copy.prev = &copy;
			yaml_print(out, &parent, column);
		}
		if (out == &front)
			text_repeat(out, ' ', column);
	}
	if (front.len)
		add_insertion(document, first, 0, &front);
	if (back.len > 1)
		add_insertion(document, last, 0, &back);
	free(front.data);
	free(back.data);
}

/* The node of a null that a new member takes the place of ("env:"), or NULL. */
static const yaml_node_t *replaced_null(struct document *document, const yaml_node_t *node,
					const char *name)
{
	const yaml_node_pair_t *pair = node->data.mapping.pairs.start;

	for (; pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = yaml_document_get_node(&document->nodes, pair->key);

		if (!strcmp((const char *)key->data.scalar.value, name))
			return yaml_document_get_node(&document->nodes, pair->value);
	}
	return NULL;
}

/* Puts new members of old names into the text, and marks them as old. */
static void replace_nulls(struct document *document, const yaml_node_t *node, cJSON *object)
{
	cJSON *child;

	cJSON_ArrayForEach(child, object) {
		const yaml_node_t *null = is_new(child) && node->type == YAML_MAPPING_NODE
						  ? replaced_null(document, node, child->string)
						  : NULL;
		struct text text = {0};
		size_t start;

		if (!null)
			continue;
		start = offset_of(document, &null->start_mark);
		if (start && document->text[start - 1] == ':')
			text_add(&text, " ");
		flow_item(&text, child, false);
		add_insertion(document, start, offset_of(document, &null->end_mark) - start, &text);
		child->type |= FROM_TEXT;
	}
}

static void insert_all(struct document *document, cJSON *item)
{
	const yaml_node_t *node;
	bool grown = false;
	cJSON *child;

	if (!(cJSON_IsObject(item) || cJSON_IsArray(item)) || !item->valueint)
		return;
	node = yaml_document_get_node(&document->nodes, item->valueint);
	replace_nulls(document, node, item);
	cJSON_ArrayForEach(child, item) {
		if (is_new(child))
			grown = true;
		else
			insert_all(document, child);
	}
	if (!grown)
		return;
	if (is_flow(node))
		insert_flow(document, node, item);
	else
		insert_block(document, node, item);
}

/* ---- whole streams ---- */

/* libyaml counts characters, we count bytes. One more entry for the end. */
static uint32_t *make_offsets(const char *text, size_t len, size_t *characters)
{
	uint32_t *offsets = malloc((len + 1) * sizeof(*offsets));
	size_t i, count = 0;

	if (!offsets)
		return NULL;
	for (i = 0; i < len; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			offsets[count++] = (uint32_t)i;
	offsets[count] = (uint32_t)len;
	*characters = count;
	return offsets;
}

static int by_place(const void *left, const void *right)
{
	const struct insertion *a = left, *b = right;

	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static char *write_all(struct document *document)
{
	struct text out = {0};
	size_t at = 0, i;

	if (document->count)
		qsort(document->insertions, document->count, sizeof(*document->insertions),
		      by_place);
	for (i = 0; i < document->count; i++) {
		struct insertion *insertion = &document->insertions[i];

		text_append(&out, document->text + at, insertion->at - at);
		text_add(&out, insertion->text);
		at = insertion->at + insertion->replaced;
	}
	text_append(&out, document->text + at, document->len - at);
	return text_take(&out);
}

struct visitor {
	const char *marker;
	int (*patch)(void *arg, cJSON *document, struct config_error *err);
	void *arg;
};

/* One document, loaded. */
static int visit(struct document *document, const struct visitor *visitor)
{
	size_t count = (size_t)(document->nodes.nodes.top - document->nodes.nodes.start);
	const yaml_node_t *root = yaml_document_get_root_node(&document->nodes);
	size_t start = offset_of(document, &root->start_mark), end;
	cJSON *item;
	int ret;

	document->aliases = false;
	document->seen = calloc(count + 1, sizeof(*document->seen));
	config_error_set(document->err, "%.200s: out of memory", document->name);
	item = document->seen ? read_node(document, 1, 0) : NULL;
	free(document->seen);
	if (!item)
		return -EINVAL;
	end = offset_of(document, &document->nodes.end_mark);
	if (document->aliases && visitor->marker && end > start &&
	    memmem(document->text + start, end - start, visitor->marker, strlen(visitor->marker)))
		ret = refuse(document, root->start_mark.line,
			     "a manifest with udplane.io annotations that uses aliases (*name); "
			     "allowed: the same, written out");
	else
		ret = visitor->patch(visitor->arg, item, document->err);
	if (!ret)
		insert_all(document, item);
	cJSON_Delete(item);
	return ret;
}

static int visit_all(struct document *document, const struct visitor *visitor, bool first_only)
{
	yaml_parser_t parser;
	int ret = 0;

	if (!yaml_parser_initialize(&parser)) {
		config_error_set(document->err, "%.200s: out of memory", document->name);
		return -ENOMEM;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)document->text, document->len);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	while (!ret) {
		bool empty;

		if (!yaml_parser_load(&parser, &document->nodes)) {
			ret = refuse(document, parser.problem_mark.line,
				     parser.problem ? parser.problem : "out of memory");
			break;
		}
		empty = !yaml_document_get_root_node(&document->nodes);
		if (!empty)
			ret = visit(document, visitor);
		yaml_document_delete(&document->nodes);
		if (empty || first_only)
			break;
	}
	yaml_parser_delete(&parser);
	return ret;
}

char *yaml_patch(const char *name, const char *text, size_t len, const char *marker,
		 int (*patch)(void *arg, cJSON *document, struct config_error *err), void *arg,
		 struct config_error *err)
{
	struct document document = {.name = name, .text = text, .len = len, .err = err};
	struct visitor visitor = {marker, patch, arg};
	uint32_t *offsets = make_offsets(text, len, &document.characters);
	char *out = NULL;

	document.offsets = offsets;
	if (!offsets)
		config_error_set(err, "%.200s: out of memory", name);
	else if (!visit_all(&document, &visitor, false)) {
		if (!document.failed)
			out = write_all(&document);
		if (!out)
			config_error_set(err, "%.200s: out of memory", name);
	}
	while (document.count)
		free(document.insertions[--document.count].text);
	free(document.insertions);
	free(offsets);
	return out;
}

static int keep(void *arg, cJSON *document, struct config_error *err)
{
	cJSON **kept = arg;

	(void)err;
	*kept = cJSON_Duplicate(document, true);
	return 0;
}

cJSON *yaml_parse(const char *name, const char *text, size_t len, struct config_error *err)
{
	cJSON *kept = NULL;
	struct document document = {.name = name, .text = text, .len = len, .err = err};
	struct visitor visitor = {NULL, keep, &kept};
	uint32_t *offsets = make_offsets(text, len, &document.characters);

	document.offsets = offsets;
	config_error_set(err, "%.200s: empty", name);
	if (offsets)
		visit_all(&document, &visitor, true);
	free(offsets);
	return kept;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A document is kept as libyaml's list of events and, for the callback, as a cJSON tree of the same
 * shape. Each item made from an event is marked FROM_TEXT. Patching does not move these items, so
 * an item without the mark is new. The writer walks the tree and the events at the same time. For
 * an item from the text it passes on the original event, since a cJSON number has fewer digits than
 * the text, and no tag. For a new item it makes events.
 */
#include "deploy/injector/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "deploy/injector/text.h"

#define FROM_TEXT (1 << 12) /* above cJSON's own bits of type */

struct document {
	const char *name;
	const char *marker; /* NULL if the text is only parsed; then no item is marked FROM_TEXT */
	yaml_parser_t parser;
	yaml_emitter_t emitter;
	yaml_event_t *events; /* those before `next` belong to the emitter */
	size_t count, size, next;
	bool aliases, marked;
	struct error *err;
};

static int refuse(struct document *document, size_t line, const char *why)
{
	return error_set(document->err, -EINVAL, "%.200s: line %zu: %s", document->name, line + 1,
			 why);
}

/* ---- reading ---- */

/* Appends the next event and returns it, or returns NULL with the error set. */
static const yaml_event_t *read_event(struct document *document)
{
	if (document->count == document->size) {
		size_t size = document->size ? 2 * document->size : 64;
		yaml_event_t *grown = realloc(document->events, size * sizeof(*grown));

		if (!grown)
			return NULL;
		document->events = grown;
		document->size = size;
	}
	if (!yaml_parser_parse(&document->parser, &document->events[document->count])) {
		if (document->parser.problem)
			refuse(document, document->parser.problem_mark.line,
			       document->parser.problem);
		return NULL;
	}
	return &document->events[document->count++];
}

static void forget_events(struct document *document)
{
	while (document->next < document->count)
		yaml_event_delete(&document->events[document->next++]);
	document->next = document->count = 0;
}

/* Returns the cJSON type that a plain word has in YAML 1.1, and so in Kubernetes' own parser. */
static int type_of_word(const char *text)
{
	static const struct {
		const char *words;
		int type;
	} kinds[] = {
		{"||~|null|Null|NULL|", cJSON_NULL},
		{"|true|True|TRUE|yes|Yes|YES|on|On|ON|y|Y|", cJSON_True},
		{"|false|False|FALSE|no|No|NO|off|Off|OFF|n|N|", cJSON_False},
	};
	char word[8];
	size_t i;

	if (strchr(text, '|') || snprintf(word, sizeof(word), "|%s|", text) >= (int)sizeof(word))
		return cJSON_String;
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strstr(kinds[i].words, word))
			return kinds[i].type;
	return cJSON_String;
}

static cJSON *read_plain(const char *text)
{
	const char *digits = text + (*text == '-' || *text == '+' || *text == '.');
	int type = type_of_word(text);
	char *end;
	double number;

	if (type == cJSON_NULL)
		return cJSON_CreateNull();
	if (type != cJSON_String)
		return cJSON_CreateBool(type == cJSON_True);
	number = strtod(text, &end);
	if (*digits >= '0' && *digits <= '9' && !*end)
		return cJSON_CreateNumber(number);
	return cJSON_CreateString(text);
}

static bool is_plain(const yaml_event_t *event)
{
	return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static cJSON *read_scalar(struct document *document, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	const char *tag = (const char *)event->data.scalar.tag;

	if (document->marker && strstr(text, document->marker))
		document->marked = true;
	if (is_plain(event) && event->data.scalar.plain_implicit)
		return read_plain(text);
	/* libyaml would write it in a form that it cannot read. */
	if (is_plain(event) && !*text && !strcmp(tag, "!")) {
		refuse(document, event->start_mark.line, "a tag \"!\" before nothing");
		return NULL;
	}
	return cJSON_CreateString(text);
}

/* Returns null for an alias, since a callback does not change null. */
static cJSON *read_alias(struct document *document, const yaml_event_t *event)
{
	const yaml_char_t *name = event->data.alias.anchor, *anchor;
	const yaml_event_t *at = document->events;

	document->aliases = true;
	for (; at < event; at++) {
		anchor = at->type == YAML_SCALAR_EVENT		 ? at->data.scalar.anchor
			 : at->type == YAML_MAPPING_START_EVENT	 ? at->data.mapping_start.anchor
			 : at->type == YAML_SEQUENCE_START_EVENT ? at->data.sequence_start.anchor
								 : NULL;
		if (anchor && !strcmp((const char *)anchor, (const char *)name))
			return cJSON_CreateNull();
	}
	refuse(document, event->start_mark.line, "an alias (*name) without its anchor (&name)");
	return NULL;
}

static cJSON *read_value(struct document *document, const yaml_event_t *event, unsigned int depth);

static bool read_items(struct document *document, cJSON *array, unsigned int depth)
{
	const yaml_event_t *event;
	cJSON *value;

	while ((event = read_event(document)) && event->type != YAML_SEQUENCE_END_EVENT) {
		value = read_value(document, event, depth);
		if (!cJSON_AddItemToArray(array, value)) {
			cJSON_Delete(value);
			return false;
		}
	}
	return event;
}

static bool read_pairs(struct document *document, cJSON *object, unsigned int depth)
{
	const yaml_event_t *event;
	cJSON *value;

	while ((event = read_event(document)) && event->type != YAML_MAPPING_END_EVENT) {
		const char *name = (const char *)event->data.scalar.value;

		if (event->type != YAML_SCALAR_EVENT ||
		    (is_plain(event) && !event->data.scalar.length)) {
			refuse(document, event->start_mark.line, "a key that is no string");
			return false;
		}
		if (document->marker && strstr(name, document->marker))
			document->marked = true;
		event = read_event(document);
		value = event ? read_value(document, event, depth) : NULL;
		if (!cJSON_AddItemToObject(object, name, value)) {
			cJSON_Delete(value);
			return false;
		}
	}
	return event;
}

/* Returns the value that starts with `event`, or NULL with the error set. */
static cJSON *read_value(struct document *document, const yaml_event_t *event, unsigned int depth)
{
	bool done = true;
	cJSON *item;

	if (depth > YAML_DEPTH_MAX) {
		refuse(document, event->start_mark.line, "nested too deeply");
		return NULL;
	}
	if (event->type == YAML_MAPPING_START_EVENT) {
		item = cJSON_CreateObject();
		done = item && read_pairs(document, item, depth + 1);
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		item = cJSON_CreateArray();
		done = item && read_items(document, item, depth + 1);
	} else if (event->type == YAML_ALIAS_EVENT) {
		item = read_alias(document, event);
	} else {
		item = read_scalar(document, event);
	}
	if (!done) {
		cJSON_Delete(item);
		return NULL;
	}
	if (item && document->marker)
		item->type |= FROM_TEXT;
	return item;
}

/* Returns the content of a document whose start has been read, and reads up to its end. Returns
 * NULL with the error set. */
static cJSON *read_document(struct document *document)
{
	const yaml_event_t *event = read_event(document);
	cJSON *root = event ? read_value(document, event, 0) : NULL;

	if (root && read_event(document))
		return root;
	cJSON_Delete(root);
	return NULL;
}

/* ---- writing ---- */

/*
 * Sets a style in which an event keeps its meaning wherever libyaml writes it. Plain scalars stay
 * plain. Within [] and {}, libyaml quotes those that it cannot tell from syntax (12:30), so all
 * collections are written as blocks. Even there libyaml must quote a plain scalar that spans lines
 * or starts like syntax; such a scalar is never a number and needs no tag. An empty plain scalar is
 * written as null. Returns false if out of memory.
 */
static bool set_style(yaml_event_t *event)
{
	if (event->type == YAML_MAPPING_START_EVENT)
		event->data.mapping_start.style = YAML_BLOCK_MAPPING_STYLE;
	else if (event->type == YAML_SEQUENCE_START_EVENT)
		event->data.sequence_start.style = YAML_BLOCK_SEQUENCE_STYLE;
	if (event->type != YAML_SCALAR_EVENT)
		return true;
	if (event->data.scalar.style == YAML_FOLDED_SCALAR_STYLE)
		event->data.scalar.style = YAML_LITERAL_SCALAR_STYLE;
	if (!is_plain(event) || !event->data.scalar.plain_implicit)
		return true;
	event->data.scalar.quoted_implicit = 1;
	if (!event->data.scalar.length) {
		yaml_char_t *null = (yaml_char_t *)strdup("null");

		if (!null)
			return false;
		free(event->data.scalar.value);
		event->data.scalar.value = null;
		event->data.scalar.length = 4;
	}
	return true;
}

/* Passes the next event of the text to libyaml. */
static bool write_event(struct document *document)
{
	yaml_event_t *event = &document->events[document->next];

	if (!set_style(event))
		return false;
	document->next++;
	return yaml_emitter_emit(&document->emitter, event);
}

/* Drops the next value of the text. */
static void skip_value(struct document *document)
{
	int depth = 0;

	do {
		yaml_event_t *event = &document->events[document->next++];

		depth += event->type == YAML_MAPPING_START_EVENT ||
			 event->type == YAML_SEQUENCE_START_EVENT;
		depth -= event->type == YAML_MAPPING_END_EVENT ||
			 event->type == YAML_SEQUENCE_END_EVENT;
		yaml_event_delete(event);
	} while (depth);
}

static bool write_scalar(struct document *document, const char *text, bool plain)
{
	yaml_event_t event;

	return text &&
	       yaml_scalar_event_initialize(
		       &event, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1,
		       plain ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE) &&
	       yaml_emitter_emit(&document->emitter, &event);
}

/* Writes a string plain only if it starts like a name or a path: of the values that are not
 * strings, only a few words start so. libyaml quotes a string that would be syntax. */
static bool write_string(struct document *document, const char *text)
{
	bool plain = isalpha((unsigned char)*text) || *text == '/';

	return write_scalar(document, text, plain && type_of_word(text) == cJSON_String);
}

static bool write_new(struct document *document, const cJSON *item)
{
	bool object = cJSON_IsObject(item), done;
	const cJSON *child;
	yaml_event_t event;
	char *text;

	if (cJSON_IsString(item))
		return write_string(document, item->valuestring);
	if (!object && !cJSON_IsArray(item)) {
		text = cJSON_PrintUnformatted(item);
		done = write_scalar(document, text, true);
		cJSON_free(text);
		return done;
	}
	done = object ? yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
							    YAML_BLOCK_MAPPING_STYLE)
		      : yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
							     YAML_BLOCK_SEQUENCE_STYLE);
	done = done && yaml_emitter_emit(&document->emitter, &event);
	cJSON_ArrayForEach(child, item)
		done = done && (!object || write_string(document, child->string)) &&
		       write_new(document, child);
	return done &&
	       (object ? yaml_mapping_end_event_initialize(&event)
		       : yaml_sequence_end_event_initialize(&event)) &&
	       yaml_emitter_emit(&document->emitter, &event);
}

static bool write_item(struct document *document, const cJSON *item);

/* If the member was in the text, the next event is its key, even if its value was replaced. */
static bool write_member(struct document *document, const cJSON *child)
{
	bool end = document->events[document->next].type == YAML_MAPPING_END_EVENT;

	if (end ? !write_string(document, child->string) : !write_event(document))
		return false;
	if (child->type & FROM_TEXT)
		return write_item(document, child);
	if (!end)
		skip_value(document);
	return write_new(document, child);
}

/* `item` comes from the text; items in it may come from the text or be new. */
static bool write_item(struct document *document, const cJSON *item)
{
	const cJSON *child;
	bool done = write_event(document);

	if (!cJSON_IsObject(item) && !cJSON_IsArray(item))
		return done;
	cJSON_ArrayForEach(child, item) {
		if (!done)
			return false;
		if (cJSON_IsObject(item))
			done = write_member(document, child);
		else
			done = child->type & FROM_TEXT ? write_item(document, child)
						       : write_new(document, child);
	}
	return done && write_event(document);
}

/* ---- whole streams ---- */

struct visitor {
	int (*patch)(void *arg, cJSON *document, struct error *err);
	void *arg;
};

/* Reads, patches and writes one document whose start has been read. */
static int visit(struct document *document, const struct visitor *visitor)
{
	cJSON *root = read_document(document);
	int ret;

	if (!root)
		return -EINVAL;
	if (document->aliases && document->marked)
		ret = refuse(document, document->events[0].start_mark.line,
			     "a manifest with udplane.io annotations that uses aliases (*name); "
			     "allowed: the same, written out");
	else
		ret = visitor->patch(visitor->arg, root, document->err);
	if (!ret && document->marker &&
	    !(write_event(document) && write_item(document, root) && write_event(document)))
		ret = refuse(document, document->parser.mark.line,
			     document->emitter.problem ? document->emitter.problem
						       : "out of memory");
	cJSON_Delete(root);
	return ret;
}

static int visit_all(struct document *document, const struct visitor *visitor)
{
	const yaml_event_t *event;
	bool end = false;
	int ret = 0;

	while (!ret && !end) {
		error_set(document->err, -ENOMEM, "%.200s: out of memory", document->name);
		document->aliases = document->marked = false;
		event = read_event(document);
		end = !event || event->type == YAML_STREAM_END_EVENT;
		if (!event)
			ret = -EINVAL;
		else if (event->type == YAML_DOCUMENT_START_EVENT)
			ret = visit(document, visitor);
		else if (document->marker && !write_event(document))
			ret = -ENOMEM;
		forget_events(document);
	}
	return ret;
}

static int append(void *arg, unsigned char *data, size_t len)
{
	struct text *out = arg;

	text_append(out, (const char *)data, len);
	return !out->failed;
}

static bool open_parser(struct document *document, const char *text, size_t len)
{
	error_set(document->err, -ENOMEM, "%.200s: out of memory", document->name);
	if (!yaml_parser_initialize(&document->parser))
		return false;
	if (len >= 3 &&
	    !memcmp(text, "\xef\xbb\xbf", 3)) { /* libyaml counts a byte order mark as a column */
		text += 3;
		len -= 3;
	}
	yaml_parser_set_input_string(&document->parser, (const unsigned char *)text, len);
	yaml_parser_set_encoding(&document->parser, YAML_UTF8_ENCODING);
	return true;
}

static void close_parser(struct document *document)
{
	forget_events(document);
	free(document->events);
	yaml_parser_delete(&document->parser);
}

char *yaml_patch(const char *name, const char *text, size_t len, const char *marker,
		 int (*patch)(void *arg, cJSON *document, struct error *err), void *arg,
		 struct error *err)
{
	struct document document = {.name = name, .marker = marker, .err = err};
	struct visitor visitor = {patch, arg};
	struct text out = {0};
	int ret = -ENOMEM;

	if (!open_parser(&document, text, len))
		return NULL;
	if (yaml_emitter_initialize(&document.emitter)) {
		yaml_emitter_set_output(&document.emitter, append, &out);
		yaml_emitter_set_unicode(&document.emitter, 1);
		yaml_emitter_set_width(&document.emitter, -1);
		ret = visit_all(&document, &visitor);
		yaml_emitter_delete(&document.emitter);
	}
	close_parser(&document);
	if (!ret)
		return text_take(&out);
	free(out.data);
	return NULL;
}

cJSON *yaml_parse(const char *name, const char *text, size_t len, struct error *err)
{
	struct document document = {.name = name, .err = err};
	const yaml_event_t *event = NULL;
	cJSON *root = NULL;

	if (!open_parser(&document, text, len))
		return NULL;
	/* First the stream's start, then a document or the stream's end. */
	if (read_event(&document))
		event = read_event(&document);
	if (event && event->type == YAML_DOCUMENT_START_EVENT)
		root = read_document(&document);
	else if (event)
		error_set(err, -EINVAL, "%.200s: empty", name);
	close_parser(&document);
	return root;
}

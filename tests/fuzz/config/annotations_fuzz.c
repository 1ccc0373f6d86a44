/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file's lines, its values, and the live re-reading of what they mean: applying a file twice
 * must change nothing more, and values quoted again must be read back the same.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sidecar/config/annotations.h"
#include "sidecar/config/layer.h"
#include "tests/fuzz/config/round_trip.h"

struct pairs {
	char *text; /* name, NUL, value, NUL, ... */
	size_t len;
};

static int collect(void *arg, const char *name, const char *value)
{
	struct pairs *pairs = arg;
	size_t name_len = strlen(name) + 1, value_len = strlen(value) + 1;

	memcpy(pairs->text + pairs->len, name, name_len);
	memcpy(pairs->text + pairs->len + name_len, value, value_len);
	pairs->len += name_len + value_len;
	return 0;
}

/* Writes each pair as a line, every byte of its value escaped. */
static size_t quote(const struct pairs *pairs, char *out)
{
	size_t at = 0, len = 0;

	while (at < pairs->len) {
		len += (size_t)sprintf(out + len, ANNOTATION_PREFIX "%s=\"", pairs->text + at);
		for (at += strlen(pairs->text + at) + 1; pairs->text[at]; at++)
			len += (size_t)sprintf(out + len, "\\x%02x", (uint8_t)pairs->text[at]);
		at++;
		len += (size_t)sprintf(out + len, "\"\n");
	}
	return len;
}

static void check_quoting(const char *data, size_t size)
{
	struct pairs first = {malloc(2 * size + 2), 0}, second = {malloc(2 * size + 2), 0};
	char *quoted = malloc(16 * size + 64);
	struct error err = {""};
	size_t len;

	if (!first.text || !second.text || !quoted)
		abort();
	if (annotations_each("f", data, size, ANNOTATION_PREFIX, collect, &first, &err)) {
		check_message(&err);
	} else {
		len = quote(&first, quoted);
		if (annotations_each("f", quoted, len, ANNOTATION_PREFIX, collect, &second, NULL))
			abort();
		if (first.len != second.len || memcmp(first.text, second.text, first.len))
			abort();
	}
	free(first.text);
	free(second.text);
	free(quoted);
}

static void check_values(const char *data, size_t size)
{
	static struct config config, again;
	struct error err = {""};
	unsigned int i;

	config_set_defaults(&config);
	if (layer_annotations(&config, "f", data, size, &err)) {
		check_message(&err);
		return;
	}
	for (i = 0; i < config.warnings.count && i < CONFIG_WARNINGS_MAX; i++)
		check_message(&config.warnings.entry[i]);
	check_round_trip(&config, &again);
	again = config;
	if (layer_annotations(&again, "f", data, size, NULL))
		abort();
	if (memcmp(&again.ports, &config.ports, sizeof(again.ports)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_quoting((const char *)data, size);
	check_values((const char *)data, size);
	return 0;
}

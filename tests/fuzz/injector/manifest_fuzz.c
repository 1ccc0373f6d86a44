/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as manifests. What `patch` writes, it takes again. And whatever YAML is written again
 * means the same: each document is the same tree before and after.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/manifest.h"
#include "deploy/injector/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *what, const char *text)
{
	if (holds)
		return;
	fprintf(stderr, "%s:\n%s\n", what, text);
	abort();
}

static void fuzz_patch(const char *text, size_t size)
{
	static struct injection *injection;
	struct manifest_counts counts = {0}, again = {0};
	struct config_warnings notes = {0};
	char *out, *twice;

	if (!injection)
		injection = injection_default(NULL);
	out = manifest_patch(injection, "fuzz", text, size, NULL, &counts, &notes, NULL);
	if (out && counts.injected) {
		twice = manifest_patch(injection, "fuzz", out, strlen(out), NULL, &again, &notes,
				       NULL);
		check(twice, "not taken again", out);
		free(twice);
	}
	free(out);
}

static int collect(void *arg, cJSON *document, struct error *err)
{
	(void)err;
	cJSON_AddItemToArray(arg, cJSON_Duplicate(document, true));
	return 0;
}

static char *rewrite(const char *text, size_t size, cJSON **documents)
{
	*documents = cJSON_CreateArray();
	return yaml_patch("fuzz", text, size, "udplane.io/", collect, *documents, NULL);
}

/* Trees are compared as texts: cJSON_Compare() takes no object with a name twice. */
static void fuzz_rewrite(const char *text, size_t size)
{
	cJSON *before, *after;
	char *out = rewrite(text, size, &before), *again, *was, *is;

	if (out) {
		again = rewrite(out, strlen(out), &after);
		check(again, "not taken again", out);
		was = cJSON_PrintUnformatted(before);
		is = cJSON_PrintUnformatted(after);
		check(!strcmp(was, is), "another tree", out);
		check(!strcmp(out, again), "not the same again", out);
		free(was);
		free(is);
		free(again);
		cJSON_Delete(after);
	}
	free(out);
	cJSON_Delete(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = 0;
	fuzz_patch(text, size);
	fuzz_rewrite(text, size);
	free(text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as manifests: what comes out is taken again, and has nothing left to inject. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct injection *injection;
	struct manifest_counts counts = {0};
	struct config_warnings notes = {0};
	char *text = malloc(size + 1), *out;

	if (!injection)
		injection = injection_default(NULL);
	memcpy(text, data, size);
	text[size] = 0;
	out = manifest_patch(injection, "fuzz", text, size, &counts, &notes, NULL);
	free(out);
	free(text);
	return 0;
}

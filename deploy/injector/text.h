/* SPDX-License-Identifier: Apache-2.0 */
/* A text that grows. If memory runs out, the text remembers it, and text_take() reports it once at
 * the end. */
#ifndef UDPLANE_DEPLOY_INJECTOR_TEXT_H
#define UDPLANE_DEPLOY_INJECTOR_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct text {
	char *data; /* NUL-terminated, or NULL */
	size_t len, size;
	bool failed;
};

void text_append(struct text *text, const char *data, size_t len);
void text_add(struct text *text, const char *string);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Returns the text, which the caller frees, or NULL if memory ran out. It is "" if nothing was
 * added. */
char *text_take(struct text *text);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts for the person who wrote a configuration. Errors and warnings have one form:
 * source: "value": what is wrong; allowed: what would be right.
 */
#ifndef UDPLANE_SIDECAR_CONFIG_TEXT_H
#define UDPLANE_SIDECAR_CONFIG_TEXT_H

#include <stddef.h>

#include "include/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CONFIG_WARNINGS_MAX 8

/* `count` may exceed CONFIG_WARNINGS_MAX; only the first ones are kept. */
struct config_warnings {
	unsigned int count;
	struct error entry[CONFIG_WARNINGS_MAX];
};

/* Appends a warning. `warnings` may be NULL. */
void config_warn(struct config_warnings *warnings, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* snprintf() that cuts silently: texts for people may be cut, values never are. */
void config_print(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A buffer that holds what config_quote() makes. */
#define CONFIG_QUOTE_SIZE 80

/*
 * Writes `text` in double quotes to `out` (CONFIG_QUOTE_SIZE bytes) and returns `out`. Bytes that
 * are not printable ASCII become \xNN, and a long text ends in `..."`.
 */
const char *config_quote(const char *text, char *out);

#ifdef __cplusplus
}
#endif

#endif

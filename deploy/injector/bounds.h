/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a JSON text would make of itself when parsed, found out before anything is allocated for
 * it: two bytes of a text may become a value of 80 bytes. Pure, one pass, no memory.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_BOUNDS_H
#define UDPLANE_DEPLOY_INJECTOR_BOUNDS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bounds {
	size_t values;	    /* of all kinds, objects and arrays included */
	unsigned int depth; /* of objects and arrays within each other */
};

/*
 * Counts until one of `limit` is passed, or the text ends. Exact for JSON; for any other text, a
 * parser that stops at the first error makes no more than this.
 */
struct bounds bounds_measure(const char *text, size_t len, const struct bounds *limit);

#ifdef __cplusplus
}
#endif

#endif

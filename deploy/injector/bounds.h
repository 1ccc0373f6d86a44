/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures how much memory a JSON text would take when parsed, before any is allocated: two bytes
 * of text may become a value of 80 bytes. Pure; one pass over the text; allocates nothing.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_BOUNDS_H
#define UDPLANE_DEPLOY_INJECTOR_BOUNDS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bounds {
	size_t values;	    /* number of values, including objects and arrays */
	unsigned int depth; /* how deep objects and arrays are nested */
};

/*
 * Counts until the text of `len` bytes ends or a field of *limit is exceeded, and returns the
 * counts. They are exact for JSON. For any other text they are an upper bound, if the parser stops
 * at the first error.
 */
struct bounds bounds_measure(const char *text, size_t len, const struct bounds *limit);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Whole numbers and lists of ranges ("5060,10000-10099") as text. Internal to sidecar/config. */
#ifndef UDPLANE_SIDECAR_CONFIG_LIST_H
#define UDPLANE_SIDECAR_CONFIG_LIST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CONFIG_WHY_SIZE 160

/*
 * Parses `len` bytes as a plain decimal number: digits only, without sign, space or leading zero
 * (which C reads as octal, and people do not). Returns NULL and sets *value, or returns a text that
 * says what is wrong.
 */
const char *decimal_parse(const char *text, size_t len, uint64_t *value);

/*
 * Parses comma-separated numbers and ranges LOW-HIGH within min..max and sets their bits in `bits`,
 * which is max + 1 bits long. Whitespace around an item is allowed. Returns 0, or -EINVAL with
 * `why` (CONFIG_WHY_SIZE bytes) set; some bits may be set then.
 */
int list_parse(const char *text, uint32_t min, uint32_t max, uint64_t *bits, char *why);

/*
 * Writes the set bits below `count` as such a list. Returns its length without the NUL, as
 * snprintf() does: if that is `size` or more, the text was cut.
 */
size_t list_format(const uint64_t *bits, uint32_t count, char *out, size_t size);

/* Returns the number of set bits below `count`, which must be a multiple of 64. */
uint32_t list_count(const uint64_t *bits, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif

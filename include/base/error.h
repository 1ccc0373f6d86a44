/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An error as one line of text for a person.
 *
 * A function that may fail takes a `struct error *` as its last parameter and returns 0 or -errno.
 * It writes the text only if it fails. The text names what was wrong, the value, and what to do.
 * It has no newline at its end.
 */
#ifndef UDPLANE_BASE_ERROR_H
#define UDPLANE_BASE_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct error {
	char text[512]; /* always terminated; a longer text is cut at the end */
};

/*
 * Sets the text as printf() does and returns `ret`, so that one line reports a failure:
 *
 *	return error_set(error, -EINVAL, "frame size %u: AF_XDP takes 2048 or 4096", size);
 *
 * error: may be NULL, then nothing is written. Its present text may be among the arguments.
 * ret:   the caller's return value, usually -errno
 */
int error_set(struct error *error, int ret, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Puts context in front of the present text and returns `ret`:
 *
 *	return error_prefix(error, err, "interface %s: ", name);
 *
 * The end of the text is cut if both do not fit. Parameters as for error_set().
 */
int error_prefix(struct error *error, int ret, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Copies the text to `out`, a field of a message or zone, and cuts it to `size` > 0 bytes. */
void error_copy(const struct error *error, char *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif

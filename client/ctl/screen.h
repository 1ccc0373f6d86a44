/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text that is shown again and again in the same place. On a terminal each round overwrites the
 * last one line by line on the alternate screen, with one write and without clearing first, so
 * nothing flickers; lines are cut to its size. Elsewhere the rounds follow each other.
 */
#ifndef UDPLANE_CLIENT_CTL_SCREEN_H
#define UDPLANE_CLIENT_CTL_SCREEN_H

#include <stdbool.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct screen {
	bool terminal;
	unsigned int rounds;
	FILE *out;
	char *text;
	size_t len;
};

/* `page`: rounds are pages for people; else they are lines, whatever stdout is. */
void screen_open(struct screen *s, bool page);
FILE *screen_begin(struct screen *s); /* NULL: out of memory */
int screen_end(struct screen *s);     /* 0, or -errno when nobody reads any more */
void screen_close(struct screen *s);

/* `text` as it is written to a terminal of that size. Pure. */
void screen_paint(FILE *out, const char *text, unsigned int rows, unsigned int columns);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows a text repeatedly at the same place. On a terminal each round overwrites the previous one
 * line by line on the alternate screen, with one write and without clearing first, so that nothing
 * flickers; lines are cut to the terminal's size. On any other output the rounds follow each other.
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

/* page: the rounds are pages for people. If false they are lines, even on a terminal. */
void screen_open(struct screen *s, bool page);
FILE *screen_begin(struct screen *s); /* returns NULL if out of memory */
int screen_end(struct screen *s);     /* returns 0, or -errno if nobody reads any more */
void screen_close(struct screen *s);

/* Writes `text` as for a terminal of that size. Pure. */
void screen_paint(FILE *out, const char *text, unsigned int rows, unsigned int columns);

#ifdef __cplusplus
}
#endif

#endif

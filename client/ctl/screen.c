/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/screen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ENTER	    "\033[?1049h\033[?25l\033[H" /* alternate screen, no cursor */
#define LEAVE	    "\033[?25h\033[?1049l"
#define HOME	    "\033[H"
#define CLEAR_LINE  "\033[K"
#define CLEAR_BELOW "\033[J"

void screen_open(struct screen *s, bool page)
{
	memset(s, 0, sizeof(*s));
	s->terminal = page && isatty(STDOUT_FILENO);
	if (s->terminal)
		fputs(ENTER, stdout);
}

FILE *screen_begin(struct screen *s)
{
	s->text = NULL;
	s->out = open_memstream(&s->text, &s->len);
	return s->out;
}

void screen_paint(FILE *out, const char *text, unsigned int rows, unsigned int columns)
{
	fputs(HOME, out);
	for (unsigned int row = 0; *text && row < rows; row++) {
		size_t len = strcspn(text, "\n");

		/* No newline after the last row, since it would scroll the screen. */
		fprintf(out, "%s%.*s" CLEAR_LINE, row ? "\r\n" : "",
			(int)(len < columns ? len : columns), text);
		text += len + (text[len] == '\n');
	}
	fputs(CLEAR_BELOW, out);
}

int screen_end(struct screen *s)
{
	struct winsize size = {0};

	fclose(s->out);
	if (!s->terminal) {
		if (s->rounds++ && strchr(s->text, '\n') != strrchr(s->text, '\n'))
			fputc('\n', stdout);
		fputs(s->text, stdout);
	} else {
		if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
			size = (struct winsize){.ws_row = 24, .ws_col = 80};
		screen_paint(stdout, s->text, size.ws_row, size.ws_col);
	}
	free(s->text);
	return fflush(stdout) ? -errno : 0;
}

void screen_close(struct screen *s)
{
	if (s->terminal)
		fputs(LEAVE, stdout);
	fflush(stdout);
}

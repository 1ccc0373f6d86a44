/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command line of a verb. A flag is one line in the verb's table; --socket and --help work
 * everywhere. Messages name the flag, its value and what is allowed, and end in exit status 2.
 * Pure, but for stdout and stderr.
 */
#ifndef UDPLANE_CLIENT_CTL_ARGS_H
#define UDPLANE_CLIENT_CTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EXIT_USAGE 2

enum flag_kind {
	FLAG_SWITCH,  /* bool: --name */
	FLAG_SECONDS, /* double, 0 when absent: --name, --name SECONDS, --name=SECONDS */
	FLAG_TEXT,    /* const char *, not empty: --name TEXT, --name=TEXT */
};

struct flag {
	const char *name;
	enum flag_kind kind;
	void *value;
	double fallback; /* FLAG_SECONDS without a value */
};

struct args {
	const char *verb, *usage; /* usage: the text of --help */
	const struct flag *flags; /* ended by a NULL name */
	const char **socket;	  /* set by --socket */
	const char *positional;	  /* "PORT" when one is required, or NULL */
	const char *operand;	  /* set: the positional argument */
};

/* argv[0] is the verb. Returns 0; 1 when help was printed; EXIT_USAGE when a message was. */
int args_parse(struct args *a, int argc, char **argv);

/* "1" to "65535" into *port; false for anything else. */
bool args_port(const char *text, uint16_t *port);

/* The name that is most like `word`, or NULL if none is near. `names` ends with NULL. */
const char *args_nearest(const char *word, const char *const *names);

#ifdef __cplusplus
}
#endif

#endif

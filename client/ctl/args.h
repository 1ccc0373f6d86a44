/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of a verb. Each flag is one line in the verb's table; --socket and --help work
 * for every verb. Error messages name the flag, its value and what is allowed; the exit status is
 * then 2. Pure, apart from writing to stdout and stderr.
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
	FLAG_SECONDS, /* double, 0 if absent: --name, --name SECONDS, --name=SECONDS */
	FLAG_TEXT,    /* const char *, not empty: --name TEXT, --name=TEXT */
};

struct flag {
	const char *name; /* one of a single letter is written with one dash: -c TEXT */
	enum flag_kind kind;
	void *value;
	double fallback; /* value of FLAG_SECONDS if the flag has no value */
};

struct args {
	const char *verb, *usage; /* usage is the text of --help */
	const struct flag *flags; /* ended by a NULL name */
	const char **socket;	  /* set by --socket */
	const char *positional;	  /* "PORT" if one is required, otherwise NULL */
	const char *operand;	  /* set to the positional argument */
};

/* Parses the arguments; argv[0] is the verb. Returns 0, 1 if it has printed help, or EXIT_USAGE if
 * it has printed an error message. */
int args_parse(struct args *a, int argc, char **argv);

/* Converts "1" to "65535" and stores the port in *port. Returns false for any other text. */
bool args_port(const char *text, uint16_t *port);

/* Returns the name that is most similar to `word`, or NULL if none is similar. `names` ends with
 * NULL. */
const char *args_nearest(const char *word, const char *const *names);

#ifdef __cplusplus
}
#endif

#endif

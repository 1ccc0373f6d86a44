/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/args.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX    32
#define FLAGS_MAX   16
#define SECONDS_MIN 0.1
#define SECONDS_MAX 86400.0

static unsigned int min3(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Returns the Levenshtein distance of two words of at most WORD_MAX characters. */
static unsigned int distance(const char *a, const char *b)
{
	size_t la = strnlen(a, WORD_MAX), lb = strnlen(b, WORD_MAX), i, j;
	unsigned int row[WORD_MAX + 1], diagonal, above;

	for (j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (i = 1; i <= la; i++) {
		diagonal = row[0];
		row[0] = (unsigned int)i;
		for (j = 1; j <= lb; j++) {
			above = row[j];
			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[lb];
}

const char *args_nearest(const char *word, const char *const *names)
{
	const char *best = NULL;
	unsigned int best_distance = 3;

	for (; *names; names++) {
		size_t len = strlen(word);
		unsigned int d = distance(word, *names);

		if (len >= 2 && !strncmp(word, *names, len))
			return *names;
		if (d < best_distance && d < strlen(*names)) {
			best = *names;
			best_distance = d;
		}
	}
	return best;
}

bool args_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long value;

	if (text[0] < '1' || text[0] > '9' || strlen(text) > 5)
		return false;
	value = strtoul(text, &end, 10);
	if (*end || value > 65535)
		return false;
	*port = (uint16_t)value;
	return true;
}

static bool parse_seconds(const char *text, double *value)
{
	char *end;

	*value = strtod(text, &end);
	return end != text && !*end && isfinite(*value) && *value >= SECONDS_MIN &&
	       *value <= SECONDS_MAX;
}

static int unknown_flag(const struct args *a, const char *flag)
{
	const char *names[FLAGS_MAX + 3], *near;
	size_t cnt = 0;

	for (const struct flag *f = a->flags; f->name && cnt < FLAGS_MAX; f++)
		names[cnt++] = f->name;
	names[cnt++] = "socket";
	names[cnt++] = "help";
	names[cnt] = NULL;
	near = flag[0] == '-' && flag[1] == '-' ? args_nearest(flag + 2, names) : NULL;
	fprintf(stderr, "udplanectl %s: unknown option \"%s\"", a->verb, flag);
	if (near)
		fprintf(stderr, "; did you mean --%s?\n", near);
	else
		fprintf(stderr, "; see: udplanectl %s --help\n", a->verb);
	return EXIT_USAGE;
}

/* Returns true if `arg` is -n, --name or --name=VALUE, and sets *value to VALUE, or to NULL if
 * there is none. */
static bool is_flag(const char *arg, const char *name, const char **value)
{
	size_t len = strlen(name);

	*value = NULL;
	if (len == 1)
		return arg[1] == name[0] && !arg[2];
	if (strncmp(arg, "--", 2) || strncmp(arg + 2, name, len))
		return false;
	*value = arg[2 + len] == '=' ? arg + 3 + len : NULL;
	return *value || !arg[2 + len];
}

static int set_seconds(const struct args *a, const struct flag *f, const char *value, char **argv,
		       int *i)
{
	double seconds;

	if (!value && argv[*i + 1] && parse_seconds(argv[*i + 1], &seconds)) {
		(*i)++;
	} else if (!value) {
		seconds = f->fallback;
	} else if (!parse_seconds(value, &seconds)) {
		fprintf(stderr,
			"udplanectl %s: --%s=%s: not a number of seconds; allowed: 0.1 to 86400\n",
			a->verb, f->name, value);
		return EXIT_USAGE;
	}
	*(double *)f->value = seconds;
	return 0;
}

static int set_text(const struct args *a, const struct flag *f, const char *value, char **argv,
		    int *i)
{
	if (!value && argv[*i + 1])
		value = argv[++*i];
	if (!value || !*value) {
		fprintf(stderr, "udplanectl %s: --%s: a value must follow\n", a->verb, f->name);
		return EXIT_USAGE;
	}
	*(const char **)f->value = value;
	return 0;
}

static int set_flag(const struct args *a, const struct flag *f, const char *value, char **argv,
		    int *i)
{
	if (f->kind == FLAG_SECONDS)
		return set_seconds(a, f, value, argv, i);
	if (f->kind == FLAG_TEXT)
		return set_text(a, f, value, argv, i);
	if (value) {
		fprintf(stderr, "udplanectl %s: --%s=%s: it takes no value\n", a->verb, f->name,
			value);
		return EXIT_USAGE;
	}
	*(bool *)f->value = true;
	return 0;
}

static int set_socket(const struct args *a, const char *value, char **argv, int *i)
{
	if (!value && argv[*i + 1])
		value = argv[++*i];
	if (!value || !*value) {
		fprintf(stderr, "udplanectl %s: --socket: a path must follow\n", a->verb);
		return EXIT_USAGE;
	}
	*a->socket = value;
	return 0;
}

static int take_operand(struct args *a, const char *arg)
{
	if (a->positional && !a->operand) {
		a->operand = arg;
		return 0;
	}
	fprintf(stderr, "udplanectl %s: unexpected argument \"%s\"; see: udplanectl %s --help\n",
		a->verb, arg, a->verb);
	return EXIT_USAGE;
}

static int take_flag(struct args *a, char **argv, int *i)
{
	const char *arg = argv[*i], *value;

	if (is_flag(arg, "socket", &value))
		return set_socket(a, value, argv, i);
	if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
		fputs(a->usage, stdout);
		return 1;
	}
	for (const struct flag *f = a->flags; f->name; f++)
		if (is_flag(arg, f->name, &value))
			return set_flag(a, f, value, argv, i);
	return unknown_flag(a, arg);
}

int args_parse(struct args *a, int argc, char **argv)
{
	int ret;

	for (int i = 1; i < argc; i++) {
		ret = argv[i][0] == '-' && argv[i][1] ? take_flag(a, argv, &i)
						      : take_operand(a, argv[i]);
		if (ret)
			return ret;
	}
	if (!a->positional || a->operand)
		return 0;
	fprintf(stderr, "udplanectl %s: %s is missing; see: udplanectl %s --help\n", a->verb,
		a->positional, a->verb);
	return EXIT_USAGE;
}

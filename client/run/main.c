/* SPDX-License-Identifier: Apache-2.0 */
/* udplane-run: starts a program with libudplane-preload.so. See udplane-run(1). */
#include "client/run/check.h"
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libudplane-preload.so"

/* As env(1) and its like. */
#define EXIT_FAILED    125
#define EXIT_CANNOT    126
#define EXIT_NOT_FOUND 127

static const char help[] =
	"Usage: udplane-run [OPTION]... PROGRAM [ARGUMENT]...\n"
	"       udplane-run --check PROGRAM\n"
	"Starts PROGRAM with " LIBRARY ", which gives its UDP sockets a fast path.\n"
	"\n"
	"  --socket PATH   udplaned's control socket (UDPLANE_SOCKET)\n"
	"  --log LEVEL     1: log events to stderr; 2: log more (UDPLANE_LOG)\n"
	"  --disable       load the library, but use the kernel path only (UDPLANE_DISABLE)\n"
	"  --check         tell whether PROGRAM can be preloaded, and why not; exit status 1 if "
	"not\n"
	"  --help          print this\n"
	"\n"
	"The library is UDPLANE_PRELOAD if that is set, else ../lib/" LIBRARY "\n"
	"beside this program, else the one in its own directory.\n";

/* Returns the library's path; NULL if it is not there, with the path that was tried last. */
static const char *find_library(char *path, size_t len)
{
	static const char *const places[] = {"../lib/", ""};
	const char *set = getenv("UDPLANE_PRELOAD");
	char self[PATH_MAX];
	ssize_t n;

	if (set && *set) {
		snprintf(path, len, "%s", set);
		return access(path, R_OK) ? NULL : path;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n < 0 ? 0 : n] = 0;
	for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
		char dir[PATH_MAX];

		memcpy(dir, self, sizeof(dir));
		snprintf(path, len, "%s/%s" LIBRARY, dirname(dir), places[i]);
		if (access(path, R_OK) == 0)
			return path;
	}
	return NULL;
}

/* Before what is preloaded already: of two libraries that have a call, the first is asked. */
static int set_preload(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	char *all = NULL;
	int r;

	if (!before || !*before)
		return setenv("LD_PRELOAD", library, 1);
	if (strstr(before, LIBRARY)) /* udplane-run udplane-run PROGRAM */
		return 0;
	if (asprintf(&all, "%s:%s", library, before) < 0)
		return -1;
	r = setenv("LD_PRELOAD", all, 1);
	free(all);
	return r;
}

static int check(const char *name)
{
	char path[PATH_MAX], text[256];
	int r;

	if (find_program(name, path, sizeof(path))) {
		fprintf(stderr, "udplane-run: %s: not found\n", name);
		return EXIT_NOT_FOUND;
	}
	r = check_program(path, text, sizeof(text));
	printf("%s: %s: %s\n", path, r ? "cannot be preloaded" : "can be preloaded", text);
	return r;
}

static int run(char **argv)
{
	char path[PATH_MAX] = LIBRARY;
	const char *library = find_library(path, sizeof(path));

	if (!library) {
		fprintf(stderr,
			"udplane-run: %s: %s; set UDPLANE_PRELOAD to the path of " LIBRARY "\n",
			path, strerror(ENOENT));
		return EXIT_FAILED;
	}
	if (strpbrk(library, " :")) {
		fprintf(stderr,
			"udplane-run: \"%s\" has a space or a colon, which LD_PRELOAD cannot "
			"have\n",
			library);
		return EXIT_FAILED;
	}
	if (set_preload(library)) {
		fprintf(stderr, "udplane-run: LD_PRELOAD: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	execvp(argv[0], argv);
	fprintf(stderr, "udplane-run: %s: %s\n", argv[0], strerror(errno));
	return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'}, {"log", required_argument, NULL, 'l'},
		{"disable", no_argument, NULL, 'd'},	  {"check", no_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},	  {NULL, 0, NULL, 0},
	};
	int only_check = 0, c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0) {
		switch (c) {
		case 's': setenv("UDPLANE_SOCKET", optarg, 1); break;
		case 'l': setenv("UDPLANE_LOG", optarg, 1); break;
		case 'd': setenv("UDPLANE_DISABLE", "1", 1); break;
		case 'c': only_check = 1; break;
		case 'h': fputs(help, stdout); return 0;
		default: fputs("Try \"udplane-run --help\".\n", stderr); return EXIT_FAILED;
		}
	}
	if (optind == argc) {
		fputs("udplane-run: no PROGRAM\nTry \"udplane-run --help\".\n", stderr);
		return EXIT_FAILED;
	}
	return only_check ? check(argv[optind]) : run(argv + optind);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* udplanectl shows what udplaned does, and why. It reads udplaned's stats zone and does not disturb
 * the packet path. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/args.h"
#include "client/ctl/verb.h"
#include "udplane/abi.h"
#include "udplane/udplane.h"

static int verb_version(const char *socket, int argc, char **argv);
static int verb_help(const char *socket, int argc, char **argv);

static const struct {
	const char *name;
	int (*run)(const char *socket, int argc, char **argv);
	const char *help;
} verbs[] = {
	{"stats", verb_stats, "one screen: backend, device, workers, sockets, every drop"},
	{"sockets", verb_sockets, "every claimed socket, with state and reason"},
	{"ports", verb_ports, "the ports asked for, and those in use"},
	{"health", verb_health, "exit status 0 if udplaned runs; for probes"},
	{"why", verb_why, "is a port accelerated; if not, why and what to do"},
	{"device", verb_device, "the device: driver, queues, offloads, link, its own counters"},
	{"capture", verb_capture, "write the datagrams of the fast path as pcapng, for wireshark"},
	{"metrics", verb_metrics, "every counter for Prometheus; --listen serves them"},
	{"preflight", verb_preflight, "is this machine fit for AF_XDP or VFIO; if not, what to do"},
	{"version", verb_version, "version of udplanectl"},
	{"help", verb_help, "this text, or a verb's: udplanectl help VERB"},
};

#define VERB_CNT (sizeof(verbs) / sizeof(verbs[0]))

static void print_usage(FILE *out)
{
	fputs("Usage: udplanectl [--socket PATH] VERB [OPTION...]\n\n", out);
	for (size_t i = 0; i < VERB_CNT; i++)
		fprintf(out, "  %-9s %s\n", verbs[i].name, verbs[i].help);
	fputs("\n`udplanectl VERB --help` tells a verb's options; man udplanectl, the rest.\n",
	      out);
}

static int unknown_verb(const char *verb)
{
	const char *names[VERB_CNT + 1] = {0}, *near;

	for (size_t i = 0; i < VERB_CNT; i++)
		names[i] = verbs[i].name;
	near = args_nearest(verb, names);
	fprintf(stderr, "udplanectl: unknown verb \"%s\"", verb);
	if (near)
		fprintf(stderr, "; did you mean %s?\n", near);
	else
		fputs("; see: udplanectl help\n", stderr);
	return EXIT_USAGE;
}

static int run_verb(const char *socket, int argc, char **argv)
{
	for (size_t i = 0; i < VERB_CNT; i++)
		if (!strcmp(verbs[i].name, argv[0]))
			return verbs[i].run(socket, argc, argv);
	return unknown_verb(argv[0]);
}

static int verb_version(const char *socket, int argc, char **argv)
{
	static const struct flag none[] = {{0}};
	struct args a = {"version", "Usage: udplanectl version\n", none, &socket, NULL, NULL};
	int ret = args_parse(&a, argc, argv);

	if (!ret)
		printf("udplanectl %s (ABI %u.%u)\n", UDPLANE_VERSION, UDPLANE_ABI_MAJOR,
		       UDPLANE_ABI_MINOR);
	return verb_args_status(ret);
}

static int verb_help(const char *socket, int argc, char **argv)
{
	char help[] = "--help", *of_verb[] = {argc > 1 ? argv[1] : help, help, NULL};

	if (argc < 2 || !strcmp(argv[1], "help") || argv[1][0] == '-') {
		print_usage(stdout);
		return 0;
	}
	return run_verb(socket, 2, of_verb);
}

/* Reads the options before the verb. Returns the index of the verb, or -1 with *status set to the
 * exit status. */
static int leading_options(int argc, char **argv, const char **socket, int *status)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			print_usage(stdout);
			*status = 0;
			return -1;
		}
		if (!strcmp(argv[i], "--version")) {
			char version[] = "version", *of_verb[] = {version, NULL};

			*status = verb_version(*socket, 1, of_verb);
			return -1;
		}
		if (!strncmp(argv[i], "--socket=", 9) && argv[i][9]) {
			*socket = argv[i] + 9;
		} else if (!strcmp(argv[i], "--socket") && i + 1 < argc && argv[i + 1][0]) {
			*socket = argv[++i];
		} else {
			fprintf(stderr, "udplanectl: %s: %s; see: udplanectl help\n", argv[i],
				strncmp(argv[i], "--socket", 8) ? "unknown option"
								: "a path must follow");
			*status = EXIT_USAGE;
			return -1;
		}
	}
	return i;
}

/* Flushes stdout and returns the exit status. A full disk or a closed pipe must not look like
 * success. */
static int flush(int status)
{
	if (fflush(stdout) || ferror(stdout)) {
		perror("udplanectl: writing");
		return status ? status : EXIT_BAD;
	}
	return status;
}

int main(int argc, char **argv)
{
	const char *socket = getenv("UDPLANE_SOCKET");
	int status = EXIT_USAGE, at;

	if (!socket || !*socket)
		socket = UDPLANE_DEFAULT_SOCKET;
	at = leading_options(argc, argv, &socket, &status);
	if (at >= 0 && at < argc)
		status = run_verb(socket, argc - at, argv + at);
	else if (at >= 0)
		print_usage(stderr);
	return flush(status);
}

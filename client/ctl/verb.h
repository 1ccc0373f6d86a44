/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of udplanectl, one file for each. argv[0] is the verb; the functions return the exit
 * status. */
#ifndef UDPLANE_CLIENT_CTL_VERB_H
#define UDPLANE_CLIENT_CTL_VERB_H

#include <stdbool.h>

struct snapshot;

#define EXIT_BAD 1 /* it failed, or the answer is no; for EXIT_USAGE see args.h */

#define VERB_COMMON_USAGE                                                            \
	"  --socket PATH        udplaned's socket (default: $UDPLANE_SOCKET, else\n" \
	"                       /run/udplane/udplane.sock)\n"                        \
	"  --help               this text\n"

int verb_stats(const char *socket, int argc, char **argv);
int verb_sockets(const char *socket, int argc, char **argv);
int verb_ports(const char *socket, int argc, char **argv);
int verb_health(const char *socket, int argc, char **argv);
int verb_device(const char *socket, int argc, char **argv);
int verb_preflight(const char *socket, int argc, char **argv);
int verb_metrics(const char *socket, int argc, char **argv);
int verb_capture(const char *socket, int argc, char **argv);
int verb_why(const char *socket, int argc, char **argv);

/* Runs a verb whose only flag is --json: takes one snapshot and calls `view`, which returns 0 or
 * -errno. */
typedef int verb_view(const struct snapshot *s, bool json);
int verb_show(const char *name, const char *usage, const char *socket, int argc, char **argv,
	      verb_view *view);

/* Converts a result of args_parse() to an exit status: printing help counts as success. */
static inline int verb_args_status(int ret)
{
	return ret == 1 ? 0 : ret;
}

#endif

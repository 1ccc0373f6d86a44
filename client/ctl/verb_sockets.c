// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "client/ctl/args.h"
#include "client/ctl/attach.h"
#include "client/ctl/json.h"
#include "client/ctl/verb.h"
#include "client/ctl/view.h"

static const char usage[] =
	"Usage: udplanectl sockets [--json]\n"
	"Lists every socket that was claimed: state, traffic by path, and why if not accelerated.\n"
	"\n"
	"  --json               for programs\n" //
	VERB_COMMON_USAGE;

int verb_sockets(const char *socket, int argc, char **argv)
{
	bool json = false;
	const struct flag flags[] = {{"json", FLAG_SWITCH, &json, 0}, {0}};
	struct args a = {"sockets", usage, flags, &socket, NULL, NULL};
	char err[ATTACH_ERROR_SIZE];
	struct snapshot s;
	int ret = args_parse(&a, argc, argv);

	if (ret)
		return verb_args_status(ret);
	if (attach_snapshot(socket, ATTACH_TIMEOUT_MS, &s, err)) {
		fprintf(stderr, "udplanectl sockets: %s\n", err);
		return EXIT_BAD;
	}
	if (json)
		ret = json_sockets(stdout, &s);
	else
		view_sockets(stdout, &s);
	snapshot_free(&s);
	return ret ? EXIT_BAD : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
// udplanectl why: tells why a port is accelerated, or why it is not.
#include <stdio.h>

#include "client/ctl/args.h"
#include "client/ctl/attach.h"
#include "client/ctl/json.h"
#include "client/ctl/verb.h"
#include "client/ctl/verdict.h"

static const char usage[] =
	"Usage: udplanectl why PORT [--json]\n"
	"Says whether PORT is accelerated; if not, the reason and what to do about it.\n"
	"Exit status: 0 accelerated, 1 not, 2 wrong usage.\n"
	"\n"
	"  --json               for programs\n" //
	VERB_COMMON_USAGE;

static int answer(const char *socket, uint16_t port, bool json)
{
	struct plain_list plain = {0};
	struct snapshot s;
	struct verdict_input in = {.port = port, .plain = &plain};
	struct error error;
	struct verdict v;

	in.attach_error = attach_snapshot(socket, ATTACH_TIMEOUT_MS, &s, &error);
	if (in.attach_error)
		in.attach_text = error.text;
	else
		in.snapshot = &s;
	plain_read(&plain, port);
	plain_find_owners(&plain);
	verdict_decide(&v, &in);
	if (json)
		json_verdict(stdout, &v);
	else
		verdict_print(stdout, &v, &in);
	plain_free(&plain);
	if (in.snapshot)
		snapshot_free(&s);
	return v.accelerated ? 0 : EXIT_BAD;
}

int verb_why(const char *socket, int argc, char **argv)
{
	bool json = false;
	const struct flag flags[] = {{"json", FLAG_SWITCH, &json, 0}, {0}};
	struct args a = {"why", usage, flags, &socket, "PORT", NULL};
	uint16_t port;
	int ret = args_parse(&a, argc, argv);

	if (ret)
		return verb_args_status(ret);
	if (!args_port(a.operand, &port)) {
		fprintf(stderr, "udplanectl why: \"%s\": not a port; allowed: 1 to 65535\n",
			a.operand);
		return EXIT_USAGE;
	}
	return answer(socket, port, json);
}

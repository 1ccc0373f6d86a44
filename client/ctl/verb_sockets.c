/* SPDX-License-Identifier: Apache-2.0 */
// udplanectl sockets: shows one line for each socket that udplaned knows.
#include <stdio.h>

#include "client/ctl/json.h"
#include "client/ctl/verb.h"
#include "client/ctl/view.h"

static const char usage[] =
	"Usage: udplanectl sockets [--json]\n"
	"Lists every socket that was claimed: state, traffic by path, and why if not accelerated.\n"
	"\n"
	"  --json               for programs\n" //
	VERB_COMMON_USAGE;

static int show(const struct snapshot *s, bool json)
{
	if (json)
		return json_sockets(stdout, s);
	view_sockets(stdout, s);
	return 0;
}

int verb_sockets(const char *socket, int argc, char **argv)
{
	return verb_show("sockets", usage, socket, argc, argv, show);
}

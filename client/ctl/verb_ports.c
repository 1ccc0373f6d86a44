/* SPDX-License-Identifier: Apache-2.0 */
// udplanectl ports: shows which ports may be accelerated, and which are.
#include <stdio.h>
#include <stdlib.h>

#include "client/ctl/json.h"
#include "client/ctl/verb.h"
#include "client/ctl/view.h"

static const char usage[] =
	"Usage: udplanectl ports [--json]\n"
	"Shows the ports that udplaned was asked for, and those in use: how many sockets, whether\n"
	"accelerated, and why if not.\n"
	"\n"
	"  --json               for programs\n" //
	VERB_COMMON_USAGE;

static int show(const struct snapshot *s, bool json)
{
	struct plain_list plain = {0};
	struct port_use *uses = NULL;
	int cnt, ret = 0;

	plain_read(&plain, 0);
	cnt = view_port_uses(s, &plain, &uses);
	if (cnt < 0)
		ret = cnt;
	else if (json)
		ret = json_ports(stdout, s, uses, cnt);
	else
		view_ports(stdout, s, uses, cnt);
	free(uses);
	plain_free(&plain);
	return ret;
}

int verb_ports(const char *socket, int argc, char **argv)
{
	return verb_show("ports", usage, socket, argc, argv, show);
}

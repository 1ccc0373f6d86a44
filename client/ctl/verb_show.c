/* SPDX-License-Identifier: Apache-2.0 */
// Options, attaching and printing of the verbs that show one snapshot of the counters.
#include <stdio.h>

#include "client/ctl/args.h"
#include "client/ctl/attach.h"
#include "client/ctl/verb.h"

int verb_show(const char *name, const char *usage, const char *socket, int argc, char **argv,
	      verb_view *view)
{
	bool json = false;
	const struct flag flags[] = {{"json", FLAG_SWITCH, &json, 0}, {0}};
	struct args a = {name, usage, flags, &socket, NULL, NULL};
	struct error error;
	struct snapshot s;
	int ret = args_parse(&a, argc, argv);

	if (ret)
		return verb_args_status(ret);
	if (attach_snapshot(socket, ATTACH_TIMEOUT_MS, &s, &error)) {
		fprintf(stderr, "udplanectl %s: %s\n", name, error.text);
		return EXIT_BAD;
	}
	ret = view(&s, json);
	snapshot_free(&s);
	return ret ? EXIT_BAD : 0;
}

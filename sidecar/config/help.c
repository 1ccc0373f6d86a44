/* SPDX-License-Identifier: Apache-2.0 */
// Prints the options of udplaned from the table of keys.
#include <string.h>

#include "sidecar/config/key.h"

static void print_key(FILE *out, const struct key *key)
{
	char flag[KEY_NAME_SIZE], allowed[VALUE_ALLOWED_SIZE];

	key->type->explain(key->rule, allowed);
	fprintf(out, "  %s %s%s\n", key_flag(key, flag), key->hint, key->annotated ? "  *" : "");
	fprintf(out, "        %s\n", key->help);
	fprintf(out, "        allowed: %s", allowed);
	if (key->initial && *key->initial)
		fprintf(out, "; default: %s", key->initial);
	fprintf(out, "\n");
}

void config_print_help(FILE *out)
{
	const struct key *key;
	size_t i;

	fprintf(out, "usage: udplaned --ports LIST [--interface IF] [flags]\n"
		     "Puts the UDP ports of this network namespace on the fast path.\n\n");
	for (i = 0; (key = key_at(i)); i++)
		print_key(out, key);
	fprintf(out,
		"  --config FILE\n"
		"        JSON object whose keys are the flags' names with '_' for '-', such as "
		"\"rx_ring_size\"\n"
		"  --version\n"
		"  --help\n"
		"\n"
		"Also --flag=value. Each flag has an environment variable, too, such as "
		"UDPLANE_RX_RING_SIZE;\n"
		"an empty one counts as unset. Those with * can be set by a pod annotation, such "
		"as udplane.io/ports.\n"
		"Later wins: defaults, --config file, environment, annotations file, flags.\n");
}

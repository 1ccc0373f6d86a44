/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for every configuration and every message, whatever the input was. */
#ifndef UDPLANE_TESTS_FUZZ_CONFIG_ROUND_TRIP_H
#define UDPLANE_TESTS_FUZZ_CONFIG_ROUND_TRIP_H

#include <stdlib.h>
#include <string.h>

#include "sidecar/config/key.h"

/* Each key's value, formatted and parsed again, is the same value. `again` is scratch. */
static inline void check_round_trip(const struct config *config, struct config *again)
{
	static char text[PORT_SET_TEXT_SIZE];
	struct origin origin = {CONFIG_SOURCE_FLAG, NULL, 0, 0};
	const struct key *key;
	size_t i;

	memset(again, 0, sizeof(*again));
	for (i = 0; (key = key_at(i)); i++) {
		int len = config_format(config, key->name, text, sizeof(text));

		if (len < 0 || (size_t)len >= sizeof(text) || strlen(text) != (size_t)len)
			abort();
		if (!key->initial && !config->ports.count)
			continue; /* no ports at all have no spelling */
		if (key_apply(key, again, &origin, text, NULL) || !key_equal(key, config, again))
			abort();
	}
}

/* One line of printable ASCII (paths here are) that says what is allowed. */
static inline void check_message(const struct error *err)
{
	size_t len = strnlen(err->text, sizeof(err->text)), i;

	if (!len || len == sizeof(err->text) || !strstr(err->text, "; allowed: "))
		abort();
	for (i = 0; i < len; i++)
		if (err->text[i] < ' ' || err->text[i] > '~')
			abort();
}

#endif

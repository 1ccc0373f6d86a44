/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/config/port_set.h"

#include <string.h>

#include "sidecar/config/list.h"
#include "sidecar/config/value.h"

int port_set_parse(const char *text, struct port_set *out, struct error *err)
{
	char why[CONFIG_WHY_SIZE], quoted[CONFIG_QUOTE_SIZE];
	int ret = value_ports.parse(NULL, text, out, sizeof(*out), why);

	if (!ret)
		return 0;
	port_set_clear(out);
	return error_set(err, ret, "%s: %s; allowed: " PORT_SET_ALLOWED, config_quote(text, quoted),
			 why);
}

size_t port_set_format(const struct port_set *set, char *out, size_t size)
{
	return list_format(set->bits, PORT_SET_BITS, out, size);
}

void port_set_clear(struct port_set *set)
{
	memset(set, 0, sizeof(*set));
}

void port_set_add(struct port_set *set, uint16_t port)
{
	if (!port || port_set_contains(set, port))
		return;
	set->bits[port / 64] |= UINT64_C(1) << (port % 64);
	set->count++;
}

bool port_set_equal(const struct port_set *a, const struct port_set *b)
{
	return a->count == b->count && !memcmp(a->bits, b->bits, sizeof(a->bits));
}

int port_set_next(const struct port_set *set, int from)
{
	while (from >= 0 && from < PORT_SET_BITS) {
		uint64_t rest = set->bits[from / 64] >> (from % 64);

		if (rest)
			return from + __builtin_ctzll(rest);
		from = (from / 64 + 1) * 64;
	}
	return -1;
}

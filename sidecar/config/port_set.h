/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of UDP ports, as users write it: "5060,10000-10099". Ports are in host byte order. Port 0
 * is never a member. The set is a plain value that can be copied and compared. All functions but
 * parse, add and clear are read-only.
 */
#ifndef UDPLANE_SIDECAR_CONFIG_PORT_SET_H
#define UDPLANE_SIDECAR_CONFIG_PORT_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sidecar/config/text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PORT_SET_BITS 65536
/* A buffer of this size holds the text of any set (every second port). */
#define PORT_SET_TEXT_SIZE (6 * 32768)
/* Describes a valid port list, for messages. */
#define PORT_SET_ALLOWED "ports 1-65535 and ranges LOW-HIGH, comma-separated"

struct port_set {
	uint64_t bits[PORT_SET_BITS / 64];
	uint64_t count; /* ports in the set */
};

/*
 * Parses a list. Duplicates, overlaps and whitespace around items are allowed; an empty list or
 * item is not. Returns 0, or -EINVAL with `out` empty and `err` (may be NULL) set: "value": what is
 * wrong; allowed: what would be right.
 */
int port_set_parse(const char *text, struct port_set *out, struct error *err);

/*
 * Writes the shortest list for the set, "" if it is empty. Returns its length without the NUL, as
 * snprintf() does: if that is `size` or more, the text was cut.
 */
size_t port_set_format(const struct port_set *set, char *out, size_t size);

void port_set_clear(struct port_set *set);
/* Adds one port; 0 is ignored. */
void port_set_add(struct port_set *set, uint16_t port);
bool port_set_equal(const struct port_set *a, const struct port_set *b);

static inline bool port_set_contains(const struct port_set *set, uint16_t port)
{
	return set->bits[port / 64] >> (port % 64) & 1;
}

/* Returns the lowest port of the set that is at least `from`, or -1. To visit all: for (p = next(s,
 * 0); p >= 0; p = next(s, p + 1)). */
int port_set_next(const struct port_set *set, int from);

#ifdef __cplusplus
}
#endif

#endif

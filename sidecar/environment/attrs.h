/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink attributes by number. Their lengths are checked, since a message may claim any. */
#ifndef SIDECAR_ENVIRONMENT_ATTRS_H
#define SIDECAR_ENVIRONMENT_ATTRS_H

#include <endian.h>
#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ATTRS_MAX 32

struct attrs {
	const struct nlattr *at[ATTRS_MAX];
};

static inline void attrs_read(struct attrs *a, const void *payload, uint32_t len)
{
	const struct nlattr *n = payload;

	memset(a, 0, sizeof(*a));
	while (mnl_attr_ok(n, (int)len)) {
		uint32_t step = MNL_ALIGN(n->nla_len);

		if (mnl_attr_get_type(n) < ATTRS_MAX)
			a->at[mnl_attr_get_type(n)] = n;
		if (step >= len)
			return;
		len -= step;
		n = (const struct nlattr *)((const uint8_t *)n + step);
	}
}

/* Returns the next whole message, or NULL. libmnl's own loop runs past a last message of odd
 * length. */
static inline const struct nlmsghdr *attrs_next_message(const void **at, uint32_t *len)
{
	const struct nlmsghdr *nlh = *at;
	uint32_t step;

	if (*len < sizeof(*nlh) || nlh->nlmsg_len < sizeof(*nlh) || nlh->nlmsg_len > *len)
		return NULL;
	step = MNL_ALIGN(nlh->nlmsg_len);
	step = step < *len ? step : *len;
	*at = (const uint8_t *)*at + step;
	*len -= step;
	return nlh;
}

/* Fills in the attributes behind the message's family header. Returns false if the message is too
 * short. */
static inline bool attrs_of_message(struct attrs *a, const struct nlmsghdr *nlh, uint32_t header)
{
	uint32_t head = MNL_ALIGN(sizeof(*nlh)) + MNL_ALIGN(header);

	if (nlh->nlmsg_len < MNL_ALIGN(sizeof(*nlh)) + header)
		return false;
	attrs_read(a, (const uint8_t *)nlh + head,
		   nlh->nlmsg_len > head ? nlh->nlmsg_len - head : 0);
	return true;
}

static inline void attrs_nested(struct attrs *a, const struct nlattr *n)
{
	attrs_read(a, n ? mnl_attr_get_payload(n) : NULL, n ? mnl_attr_get_payload_len(n) : 0);
}

static inline uint32_t attrs_be32(const struct attrs *a, uint32_t type, uint32_t absent)
{
	uint32_t v;

	if (!a->at[type] || mnl_attr_get_payload_len(a->at[type]) < 4)
		return absent;
	memcpy(&v, mnl_attr_get_payload(a->at[type]), 4);
	return be32toh(v);
}

/* The text is cut to fit, and "" if there is none. */
static inline const char *attrs_string(const struct nlattr *n, char *out, uint32_t size)
{
	uint32_t len = n ? mnl_attr_get_payload_len(n) : 0;

	if (len >= size)
		len = size - 1;
	if (len)
		memcpy(out, mnl_attr_get_payload(n), len);
	out[len] = 0;
	return out;
}

#endif

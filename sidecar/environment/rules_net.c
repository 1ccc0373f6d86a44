/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/environment/rules_net.h"

#include "sidecar/environment/attrs.h"
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <stdio.h>
#include <sys/socket.h>

#define IF_ID 31 /* XFRMA_IF_ID, Linux 4.19 */

/* A chain for one rule. */
static bool begin(struct rules *r, const char *make, const char *name, uint8_t family,
		  uint32_t hook)
{
	struct rules_chain *ch = rules_add_chain(r, make, family, "", name);

	if (!ch)
		return false;
	ch->hook = hook;
	return rules_add_rule(r, r->chain_cnt - 1) != NULL;
}

static void add(struct rules *r, uint8_t space, uint8_t off, uint8_t len, const void *value,
		const void *mask)
{
	struct rules_test t = {.space = space, .off = off, .len = len, .op = RULES_EQ};

	memcpy(t.lo, value, len);
	memcpy(t.mask, mask, len);
	for (uint32_t i = 0; i < len; i++)
		t.lo[i] &= t.mask[i];
	rules_add_test(r, &t);
}

/* ---- IPsec ---- */

static void add_prefix(struct rules *r, const struct xfrm_selector *sel, bool source)
{
	bool six = sel->family == AF_INET6;
	uint8_t mask[16] = {0}, len = source ? sel->prefixlen_s : sel->prefixlen_d;

	if (!len)
		return;
	for (uint32_t i = 0; i < len && i < 128; i++)
		mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
	add(r, RULES_NET, six ? (source ? 8 : 24) : (source ? 12 : 16), six ? 16 : 4,
	    source ? &sel->saddr : &sel->daddr, mask);
}

static void add_selector(struct rules *r, const struct xfrm_selector *sel, bool out)
{
	const uint8_t whole[4] = {0xff, 0xff, 0xff, 0xff};

	if (sel->family == AF_INET || sel->family == AF_INET6) {
		add_prefix(r, sel, true);
		add_prefix(r, sel, false);
	}
	if (sel->proto)
		add(r, RULES_META, RULES_META_L4PROTO, 1, &sel->proto, whole);
	if (sel->sport_mask)
		add(r, RULES_UDP, 0, 2, &sel->sport, &sel->sport_mask);
	if (sel->dport_mask)
		add(r, RULES_UDP, 2, 2, &sel->dport, &sel->dport_mask);
	if (sel->ifindex)
		add(r, RULES_META, out ? RULES_META_OIF : RULES_META_IIF, 4, &sel->ifindex, whole);
}

void rules_xfrm_policy(struct rules *r, const struct nlmsghdr *nlh)
{
	struct xfrm_userpolicy_info p;
	uint32_t if_id = 0;
	struct attrs a;
	bool out;

	if (nlh->nlmsg_type != XFRM_MSG_NEWPOLICY || !attrs_of_message(&a, nlh, sizeof(p)))
		return;
	memcpy(&p, mnl_nlmsg_get_payload(nlh), sizeof(p));
	out = p.dir == XFRM_POLICY_OUT;
	if ((!out && p.dir != XFRM_POLICY_IN) ||
	    (p.action == XFRM_POLICY_ALLOW && !a.at[XFRMA_TMPL]))
		return;
	if (a.at[IF_ID] && mnl_attr_get_payload_len(a.at[IF_ID]) >= 4)
		memcpy(&if_id, mnl_attr_get_payload(a.at[IF_ID]), 4);
	if (if_id)
		return; /* policy of an xfrm interface; our device is none */
	if (!begin(r, "ip xfrm", out ? "policy out" : "policy in",
		   p.sel.family == AF_INET    ? NFPROTO_IPV4
		   : p.sel.family == AF_INET6 ? NFPROTO_IPV6
					      : NFPROTO_INET,
		   out ? RULES_OUTPUT : RULES_INPUT))
		return;
	add_selector(r, &p.sel, out);
	if (a.at[XFRMA_MARK] && mnl_attr_get_payload_len(a.at[XFRMA_MARK]) >= 8) {
		const uint8_t *mark = mnl_attr_get_payload(a.at[XFRMA_MARK]);

		add(r, RULES_META, RULES_META_MARK, 4, mark, mark + 4);
	}
	rules_effect(r, RULES_DROP, p.action == XFRM_POLICY_ALLOW ? "IPsec required" : "block");
}

void rules_xfrm_default(struct rules *r, const struct nlmsghdr *nlh)
{
	const uint8_t *p = mnl_nlmsg_get_payload(nlh); /* in, fwd, out: 1 is block */

	if (nlh->nlmsg_len < MNL_ALIGN(sizeof(*nlh)) + 3)
		return;
	if (p[0] == 1 && begin(r, "ip xfrm", "policy in", NFPROTO_INET, RULES_INPUT))
		rules_effect(r, RULES_DROP, "default block");
	if (p[2] == 1 && begin(r, "ip xfrm", "policy out", NFPROTO_INET, RULES_OUTPUT))
		rules_effect(r, RULES_DROP, "default block");
}

/* ---- traffic control ---- */

/* Queueing disciplines that only keep order, or drop under congestion, for which the fast path has
 * means of its own. */
static bool is_plain(const char *kind, const struct nlattr *options)
{
	static const char *const plain[] = {"noqueue", "pfifo_fast", "pfifo", "bfifo", "fq_codel",
					    "codel",   "sfq",	     "mq",    NULL};
	struct attrs a;
	uint32_t rate = UINT32_MAX;

	for (const char *const *p = plain; *p; p++)
		if (!strcmp(kind, *p))
			return true;
	if (strcmp(kind, "fq"))
		return false;
	attrs_nested(&a, options);
	if (a.at[TCA_FQ_FLOW_MAX_RATE] && mnl_attr_get_payload_len(a.at[TCA_FQ_FLOW_MAX_RATE]) >= 4)
		memcpy(&rate, mnl_attr_get_payload(a.at[TCA_FQ_FLOW_MAX_RATE]), 4);
	return rate == UINT32_MAX;
}

static void add_tc(struct rules *r, bool ingress, const char *kind, const char *what)
{
	char name[RULES_NAME];

	snprintf(name, sizeof(name), "%s %.40s", ingress ? "ingress" : "egress", kind);
	if (begin(r, "tc", name, NFPROTO_NETDEV, ingress ? RULES_INGRESS : RULES_EGRESS))
		rules_effect(r, RULES_OTHER, what);
}

uint32_t rules_tc_qdisc(struct rules *r, const struct nlmsghdr *nlh, int ifindex,
			uint32_t parent[2])
{
	const struct tcmsg *t = mnl_nlmsg_get_payload(nlh);
	char kind[32];
	struct attrs a;

	if (nlh->nlmsg_type != RTM_NEWQDISC || !attrs_of_message(&a, nlh, sizeof(*t)) ||
	    t->tcm_ifindex != ifindex)
		return 0;
	attrs_string(a.at[TCA_KIND], kind, sizeof(kind));
	if (a.at[TCA_INGRESS_BLOCK])
		add_tc(r, true, kind, "shared filter block");
	if (a.at[TCA_EGRESS_BLOCK])
		add_tc(r, false, kind, "shared filter block");
	if (!strcmp(kind, "clsact")) {
		parent[0] = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
		parent[1] = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);
		return 2;
	}
	if (strcmp(kind, "ingress") && !is_plain(kind, a.at[TCA_OPTIONS]))
		add_tc(r, false, "qdisc", kind);
	parent[0] = t->tcm_handle;
	return t->tcm_handle ? 1 : 0;
}

void rules_tc_filter(struct rules *r, const struct nlmsghdr *nlh, uint32_t parent)
{
	const struct tcmsg *t = mnl_nlmsg_get_payload(nlh);
	bool ingress = parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS) ||
		       TC_H_MAJ(parent) == TC_H_MAJ(TC_H_INGRESS);
	static const uint8_t whole[2] = {0xff, 0xff};
	char kind[32], what[32];
	uint16_t proto;
	struct attrs a;

	if (nlh->nlmsg_type != RTM_NEWTFILTER || !attrs_of_message(&a, nlh, sizeof(*t)))
		return;
	if (parent == TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS))
		ingress = false;
	proto = (uint16_t)TC_H_MIN(t->tcm_info); /* big-endian */
	if (!begin(r, "tc", ingress ? "ingress" : "egress", NFPROTO_NETDEV,
		   ingress ? RULES_INGRESS : RULES_EGRESS))
		return;
	if (proto && proto != htons(0x0003) /* ETH_P_ALL */)
		add(r, RULES_META, RULES_META_PROTOCOL, 2, &proto, whole);
	attrs_string(a.at[TCA_KIND], kind, sizeof(kind));
	snprintf(what, sizeof(what), "filter %.12s", kind);
	rules_effect(r, RULES_OTHER, what);
}

void rules_tc_program(struct rules *r, bool ingress)
{
	add_tc(r, ingress, "tcx", "BPF program");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a socket receive, and send, by the fast path, given what the namespace and its control group
 * have? Pure.
 *
 * Each direction is judged by itself, with two exceptions: where rules depend on what went before
 * (connection tracking, limits), both directions take the kernel, which has to see both; and
 * address translation concerns the answers as well. Rules that name their peers concern these
 * only: they are excluded as destinations and as sources, which the device leaves to Linux.
 *   - source translation of anybody's datagrams (masquerading) can make any port of ours the
 *     target of answers that are not for us;
 *   - destination translation of what comes in can make a socket of ours answer for another port
 *     or address;
 *   - translation of what a socket sends must be undone in the answers.
 * A device that asks connection tracking (device_asks) leaves the answers of the first and the
 * third kind to the kernel by itself.
 */
#ifndef SIDECAR_ENVIRONMENT_JUDGE_H
#define SIDECAR_ENVIRONMENT_JUDGE_H

#include "sidecar/environment/rules.h"

#ifdef __cplusplus
extern "C" {
#endif

enum judge_kind {
	JUDGE_NETFILTER,
	JUDGE_IPSEC,
	JUDGE_TRAFFIC_CONTROL,
	JUDGE_CGROUP,
	JUDGE_KIND_CNT
};
#define JUDGE_RULES JUDGE_CGROUP /* kinds below have rules */

/* Programs of a control group, as bits. */
#define JUDGE_SEND4    0x1 /* of BPF_CGROUP_UDP4_SENDMSG */
#define JUDGE_SEND6    0x2
#define JUDGE_RECV4    0x4
#define JUDGE_RECV6    0x8
#define JUDGE_CONNECT4 0x10
#define JUDGE_CONNECT6 0x20
#define JUDGE_PEER4    0x40 /* of BPF_CGROUP_INET4_GETPEERNAME */
#define JUDGE_PEER6    0x80
#define JUDGE_SKB_IN   0x100 /* of BPF_CGROUP_INET_INGRESS */
#define JUDGE_SKB_OUT  0x200

struct judge_world {
	int ifindex;
	char ifname[16];
	struct rules rules[JUDGE_RULES];
	char blind[JUDGE_RULES][UDPLANE_TEXT_LEN]; /* not "": they could not be read, and why */
	/* the device leaves datagrams of flows that connection tracking translates to the
	 * kernel, whatever is claimed */
	bool device_asks;
	bool nat_flows; /* translated UDP flows exist, though no rule translates UDP any more */
	uint8_t (*ours)[16]; /* own addresses, IPv4 mapped */
	uint32_t ours_cnt;
	/* of these, IPv4: what a socket that is bound to none may send from */
	uint8_t (*sources)[16];
	uint32_t source_cnt; /* 0: any of them */
	/* judge_prepare() */
	struct rules_prefix
		excluded[RULES_PREFIXES]; /* peers that take the kernel, whichever the socket */
	uint32_t excluded_cnt;
	char excluded_text[UDPLANE_TEXT_LEN];
	bool translates; /* some rule translates UDP, anybody's */
	/* Of any socket of ours, by kind, family, direction (sending, receiving). What does not
	 * depend on the socket, or has no effect at all, is not asked again for each: there may be
	 * many thousands of rules, and of sockets. */
	struct rules_result any[JUDGE_RULES][2][2];
	/* A socket of ours, at any port or at those with a bit, may have to answer for another port
	 * or address. */
	bool redirects[2];
	uint64_t redirect_port[2][65536 / 64];
	struct {
		bool snat; /* of flows that are not of our sockets */
		char text[UDPLANE_TEXT_LEN];
	} foreign[2]; /* IPv4, IPv6 */
};

struct judge_socket {
	bool v4, v6; /* families that it takes and sends */
	uint16_t port_be;
	const struct udplane_addr *local, *peer; /* family 0: not connected */
	uint32_t programs;			 /* JUDGE_SEND4 ... of its control group */
};

struct judge_verdict {
	enum udplane_reason rx, tx; /* NONE: fast */
	char rx_text[UDPLANE_TEXT_LEN], tx_text[UDPLANE_TEXT_LEN];
};

void judge_free(struct judge_world *w);
/* After a change of rules or addresses: fills what does not depend on the socket. */
void judge_prepare(struct judge_world *w);
void judge_socket(const struct judge_world *w, const struct judge_socket *s,
		  struct judge_verdict *out);

#ifdef __cplusplus
}
#endif

#endif

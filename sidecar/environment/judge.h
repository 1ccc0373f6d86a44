/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges whether a socket may receive, and send, by the fast path, given the rules of the namespace
 * and the programs of its control group. Pure.
 *
 * Each direction is judged separately, with two exceptions. Where rules depend on earlier datagrams
 * (connection tracking, limits), both directions take the kernel path, since the kernel has to see
 * both. Address translation concerns the answers as well:
 *   - source translation of any datagrams (masquerading) can make any of our ports the target of
 *     answers that are not for us;
 *   - destination translation of arriving datagrams can make one of our sockets answer for another
 *     port or address;
 *   - translation of what a socket sends must be undone in the answers.
 * A device that asks connection tracking (device_asks) leaves the answers of the first and the
 * third kind to the kernel by itself.
 *
 * Rules that name their peers concern these peers only: they are excluded as destinations and as
 * sources, and the device leaves them to Linux.
 *
 * IPVS translates without marking its flows. Peers that are services or servers of it are excluded.
 * A socket whose address and port are those of a service does not receive, and one that is a server
 * of a service does not send, by the fast path.
 */
#ifndef SIDECAR_ENVIRONMENT_JUDGE_H
#define SIDECAR_ENVIRONMENT_JUDGE_H

#include "sidecar/environment/ipvs.h"
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
	char blind[JUDGE_RULES]
		  [UDPLANE_TEXT_LEN]; /* if not "", the reason why they could not be read */
	/* the device leaves the datagrams of flows that connection tracking translates to the
	 * kernel, even on claimed ports */
	bool device_asks;
	struct ipvs ipvs;
	char ipvs_blind[UDPLANE_TEXT_LEN]; /* if not "", the reason why it could not be read */
	bool nat_flows; /* translated UDP flows exist, although no rule translates UDP any more */
	uint8_t (*ours)[16]; /* own addresses, IPv4 mapped */
	uint32_t ours_cnt;
	/* IPv4, among these: the possible sources of a socket that is bound to no address */
	uint8_t (*sources)[16];
	uint32_t source_cnt; /* 0 means any of them */
	/* filled by judge_prepare() */
	struct rules_prefix excluded
		[RULES_PREFIXES]; /* peers whose datagrams take the kernel path, for all sockets */
	uint32_t excluded_cnt;
	char excluded_text[UDPLANE_TEXT_LEN];
	bool translates; /* some rule translates UDP, for any sender */
	/* The judgement for any of our sockets, by kind, family and direction (sending, receiving).
	 * What does not depend on the socket, or has no effect at all, is not asked again for each
	 * socket: there may be many thousands of rules, and of sockets. */
	struct rules_result any[JUDGE_RULES][2][2];
	/* One of our sockets, at any port or at those with a bit set, may have to answer for
	 * another port or address. */
	bool redirects[2];
	uint64_t redirect_port[2][65536 / 64];
	struct {
		bool snat; /* for flows that do not belong to our sockets */
		char text[UDPLANE_TEXT_LEN];
	} foreign[2]; /* IPv4, IPv6 */
};

struct judge_socket {
	bool v4, v6; /* families that it receives and sends */
	uint16_t port_be;
	const struct udplane_addr *local, *peer; /* family 0 if not connected */
	uint32_t programs;			 /* JUDGE_SEND4 ... of its control group */
};

struct judge_verdict {
	enum udplane_reason rx, tx; /* UDPLANE_REASON_NONE means the fast path */
	char rx_text[UDPLANE_TEXT_LEN], tx_text[UDPLANE_TEXT_LEN];
};

void judge_free(struct judge_world *w);
/* Fills what does not depend on the socket. Call it after a change of rules or addresses. */
void judge_prepare(struct judge_world *w);
/* Adds a prefix to the excluded ones of its family, which have room for RULES_PREFIXES / 2. If
 * there are more, those with most in common are joined. */
void judge_exclude(struct rules_prefix *list, uint32_t *cnt, const struct rules_prefix *p);
/* Judges datagrams to a multicast group and port that come by the device, whatever rules leave to
 * the sockets that receive them. Returns UDPLANE_REASON_NONE, or the reason why the kernel must
 * receive them, with a text. */
enum udplane_reason judge_group(const struct judge_world *w, const struct udplane_addr *group,
				char text[UDPLANE_TEXT_LEN]);
void judge_socket(const struct judge_world *w, const struct judge_socket *s,
		  struct judge_verdict *out);

#ifdef __cplusplus
}
#endif

#endif

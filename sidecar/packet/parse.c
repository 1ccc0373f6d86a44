/* SPDX-License-Identifier: Apache-2.0 */
/* Ethernet, IPv4, IPv6 and UDP headers of a received frame, checked as Linux checks them. */
#include "sidecar/packet/packet.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>

#include "sidecar/packet/checksum_internal.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static_assert(sizeof(struct packet_info) == 48, "packet_info is one copy of three vectors");
static_assert(offsetof(struct packet_info, ports_be) == 12,
	      "ports and addresses are contiguous: the flow's identity");

enum {
	ETH_LEN = 14,
	IP4_LEN = 20,
	IP6_LEN = 40,
	UDP_LEN = 8,

	ETH_TYPE_OFF = 12,

	/* in the IPv4 header */
	IP4_TOS_OFF = 1,
	IP4_LEN_OFF = 2,
	IP4_FRAG_OFF = 6,
	IP4_TTL_OFF = 8,
	IP4_PROTO_OFF = 9,
	IP4_SRC_OFF = 12,
	IP4_DST_OFF = 16,

	/* in the IPv6 header */
	IP6_LEN_OFF = 4,
	IP6_NEXT_OFF = 6,
	IP6_HOP_OFF = 7,
	IP6_SRC_OFF = 8,
	IP6_DST_OFF = 24,

	/* in the UDP header */
	UDP_LEN_OFF = 4,
	UDP_SUM_OFF = 6,
};

const char *packet_verdict_name(enum packet_verdict verdict)
{
	static const char *const names[PACKET_VERDICT_CNT] = {
		[PACKET_UDP] = "udp",
		[PACKET_PASS_NOT_IP] = "pass_not_ip",
		[PACKET_PASS_VLAN] = "pass_vlan",
		[PACKET_PASS_NOT_UDP] = "pass_not_udp",
		[PACKET_PASS_FRAGMENT] = "pass_fragment",
		[PACKET_PASS_OPTIONS] = "pass_options",
		[PACKET_PASS_EXTENSION] = "pass_extension",
		[PACKET_PASS_NOT_UNICAST] = "pass_not_unicast",
		[PACKET_PASS_MARTIAN] = "pass_martian",
		[PACKET_PASS_ODD_LENGTH] = "pass_odd_length",
		[PACKET_PASS_ZERO_CHECKSUM6] = "pass_zero_checksum6",
		[PACKET_DROP_TRUNCATED] = "drop_truncated",
		[PACKET_DROP_BAD_VERSION] = "drop_bad_version",
		[PACKET_DROP_BAD_HEADER_LENGTH] = "drop_bad_header_length",
		[PACKET_DROP_BAD_UDP_LENGTH] = "drop_bad_udp_length",
		[PACKET_DROP_IP_CHECKSUM] = "drop_ip_checksum",
		[PACKET_DROP_UDP_CHECKSUM] = "drop_udp_checksum",
	};

	return (unsigned int)verdict < PACKET_VERDICT_CNT ? names[verdict] : NULL;
}

static uint16_t load_be16(const uint8_t *p)
{
	return ntohs(checksum_load16(p));
}

/*
 * Checks the UDP header at l4 and fills the rest of *out. ip_payload: bytes of IP payload. The
 * kernel's __udp4_lib_rcv and __udp6_lib_rcv trim to the UDP length, and the latter treats a length
 * of 0 as that of a jumbogram, even if there is no jumbo option.
 */
static inline enum packet_verdict parse_udp(const uint8_t *l4, uint32_t ip_payload, uint16_t l4_off,
					    struct packet_info *out)
{
	uint32_t udp_len;

	if (unlikely(ip_payload < UDP_LEN))
		return PACKET_DROP_BAD_UDP_LENGTH;
	udp_len = load_be16(l4 + UDP_LEN_OFF);
	if (unlikely(udp_len != ip_payload)) {
		if (udp_len == 0 && out->family == AF_INET6)
			return PACKET_PASS_ODD_LENGTH;
		return udp_len < UDP_LEN || udp_len > ip_payload ? PACKET_DROP_BAD_UDP_LENGTH
								 : PACKET_PASS_ODD_LENGTH;
	}
	out->flags = 0;
	out->l3_off = ETH_LEN;
	out->payload_off = (uint16_t)(l4_off + UDP_LEN);
	out->payload_len = (uint16_t)(udp_len - UDP_LEN);
	out->zero = 0;
	/* One store: the CPU could not forward two stores to the single load that hashes the
	 * ports. */
	out->ports_be = checksum_load32(l4);
	return PACKET_UDP;
}

/* Judges addresses that ip_route_input_slow treats specially; of 240/4 that is only the last
 * address. */
static inline enum packet_verdict judge_addrs4(uint32_t src, uint32_t dst)
{
	/* Almost all datagrams have addresses from 1.0.0.0 to 223.255.255.255 without 127/8. */
	if (likely(src - 0x01000000u < 0xdf000000u && src >> 24 != 127 &&
		   dst - 0x01000000u < 0xdf000000u && dst >> 24 != 127))
		return PACKET_UDP;
	if (dst >> 28 == 0xe || dst == 0xffffffffu)
		return PACKET_PASS_NOT_UNICAST;
	if (src >> 28 == 0xe || src == 0xffffffffu)
		return PACKET_PASS_MARTIAN;
	if (src >> 24 == 0 || src >> 24 == 127 || dst >> 24 == 0 || dst >> 24 == 127)
		return PACKET_PASS_MARTIAN;
	return PACKET_UDP;
}

static inline bool ip4_checksum_good(const uint8_t *ip)
{
	uint64_t sum = checksum_load32(ip + 16);

	sum = checksum_add64(sum, checksum_load64(ip));
	sum = checksum_add64(sum, checksum_load64(ip + 8));
	return checksum_fold(checksum_fold64(sum)) == 0xffff;
}

/* Returns what is wrong with the first byte: the version, or a header length other than 20. */
static enum packet_verdict judge_version4(uint8_t version_ihl)
{
	if (version_ihl >> 4 != 4)
		return PACKET_DROP_BAD_VERSION;
	return (version_ihl & 0xf) < 5 ? PACKET_DROP_BAD_HEADER_LENGTH : PACKET_PASS_OPTIONS;
}

/* Judges the addresses of a datagram to a group or to all. The frame must have come to the MAC
 * address of the group, or of all. */
static enum packet_verdict judge_group4(const uint8_t *eth, uint32_t src, uint32_t dst)
{
	const uint8_t mac[6] = {
		0x01, 0x00, 0x5e, (uint8_t)(dst >> 16 & 0x7f), (uint8_t)(dst >> 8), (uint8_t)dst};

	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (memcmp(eth, dst >> 28 == 0xe ? mac : all, sizeof(mac)))
		return PACKET_PASS_NOT_UNICAST;
	if (src >> 28 >= 0xe || src >> 24 == 0 || src >> 24 == 127)
		return PACKET_PASS_MARTIAN;
	return PACKET_UDP;
}

/* group: a constant; the datagram is for a multicast group. */
static inline __attribute__((always_inline)) enum packet_verdict
parse4(const uint8_t *ip, uint32_t avail, struct packet_info *out, bool group)
{
	enum packet_verdict verdict;
	uint32_t total_len, src_be, dst_be;

	if (unlikely(avail < IP4_LEN))
		return PACKET_DROP_TRUNCATED;
	if (unlikely(ip[0] != 0x45))
		return judge_version4(ip[0]);
	if (unlikely(ip[IP4_PROTO_OFF] != IPPROTO_UDP))
		return PACKET_PASS_NOT_UDP;
	if (unlikely(checksum_load16(ip + IP4_FRAG_OFF) &
		     htons(0x3fff))) /* more fragments, offset */
		return PACKET_PASS_FRAGMENT;
	total_len = load_be16(ip + IP4_LEN_OFF);
	if (unlikely(total_len < IP4_LEN))
		return PACKET_DROP_BAD_HEADER_LENGTH;
	if (unlikely(total_len > avail))
		return PACKET_DROP_TRUNCATED;
	if (unlikely(!ip4_checksum_good(ip)))
		return PACKET_DROP_IP_CHECKSUM;
	src_be = checksum_load32(ip + IP4_SRC_OFF);
	dst_be = checksum_load32(ip + IP4_DST_OFF);
	verdict = group ? judge_group4(ip - ETH_LEN, ntohl(src_be), ntohl(dst_be))
			: judge_addrs4(ntohl(src_be), ntohl(dst_be));
	if (unlikely(verdict != PACKET_UDP))
		return verdict;
	out->family = AF_INET;
	out->ttl = ip[IP4_TTL_OFF];
	out->tos = ip[IP4_TOS_OFF];
	out->src.words[0] = src_be;
	out->src.words[1] = 0;
	out->dst.words[0] = dst_be;
	out->dst.words[1] = 0;
	return parse_udp(ip + IP4_LEN, total_len - IP4_LEN, ETH_LEN + IP4_LEN, out);
}

/* Returns true for ::, ::1 and v4-mapped addresses, which a dual-stack socket could not distinguish
 * from an IPv4 peer. */
static inline bool is_martian6(const union packet_addr *addr)
{
	uint32_t high, low;

	if (likely(addr->words[0] != 0))
		return false;
	high = ntohl((uint32_t)addr->words[1]);
	low = ntohl((uint32_t)(addr->words[1] >> 32));
	return (high == 0 && low <= 1) || high == 0xffff;
}

static enum packet_verdict judge_next6(uint8_t next)
{
	switch (next) {
	case IPPROTO_FRAGMENT: return PACKET_PASS_FRAGMENT;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_ESP:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case 139: /* HIP */
	case 140: /* shim6 */ return PACKET_PASS_EXTENSION;
	default: return PACKET_PASS_NOT_UDP;
	}
}

/* Returns true if the frame came to the MAC address of a group of IPv6. */
static bool is_group6(const uint8_t *eth, const union packet_addr *dst)
{
	return dst->bytes[0] == 0xff && eth[0] == 0x33 && eth[1] == 0x33 &&
	       !memcmp(eth + 2, dst->bytes + 12, 4);
}

static inline __attribute__((always_inline)) enum packet_verdict
parse6(const uint8_t *ip, uint32_t avail, struct packet_info *out, bool group)
{
	uint32_t ip_payload;

	if (unlikely(avail < IP6_LEN))
		return PACKET_DROP_TRUNCATED;
	if (unlikely(ip[0] >> 4 != 6))
		return PACKET_DROP_BAD_VERSION;
	if (unlikely(ip[IP6_NEXT_OFF] != IPPROTO_UDP))
		return judge_next6(ip[IP6_NEXT_OFF]);
	ip_payload = load_be16(ip + IP6_LEN_OFF);
	if (unlikely(ip_payload > avail - IP6_LEN))
		return PACKET_DROP_TRUNCATED;
	memcpy(&out->src, ip + IP6_SRC_OFF, sizeof(out->src));
	memcpy(&out->dst, ip + IP6_DST_OFF, sizeof(out->dst));
	if (group ? !is_group6(ip - ETH_LEN, &out->dst) : unlikely(out->dst.bytes[0] == 0xff))
		return PACKET_PASS_NOT_UNICAST;
	if (unlikely(out->src.bytes[0] == 0xff || is_martian6(&out->src) || is_martian6(&out->dst)))
		return PACKET_PASS_MARTIAN;
	out->family = AF_INET6;
	out->ttl = ip[IP6_HOP_OFF];
	out->tos = (uint8_t)(load_be16(ip) >> 4);
	return parse_udp(ip + IP6_LEN, ip_payload, ETH_LEN + IP6_LEN, out);
}

enum packet_verdict packet_parse(const void *frame, uint32_t len, struct packet_info *out)
{
	const uint8_t *eth = frame;
	uint16_t type;

	if (unlikely(len < ETH_LEN))
		return PACKET_DROP_TRUNCATED;
	type = load_be16(eth + ETH_TYPE_OFF);
	if (unlikely(type != 0x0800 && type != 0x86dd))
		return type == 0x8100 || type == 0x88a8 ? PACKET_PASS_VLAN : PACKET_PASS_NOT_IP;
	if (unlikely(eth[0] & 0x01))
		return PACKET_PASS_NOT_UNICAST;
	if (type == 0x0800)
		return parse4(eth + ETH_LEN, len - ETH_LEN, out, false);
	return parse6(eth + ETH_LEN, len - ETH_LEN, out, false);
}

enum packet_verdict packet_parse_group(const void *frame, uint32_t len, struct packet_info *out)
{
	const uint8_t *eth = frame;
	uint16_t type;

	if (len < ETH_LEN)
		return PACKET_DROP_TRUNCATED;
	type = load_be16(eth + ETH_TYPE_OFF);
	if (type == 0x0800)
		return parse4(eth + ETH_LEN, len - ETH_LEN, out, true);
	if (type == 0x86dd)
		return parse6(eth + ETH_LEN, len - ETH_LEN, out, true);
	return PACKET_PASS_NOT_IP;
}

/* Sums the pseudo-header from the addresses in info. IPv4 addresses are followed by zeros, which
 * add nothing. */
static inline uint64_t pseudo_sum(const struct packet_info *info)
{
	uint64_t sum =
		htons((uint16_t)(info->payload_len + UDP_LEN)) + (uint32_t)htons(IPPROTO_UDP);

	sum = checksum_add64(sum, info->src.words[0]);
	sum = checksum_add64(sum, info->src.words[1]);
	sum = checksum_add64(sum, info->dst.words[0]);
	return checksum_add64(sum, info->dst.words[1]);
}

enum packet_verdict packet_verify(const void *frame, struct packet_info *info,
				  enum packet_checksum_mode mode)
{
	const uint8_t *udp = (const uint8_t *)frame + info->payload_off - UDP_LEN;
	uint16_t field = checksum_load16(udp + UDP_SUM_OFF);
	uint64_t sum;

	if (unlikely(field == 0))
		return info->family == AF_INET ? PACKET_UDP : PACKET_PASS_ZERO_CHECKSUM6;
	sum = pseudo_sum(info);
	if (mode == PACKET_CHECKSUM_LOCAL && field == checksum_fold(checksum_fold64(sum))) {
		info->flags |= PACKET_F_PARTIAL_CHECKSUM;
		return PACKET_UDP;
	}
	sum += checksum_sum64(udp, (size_t)info->payload_len + UDP_LEN);
	return likely(checksum_fold(checksum_fold64(sum)) == 0xffff) ? PACKET_UDP
								     : PACKET_DROP_UDP_CHECKSUM;
}

/* Multiplies 64 x 64 to 128 bits and folds the product, as in wyhash. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint32_t packet_flow_hash(const struct packet_info *info, uint64_t seed)
{
	const uint64_t k0 = 0xa0761d6478bd642full, k1 = 0xe7037ed1a0b428dbull,
		       k2 = 0x8ebc6af09c88c6e3ull;
	uint64_t h;

	if (info->family == AF_INET) {
		h = info->src.words[0] | info->dst.words[0] << 32;
	} else {
		h = mix(info->src.words[0] ^ seed ^ k0, info->src.words[1] ^ k1);
		h ^= mix(info->dst.words[0] ^ seed ^ k1, info->dst.words[1] ^ k2);
	}
	h = mix(h ^ seed ^ k0, info->ports_be ^ k1);
	h = mix(h ^ seed, k2);
	return (uint32_t)(h ^ h >> 32);
}

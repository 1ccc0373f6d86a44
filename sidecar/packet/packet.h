/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP over Ethernet, both directions: judge a received frame, write one to send, and sum either.
 *
 *   frame --packet_parse (headers)--> info --packet_verify (UDP checksum)--> port table
 *   template (source, next hop) + destination + payload --packet_build (one pass)--> frame
 *
 * A verdict says PACKET_UDP (ours), PACKET_PASS_* (not for us to judge: the kernel gets the frame)
 * or PACKET_DROP_* (wrong on the wire: Linux would drop it, too). When in doubt it is PASS. What
 * needs tables is not judged here: whether the destination MAC and address are ours, subnet
 * broadcasts, the scope of link-local addresses.
 *
 * Threads: any; there is no state. No allocation, no system call; all memory is the caller's.
 *
 * Limits: Ethernet II without VLAN tag; IPv4 without options; IPv6 without extension headers;
 * frames up to 64 KiB, of any alignment; little-endian machines.
 *
 * Byte order: names that end in _be and all addresses are in network order. Checksum sums are
 * opaque: they add words as the machine loads them, which RFC 1071, 2 (B), allows if the folded
 * result is stored the same way.
 */
#ifndef SIDECAR_PACKET_PACKET_H
#define SIDECAR_PACKET_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- received frames --- */

enum packet_verdict {
	PACKET_UDP = 0, /* a plain unicast UDP datagram */

	PACKET_PASS_NOT_IP,
	PACKET_PASS_VLAN,
	PACKET_PASS_NOT_UDP,
	PACKET_PASS_FRAGMENT,
	PACKET_PASS_OPTIONS,   /* IPv4 options */
	PACKET_PASS_EXTENSION, /* IPv6 extension headers other than the fragment header */
	/* The destination MAC or IP address is a group's, or 255.255.255.255. */
	PACKET_PASS_NOT_UNICAST,
	/* Odd addresses, which Linux drops or, by version and sysctl, delivers: source or
	 * destination 0/8, 127/8, ::, ::1, ::ffff:0:0/96; source multicast or 255.255.255.255. */
	PACKET_PASS_MARTIAN,
	/* UDP length legal but shorter than the IP payload (Linux trims), or 0 on IPv6 (Linux
	 * takes all there is). */
	PACKET_PASS_ODD_LENGTH,

	PACKET_DROP_TRUNCATED,	       /* frame shorter than its headers say */
	PACKET_DROP_BAD_VERSION,       /* IP version is not what the Ethernet type says */
	PACKET_DROP_BAD_HEADER_LENGTH, /* IPv4 header length below 20, or above the total length */
	PACKET_DROP_BAD_UDP_LENGTH,    /* below 8, or above the IP payload */
	PACKET_DROP_IP_CHECKSUM,
	PACKET_DROP_UDP_CHECKSUM,
	PACKET_DROP_ZERO_CHECKSUM6, /* UDP over IPv6 without a checksum (RFC 8200, 8.1) */

	PACKET_VERDICT_CNT
};

/* Stable snake_case name for stats: "udp", "pass_not_ip", ... NULL for what is no verdict. */
const char *packet_verdict_name(enum packet_verdict verdict);

static inline bool packet_verdict_is_pass(enum packet_verdict verdict)
{
	return verdict > PACKET_UDP && verdict < PACKET_DROP_TRUNCATED;
}

static inline bool packet_verdict_is_drop(enum packet_verdict verdict)
{
	return verdict >= PACKET_DROP_TRUNCATED;
}

/* An address in network order: IPv6, or IPv4 in the first four bytes and zeros behind. It has words
 * for hashes and checksums. Family and ports stand beside it, once per datagram. */
union packet_addr {
	uint8_t bytes[16];
	uint32_t v4_be;
	uint64_t words[2];
};

/* packet_info.flags */
#define PACKET_F_PARTIAL_CHECKSUM 0x01 /* by packet_verify: there was no whole checksum yet */

/* For PACKET_UDP every byte is defined: datagrams of one flow are equal from ports_be on. */
struct packet_info {
	uint8_t family;	      /* AF_INET or AF_INET6 */
	uint8_t flags;	      /* PACKET_F_* */
	uint8_t ttl;	      /* or hop limit */
	uint8_t tos;	      /* or traffic class */
	uint16_t l3_off;      /* bytes from the frame's start to the IP header */
	uint16_t payload_off; /* ... to the UDP payload */
	uint16_t payload_len; /* bytes of UDP payload, may be 0 */
	uint16_t zero;
	union {
		struct {
			uint16_t src_port_be;
			uint16_t dst_port_be;
		};
		uint32_t ports_be; /* both, as they stand in the frame */
	};
	union packet_addr src;
	union packet_addr dst;
};

/*
 * Judges the headers of the len bytes at frame, the IPv4 header checksum among them, and reads
 * nothing beyond len. Bytes behind the IP packet (Ethernet padding) are ignored. Fills *out for
 * PACKET_UDP, and then payload_off + payload_len <= len; else *out is undefined. Does not look at
 * the UDP checksum.
 */
enum packet_verdict packet_parse(const void *frame, uint32_t len, struct packet_info *out);

enum packet_checksum_mode {
	/* Frames from a wire: a checksum is right or wrong. */
	PACKET_CHECKSUM_WIRE,
	/* Frames that may come from a kernel of this host (veth, bridge): such a frame carries just
	 * the folded pseudo-header sum and nothing is there to verify. A wire must not use this: it
	 * would accept one more value in 65536 of a corrupted frame. */
	PACKET_CHECKSUM_LOCAL,
};

/*
 * Checks the UDP checksum of a frame for which packet_parse returned PACKET_UDP. Reads all of the
 * UDP datagram, except when IPv4 has no checksum (0) or PACKET_CHECKSUM_LOCAL finds a partial one,
 * which it reports in info->flags. Returns PACKET_UDP, PACKET_DROP_UDP_CHECKSUM or
 * PACKET_DROP_ZERO_CHECKSUM6.
 */
enum packet_verdict packet_verify(const void *frame, struct packet_info *info,
				  enum packet_checksum_mode mode);

/*
 * Hash of addresses and ports, every bit of it good: for table buckets and for choosing a REUSEPORT
 * member. Not symmetric. With a seed that the wire cannot know, peers cannot choose to collide (as
 * far as a non-cryptographic hash promises that).
 */
uint32_t packet_flow_hash(const struct packet_info *info, uint64_t seed);

/* --- frames to send --- */

/* What a template is made of: everything but the destination's address and port, so that one serves
 * a whole gateway. */
struct packet_flow {
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t ttl;	/* or hop limit */
	uint8_t tos;	/* or traffic class */
	bool df; /* IPv4: don't fragment, as Linux sets it unless path MTU discovery is off */
	uint8_t src_mac[6];
	uint8_t dst_mac[6];  /* next hop's */
	uint32_t flow_label; /* IPv6: 20 bits, host order */
	uint16_t src_port_be;
	union packet_addr src;
};

struct packet_endpoint {
	union packet_addr addr;
	uint16_t port_be;
};

/* Opaque: what packet_build wants at hand, in one cache line. */
struct packet_template {
	uint8_t head[16]; /* frame bytes 0..15: MACs, type, version, header length, TOS */
	uint64_t word16;  /* frame bytes 16..23, zero where they vary */
	uint64_t word24;  /* frame bytes 24..31, likewise (IPv4) */
	uint8_t src[16];  /* frame bytes 22..37 (IPv6) */
	uint32_t ip_sum;  /* IPv4 header without length, id and destination; folded to 16 bits */
	/* pseudo-header and UDP header without lengths and destination; folded to 16 bits */
	uint32_t udp_sum;
	uint16_t src_port_be;
	uint8_t family;
	uint8_t hdr_len; /* PACKET_HDR_LEN4 or PACKET_HDR_LEN6 */
	uint8_t pad[4];
};

#define PACKET_HDR_LEN4	    42u /* Ethernet, IPv4, UDP */
#define PACKET_HDR_LEN6	    62u
#define PACKET_PAYLOAD_MAX4 65507u
#define PACKET_PAYLOAD_MAX6 65527u

void packet_template_init(struct packet_template *tmpl, const struct packet_flow *flow);

/*
 * Writes a whole frame: headers, the payload, checksums. Returns its length, hdr_len + payload_len;
 * nothing beyond is touched, and nothing is padded to Ethernet's minimum. The caller guarantees
 * room, payload_len <= PACKET_PAYLOAD_MAX, dst of the template's family and private to the caller
 * (it is read more than once), payload not overlapping frame (and NULL only if empty). The payload
 * may be changed by another process meanwhile: the checksum is that of the bytes that the frame
 * got. ip_id is in host order, for IPv4: any value if DF is set (RFC 6864; Linux counts up), else
 * one that does not come back soon. A checksum of 0 is sent as 0xffff.
 */
uint32_t packet_build(void *frame, const struct packet_template *tmpl,
		      const struct packet_endpoint *dst, const void *payload, uint16_t payload_len,
		      uint16_t ip_id);

/* --- Internet checksum (RFC 1071) --- */

/*
 * Adds len bytes to sum, which is 0 or an earlier result over an even number of bytes. len < 4 GiB.
 * Sums are equal only after checksum_fold.
 */
uint32_t checksum_partial(const void *buf, size_t len, uint32_t sum);

/*
 * The same while copying src to dst, which must not overlap. src may change meanwhile: the sum is
 * that of the bytes that dst ends up with. dst must not change meanwhile.
 */
uint32_t checksum_copy(void *dst, const void *src, size_t len, uint32_t sum);

/* To 16 bits, not complemented: (uint16_t)~checksum_fold(sum) is the field, 0xffff the result over
 * data with a right field. */
static inline uint16_t checksum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP over Ethernet in both directions: check a received frame, write a frame to send, and compute
 * checksums.
 *
 *   frame --packet_parse (headers)--> info --packet_verify (UDP checksum)--> port table
 *   template (source, next hop) + destination + payload --packet_build (one pass)--> frame
 *
 * A verdict is PACKET_UDP (we handle the frame), PACKET_PASS_* (not ours to decide; the kernel
 * receives the frame) or PACKET_DROP_* (malformed on the wire; Linux would drop it as well). When
 * in doubt the verdict is PASS. Checks that need tables are not made here: whether the destination
 * MAC and address are ours, subnet broadcasts, the scope of link-local addresses.
 *
 * May be called from any thread, as there is no state. No allocation, no system calls; all memory
 * belongs to the caller.
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
	/* The destination MAC or IP address is a group address, or 255.255.255.255. */
	PACKET_PASS_NOT_UNICAST,
	/* Odd addresses, which Linux drops or delivers depending on its version and sysctls: source
	 * or destination 0/8, 127/8, ::, ::1, ::ffff:0:0/96; source multicast or
	 * 255.255.255.255. */
	PACKET_PASS_MARTIAN,
	/* The UDP length is legal but shorter than the IP payload (Linux trims the payload), or is
	 * 0 on IPv6 (Linux uses the whole payload). */
	PACKET_PASS_ODD_LENGTH,
	/* UDP over IPv6 without a checksum (RFC 8200, 8.1): only the kernel knows which sockets
	 * take it (UDP_NO_CHECK6_RX) */
	PACKET_PASS_ZERO_CHECKSUM6,

	PACKET_DROP_TRUNCATED,	       /* frame shorter than its headers say */
	PACKET_DROP_BAD_VERSION,       /* the IP version does not match the Ethernet type */
	PACKET_DROP_BAD_HEADER_LENGTH, /* IPv4 header length below 20, or above the total length */
	PACKET_DROP_BAD_UDP_LENGTH,    /* below 8, or above the IP payload */
	PACKET_DROP_IP_CHECKSUM,
	PACKET_DROP_UDP_CHECKSUM,

	PACKET_VERDICT_CNT
};

/* Returns a stable snake_case name for stats: "udp", "pass_not_ip", ...; NULL if the value is not a
 * verdict. */
const char *packet_verdict_name(enum packet_verdict verdict);

static inline bool packet_verdict_is_pass(enum packet_verdict verdict)
{
	return verdict > PACKET_UDP && verdict < PACKET_DROP_TRUNCATED;
}

static inline bool packet_verdict_is_drop(enum packet_verdict verdict)
{
	return verdict >= PACKET_DROP_TRUNCATED;
}

/* An address in network order: IPv6, or IPv4 in the first four bytes followed by zeros. It has
 * words for hashes and checksums. Family and ports are stored outside of it, once per datagram. */
union packet_addr {
	uint8_t bytes[16];
	uint32_t v4_be;
	uint64_t words[2];
};

/* packet_info.flags */
#define PACKET_F_PARTIAL_CHECKSUM 0x01 /* set by packet_verify: the checksum was only partial */

/* For PACKET_UDP every byte is defined, and datagrams of one flow are equal from ports_be on. */
struct packet_info {
	uint8_t family;	      /* AF_INET or AF_INET6 */
	uint8_t flags;	      /* PACKET_F_* */
	uint8_t ttl;	      /* or hop limit */
	uint8_t tos;	      /* or traffic class */
	uint16_t l3_off;      /* bytes from the frame's start to the IP header */
	uint16_t payload_off; /* bytes from the frame's start to the UDP payload */
	uint16_t payload_len; /* bytes of UDP payload, may be 0 */
	uint16_t zero;
	union {
		struct {
			uint16_t src_port_be;
			uint16_t dst_port_be;
		};
		uint32_t ports_be; /* both, as they are in the frame */
	};
	union packet_addr src;
	union packet_addr dst;
};

/*
 * Checks the headers of the len bytes at frame, including the IPv4 header checksum, and reads
 * nothing beyond len. Bytes after the IP packet (Ethernet padding) are ignored. Returns the
 * verdict. For PACKET_UDP fills *out, with payload_off + payload_len <= len; otherwise *out is
 * undefined. Does not check the UDP checksum.
 */
enum packet_verdict packet_parse(const void *frame, uint32_t len, struct packet_info *out);

/* As packet_parse(), but for datagrams to a multicast group that came to the group's MAC address:
 * PACKET_PASS_NOT_UNICAST for all others. */
enum packet_verdict packet_parse_group(const void *frame, uint32_t len, struct packet_info *out);

enum packet_checksum_mode {
	/* Frames from a wire: a checksum is either right or wrong. */
	PACKET_CHECKSUM_WIRE,
	/* Frames that may come from a kernel of this host (veth, bridge). Such a frame may carry
	 * only the folded pseudo-header sum, and then there is nothing to verify. Must not be used
	 * for a wire, since for a corrupted frame it would accept one more of 65536 values. */
	PACKET_CHECKSUM_LOCAL,
};

/*
 * Checks the UDP checksum of a frame for which packet_parse returned PACKET_UDP. Reads the whole
 * UDP datagram, except when an IPv4 datagram has no checksum (0) or, in mode PACKET_CHECKSUM_LOCAL,
 * a partial one, which is reported in info->flags. Returns PACKET_UDP, PACKET_DROP_UDP_CHECKSUM or
 * PACKET_PASS_ZERO_CHECKSUM6.
 */
enum packet_verdict packet_verify(const void *frame, struct packet_info *info,
				  enum packet_checksum_mode mode);

/*
 * Returns a hash of addresses and ports of which every bit is well distributed, for table buckets
 * and for choosing a REUSEPORT member. Not symmetric. If the seed is secret, peers cannot provoke
 * collisions (as far as a non-cryptographic hash can prevent that).
 */
uint32_t packet_flow_hash(const struct packet_info *info, uint64_t seed);

/* --- frames to send --- */

/* Input for a template: everything except the destination's address and port, so that one template
 * serves all destinations behind a gateway. */
struct packet_flow {
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t ttl;	/* or hop limit */
	uint8_t tos;	/* or traffic class */
	bool df; /* IPv4: set "don't fragment", as Linux does unless path MTU discovery is off */
	bool no_checksum; /* the UDP checksum is 0 */
	uint8_t src_mac[6];
	uint8_t dst_mac[6];  /* the next hop's */
	uint32_t flow_label; /* IPv6: 20 bits, host order */
	uint16_t src_port_be;
	union packet_addr src;
};

struct packet_endpoint {
	union packet_addr addr;
	uint16_t port_be;
};

/* Opaque: everything that packet_build needs, in one cache line. */
struct packet_template {
	uint8_t head[16]; /* frame bytes 0..15: MACs, type, version, header length, TOS */
	uint64_t word16;  /* frame bytes 16..23, zero where they vary */
	uint64_t word24;  /* frame bytes 24..31, zero where they vary (IPv4) */
	uint8_t src[16];  /* frame bytes 22..37 (IPv6) */
	uint32_t ip_sum;  /* IPv4 header without length, id and destination; folded to 16 bits */
	/* pseudo-header and UDP header without lengths and destination; folded to 16 bits */
	uint32_t udp_sum;
	uint16_t src_port_be;
	uint8_t family;
	uint8_t hdr_len;	/* PACKET_HDR_LEN4 or PACKET_HDR_LEN6 */
	uint16_t checksum_mask; /* 0 if the UDP checksum is 0, else 0xffff */
	uint8_t pad[2];
};

#define PACKET_HDR_LEN4	    42u /* Ethernet, IPv4, UDP */
#define PACKET_HDR_LEN6	    62u
#define PACKET_PAYLOAD_MAX4 65507u
#define PACKET_PAYLOAD_MAX6 65527u

/* Fills *tmpl from *flow. Makes no checks. */
void packet_template_init(struct packet_template *tmpl, const struct packet_flow *flow);

/*
 * Writes a whole frame: headers, payload, checksums. Returns its length in bytes, hdr_len +
 * payload_len; writes nothing beyond that, and does not pad to Ethernet's minimum. The caller
 * guarantees: enough room; payload_len <= PACKET_PAYLOAD_MAX4 or PACKET_PAYLOAD_MAX6; dst of the
 * template's family, in memory that nobody else writes (it is read more than once); payload does
 * not overlap frame, and is NULL only if empty. Another process may change the payload during the
 * call: the checksum covers the bytes that were copied to the frame. ip_id (IPv4) is in host order:
 * any value if DF is set (RFC 6864; Linux counts up), otherwise one that is not reused soon. A
 * checksum of 0 is sent as 0xffff, unless the flow has none.
 */
uint32_t packet_build(void *frame, const struct packet_template *tmpl,
		      const struct packet_endpoint *dst, const void *payload, uint16_t payload_len,
		      uint16_t ip_id);

/*
 * Writes the headers of one packet that is to be cut into datagrams, as packet_build() does, and
 * returns their length. payload_len: of all datagrams together, at most PACKET_PAYLOAD_MAX4 or
 * PACKET_PAYLOAD_MAX6. The UDP checksum field gets the sum of the pseudo-header only, from which
 * whoever cuts the packet makes the checksums. The flow must have one.
 */
uint32_t packet_build_super(void *frame, const struct packet_template *tmpl,
			    const struct packet_endpoint *dst, uint16_t payload_len,
			    uint16_t ip_id);

/* --- Internet checksum (RFC 1071) --- */

/*
 * Returns sum plus the checksum of len bytes at buf. sum: 0, or an earlier result over an even
 * number of bytes. len: less than 4 GiB. Results can be compared only after checksum_fold.
 */
uint32_t checksum_partial(const void *buf, size_t len, uint32_t sum);

/*
 * The same while copying src to dst, which must not overlap. src may change during the call: the
 * sum covers the bytes that are written to dst. dst must not change during the call.
 */
uint32_t checksum_copy(void *dst, const void *src, size_t len, uint32_t sum);

/* Folds a sum to 16 bits without complementing it: (uint16_t)~checksum_fold(sum) is the value for
 * the checksum field. Over data that includes a correct field the result is 0xffff. */
static inline uint16_t checksum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

#ifdef __cplusplus
}
#endif

#endif

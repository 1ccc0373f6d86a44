/* SPDX-License-Identifier: Apache-2.0 */
// Any bytes as a received frame. The first input byte chooses the alignment and the checksum mode;
// the rest is the frame, in memory of just that size, so that ASan sees a read behind it. A
// datagram that passes is built again and must come out the same.
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "sidecar/packet/packet.h"

#define MUST(x)                  \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static void check_info(const uint8_t *frame, uint32_t len, const struct packet_info *info)
{
	const uint32_t hdr_len = info->family == AF_INET ? PACKET_HDR_LEN4 : PACKET_HDR_LEN6;

	MUST(info->family == AF_INET || info->family == AF_INET6);
	MUST(info->l3_off == 14 && info->payload_off == hdr_len);
	MUST((uint32_t)info->payload_off + info->payload_len <= len);
	MUST(info->flags == 0 && info->zero == 0);
	MUST(memcmp(frame + hdr_len - 8, &info->src_port_be, 4) == 0);
	if (info->family == AF_INET) {
		MUST(memcmp(frame + 26, &info->src, 4) == 0 &&
		     memcmp(frame + 30, &info->dst, 4) == 0);
		MUST((info->src.words[0] >> 32 | info->src.words[1] | info->dst.words[0] >> 32 |
		      info->dst.words[1]) == 0);
	} else {
		MUST(memcmp(frame + 22, &info->src, 16) == 0 &&
		     memcmp(frame + 38, &info->dst, 16) == 0);
	}
}

/* Sends what was received: the same but for what packet_flow cannot say, a reserved flag. */
static void rebuild(const uint8_t *frame, const struct packet_info *info)
{
	struct packet_flow flow = {.family = info->family,
				   .ttl = info->ttl,
				   .tos = info->tos,
				   .src_port_be = info->src_port_be};
	struct packet_endpoint dst = {.addr = info->dst, .port_be = info->dst_port_be};
	struct packet_template tmpl;
	struct packet_info again;
	uint16_t ip_id = 0;
	uint32_t len = (uint32_t)info->payload_off + info->payload_len;
	uint8_t *out = malloc(len);

	MUST(out != NULL);
	memcpy(flow.dst_mac, frame, 6);
	memcpy(flow.src_mac, frame + 6, 6);
	flow.src = info->src;
	if (info->family == AF_INET) {
		flow.df = frame[20] >> 6 & 1;
		ip_id = (uint16_t)(frame[18] << 8 | frame[19]);
	} else {
		flow.flow_label = (frame[15] & 0xfu) << 16 | (uint32_t)frame[16] << 8 | frame[17];
	}
	packet_template_init(&tmpl, &flow);
	MUST(packet_build(out, &tmpl, &dst, frame + info->payload_off, info->payload_len, ip_id) ==
	     len);
	MUST(packet_parse(out, len, &again) == PACKET_UDP);
	MUST(memcmp(info, &again, sizeof(again)) == 0);
	MUST(packet_verify(out, &again, PACKET_CHECKSUM_WIRE) == PACKET_UDP && again.flags == 0);
	MUST(memcmp(frame, out, 20) == 0);
	MUST(memcmp(frame + info->payload_off, out + info->payload_off, info->payload_len) == 0);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t shift = size > 0 ? data[0] & 7 : 0;
	const enum packet_checksum_mode mode =
		size > 0 && data[0] & 8 ? PACKET_CHECKSUM_LOCAL : PACKET_CHECKSUM_WIRE;
	const uint32_t len = size > 0 ? (uint32_t)size - 1 : 0;
	uint8_t *memory = malloc(shift + len + (shift + len == 0));
	uint8_t *frame = memory + shift;
	enum packet_verdict verdict;
	struct packet_info info;

	MUST(memory != NULL);
	if (len > 0)
		memcpy(frame, data + 1, len);
	verdict = packet_parse(frame, len, &info);
	MUST(packet_verdict_name(verdict) != NULL);
	MUST(verdict != PACKET_DROP_UDP_CHECKSUM && verdict != PACKET_PASS_ZERO_CHECKSUM6);
	MUST(len >= 14 || verdict == PACKET_DROP_TRUNCATED);
	if (verdict == PACKET_UDP) {
		check_info(frame, len, &info);
		packet_flow_hash(&info, len);
		rebuild(frame, &info);
		verdict = packet_verify(frame, &info, mode);
		MUST(verdict == PACKET_UDP || verdict == PACKET_DROP_UDP_CHECKSUM ||
		     verdict == PACKET_PASS_ZERO_CHECKSUM6);
		MUST(info.flags == 0 || (mode == PACKET_CHECKSUM_LOCAL && verdict == PACKET_UDP));
	}
	free(memory);
	return 0;
}

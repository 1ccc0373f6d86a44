/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a capture as pcapng (draft-ietf-opsawg-pcapng), in the byte order of this machine: one
 * section, one Ethernet interface, times in nanoseconds. What goes wrong with the stream is left in
 * it for ferror(). Pure, apart from writing to the stream.
 */
#ifndef UDPLANE_CLIENT_CTL_PCAPNG_H
#define UDPLANE_CLIENT_CTL_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PCAPNG_COMMENTS 2

struct pcapng_packet {
	uint64_t time_ns; /* since 1970 */
	const void *data;
	uint32_t captured_len, len; /* bytes of data, and of the whole frame */
	bool sent;		    /* outbound; otherwise inbound */
	bool multicast;
	uint64_t dropped;		      /* packets missing since the last one */
	const char *comment[PCAPNG_COMMENTS]; /* NULL or empty: none */
};

/* program, ifname, description: texts. snap_len: bytes. */
void pcapng_begin(FILE *f, const char *program, const char *ifname, const char *description,
		  uint32_t snap_len);
void pcapng_packet(FILE *f, const struct pcapng_packet *p);
/* The statistics at the end. now_ns: since 1970; received, dropped: packets; comment: or NULL. */
void pcapng_end(FILE *f, uint64_t now_ns, uint64_t received, uint64_t dropped, const char *comment);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What xdp_gen.bpf.c is told by xdp_gen.c, in its global data. */
#ifndef TESTS_BENCH_GEN_XDP_GEN_H
#define TESTS_BENCH_GEN_XDP_GEN_H

#include <linux/types.h>

struct gen {
	__u64 sent; /* frames handed to the device so far: chooses the ports of the next one */
	__u32 sum; /* of pseudo-header, UDP header and payload with both ports and the checksum 0 */
	__u32 udp_off; /* bytes from the frame's start: 34 or 54 */
	__u32 sport, sport_cnt;
	__u32 dport, dport_cnt;
};

#endif

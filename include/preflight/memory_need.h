/* SPDX-License-Identifier: Apache-2.0 */
/* Computes how much packet memory udplaned will take. Pure. */
#ifndef PREFLIGHT_MEMORY_NEED_H
#define PREFLIGHT_MEMORY_NEED_H

#include <stdint.h>

/* udplaned's defaults; tests/unit/config/key_test.cc compares them. */
#define MEMORY_NEED_FRAMES	16384u
#define MEMORY_NEED_FRAME_BYTES 2048u /* unless the device asks for another size */

/* Returns the bytes of the frames zone. frame_bytes: 0 means the default. */
static inline uint64_t memory_need_frames(uint32_t frames, uint32_t frame_bytes)
{
	return (uint64_t)frames * (frame_bytes ? frame_bytes : MEMORY_NEED_FRAME_BYTES);
}

/* Returns the bytes that DPDK takes in addition to the frames zone, for EAL, the rings of a port
 * and one mbuf per frame. */
static inline uint64_t memory_need_dpdk(uint32_t frames)
{
	return (16u << 20) + 256ull * frames;
}

#endif

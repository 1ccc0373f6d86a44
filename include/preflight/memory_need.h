/* SPDX-License-Identifier: Apache-2.0 */
/* How much packet memory udplaned takes, told before it takes any. Pure. */
#ifndef PREFLIGHT_MEMORY_NEED_H
#define PREFLIGHT_MEMORY_NEED_H

#include <stdint.h>

/* udplaned's defaults (tests/unit/config/key_test.cc compares). */
#define MEMORY_NEED_FRAMES	16384u
#define MEMORY_NEED_FRAME_BYTES 2048u /* if the device asks for no other size */

/* The frames zone; frame_bytes 0 means the default. */
static inline uint64_t memory_need_frames(uint32_t frames, uint32_t frame_bytes)
{
	return (uint64_t)frames * (frame_bytes ? frame_bytes : MEMORY_NEED_FRAME_BYTES);
}

/* What DPDK takes beside the frames zone: EAL and a port's rings, and an mbuf for each frame. */
static inline uint64_t memory_need_dpdk(uint32_t frames)
{
	return (16u << 20) + 256ull * frames;
}

#endif

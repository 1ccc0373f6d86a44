/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to sidecar/packet and its tests: unaligned loads, sums of short pieces, and the variants
 * that implement checksum_partial and checksum_copy.
 *
 * Summing: 32-bit halves are added to a 64-bit accumulator, which cannot overflow with fewer than
 * 2^32 of them; folding it is exact.
 *
 * Copying from memory that another process may change: each value is loaded once (CHECKSUM_ONCE
 * keeps the compiler from loading it again), and the same register is summed and stored. Where two
 * loads overlap, to avoid loops over the last bytes, the sum uses the bytes of the one that is
 * stored last.
 */
#ifndef SIDECAR_PACKET_CHECKSUM_INTERNAL_H
#define SIDECAR_PACKET_CHECKSUM_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "headers and last bytes are put together in little-endian registers"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the compiler use the value that is in the register now, and not load it from memory again.
 * Costs nothing. */
#define CHECKSUM_ONCE(x) __asm__ volatile("" : "+r"(x))

static inline uint16_t checksum_load16(const void *p)
{
	uint16_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static inline uint32_t checksum_load32(const void *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static inline uint64_t checksum_load64(const void *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static inline void checksum_store16(void *p, uint16_t x)
{
	memcpy(p, &x, sizeof(x));
}

static inline void checksum_store32(void *p, uint32_t x)
{
	memcpy(p, &x, sizeof(x));
}

static inline void checksum_store64(void *p, uint64_t x)
{
	memcpy(p, &x, sizeof(x));
}

static inline uint64_t checksum_add64(uint64_t sum, uint64_t x)
{
	return sum + (uint32_t)x + (x >> 32);
}

/* Folds 64 to 32 bits, in two rounds because the first may carry. */
static inline uint32_t checksum_fold64(uint64_t sum)
{
	sum = (uint32_t)sum + (sum >> 32);
	return (uint32_t)((uint32_t)sum + (sum >> 32));
}

#define CHECKSUM_SHORT_MAX 32u

/* Returns n < 8 bytes followed by zeros. Overlapping bytes are equal, so or-ing them is
 * harmless. */
static inline uint64_t checksum_gather7(const uint8_t *p, size_t n)
{
	if (n >= 4)
		return checksum_load32(p) | (uint64_t)checksum_load32(p + n - 4) << (8 * (n - 4));
	if (n > 0)
		return p[0] | (uint32_t)p[n >> 1] << (8 * (n >> 1)) |
		       (uint32_t)p[n - 1] << (8 * (n - 1));
	return 0;
}

/* The same while copying. Where overlapping bytes differ because the source has changed, the or-ed
 * value equals neither of them; therefore the or-ed value is stored. */
static inline uint64_t checksum_gather7_copy(uint8_t *d, const uint8_t *p, size_t n)
{
	uint64_t v;

	if (n >= 4) {
		uint32_t first = checksum_load32(p);
		uint32_t last = checksum_load32(p + n - 4);

		v = first | (uint64_t)last << (8 * (n - 4));
		CHECKSUM_ONCE(v);
		checksum_store32(d, (uint32_t)v);
		checksum_store32(d + n - 4, (uint32_t)(v >> (8 * (n - 4))));
		return v;
	}
	if (n > 0) {
		v = p[0] | (uint32_t)p[n >> 1] << (8 * (n >> 1)) |
		    (uint32_t)p[n - 1] << (8 * (n - 1));
		CHECKSUM_ONCE(v);
		d[0] = (uint8_t)v;
		d[n >> 1] = (uint8_t)(v >> (8 * (n >> 1)));
		d[n - 1] = (uint8_t)(v >> (8 * (n - 1)));
		return v;
	}
	return 0;
}

/* n <= CHECKSUM_SHORT_MAX. The last 1 to 8 bytes are the top of the last 8, shifted down to the
 * start of a word. */
static inline uint64_t checksum_short(const uint8_t *p, size_t n)
{
	uint64_t sum;

	if (n < 8)
		return checksum_add64(0, checksum_gather7(p, n));
	sum = checksum_add64(0, checksum_load64(p + n - 8) >> (8 * (-n & 7)));
	if (n > 8)
		sum = checksum_add64(sum, checksum_load64(p));
	if (n > 16)
		sum = checksum_add64(sum, checksum_load64(p + 8));
	if (n > 24)
		sum = checksum_add64(sum, checksum_load64(p + 16));
	return sum;
}

static inline uint64_t checksum_copy8(uint8_t *d, const uint8_t *p)
{
	uint64_t x = checksum_load64(p);

	CHECKSUM_ONCE(x);
	checksum_store64(d, x);
	return x;
}

/* The last 8 bytes are stored first. The whole words then overwrite the overlapping bytes, which
 * the sum of the last ones does not include. */
static inline uint64_t checksum_short_copy(uint8_t *d, const uint8_t *p, size_t n)
{
	uint64_t sum;

	if (n < 8)
		return checksum_add64(0, checksum_gather7_copy(d, p, n));
	sum = checksum_add64(0, checksum_copy8(d + n - 8, p + n - 8) >> (8 * (-n & 7)));
	if (n > 8)
		sum = checksum_add64(sum, checksum_copy8(d, p));
	if (n > 16)
		sum = checksum_add64(sum, checksum_copy8(d + 8, p + 8));
	if (n > 24)
		sum = checksum_add64(sum, checksum_copy8(d + 16, p + 16));
	return sum;
}

/* n >= CHECKSUM_SHORT_MAX. The baseline variant uses 16-byte vectors (SSE2, NEON); the others need
 * the CPU feature that they name. */
uint64_t checksum_long_baseline(const uint8_t *p, size_t n);
uint64_t checksum_long_copy_baseline(uint8_t *d, const uint8_t *p, size_t n);
#ifdef __x86_64__
uint64_t checksum_long_avx2(const uint8_t *p, size_t n);
uint64_t checksum_long_copy_avx2(uint8_t *d, const uint8_t *p, size_t n);
#endif

/* Sums any n bytes, without a start value. Inline, so that a short piece costs its caller no
 * function call. */
static inline uint64_t checksum_sum64(const uint8_t *p, size_t n)
{
	if (n <= CHECKSUM_SHORT_MAX)
		return checksum_short(p, n);
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return checksum_long_avx2(p, n);
#endif
	return checksum_long_baseline(p, n);
}

static inline uint64_t checksum_copy64(uint8_t *d, const uint8_t *p, size_t n)
{
	if (n <= CHECKSUM_SHORT_MAX)
		return checksum_short_copy(d, p, n);
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return checksum_long_copy_avx2(d, p, n);
#endif
	return checksum_long_copy_baseline(d, p, n);
}

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included by checksum.c once per vector width, with
 *   VECTOR_SIZE      bytes, 16 or 32
 *   VECTOR_TARGET    function attributes
 *   VECTOR_NAME(x)   x with the variant's suffix
 *   VECTOR_ONCE(v)   CHECKSUM_ONCE for a vector register
 *
 * In each 64-bit lane, `all` is the sum of the words modulo 2^64, and `high` is the sum of their
 * upper halves, which is exact. The sum of the lower halves is then all - (high << 32), which is
 * exact since it is below 2^64. This takes three operations per vector instead of four.
 */

typedef uint64_t VECTOR_NAME(vec) __attribute__((vector_size(VECTOR_SIZE)));

struct VECTOR_NAME(acc) {
	VECTOR_NAME(vec) all, high;
};

#define VECTOR_INLINE VECTOR_TARGET static inline __attribute__((always_inline))

VECTOR_INLINE void VECTOR_NAME(add)(struct VECTOR_NAME(acc) * acc, const VECTOR_NAME(vec) * v)
{
	acc->all += *v;
	acc->high += *v >> 32;
}

/* Loads the vector at p + off and, if this is a copy (d is not NULL), stores it at d + off. */
VECTOR_INLINE void VECTOR_NAME(take)(VECTOR_NAME(vec) * v, uint8_t *d, const uint8_t *p, size_t off)
{
	memcpy(v, p + off, sizeof(*v));
	if (d != NULL) {
		VECTOR_ONCE(*v);
		memcpy(d + off, v, sizeof(*v));
	}
}

/*
 * Sums the last vector of n bytes. It reaches back over bytes that belong to whole vectors, which
 * are masked. If n is odd, its even bytes are in odd places; multiplying the sum by 256 corrects
 * that modulo 65535.
 */
VECTOR_INLINE void VECTOR_NAME(last)(VECTOR_NAME(vec) * sum, const VECTOR_NAME(vec) * v, size_t n)
{
	VECTOR_NAME(vec) mask;

	memcpy(&mask,
	       checksum_mask + sizeof(checksum_mask) / 2 - VECTOR_SIZE + (n - 1) % VECTOR_SIZE + 1,
	       sizeof(mask));
	mask &= *v;
	*sum = ((mask & 0xffffffff) + (mask >> 32)) << (8 * (n & 1));
}

/* The last vector is stored first: in a copy the whole vectors then overwrite the bytes that belong
 * to them. */
VECTOR_INLINE uint64_t VECTOR_NAME(sum)(uint8_t *d, const uint8_t *p, size_t n)
{
	const size_t end = (n - 1) / VECTOR_SIZE * VECTOR_SIZE;
	struct VECTOR_NAME(acc) a = {0}, b = {0};
	VECTOR_NAME(vec) v, w;
	uint64_t sum = 0;
	size_t off = 0;

	VECTOR_NAME(take)(&v, d, p, n - VECTOR_SIZE);
	VECTOR_NAME(last)(&a.all, &v, n);
	for (; off + 2 * VECTOR_SIZE <= end; off += 2 * VECTOR_SIZE) {
		VECTOR_NAME(take)(&v, d, p, off);
		VECTOR_NAME(take)(&w, d, p, off + VECTOR_SIZE);
		VECTOR_NAME(add)(&a, &v);
		VECTOR_NAME(add)(&b, &w);
	}
	if (off < end) {
		VECTOR_NAME(take)(&v, d, p, off);
		VECTOR_NAME(add)(&b, &v);
	}
	a.all += b.all;
	a.high += b.high;
	v = a.all - (a.high << 32) + a.high;
	for (int lane = 0; lane < VECTOR_SIZE / 8; lane++)
		sum += v[lane];
	return sum;
}

VECTOR_TARGET uint64_t VECTOR_NAME(checksum_long)(const uint8_t *p, size_t n)
{
	return VECTOR_NAME(sum)(NULL, p, n);
}

VECTOR_TARGET uint64_t VECTOR_NAME(checksum_long_copy)(uint8_t *d, const uint8_t *p, size_t n)
{
	return VECTOR_NAME(sum)(d, p, n);
}

#undef VECTOR_INLINE
#undef VECTOR_SIZE
#undef VECTOR_TARGET
#undef VECTOR_NAME
#undef VECTOR_ONCE

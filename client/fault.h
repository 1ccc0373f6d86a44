/* SPDX-License-Identifier: Apache-2.0 */
/* EFAULT for memory of the program that cannot be accessed, where the preload library copies in
 * place of the kernel:
 *
 *     if (fault_begin())
 *             return false;       the memory between cannot be accessed
 *     ...                         copies, and nothing that is to be undone
 *     fault_end();
 *
 * In libudplane.so and libudplane.a there is nothing of it: such memory raises SIGSEGV there, since
 * a handler would be the program's affair, and a library that is loaded late has no static TLS.
 * Sections do not nest. A function with a section is not inlined; what it changes in a section is
 * not to be read after a fault. */
#ifndef UDPLANE_CLIENT_FAULT_H
#define UDPLANE_CLIENT_FAULT_H

#include "client/base.h"
#include <stdbool.h>
#include <string.h>

#ifdef UDPLANE_FAULTS

struct fault {
	void *env[5]; /* of __builtin_setjmp() */
	bool armed;
};
extern __thread struct fault fault;
/* SIGSEGV and SIGBUS come to the library. */
extern bool fault_handled;

/* Has faults in sections end there, in all threads. To be called once. */
void fault_handle(void);

static inline bool fault_arm(void)
{
	__atomic_store_n(&fault.armed, true, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return false;
}

/* A macro, since __builtin_setjmp() must be in the function that goes on. */
#define fault_begin() (likely(fault_handled) && (__builtin_setjmp(fault.env) || fault_arm()))

static inline void fault_end(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&fault.armed, false, __ATOMIC_RELAXED);
}

/* A section that copies. Returns false if some of it cannot be accessed. */
bool fault_copy(void *to, const void *from, size_t len);

#else

#define fault_begin() false

static inline void fault_end(void)
{
}

static inline bool fault_copy(void *to, const void *from, size_t len)
{
	if (pointer_is_bad(to) || pointer_is_bad(from))
		return false;
	memcpy(to, from, len);
	return true;
}

#endif

#endif

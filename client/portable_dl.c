/* SPDX-License-Identifier: Apache-2.0 */
/* Linked against, never loaded: a libdl.so.2 as glibc had it before 2.34. See
 * portable_pthread.c. */
#if defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#else /* ports that came with 2.17 */
#define FIRST "GLIBC_2.17"
#endif

void old_dlsym(void);
void old_dlsym(void)
{
}
__asm__(".symver old_dlsym,dlsym@@" FIRST);

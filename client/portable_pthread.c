/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked against, never loaded: a libpthread.so.0 as glibc had it before 2.34 moved it into
 * libc.so.6 and gave each symbol a new version. libudplane.so finds these here first, and so asks
 * for the old library and version: new glibcs still have both, and musl takes its own libc for any
 * library of that name.
 */
#if defined(__x86_64__)
#define FIRST	       "GLIBC_2.2.5"
#define SINCE(version) version
#else /* ports that came with 2.17 */
#define FIRST	       "GLIBC_2.17"
#define SINCE(version) "GLIBC_2.17"
#endif

#define OLD(name, version)     \
	void old_##name(void); \
	void old_##name(void)  \
	{                      \
	}                      \
	__asm__(".symver old_" #name "," #name "@@" version)

OLD(pthread_create, FIRST);
OLD(pthread_join, FIRST);
OLD(pthread_detach, FIRST);
OLD(pthread_kill, FIRST);
OLD(pthread_once, FIRST);
OLD(pthread_sigmask, FIRST); /* moved in 2.32 */
OLD(pthread_testcancel, FIRST);
OLD(pthread_key_create, FIRST);
OLD(pthread_key_delete, FIRST);
OLD(pthread_getspecific, FIRST);
OLD(pthread_setspecific, FIRST);
OLD(pthread_mutex_trylock, FIRST);
OLD(pthread_mutex_timedlock, FIRST);
OLD(pthread_mutex_consistent, SINCE("GLIBC_2.12"));
OLD(pthread_mutexattr_init, FIRST);
OLD(pthread_mutexattr_destroy, FIRST);
OLD(pthread_mutexattr_settype, FIRST);
OLD(pthread_mutexattr_setpshared, FIRST);
OLD(pthread_mutexattr_setrobust, SINCE("GLIBC_2.12"));
OLD(pthread_condattr_setclock, SINCE("GLIBC_2.3.3"));
OLD(pthread_rwlock_rdlock, FIRST);
OLD(pthread_rwlock_wrlock, FIRST);
OLD(pthread_rwlock_tryrdlock, FIRST);
OLD(pthread_rwlock_trywrlock, FIRST);
OLD(pthread_rwlock_unlock, FIRST);

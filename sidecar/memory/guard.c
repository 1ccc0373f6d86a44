/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/memory/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD_ZONES 8192

/* A signal handler gets no argument, so this is global. addr is written last and cleared first;
 * entries are never torn. */
static struct guard_zone {
	uintptr_t addr; /* atomic; 0 if free */
	size_t len, page_size;
} zones[GUARD_ZONES];
static size_t zone_high;   /* atomic; entries from here on have never been used */
static unsigned long hits; /* atomic */

static struct guard_zone *find(uintptr_t at)
{
	size_t high = __atomic_load_n(&zone_high, __ATOMIC_ACQUIRE);

	for (size_t i = 0; i < high; i++) {
		uintptr_t addr = __atomic_load_n(&zones[i].addr, __ATOMIC_ACQUIRE);

		if (addr && at - addr < zones[i].len)
			return &zones[i];
	}
	return NULL;
}

/* Any thread; only async-signal-safe calls. */
static void on_sigbus(int sig, siginfo_t *si, void *context)
{
	struct guard_zone *z = find((uintptr_t)si->si_addr);
	void *page;

	(void)context;
	if (z) {
		page = (void *)((uintptr_t)si->si_addr & ~(z->page_size - 1));
		page = mmap(page, z->page_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (page != MAP_FAILED) {
			__atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED);
			return;
		}
	}
	signal(sig, SIG_DFL); /* not ours: the access is repeated and ends the process */
}

int guard_install(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigemptyset(&sa.sa_mask);
	return sigaction(SIGBUS, &sa, NULL) ? -errno : 0;
}

int guard_add(void *addr, size_t len, size_t page_size)
{
	for (size_t i = 0; i < GUARD_ZONES; i++) {
		if (zones[i].addr)
			continue;
		zones[i].len = len;
		zones[i].page_size = page_size;
		__atomic_store_n(&zones[i].addr, (uintptr_t)addr, __ATOMIC_RELEASE);
		if (i >= zone_high)
			__atomic_store_n(&zone_high, i + 1, __ATOMIC_RELEASE);
		return 0;
	}
	return -ENOSPC;
}

void guard_remove(void *addr)
{
	for (size_t i = 0; i < zone_high; i++)
		if (zones[i].addr == (uintptr_t)addr)
			__atomic_store_n(&zones[i].addr, 0, __ATOMIC_RELEASE);
}

unsigned long guard_hits(void)
{
	return __atomic_load_n(&hits, __ATOMIC_RELAXED);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "client/preload/process.h"
#include <sys/types.h>
#include <unistd.h>

static pid_t pid; /* atomic */

void process_is_ours_now(void)
{
	__atomic_store_n(&pid, getpid(), __ATOMIC_RELAXED);
}

bool process_is_known(void)
{
	return __atomic_load_n(&pid, __ATOMIC_RELAXED);
}

bool process_is_ours(void)
{
	return getpid() == __atomic_load_n(&pid, __ATOMIC_RELAXED);
}

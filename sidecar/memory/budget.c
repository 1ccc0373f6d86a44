/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/memory/budget.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#define FREE_HUGEPAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define HUGE_SIZE      (2ull << 20)
/* heap, stacks and code of udplaned, and its sockets and pipes */
#define RESERVE_MIN   (24ull << 20)
#define RESERVE_SHARE 8 /* or this part of the limit */
#define OWN_MIN \
	(4ull << 20) /* a session may always have this: its channel, and a segment of rings */
#define NO_LIMIT (1ull << 60) /* v1 reports no limit as a number of about this size */

/* Returns the number in a file, or UINT64_MAX if there is none, or "max". */
static uint64_t read_number(const char *path)
{
	unsigned long long v;
	FILE *f = fopen(path, "re");
	int n;

	if (!f)
		return UINT64_MAX;
	n = fscanf(f, "%llu", &v);
	fclose(f);
	return n == 1 && v < NO_LIMIT ? v : UINT64_MAX;
}

/* Returns the smallest value of one limit in a cgroup and those above it. dir is shortened on the
 * way. */
static uint64_t least(char *dir, size_t root_len, const char *name)
{
	uint64_t low = UINT64_MAX;

	for (;;) {
		char path[PATH_MAX];
		uint64_t v;
		char *slash;

		if (snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path)) {
			v = read_number(path);
			low = v < low ? v : low;
		}
		slash = strrchr(dir, '/');
		if (!slash || (size_t)(slash - dir) < root_len)
			return low;
		*slash = 0;
	}
}

/* Returns true if `name` is one of the controllers in "a,b,c". */
static bool has_controller(const char *list, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = list; p + n <= list + len; p++)
		if ((p == list || p[-1] == ',') && !strncmp(p, name, n) &&
		    (p + n == list + len || p[n] == ','))
			return true;
	return false;
}

/* Returns the limit of one controller, from v1's file in the hierarchy that has it and from v2's in
 * the other. A container may see its own cgroup as the root of the mount, even if /proc says
 * otherwise: the walk up ends there. */
static uint64_t cgroup_limit(const char *root, const char *self, const char *controller,
			     const char *v1, const char *v2)
{
	uint64_t low = UINT64_MAX;
	char line[PATH_MAX], dir[PATH_MAX + 256];
	FILE *f = fopen(self, "re");

	while (f && fgets(line, sizeof(line), f)) {
		const char *mounts[] = {"", "/unified"};
		char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
		bool unified = path && path == list + 1;

		if (!path ||
		    (!unified && !has_controller(list + 1, (size_t)(path - list - 1), controller)))
			continue;
		path[strcspn(path, "\n")] = 0;
		for (int i = 0; i < (unified ? 2 : 1); i++) {
			int n = snprintf(dir, sizeof(dir), "%s%s%s", root,
					 unified ? mounts[i] : "/", unified ? "" : controller);
			uint64_t v;

			snprintf(dir + n, sizeof(dir) - (size_t)n, "%s", path[2] ? path + 1 : "");
			v = least(dir, (size_t)n, unified ? v2 : v1);
			low = v < low ? v : low;
		}
	}
	if (f)
		fclose(f);
	return low;
}

void budget_init(struct memory_budget *b, uint64_t configured, const char *root, const char *self)
{
	uint64_t limit = cgroup_limit(root, self, "memory", "memory.limit_in_bytes", "memory.max");
	uint64_t reserve =
		limit / RESERVE_SHARE > RESERVE_MIN ? limit / RESERVE_SHARE : RESERVE_MIN;
	struct sysinfo si;

	memset(b, 0, sizeof(*b));
	b->max = configured ? configured : UINT64_MAX;
	b->huge_max = cgroup_limit(root, self, "hugetlb", "hugetlb.2MB.limit_in_bytes",
				   "hugetlb.2MB.max");
	if (limit != UINT64_MAX) {
		b->small_max = limit - (reserve < limit / 2 ? reserve : limit / 2);
		snprintf(b->limit, sizeof(b->limit), "raise the container's memory limit, %llu MiB",
			 (unsigned long long)limit >> 20);
	} else {
		b->small_max = sysinfo(&si) ? UINT64_MAX : (uint64_t)si.totalram * si.mem_unit / 2;
		snprintf(b->limit, sizeof(b->limit),
			 "without a memory limit, half of the machine's is the most");
	}
}

static uint64_t rest(uint64_t max, uint64_t used)
{
	return max > used ? max - used : 0;
}

/* Returns the tightest limit of one kind of page. */
struct bound {
	uint64_t used, max;
	const char *advice;
};

static uint64_t free_hugepages(void)
{
	uint64_t pages = read_number(FREE_HUGEPAGES);

	return pages < UINT64_MAX / HUGE_SIZE ? pages * HUGE_SIZE : UINT64_MAX;
}

static struct bound bound_of_huge(const struct memory_budget *b)
{
	uint64_t free_bytes = free_hugepages();

	if (free_bytes < rest(b->huge_max, b->huge))
		return (struct bound){b->huge, b->huge + free_bytes,
				      "the machine has no more free hugepages"};
	return (struct bound){b->huge, b->huge_max, "the container's hugepages-2Mi limit"};
}

/* The key counts only where it leaves less than the other limits. */
static struct bound bound_of(const struct memory_budget *b, bool huge)
{
	struct bound kind = huge ? bound_of_huge(b)
				 : (struct bound){b->small, b->small_max, b->limit},
		     all = {b->small + b->huge, b->max, "raise memory_max"};

	return b->max != UINT64_MAX && rest(all.max, all.used) <= rest(kind.max, kind.used) ? all
											    : kind;
}

uint64_t budget_left(const struct memory_budget *b, bool huge)
{
	struct bound bound = bound_of(b, huge);

	return rest(bound.max, bound.used);
}

static int refuse(const struct bound *bound, uint64_t owner, size_t len, bool share,
		  struct error *error)
{
	unsigned long long used = bound->used >> 20, max = bound->max >> 20;

	if (share)
		return error_set(
			error, -EDQUOT,
			"this process has %llu MiB already, and may have half of what is left "
			"(%llu of %llu MiB are used; %s)",
			(unsigned long long)owner >> 20, used, max, bound->advice);
	return error_set(error, -EDQUOT,
			 "%zu KiB more would be too much: %llu of %llu MiB are used; %s",
			 (len + 1023) >> 10, used, max, bound->advice);
}

int budget_take(struct memory_budget *b, uint64_t *owner, size_t len, bool huge,
		struct error *error)
{
	uint64_t left, has = owner ? *owner : 0;
	struct bound bound;

	if (!b)
		return 0;
	bound = bound_of(b, huge);
	left = rest(bound.max, bound.used);
	if (len > left || (has + len > OWN_MIN && has &&
			   has + len > (left + has < left ? UINT64_MAX : left + has) / 2))
		return refuse(&bound, has, len, len <= left, error);
	*(huge ? &b->huge : &b->small) += len;
	if (owner)
		*owner += len;
	return 0;
}

void budget_give(struct memory_budget *b, uint64_t *owner, size_t len, bool huge)
{
	if (!b)
		return;
	*(huge ? &b->huge : &b->small) -= len;
	if (owner)
		*owner -= len;
}

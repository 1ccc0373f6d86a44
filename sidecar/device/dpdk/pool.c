/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mempool per worker. Its elements are private mbuf headers, whose buffers are always the
 * frames of that worker's share. The mempool's ops are a plain LIFO stack: only one thread uses it,
 * and the frame that was freed last is the one still in the cache (a ring would walk through 2 MiB
 * of headers).
 */
#include <errno.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_memory.h>
#include <rte_mempool.h>
#include <stdlib.h>
#include <string.h>

#include "sidecar/device/dpdk/dpdk.h"

#define STACK_OPS "udplane"

struct dpdk_stack {
	uint32_t cnt, size;
	void *at[];
};

/* --- the ops --- */

static int stack_alloc(struct rte_mempool *mp)
{
	struct dpdk_stack *s = calloc(1, sizeof(*s) + mp->size * sizeof(s->at[0]));

	if (!s)
		return -ENOMEM;
	s->size = mp->size;
	mp->pool_data = s;
	return 0;
}

static void stack_free(struct rte_mempool *mp)
{
	free(mp->pool_data);
}

static int stack_enqueue(struct rte_mempool *mp, void *const *obj, unsigned int n)
{
	struct dpdk_stack *s = mp->pool_data;

	if (__builtin_expect(n > s->size - s->cnt, 0))
		abort(); /* a frame was given back twice: our own invariant is broken */
	memcpy(s->at + s->cnt, obj, n * sizeof(*obj));
	s->cnt += n;
	return 0;
}

static int stack_dequeue(struct rte_mempool *mp, void **obj, unsigned int n)
{
	struct dpdk_stack *s = mp->pool_data;

	if (n > s->cnt)
		return -ENOBUFS;
	s->cnt -= n;
	memcpy(obj, s->at + s->cnt, n * sizeof(*obj));
	return 0;
}

static unsigned int stack_count(const struct rte_mempool *mp)
{
	return ((const struct dpdk_stack *)mp->pool_data)->cnt;
}

static const struct rte_mempool_ops ops = {
	.name = STACK_OPS,
	.alloc = stack_alloc,
	.free = stack_free,
	.enqueue = stack_enqueue,
	.dequeue = stack_dequeue,
	.get_count = stack_count,
};

uint32_t dpdk_stack_get(struct dpdk_stack *s, struct rte_mbuf **out, uint32_t cnt)
{
	if (cnt > s->cnt)
		cnt = s->cnt;
	s->cnt -= cnt;
	memcpy(out, s->at + s->cnt, cnt * sizeof(*out));
	return cnt;
}

void dpdk_stack_put(struct dpdk_stack *s, struct rte_mbuf *const *in, uint32_t cnt)
{
	if (__builtin_expect(cnt > s->size - s->cnt, 0))
		abort();
	memcpy(s->at + s->cnt, in, cnt * sizeof(*in));
	s->cnt += cnt;
}

static int use_ops(void)
{
	static bool registered; /* DPDK's own table is global, too */

	if (!registered && rte_mempool_register_ops(&ops) < 0)
		return -ENOSPC;
	registered = true;
	return rte_mbuf_set_user_mempool_ops(STACK_OPS);
}

/* --- the zone --- */

/* A refused mapping is fatal, since packets would arrive without data. Virtual devices do no
 * DMA. */
static int map_zone(struct dpdk *d, struct error *error)
{
	const struct device_memory *m = &d->mem;
	uint64_t iova = rte_eal_iova_mode() == RTE_IOVA_VA ? (uint64_t)(uintptr_t)m->addr : 0;

	/* The kernel moves and swaps ordinary pages, and the device would still write to their old
	 * place. */
	if (d->pci && rte_eal_iova_mode() != RTE_IOVA_VA && m->page_size < RTE_PGSIZE_2M)
		return error_set(
			error, -EINVAL,
			"without an IOMMU the frames zone (%zu bytes) must be in hugepages, and "
			"it is in pages of %zu bytes; raise vm.nr_hugepages, "
			"or lower `frames`",
			m->len, m->page_size);
	if (rte_extmem_register(m->addr, m->len, NULL, 0, m->page_size))
		return error_set(
			error, -rte_errno,
			"DPDK does not register the frames zone (%zu bytes in pages of %zu): "
			"%s%.100s",
			m->len, m->page_size, rte_strerror(rte_errno), dpdk_eal_complaint());
	d->mem_registered = true;
	if (!d->pci || rte_eal_iova_mode() != RTE_IOVA_VA)
		return 0;
	if (rte_dev_dma_map(d->info.device, m->addr, iova,
			    m->len)) { /* sets no useful errno, but logs the reason */
		return error_set(error, -EIO,
				 "the IOMMU does not map the frames zone (%zu bytes at %p) for "
				 "%.60s%.120s; error 12: raise RLIMIT_MEMLOCK (ulimit -l) above "
				 "it, or give the container CAP_IPC_LOCK; error 28: raise "
				 "vfio_iommu_type1's parameter dma_entry_limit",
				 m->len, m->addr, d->target, dpdk_eal_complaint());
	}
	d->mem_mapped = true;
	return 0;
}

/* The buffers of one worker's share. With an IOMMU their bus address is the virtual address;
 * without one, each hugepage has its own. */
static int share_extents(struct dpdk *d, const struct dpdk_queue *q,
			 struct rte_pktmbuf_extmem **out)
{
	bool va = rte_eal_iova_mode() == RTE_IOVA_VA;
	size_t at = (size_t)q->own_first * q->frame_size,
	       end = at + (size_t)q->own_cnt * q->frame_size;
	struct rte_pktmbuf_extmem *ext =
		calloc(va ? 1 : (end - at) / d->mem.page_size + 2, sizeof(*ext));
	uint32_t n = 0;

	if (!ext)
		return -ENOMEM;
	for (; at < end; n++) {
		ext[n].buf_ptr = q->zone + at;
		ext[n].buf_iova = va ? (rte_iova_t)(uintptr_t)ext[n].buf_ptr
				     : rte_mem_virt2iova(ext[n].buf_ptr);
		ext[n].buf_len = va ? end - at : dpdk_pool_extent(at, end, d->mem.page_size);
		ext[n].elt_size = (uint16_t)q->frame_size;
		if (ext[n].buf_iova == RTE_BAD_IOVA && d->pci) {
			free(ext);
			return -EFAULT;
		}
		at += ext[n].buf_len;
	}
	*out = ext;
	return (int)n;
}

static void note_mbuf(struct rte_mempool *mp, void *arg, void *obj, unsigned int idx)
{
	struct dpdk_queue *q = arg;
	struct rte_mbuf *m = obj;

	(void)mp;
	(void)idx;
	/* The buffer is never attached to another mbuf. With the flag, DPDK's own code would treat
	 * it as shared: rte_vlan_insert refuses, and af_packet would deliver tagged packets without
	 * their tag. */
	m->ol_flags = 0;
	q->mbuf[((uint8_t *)m->buf_addr - q->zone) >> q->frame_shift] = m;
}

static int make_pool(struct dpdk *d, struct dpdk_queue *q, struct error *error)
{
	struct rte_pktmbuf_extmem *ext = NULL;
	char name[RTE_MEMPOOL_NAMESIZE];
	int n = share_extents(d, q, &ext);

	if (n < 0)
		return error_set(
			error, n, "%s",
			n == -EFAULT ? "no physical address of the frames zone: without an IOMMU, "
				       "hugepages and CAP_SYS_ADMIN are needed"
				     : "out of memory");
	snprintf(name, sizeof(name), "udplane-%u", q->base.worker);
	q->pool = rte_pktmbuf_pool_create_extbuf(
		name, q->own_cnt, 0, 0, (uint16_t)q->frame_size,
		d->base.numa_node >= 0 ? d->base.numa_node : SOCKET_ID_ANY, ext, (uint32_t)n);
	free(ext);
	if (!q->pool)
		return error_set(
			error, -rte_errno,
			"no memory for %u mbufs: %s%.100s; free hugepages, or set hugepages to off",
			q->own_cnt, rte_strerror(rte_errno), dpdk_eal_complaint());
	q->stack = q->pool->pool_data;
	rte_mempool_obj_iter(q->pool, note_mbuf, q);
	return 0;
}

int dpdk_pool_open(struct dpdk *d, struct error *error)
{
	int err = use_ops();

	d->mbuf = calloc(d->mem.frame_cnt, sizeof(*d->mbuf));
	if (err || !d->mbuf)
		return error_set(error, -ENOMEM, "out of memory");
	err = map_zone(d, error);
	for (uint32_t w = 0; w < d->worker_cnt && !err; w++) {
		d->queue[w].mbuf = d->mbuf;
		err = make_pool(d, &d->queue[w], error);
	}
	return err;
}

void dpdk_pool_unmap(struct dpdk *d)
{
	if (d->mem_mapped)
		rte_dev_dma_unmap(d->info.device, d->mem.addr, (uint64_t)(uintptr_t)d->mem.addr,
				  d->mem.len);
	d->mem_mapped = false;
}

void dpdk_pool_close(struct dpdk *d)
{
	for (uint32_t w = 0; d->queue && w < d->worker_cnt; w++) {
		rte_mempool_free(d->queue[w].pool);
		d->queue[w].pool = NULL;
	}
	if (d->mem_registered)
		rte_extmem_unregister(d->mem.addr, d->mem.len);
	d->mem_registered = false;
	free(d->mbuf);
	d->mbuf = NULL;
}

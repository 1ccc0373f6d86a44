/* SPDX-License-Identifier: Apache-2.0 */
/* Private buffers for datagrams. */
#include "client/pktbuf.h"
#include "client/base.h"
#include "client/context.h"
#include "client/lock.h"
#include <stdlib.h>
#include <string.h>

struct pktbuf *pktbuf_small(uint32_t len)
{
	struct pktbuf *b = aligned_alloc(64, (sizeof(*b) + len + 63) / 64 * 64);

	if (b)
		memset(b, 0, sizeof(*b));
	if (b)
		b->small = true;
	return b;
}

uint32_t pktbufs_get(struct pktbuf **out, uint32_t cnt)
{
	uint32_t n = 0;

	if (lock_take(&context.buf_lock)) {
		for (; n < cnt && context.bufs; n++) {
			out[n] = context.bufs;
			context.bufs = out[n]->next;
		}
		context.buf_cnt -= n;
		lock_drop(&context.buf_lock);
	}
	for (; n < cnt; n++) {
		out[n] = pktbuf_small(PKTBUF_SIZE);
		if (!out[n])
			break;
		out[n]->small = false;
	}
	return n;
}

void pktbuf_put(struct pktbuf *b)
{
	bool keep = false;

	if (b->small) {
		free(b);
		return;
	}
	if (lock_take(&context.buf_lock)) {
		keep = context.buf_cnt < PKTBUF_KEEP;
		if (keep) {
			b->next = context.bufs;
			context.bufs = b;
			context.buf_cnt++;
		}
		lock_drop(&context.buf_lock);
	}
	if (!keep)
		free(b);
}

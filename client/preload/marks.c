/* SPDX-License-Identifier: Apache-2.0 */
/* See marks.h. */
#include "client/preload/marks.h"
#include "client/attach.h"
#include "client/lock.h"
#include "client/ready.h"
#include "client/sock.h"
#include <udplane/abi.h>

#define WORD 64 /* bits */

static uint64_t groups; /* atomic: those that are taken */
_Static_assert(UDPLANE_READY_GROUPS <= WORD, "one word");

static int group_take(void)
{
	uint64_t was = __atomic_load_n(&groups, __ATOMIC_RELAXED);
	int g;

	do {
		if (!(~was << (WORD - UDPLANE_READY_GROUPS)))
			return -1;
		g = __builtin_ctzll(~was);
	} while (!__atomic_compare_exchange_n(&groups, &was, was | 1ull << g, true,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return g;
}

static void sleepers_store(const struct instance *in, uint32_t v)
{
	struct attach *a = in->att;

	for (uint32_t i = 0; a && i < a->worker_cnt; i++)
		udplane_store32(&a->lane[i].ready->sleepers[in->group], v);
	udplane_fence();
}

void marks_note(struct instance *in)
{
	if (in->group >= 0)
		sleepers_store(in, __atomic_load_n(&in->sleepers, __ATOMIC_SEQ_CST) || in->outer);
}

void marks_note_sleeper(struct instance *in)
{
	if (in->group >= 0)
		sleepers_store(in, 1);
}

static void attachment_drop(struct instance *in)
{
	struct attach *a = in->att;

	in->att = NULL;
	if (a)
		attach_put(a);
}

void marks_add(struct instance *in, struct sock *s)
{
	struct attach *a = s->att;
	uint32_t end;

	if (!a || !a->lane[0].ready || s->tx.id >= a->socket_max)
		return;
	__atomic_store_n(&a->by_id[s->tx.id], s, __ATOMIC_RELEASE);
	end = __atomic_load_n(&a->id_end, __ATOMIC_RELAXED);
	while (end <= s->tx.id && !__atomic_compare_exchange_n(&a->id_end, &end, s->tx.id + 1, true,
							       __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	if (in->group < 0 && in->sock_cnt >= MARKS_FROM)
		in->group = group_take();
	if (in->group < 0)
		return;
	if (in->att != a) {
		attachment_drop(in);
		__atomic_fetch_add(&a->refs, 1, __ATOMIC_RELAXED);
		in->att = a;
		marks_note(in);
	}
}

void marks_forget(struct instance *in)
{
	attachment_drop(in);
	if (in->group >= 0)
		__atomic_fetch_and(&groups, ~(1ull << in->group), __ATOMIC_RELAXED);
	in->group = -1;
}

/* --- bits --- */

static bool next_word(const struct attach *a, struct marks *m)
{
	uint32_t end = (__atomic_load_n(&a->id_end, __ATOMIC_ACQUIRE) + WORD - 1) / WORD;

	for (; m->lane < a->worker_cnt; m->lane++, m->word = 0) {
		struct udplane_ready *r = a->lane[m->lane].ready;

		for (; m->word < end; m->word++) {
			if (!__atomic_load_n(&r->bits[m->word], __ATOMIC_RELAXED))
				continue;
			m->bits = __atomic_exchange_n(&r->bits[m->word], 0, __ATOMIC_SEQ_CST);
			return true;
		}
	}
	return false;
}

bool marks_next(struct instance *in, struct marks *m)
{
	if (m->att) {
		attach_put(m->att);
		m->att = NULL;
		m->word++;
	}
	if (!lock_insist(&in->lock))
		return false;
	if (in->att && !__atomic_load_n(&in->att->live, __ATOMIC_RELAXED))
		attachment_drop(in); /* its memory is needed */
	if (in->att && next_word(in->att, m)) {
		m->att = in->att;
		__atomic_fetch_add(&m->att->refs, 1, __ATOMIC_RELAXED);
	}
	lock_drop(&in->lock);
	return m->att != NULL;
}

struct sock *marks_take(struct marks *m)
{
	uint32_t bit = (uint32_t)__builtin_ctzll(m->bits), id = m->word * WORD + bit;

	m->bits &= m->bits - 1;
	m->last = 1ull << bit;
	return id < m->att->socket_max ? __atomic_load_n(&m->att->by_id[id], __ATOMIC_ACQUIRE)
				       : NULL;
}

void marks_again(const struct marks *m)
{
	__atomic_fetch_or(&m->att->lane[m->lane].ready->bits[m->word], m->last, __ATOMIC_SEQ_CST);
}

static bool is_listed(struct attach *a, const struct sock *s)
{
	return s->tx.id < a->socket_max &&
	       __atomic_load_n(&a->by_id[s->tx.id], __ATOMIC_RELAXED) == s;
}

bool marks_cool(struct watch *w)
{
	struct instance *in = w->in;
	struct sock *s = w->s;
	bool cold;

	if (in->group < 0 || in->outer || !s->att || s->att != in->att || !is_listed(s->att, s) ||
	    s->rx.shim.watch != w || w->next_of_sock ||
	    __atomic_load_n(&s->rx.shim.sleepers, __ATOMIC_SEQ_CST))
		return false;
	s->rx.shim.arm = UDPLANE_ARM_LIST + (uint32_t)in->group;
	cold = !rx_settle(s);
	s->rx.shim.arm = 0;
	return cold;
}

bool marks_awake(struct instance *in)
{
	bool awake;

	if (in->group < 0 || !lock_insist(&in->lock))
		return false;
	awake = in->att && attach_awake(in->att);
	lock_drop(&in->lock);
	return awake;
}

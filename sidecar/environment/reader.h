/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads nftables: tables, chains, sets, elements set by set, rules. A step at a time, for with some
 * thousand Services it takes longer than those whom the control thread serves may wait.
 *
 * Sets without a name never change, and are recognized by their handles: their elements are taken
 * over from the last reading. Linux looks a set up in a list, so asking for all of N costs N^2:
 * 5000 maps, as of 5000 Services, 1.4 s.
 */
#ifndef SIDECAR_ENVIRONMENT_READER_H
#define SIDECAR_ENVIRONMENT_READER_H

#include "sidecar/environment/rules.h"

struct reader;

int reader_open(struct reader **out, const char *ifname);
void reader_close(struct reader *r);
int reader_fd(const struct reader *r); /* readable while a reading waits for reader_step() */
/* Begins a reading; one that is under way is dropped. old: the rules of the last one, which stay
 * until this one ends. 0 or -errno. */
int reader_start(struct reader *r, const struct rules *old);
bool reader_busy(const struct reader *r);
/* For that long, about. 0: it is not at its end. 1: rules_free() `out`, which has them. -EINTR: a
 * change came between. -errno. */
int reader_step(struct reader *r, uint64_t ns, struct rules *out);

#endif

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
/* One set's elements have changed: for reader_start_sets() and reader_more(). False: there are too
 * many. */
bool reader_note(struct reader *r, uint8_t family, const char *table, const char *name);
bool reader_has_notes(const struct reader *r);
/* Begins a reading of everything; one that is under way is dropped. old: the rules of the last one,
 * which stay until this one ends. 0 or -errno. */
int reader_start(struct reader *r, const struct rules *old);
/* The same, of the noted sets only, into a copy of the old rules. */
int reader_start_sets(struct reader *r, const struct rules *old);
bool reader_busy(const struct reader *r);
/* For that long, about. 0: it is not at its end. 1: it is, and waits for reader_more() or
 * reader_take(). -EINTR: a set has gone meanwhile. -errno. */
int reader_step(struct reader *r, uint64_t ns);
/* Have there been changes meanwhile? */
bool reader_torn(const struct reader *r);
/* Reads the noted sets once more. 0 or -errno. */
int reader_more(struct reader *r);
/* out: to be freed by rules_free(). NULL: they are dropped. */
void reader_take(struct reader *r, struct rules *out);

#endif

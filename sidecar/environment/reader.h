/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads nftables: tables, chains, sets, the elements of each set, rules. It works step by step,
 * since with some thousand Services a reading takes longer than the control thread's clients may
 * wait.
 *
 * Sets without a name never change and are recognized by their handles, so their elements are taken
 * over from the last reading. Linux looks a set up in a list, so asking for all of N sets costs
 * N^2: 5000 maps, as for 5000 Services, take 1.4 s.
 */
#ifndef SIDECAR_ENVIRONMENT_READER_H
#define SIDECAR_ENVIRONMENT_READER_H

#include "sidecar/environment/rules.h"

struct reader;

int reader_open(struct reader **out, const char *ifname);
void reader_close(struct reader *r);
int reader_fd(const struct reader *r); /* readable while a reading waits for reader_step() */
/* Notes that one set's elements have changed, for reader_start_sets() and reader_more(). Returns
 * false if too many sets are noted. */
bool reader_note(struct reader *r, uint8_t family, const char *table, const char *name);
bool reader_has_notes(const struct reader *r);
/* Begins a reading of everything, and drops one that is under way. old: the rules of the last
 * reading, which must stay until this one ends. Returns 0 or -errno. */
int reader_start(struct reader *r, const struct rules *old);
/* Does the same for the noted sets only, into a copy of the old rules. */
int reader_start_sets(struct reader *r, const struct rules *old);
bool reader_busy(const struct reader *r);
/* Continues the reading for about ns nanoseconds. Returns 0 if it is not finished; 1 if it is, and
 * waits for reader_more() or reader_take(); -EINTR if a set was removed during the reading; or
 * -errno. */
int reader_step(struct reader *r, uint64_t ns);
/* Returns true if rules have changed during the reading. */
bool reader_torn(const struct reader *r);
/* Reads the noted sets again. Returns 0 or -errno. */
int reader_more(struct reader *r);
/* Moves the rules to out, which the caller frees by rules_free(), or drops them if out is NULL. */
void reader_take(struct reader *r, struct rules *out);

#endif

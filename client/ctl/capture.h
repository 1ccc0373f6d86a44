/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reading end of a capture: takes records from the rings of all workers, the oldest first.
 *
 * A worker publishes bursts, so that two workers' records may be out of order by as much as the
 * time between two looks. Whatever stands in the zone, nothing outside of it is read. Pure, apart
 * from the zone.
 */
#ifndef UDPLANE_CLIENT_CTL_CAPTURE_H
#define UDPLANE_CLIENT_CTL_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "udplane/abi.h"
#include "udplane/ring.h"

#ifdef __cplusplus
extern "C" {
#endif

struct capture_reader {
	struct udplane_captured layout;
	uint8_t *zone;
	struct udplane_ring ring[UDPLANE_MAX_WORKERS];
	uint32_t avail[UDPLANE_MAX_WORKERS]; /* records of this look that are left */
	uint32_t taken[UDPLANE_MAX_WORKERS]; /* of them, those to be given back */
};

/* layout: as attach_capture() has checked it. zone: of layout->len bytes; it stays the caller's. */
void capture_open(struct capture_reader *r, const struct udplane_captured *layout, void *zone);

/* Looks what has come. Returns the number of records that capture_next() will give. */
uint32_t capture_look(struct capture_reader *r);

/* Copies the head of the oldest record to *head, and points *data to its frame, of
 * head->captured_len bytes. Both stay until the next call, which gives the slot back. Returns false
 * if there is none left of this look. */
bool capture_next(struct capture_reader *r, struct udplane_capture_record *head,
		  const uint8_t **data);

/* Sums what the workers have counted: frames that the capture asked for, and those of them for
 * which the rings had no room. */
void capture_counts(const struct capture_reader *r, uint64_t *seen, uint64_t *missed);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions about a claimed socket: whether a claim is granted, whether the port is diverted,
 * whether the workers send for the socket, and the reason if not.
 *
 * Pure. The callers collect the facts and act on the decision: sock.c (claim and update), shared.c
 * (receiving), divert.c (diverting and sending), check.c (the look once a second).
 */
#ifndef SIDECAR_CONTROL_DECIDE_H
#define SIDECAR_CONTROL_DECIDE_H

#include <stdbool.h>
#include <stdint.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sockets without udplane on one port that are kept account of; with more of them nothing is
 * diverted there. */
#define DECIDE_OTHERS_MAX 1024

/* UDPLANE_REASON_NONE for yes; otherwise the reason for no, with a text for people. */
struct decision {
	enum udplane_reason reason;
	char text[UDPLANE_TEXT_LEN];
};

/* Sets both; returns the reason. */
enum udplane_reason decide(struct decision *d, enum udplane_reason reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- claim and update ---- */

/* What the kernel says about a socket that a client has passed. */
struct decide_found_facts {
	enum udplane_reason reason; /* of claim_verify() */
	const char *text;
	const char *not_asked; /* text if its port is not asked for, otherwise NULL */
};

/* May it be accelerated? */
enum udplane_reason decide_found(struct decision *d, const struct decide_found_facts *found);

struct decide_claim_facts {
	const char *no_device; /* the reason why there is none, or NULL */
	struct decide_found_facts found;
	uint16_t named_port_be, bound_port_be; /* in the client's message, and of the socket */
	/* number under which this client has claimed the same socket already, or -1 */
	int64_t duplicate;
};

enum udplane_reason decide_claim(struct decision *d, const struct decide_claim_facts *facts);

enum decide_update_act {
	DECIDE_NO_CHANGE,
	DECIDE_CLAIM_AGAIN, /* take its key out, and claim it as it is now */
	DECIDE_TO_KERNEL,   /* leave it to the kernel for good */
};

/* A client says that its socket has changed. kept: the keeper has the socket still. found: from
 * decide_found(). same: the whole claim is as it was. */
enum decide_update_act decide_update(bool kept, enum udplane_socket_state state,
				     enum udplane_reason found, bool same);

/* The keeper has looked at a socket without its client's asking: is there something to update?
 * same: key and sharing are as they were. A port that is not asked for any more is no reason:
 * the socket waits, with its rings, until the port is asked for again. */
bool decide_look(bool kept, enum udplane_reason found, bool same);

/* ---- receiving ---- */

/* Which socket Linux would deliver to, of those with the same connected four-tuple. */
enum decide_winner {
	DECIDE_WINNER_UNKNOWN, /* not asked yet */
	DECIDE_WINNER_NONE,    /* Linux does not say */
	DECIDE_WINNER_CLAIMED, /* this one, or another claimed socket */
	DECIDE_WINNER_OTHER,   /* one without udplane */
};

/* Sockets without udplane on the port. */
enum decide_others {
	DECIDE_OTHERS_UNKNOWN, /* not listed yet */
	DECIDE_OTHERS_NONE,    /* none that could get the same datagrams */
	DECIDE_OTHERS_OVERLAP, /* one could */
	DECIDE_OTHERS_PENDING, /* the listing is not complete */
	DECIDE_OTHERS_TOO_MANY,
	DECIDE_OTHERS_FAILED, /* they cannot be listed */
	DECIDE_OTHERS_NO_MEMORY,
};

struct decide_rx_facts {
	bool asked_for;		    /* the port, by the annotation */
	enum udplane_reason judged; /* by rules and programs */
	const char *judged_text;
	bool rival; /* another claimed socket has the same key, and they do not share it */
	int rival_pid;
	bool reuse; /* SO_REUSEADDR or SO_REUSEPORT */
	bool connected;
	enum decide_winner winner;
	enum decide_others others;
	char text[UDPLANE_TEXT_LEN]; /* about the winner, the overlap, or the failure */
};

/* The fact that a decision depends on. */
enum decide_need {
	DECIDE_NEEDS_NOTHING, /* *d is the decision */
	DECIDE_NEEDS_WINNER,
	DECIDE_NEEDS_OTHERS,
};

/* Is the port diverted to this socket? A question to the kernel costs a system call or more, so
 * this says which one is needed, if any; the caller fills in the answer and calls again. */
enum decide_need decide_rx(struct decision *d, const struct decide_rx_facts *facts);

enum decide_divert_act { DECIDE_LEAVE, DECIDE_START, DECIDE_STOP };

/* What has to be done so that a socket in this state agrees with decide_rx(). */
enum decide_divert_act decide_divert(enum udplane_socket_state state, enum udplane_reason reason);

/* The device has returned err, a -errno, for a claim. */
enum udplane_reason decide_device_refused(struct decision *d, int err);

/* ---- sending ---- */

/* Do the workers send for this socket? judged: by rules and programs. source_gone: the address that
 * it is bound to is not one of this host any more. */
enum udplane_reason decide_tx(struct decision *d, enum udplane_reason judged,
			      const char *judged_text, bool source_gone);

enum decide_news_kind {
	DECIDE_OLD,	 /* the same as before */
	DECIDE_NEW_TEXT, /* only the reason or its text */
	DECIDE_NEW_PATH, /* from the workers to the kernel, or back */
};

enum decide_news_kind decide_news(enum udplane_reason was, const char *was_text,
				  const struct decision *d);

#ifdef __cplusplus
}
#endif

#endif

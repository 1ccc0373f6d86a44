/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to sidecar/control: what its files offer to each other, from the ground up. A file calls
 * only files that stand above it here.
 *
 * Functions that return int return 0 or -errno; if they take a text, it then says why.
 */
#ifndef SIDECAR_CONTROL_INTERNAL_H
#define SIDECAR_CONTROL_INTERNAL_H

#include "sidecar/control/message.h"
#include "sidecar/control/state.h"

/* ---- watch.c ---- */

int watch_add(struct control *c, struct watch *w, uint32_t events);
/* Closes w->fd, too. */
void watch_remove(struct control *c, struct watch *w);
/* Has what can wait done at that time or sooner, a bit per turn of the loop: sessions closed,
 * sockets judged, shared ports listed. ns: CLOCK_MONOTONIC, or 0 for now. */
void work_at(struct control *c, uint64_t ns);

/* ---- table.c ---- */

/* Returns a number that no socket has, or -1. */
int sock_id_take(struct control *c);
void sock_id_put(struct control *c, uint32_t id);
/* Puts k at its number, k->id. */
void sock_insert(struct control *c, struct sock *k);
/* Returns the socket of that number if it belongs to s, otherwise NULL. */
struct sock *sock_find(const struct control *c, const struct session *s, uint32_t id);
/* Returns the first socket from number *at on, or NULL; *at becomes the number after it. The rows
 * of refused claims are included. */
struct sock *sock_next(const struct control *c, uint32_t *at);

/* ---- session_log.c ---- */

/* Marks the session to be closed when the loop has served the current events. why: for the log;
 * nothing is logged if it is empty. */
void session_close_later(struct session *s, const char *why);
/* Logs a line about a client, at most SESSION_LINES per minute. */
void session_log(struct control *c, struct session *s, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* ---- discard.c ---- */

/* More descriptors waiting than these: no further client is accepted. */
#define CONTROL_DISCARDED 256

/* Has the keeper close a descriptor. Closing a connection also closes the descriptors in messages
 * that are unread in it, and a client decides how long that takes. */
void fd_discard(struct control *c, int fd);
/* Call once per second: tries again what the keeper had no room for. */
void fd_discard_tick(struct control *c);
/* Closes what is left, after keeper_stop(). */
void fd_discard_stop(struct control *c);

/* ---- library.c ---- */

/* Puts libudplane.so.0, libudplane-preload.so and udplane-run into dir, if dir is not empty. A
 * failure is logged. */
void library_publish(const char *dir);

/* ---- backend.c ---- */

/* Opens the device of the configured backend, or of the first possible one; none for the kernel
 * path. Returns -errno, with the reason logged, if the configured one cannot be had. */
int backend_choose(struct control *c);
void backend_close(struct control *c);
/* The device or the keeper is gone: ends the loop. again: start udplaned again in place, unless
 * that happens all the time. */
void backend_lose(struct control *c, bool again);
/* Gives the device up if it asks to be opened from the start. */
void backend_check(struct control *c);

/* ---- channel.c ---- */

/* Makes the channel of a session, and its lanes in the workers. Fills in the layout. */
int channel_create(struct control *c, struct session *s, struct udplane_welcome *out,
		   struct error *error);
void channel_destroy(struct control *c, struct session *s);

/* ---- capture.c ---- */

/* Begins a capture for an observer, if it may have one. Fills in the answer, refusal included. */
void capture_start(struct control *c, struct session *s, const struct udplane_capture *asked,
		   struct udplane_captured *out);
void capture_stop(struct control *c, struct session *s);

/* ---- slow.c ---- */

/* A worker's event ring has something. */
void slow_events(struct control *c, struct watch *w, uint32_t events);
/* Handles the events that are in a worker's ring now. */
void slow_drain(struct control *c, uint32_t worker);

/* ---- recent.c ---- */

/* Publishes what each path has carried in the last seconds. Call after the counters are
 * published. */
void recent_publish(struct control *c);
/* Call once per second: moves the window on. */
void recent_move(struct control *c);
/* Starts the window now, because the device mode has changed. */
void recent_restart(struct control *c);

/* ---- refresh.c ---- */

/* Publishes all counters. */
void refresh_counters(struct control *c);
/* Publishes a socket's row, with the reason why it is not diverted. */
void refresh_socket(struct control *c, const struct sock *k, uint32_t reason, const char *text);

/* ---- judge.c ---- */

/* Reads which programs the client's control group has. Call before its sockets are judged. */
void session_read_programs(struct control *c, struct session *s);
/* Fills k->verdict, unless rules and programs are as at the last time. fresh: k has other
 * addresses than then. */
void sock_judge(struct control *c, struct sock *k, bool fresh);

/* ---- divert.c ---- */

/* Gives every worker the same order. Returns the first error. */
int workers_call(struct control *c, struct worker_order *o);
/* Fills in what the workers need to send for k. */
void sock_source(const struct sock *k, struct worker_source *src);
/* The device stops diverting to this claim. */
void filters_remove(struct control *c, const struct sock *k);
/* Leaves k's datagrams to the kernel. drain: the socket lives on, so datagrams that were diverted
 * before are delivered first. */
void divert_stop(struct control *c, struct sock *k, bool drain);
/* Starts or stops diverting to k as decided, and publishes the reason. */
void sock_apply_rx(struct control *c, struct sock *k, const struct decision *d);
/* Decides whether the workers send for k, and tells the library and the workers if that has
 * changed. */
void sock_apply_tx(struct control *c, struct sock *k);

/* ---- groups.c ---- */

/* Has the multicast groups on a port, or all if it is 0, decided about again, soon. */
void groups_mark(struct control *c, uint16_t port_be);
/* Fills *d with what was decided about the group and port that a socket is bound to. */
void groups_decided(const struct control *c, const struct udplane_addr *group, struct decision *d);

/* ---- shared.c ---- */

int shared_open(struct control *c);
void shared_close(struct control *c);
/* Puts k, with its claim, among the sockets on its port, and decides about it. Returns -ENOMEM if
 * that is not possible. */
int shared_enter(struct control *c, struct sock *k);
/* Takes k out again. lives: its kernel socket stays, as one that does not use udplane. */
void shared_leave(struct control *c, struct sock *k, bool lives);
/* Has k decided about again, soon. */
void shared_mark(struct control *c, struct sock *k);
/* Does what can wait, until `end`. */
void shared_work(struct control *c, uint64_t end);
/* Fills *d, unless no socket without udplane would get datagrams to the group. exact: list the
 * sockets on its port now, if that is quick. */
void shared_decide_group(struct control *c, const struct udplane_addr *group, bool exact,
			 struct decision *d);

/* ---- mcast.c ---- */

int mcast_open(struct control *c);
void mcast_close(struct control *c);
/* The broadcast addresses of the device's networks may have changed. */
void mcast_set_addresses(struct control *c);
/* Call after shared_enter(). */
void mcast_enter(struct control *c, struct sock *k);
/* The sockets on a port have changed: decides about its groups before anything else happens. */
void mcast_port_changed(struct control *c, uint16_t port_be);
/* The keeper has looked at k's membership in a group. */
void mcast_member(struct control *c, struct sock *k, const struct claim_member *m);
/* Decides about the groups that are marked. */
void mcast_work(struct control *c);
/* Call once per second. */
void mcast_tick(struct control *c);

/* ---- sock.c ---- */

/* Makes what a claim or an update will need whatever the keeper finds. */
void sock_prepare(struct control *c, struct session *s, bool claim);
/* Gives that back, if no claim has used it. */
void sock_unprepare(struct control *c);
/* Takes over the socket that the keeper has, whatever is decided. *out becomes the answer, *fds its
 * descriptors. */
void sock_claim(struct control *c, struct session *s, const struct udplane_claim *m,
		const struct keeper_reply *found, struct udplane_claimed *out,
		struct sock_fds *fds);
/* Takes back a claim whose answer could not be sent. *out becomes a refusal. */
void sock_unclaim(struct control *c, struct sock *k, struct sock_fds *fds, enum udplane_reason why,
		  const char *text, struct udplane_claimed *out);
/* Claims k again as the keeper found it, if it has changed. Returns -errno, with the reason in *d,
 * if it is left to the kernel instead. */
int sock_update(struct control *c, struct sock *k, const struct keeper_reply *found,
		struct decision *d);
/* Leaves k to the kernel for good. Its row stays until it is released. */
void sock_to_kernel(struct control *c, struct sock *k, enum udplane_reason why, const char *text);
/* Frees k. */
void sock_release(struct control *c, struct sock *k);
/* Releases some sockets of a session that is closing, with few calls to the workers. Returns false
 * if none are left. */
bool sock_release_some(struct control *c, struct session *s);
/* May the socket that the keeper looked at be accelerated, and is its port asked for? */
enum udplane_reason sock_found(struct control *c, const struct keeper_reply *found,
			       struct decision *d);

/* ---- check.c ---- */

/* The keeper has looked at k again. */
void sock_checked(struct control *c, struct sock *k, const struct keeper_reply *found);
/* Call once per second: has sockets verified again, in turns. */
void sock_check(struct control *c);
/* The host's addresses have changed. */
void sock_check_sources(struct control *c);
/* The set of asked-for ports has changed. */
void sock_ports_changed(struct control *c);
/* Rules or programs have changed: judges all sockets again, in turns. */
void sock_environment_changed(struct control *c);
/* Continues with that, until `end`. */
void sock_judge_some(struct control *c, uint64_t end);

/* ---- routing.c ---- */

/* Builds a table from what netlink has told, without the destinations that rules exclude, and gives
 * it to the workers, the device and the clients, which look at their destinations again. Returns
 * -ENOMEM if the old table stays; it is tried again then. *judged: sockets have to be judged
 * again. */
int routing_install(struct control *c, bool *judged);
/* Was the last table built long enough ago? */
bool routing_install_due(const struct control *c);
void routing_install_later(struct control *c);
/* All sockets are judged by the rules of now: peers that only the former rules excluded are free
 * again, with the next table. */
void routing_release_excluded(struct control *c);
void routing_stop(struct control *c);
/* Tells the kernel which neighbours the workers use. */
void routing_refresh_used(struct control *c);
/* Publishes the destinations that the library may give to the workers: none while the device sends
 * nothing. */
void routing_publish(struct control *c);

/* ---- environment.c ---- */

/* Starts to follow routes and addresses, rules and programs. */
int control_environment_start(struct control *c, struct error *error);
void control_environment_stop(struct control *c);
/* Call once per second: looks for what the kernel does not tell. */
void control_environment_tick(struct control *c);

/* ---- health.c ---- */

/* Call once per second: compares what device and kernel have counted, repairs what can be repaired,
 * and reports the rest. */
void health_look(struct control *c);

/* ---- request.c ---- */

/* A client has sent something. */
void request_ready(struct control *c, struct watch *w, uint32_t events);
/* The keeper has answered. */
void request_replies(struct control *c, struct watch *w, uint32_t events);
/* Tells a client that udplaned stops. */
void session_goodbye(struct control *c, struct session *s);

/* ---- session.c ---- */

/* A client has connected. */
void session_accept(struct control *c, struct watch *w, uint32_t events);
/* Releases all that the session has, and frees it. */
void session_close(struct control *c, struct session *s);
/* Closes the sessions that are marked for it, until `end`. */
void session_reap(struct control *c, uint64_t end);
/* Call once per second: marks sessions that have been silent, or pending, for too long. */
void session_tick(struct control *c);

/* ---- listen.c ---- */

int listen_open(struct control *c, struct error *error);
void listen_close(struct control *c);

/* ---- start.c ---- */

/* Returns -errno with the reason logged; call control_free() then, too. */
int control_start(struct control *c);
/* Hands over to the kernel, delivers what is still held, and says goodbye. */
void control_leave(struct control *c);
void control_free(struct control *c);

#endif

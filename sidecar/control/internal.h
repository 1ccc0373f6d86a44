/* SPDX-License-Identifier: Apache-2.0 */
/* Private to sidecar/control. One thread: no field here is touched by another, but what workers own
 * by worker.h. */
#ifndef SIDECAR_CONTROL_INTERNAL_H
#define SIDECAR_CONTROL_INTERNAL_H

#include "sidecar/base/log.h"
#include "sidecar/claim/claim.h"
#include "sidecar/config/config.h"
#include "sidecar/control/decide.h"
#include "sidecar/control/evidence.h"
#include "sidecar/control/index.h"
#include "sidecar/device/device.h"
#include "sidecar/environment/environment.h"
#include "sidecar/keeper/keeper.h"
#include "sidecar/memory/foreign.h"
#include "sidecar/memory/memzone.h"
#include "sidecar/route/route.h"
#include "sidecar/route/route_netlink.h"
#include "sidecar/stats/stats.h"
#include "sidecar/worker/worker.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <udplane/abi.h>

#define CONTROL_SEGMENTS  512 /* RX ring segments of one client: 1 GiB at most */
#define CONTROL_BIG_RINGS 16  /* sockets of a client that get rings of the configured size; */
/* further ones get this: the kernel's default SO_RCVBUF holds 277 small datagrams */
#define CONTROL_SMALL_RING 512
#define CONTROL_TX_SLOTS   512 /* of a lane: 1 MiB of payload, sixteen bursts */
/* descriptors that the keeper has no room for: no more clients then */
#define CONTROL_DISCARDED 256
#define CONTROL_REFUSED	  32 /* refused claims of a client that `why` can tell of */

struct control;

/* What an epoll event is for: first member of everything that is watched. */
struct watch {
	int fd;
	void (*ready)(struct control *c, struct watch *w, uint32_t events);
	/* served after the others, within TURN_NS: requests of attached clients, each of which
	 * may take milliseconds */
	bool patient;
};

/* ---- rings.c: RX rings in the memory of one client ---- */

struct ring_place {
	uint32_t segment; /* 0: the channel */
	uint32_t off;	  /* of worker 0's ring */
};

struct ring_class {
	uint32_t size;		 /* descriptors */
	uint32_t len;		 /* bytes of one ring */
	struct ring_place *free; /* a heap */
	uint32_t free_cnt, free_room;
};

struct ring_pool {
	struct memzone *seg[CONTROL_SEGMENTS]; /* [0] is the channel */
	uint32_t in_use[CONTROL_SEGMENTS];     /* rings in it */
	uint32_t empty_ticks[CONTROL_SEGMENTS];
	uint32_t seg_cnt;
	uint32_t used;	      /* bytes of the last one, */
	uint32_t used_before; /* and of the one before it when that one was made */
	uint32_t rings;
	uint32_t worker_cnt;
	struct ring_class cls[2]; /* big, small */
};

/* ---- session.c: an attached process ---- */

TAILQ_HEAD(sock_list, sock);

struct session {
	struct watch watch;
	TAILQ_ENTRY(session) link;
	int pid;
	char comm[16];
	bool welcomed, observer, attached; /* attached: has the slot `id` of control.session */
	/* no other session ever has the same: what the keeper and the workers know it by */
	uint64_t serial;
	bool known; /* to the keeper */
	struct {
		/* the keeper is asked for this on behalf of the client, which waits; 0: nothing */
		enum keeper_op op;
		uint32_t ticks; /* since then */
		uint32_t seq;	/* of the client's message */
		uint32_t sock;
	} asked;
	uint32_t idle_ticks; /* of an observer: since its last HELLO */
	uint32_t id;	     /* channel id: index in control.session */
	struct memzone channel;
	uint64_t memory; /* bytes: channel and segments */
	struct worker_lane lane[UDPLANE_MAX_WORKERS];
	int doorbell[UDPLANE_MAX_WORKERS];
	struct ring_pool rings;
	struct sock_list socks;
	struct sock_list refused; /* rows for `why`: CONTROL_REFUSED at most */
	/* what it had queued to send has been sent, or given up: its sockets are being released */
	bool flushed;
	bool releasing; /* closing, and not watched any more: its sockets are being released */
	struct log_quota lines; /* in the log about it */
	int cgroup_fd;		/* its control group, or below */
#define SESSION_CGROUP_UNKNOWN (-1)
#define SESSION_CGROUP_NONE    (-2)
	uint32_t programs;		     /* that act there: JUDGE_SEND4 ... */
	bool closing;			     /* to be closed at the end of this turn of the loop */
	char close_reason[UDPLANE_TEXT_LEN]; /* for the log; empty: nothing is logged */
};

/* ---- recent.c: the last seconds ---- */

/* Counts as they were at a time; what has grown since is what is published. */
struct recent_point {
	uint64_t ns;
	uint64_t device[UDPLANE_DEVICE_COUNTER_CNT];
	uint64_t host[UDPLANE_HOST_COUNTER_CNT];
};

/* ---- sock.c: a claimed socket ---- */

struct sock {
	TAILQ_ENTRY(sock) link;
	struct session *session;
	uint32_t id;
	int fd;	       /* the client's kernel socket: its number with the keeper; -1: released */
	bool checking; /* the keeper is asked whether it is what it was, */
	uint32_t checking_since; /* since this tick */
	/* as of the last look: datagrams that found no room in the kernel socket */
	uint32_t kernel_drops;
	int wake_fd; /* our end of its wake socket */
	struct claim claim;
	enum udplane_socket_state state;
	struct ring_place place;
	uint32_t cls; /* ring class */
	struct judge_verdict
		verdict;  /* of the namespace's rules and its control group's programs */
	uint32_t judged;  /* the environment's number then */
	bool source_gone; /* the address that it is bound to is none of this host's any more */
	bool refused;	  /* only a row for `why`: no rings, no wake socket */
	bool removed;	  /* the workers have forgotten it */
	struct index_item item; /* while it is claimed */
	/* shared.c */
	TAILQ_ENTRY(sock) todo_link;
	enum sock_todo { TODO_NONE, TODO_SETTLE, TODO_FRESH } todo; /* which list it is in */
	uint64_t fresh_until_ns;
	uint64_t recent[2][UDPLANE_RECENT_COUNTER_CNT]; /* totals at recent_base[0] and [1] */
	bool recent_begun;
};

/* What a claim gives the client beside the numbers in struct udplane_claimed. */
struct sock_fds {
	int wake_fd;	/* the client's end of its wake socket; the caller closes it */
	int segment_fd; /* a new segment, or -1; not to be closed */
};

/* ---- shared.c: ports that several sockets share ---- */

struct shared {
	struct shared_port **port;	 /* [65536], by port_be as a number */
	TAILQ_HEAD(, shared_port) ports; /* those with sockets of ours that may have to share */
	uint32_t port_cnt;
	struct sock_list settle; /* what waits to be looked at */
	struct sock_list fresh;	 /* newcomers beside rivals, the oldest first */
	/* NETLINK_SOCK_DIAG: a long listing, one while a client waits, single questions */
	int scan_fd, first_fd, ask_fd;
	struct claim_scan scan, first;
	bool in_round;		   /* a listing of all of `ports` is under way */
	uint64_t began_ns, due_ns; /* of this or the last round, and of the next */
	uint64_t busy_ns;	   /* time that it has taken */
};

struct control {
	struct config *cfg;
	enum memzone_pages pages; /* as cfg->hugepages says */
	struct stats stats;
	struct memory_budget budget;
	struct memzone frames;
	struct device *dev; /* NULL: backend kernel */
	struct worker *worker[UDPLANE_MAX_WORKERS];
	struct watch worker_watch[UDPLANE_MAX_WORKERS];
	uint32_t worker_cnt,
		workers_wanted; /* wanted: before a device of fewer queues lowered it */
	uint32_t frame_size;
	struct claim_rules rules;
	struct shared shared;

	int epoll_fd;
	struct watch listen, signals, tick, work, routing_watch, routing_timer, keeper_watch,
		environment_watch;
	uint64_t work_ns; /* when `work` is due; UINT64_MAX: it is not */
	struct keeper keeper;
	int *discarded; /* descriptors that the keeper could not be given yet */
	uint32_t discarded_cnt, discarded_room;
	uint64_t serial;	   /* of the last session */
	struct log_quota lines;	   /* about clients */
	uint32_t lines_dropped;	   /* that were not written, */
	uint64_t lines_dropped_ns; /* since when */
	int lock_fd;		   /* flock on the socket path's lock file */
	struct route_netlink *nl;
	struct route_table *route;
	bool routing_dirty,
		addrs_changed; /* the next table is to be compared with the sockets' addresses */
	struct environment *environment;
	int cgroup_top;				/* of cgroup2; -1: there is none */
	uint32_t environment_number;		/* counts its changes */
	char excluded_logged[UDPLANE_TEXT_LEN]; /* the rule that was logged last */
	uint64_t routing_built_ns;

	struct session **session; /* [max_clients], by channel id */
	uint32_t observers;
	TAILQ_HEAD(, session) all;
	struct sock **sock;	 /* [max_sockets], by id */
	struct sock_index index; /* those that are claimed */
	/* [max_sockets]: stack of numbers not in use; what was used last is warm */
	uint32_t *id_free;
	uint32_t id_free_cnt;
	int wake_pair[2];    /* of the next claim; -1: not made yet */
	uint32_t check_next; /* socket number that sock_check goes on with */
	uint32_t judge_next; /* the same for sock_judge_some; UINT32_MAX: all have been judged */
	uint32_t ticks;
	struct stat annotations; /* of the file, when it was last read */
	/* [0]: what is published is since then; [1]: what will be, some seconds later */
	struct recent_point recent_base[2];
	struct evidence evidence;
	bool mute; /* the device sends nothing: no prefix is published */
	/* something delivers past the XDP program, and nothing can be done about it */
	bool bypassed;
	bool given_up; /* the device loses what it diverts: it is detached for good */
	bool ready;    /* without a device: could it be opened when last looked? */
	uint64_t began_ns;
	bool leaving, failed, restart; /* restart: with failed */
};

/* watch.c */
int watch_add(struct control *c, struct watch *w, uint32_t events);
void watch_remove(struct control *c, struct watch *w);
/* Has sessions closed and shared ports looked after (a bit at a time, by turns with everything
 * else) at that time or sooner; CLOCK_MONOTONIC, 0: now. */
void work_at(struct control *c, uint64_t ns);

/* table.c */
/* A number that no socket has, or -1. */
int sock_id_take(struct control *c);
void sock_id_put(struct control *c, uint32_t id);
/* Puts k at its number, k->id. */
void sock_insert(struct control *c, struct sock *k);
/* The socket of that number if it is one of s, or NULL. */
struct sock *sock_find(const struct control *c, const struct session *s, uint32_t id);
/* The first socket from number *at on, or NULL; *at becomes the number after it. Rows of refused
 * claims are among them. */
struct sock *sock_next(const struct control *c, uint32_t *at);

/* backend.c */
/* Which backend, and why. 0; or -errno with the reason logged, if the one that was asked for cannot
 * be had. */
int backend_choose(struct control *c);
void backend_close(struct control *c);
/* The device is gone: ends the loop; again: run udplaned anew if it had lasted. */
void backend_lose(struct control *c, bool again);
/* Does the device ask to be opened from the start? */
void backend_check(struct control *c);

/* session_log.c */
void session_close_later(struct session *s, const char *why);
/* A line about what a client does: only so many a minute. */
void session_log(struct control *c, struct session *s, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* start.c */
int control_start(struct control *c);
void control_leave(struct control *c);
void control_free(struct control *c);

/* listen.c */
int listen_open(struct control *c, char *text, size_t text_len);
void listen_close(struct control *c);

/* request.c */
/* A client has sent something. */
void request_ready(struct control *c, struct watch *w, uint32_t events);
/* The keeper has done something. */
void request_replies(struct control *c, struct watch *w, uint32_t events);
void session_goodbye(struct control *c, struct session *s);

/* session.c */
void session_accept(struct control *c, struct watch *w, uint32_t events);
void session_close(struct control *c, struct session *s);
/* Closes sessions that are marked for it, until `end`. */
void session_reap(struct control *c, uint64_t end);
void session_tick(struct control *c);

/* keep.c */
void keep_stop(struct control *c);
/* Closes a descriptor that a client has to do with without being the one who pays for it. */
void fd_discard(struct control *c, int fd);
void fd_discard_tick(struct control *c);

/* channel.c: the channel of a session */
int channel_create(struct control *c, struct session *s, struct udplane_welcome *out, char *text,
		   size_t text_len);
void channel_destroy(struct control *c, struct session *s);

/* library.c: puts libudplane.so.0 into `dir`, "" for nowhere; a failure is logged */
void library_publish(const char *dir);

/* message.c: pure */
/* Is this a message that a client may send now? Returns its type; or 0 with text. fds: descriptors
 * that came with it. */
int message_check(const void *buf, size_t len, bool welcomed, bool observer, uint32_t fds,
		  char *text, size_t text_len);

/* rings.c */
void rings_init(struct ring_pool *p, struct memzone *channel, uint32_t used, uint32_t worker_cnt,
		uint32_t big);
void rings_free(struct ring_pool *p);
/* A part of that: one segment. None of its rings is in use, and no more are taken. False: there was
 * none left. */
bool rings_free_some(struct ring_pool *p);
/* 0; or -errno with text. *segment_fd: the descriptor of a segment made for it, or -1. The rings
 * are zeroed. */
int rings_get(struct ring_pool *p, enum memzone_pages pages, int node, struct ring_place *place,
	      uint32_t *cls, int *segment_fd, char *text, size_t text_len);
void rings_put(struct ring_pool *p, struct ring_place place, uint32_t cls);
/* Takes the last segment back, which the client has not been told of. Nothing of it is in use. */
void rings_unmake_segment(struct ring_pool *p);
/* Once a second: gives back the pages of segments that have been empty for a while. */
void rings_shrink(struct ring_pool *p);
/* A struct udplane_rx_ring. */
struct foreign rings_at(const struct ring_pool *p, struct ring_place place, uint32_t cls,
			uint32_t worker);

/* sock.c */
/* What a claim or an update of that client will want, and does not depend on what the keeper finds.
 */
void sock_prepare(struct control *c, struct session *s, bool claim);
/* No claim has come of it. */
void sock_unprepare(struct control *c);
/* Takes over the socket that the keeper has, whatever is decided. */
void sock_claim(struct control *c, struct session *s, const struct udplane_claim *m,
		const struct keeper_reply *found, struct udplane_claimed *out,
		struct sock_fds *fds);
/* Takes a claim back whose answer could not be sent; out becomes a refusal. */
void sock_unclaim(struct control *c, struct sock *k, struct sock_fds *fds, enum udplane_reason why,
		  const char *text, struct udplane_claimed *out);
/* Takes over what the keeper found. 0; or -errno with *d, and the socket is left to the kernel. */
int sock_update(struct control *c, struct sock *k, const struct keeper_reply *found,
		struct decision *d);
void sock_release(struct control *c, struct sock *k);
/* Releases some sockets of a session whose client has gone, with few calls to the workers. False:
 * there are none left. */
bool sock_release_some(struct control *c, struct session *s);
void sock_to_kernel(struct control *c, struct sock *k, enum udplane_reason why, const char *text);
/* May the socket that the keeper looked at be accelerated, and is its port asked for? */
enum udplane_reason sock_found(struct control *c, const struct keeper_reply *found,
			       struct decision *d);

/* check.c */
void sock_checked(struct control *c, struct sock *k, const struct keeper_reply *found);
void sock_check(struct control *c);
void sock_check_sources(struct control *c);
void sock_ports_changed(struct control *c);
/* Judges each socket again, by turns: there may be many thousands. */
void sock_environment_changed(struct control *c);
void sock_judge_some(struct control *c, uint64_t end);

/* shared.c */
int shared_open(struct control *c); /* 0 or -errno */
void shared_close(struct control *c);
/* k, claimed or with another address (k->claim), takes its place among the others, and its state. 0
 * or -ENOMEM. */
int shared_enter(struct control *c, struct sock *k);
/* k is claimed no more. lives: but its kernel socket stays, as one that does not use udplane. */
void shared_leave(struct control *c, struct sock *k, bool lives);
/* Has its state looked at anew, soon. */
void shared_mark(struct control *c, struct sock *k);
/* Does what there is to do, until `end`. */
void shared_work(struct control *c, uint64_t end);

/* slow.c */
void slow_events(struct control *c, struct watch *w, uint32_t events);
/* Takes the events that the worker has put there until now. */
void slow_drain(struct control *c, uint32_t worker);

/* routing.c */
/* Builds a table of what netlink has told, without what the environment excludes, and hands it to
 * the workers, the device and the clients, which look at their destinations again. 0 or -ENOMEM:
 * the old one stays, and it is tried again. *judged: sockets are to be judged again. */
int routing_install(struct control *c, bool *judged);
/* Is it long enough ago? */
bool routing_install_due(const struct control *c);
void routing_install_later(struct control *c);
void routing_stop(struct control *c);
void routing_refresh_used(struct control *c);
/* The destinations that the library may give to the workers: none while the device sends nothing.
 */
void routing_publish(struct control *c);

/* environment.c: routes and addresses, rules and programs that concern datagrams */
int control_environment_start(struct control *c, char *text, size_t text_len);
void control_environment_stop(struct control *c);
void control_environment_tick(struct control *c);

/* judge.c */
/* The programs of a client's control group: before its sockets are judged. */
void session_read_programs(struct control *c, struct session *s);
/* Fills k->verdict, unless nothing has changed since; fresh: its addresses have. */
void sock_judge(struct control *c, struct sock *k, bool fresh);

/* divert.c */
/* The same order to every worker. 0, or the first error. */
int workers_call(struct control *c, struct worker_order *o);
/* What the workers send for a socket by. */
void sock_source(const struct sock *k, struct worker_source *src);
/* The device stops diverting to it. */
void filters_remove(struct control *c, const struct claim *cl);
/* Has k's datagrams left to the kernel. drain: the socket lives on, so what was diverted before is
 * to be delivered. */
void divert_stop(struct control *c, struct sock *k, bool drain);
/* Diverts its port or stops it, as decided, and publishes the reason. */
void sock_apply_rx(struct control *c, struct sock *k, const struct decision *d);
/* Tells the library and the workers whether k sends by the kernel alone. */
void sock_apply_tx(struct control *c, struct sock *k);

/* refresh.c */
void refresh_counters(struct control *c);
void refresh_socket(struct control *c, const struct sock *k, uint32_t reason, const char *text);

/* recent.c */
/* What each path has carried in the last seconds, into the stats zone; after the counters. */
void recent_publish(struct control *c);
/* Once a second: the window moves on. */
void recent_move(struct control *c);
/* It begins now: what was before is of another device mode. */
void recent_restart(struct control *c);

/* health.c */
/* Once a second: is the device as it was, does it do what it says? Mends what can be mended, says
 * the rest. */
void health_look(struct control *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control thread knows: the daemon, its sessions and their sockets.
 *
 * One thread: no field here is touched by another, except for what workers own according to
 * worker.h.
 */
#ifndef SIDECAR_CONTROL_STATE_H
#define SIDECAR_CONTROL_STATE_H

#include "sidecar/base/log.h"
#include "sidecar/claim/claim.h"
#include "sidecar/config/config.h"
#include "sidecar/control/decide.h"
#include "sidecar/control/evidence.h"
#include "sidecar/control/index.h"
#include "sidecar/control/rings.h"
#include "sidecar/device/device.h"
#include "sidecar/environment/environment.h"
#include "sidecar/keeper/keeper.h"
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

#define CONTROL_TX_SLOTS 512 /* of a lane: 1 MiB of payload, sixteen bursts */
#define CONTROL_REFUSED	 32  /* refused claims per client that `why` can show */

struct control;

/* What an epoll event is for: first member of everything that is watched. */
struct watch {
	int fd;
	void (*ready)(struct control *c, struct watch *w, uint32_t events);
	/* Served after the others, within TURN_NS per turn: requests of attached clients, each of
	 * which may take milliseconds. */
	bool patient;
};

/* ---- session.c: an attached process ---- */

TAILQ_HEAD(sock_list, sock);

struct session {
	struct watch watch;
	TAILQ_ENTRY(session) link;
	int pid;
	char comm[16];
	bool welcomed;	/* it has sent HELLO, and was answered */
	uint16_t minor; /* version of its ABI */
	bool observer;	/* it has not attached */
	bool attached;	/* it has the slot `id` of control.session */
	/* Keeper and workers know the session by this number, which is never used again. */
	uint64_t serial;
	bool known; /* to the keeper */
	struct {
		enum keeper_op op; /* 0 if nothing is pending */
		uint32_t ticks;	   /* seconds since the request */
		uint32_t seq;	   /* of the client's message */
		uint32_t sock;	   /* number of the socket, for KEEPER_VERIFY and KEEPER_MEMBER */
		bool elsewhere;	   /* KEEPER_MEMBER: the client says UDPLANE_MEMBER_ELSEWHERE */
		bool refused;	   /* KEEPER_BARRIER: `refusal` answers a CLAIM */
	} asked;		   /* a request to the keeper that the client waits for */
	struct udplane_claimed refusal;
	uint32_t idle_ticks; /* of an observer: seconds since its last HELLO */
	uint32_t id;	     /* channel id: index in control.session */
	struct memzone channel;
	uint64_t memory; /* bytes of channel, segments and kernel memory that count for it */
	struct worker_lane lane[UDPLANE_MAX_WORKERS];
	int doorbell[UDPLANE_MAX_WORKERS];
	struct ring_pool rings;
	struct sock_list socks;
	struct sock_list refused; /* rows for `why`: CONTROL_REFUSED at most */
	bool closing;	/* it is closed as soon as the loop has served the current events */
	bool releasing; /* closing, not watched any more, and its sockets are being released */
	bool flushed;	/* releasing, and what it had queued to send is sent or given up */
	char close_reason[UDPLANE_TEXT_LEN]; /* for the log; nothing is logged if it is empty */
	struct log_quota lines;		     /* lines in the log about it */
	int cgroup_fd;			     /* its control group, or one of the next */
#define SESSION_CGROUP_UNKNOWN (-1)
#define SESSION_CGROUP_NONE    (-2)
	uint32_t programs;	 /* BPF programs that are effective there: JUDGE_SEND4 ... */
	struct capture *capture; /* of an observer; NULL unless it captures */
};

/* ---- capture.c: copies of datagrams for an observer ---- */

struct capture {
	struct memzone zone;
	struct worker_capture ring[UDPLANE_MAX_WORKERS];
};

/* ---- recent.c: the last seconds ---- */

/* Counters at one time. Their growth since then is published. */
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
	int fd;			 /* the keeper's number of the kernel socket; -1 if released */
	bool checking;		 /* the keeper has been asked to verify it again */
	uint32_t checking_since; /* control.ticks at that time */
	uint32_t kernel_drops;	 /* datagrams that the kernel socket had no room for, last seen */
	int wake_fd;		 /* our end of its wake socket */
	struct claim claim;
	enum udplane_socket_state state;
	struct ring_place place;
	uint32_t cls; /* ring class */
	/* what the rules of the namespace and the programs of its control group leave to it */
	struct judge_verdict verdict;
	uint32_t judged;  /* control.environment_number at that time */
	bool source_gone; /* the address that it is bound to is not one of this host any more */
	bool refused;	  /* only a row for `why`, without rings and wake socket */
	bool removed;	  /* from the workers */
	/* groups that it has joined, or of which nothing certain is known */
	struct claim_member *member;
	uint32_t member_cnt;
	bool members_lost;	/* it has joined more than are kept */
	struct index_item item; /* while it is claimed */
	bool sharing;		/* diverted as one of several that share its key */
	/* shared.c */
	TAILQ_ENTRY(sock) todo_link;
	enum sock_todo { TODO_NONE, TODO_SETTLE, TODO_FRESH } todo; /* which list it is in */
	uint64_t fresh_until_ns;
	uint64_t recent[2][UDPLANE_RECENT_COUNTER_CNT]; /* totals at recent_base[0] and [1] */
	bool recent_begun;
};

/* The descriptors that go with the answer to a claim. */
struct sock_fds {
	int wake_fd;	/* the client's end of its wake socket, or -1; the caller closes it */
	int segment_fd; /* a new segment, or -1; stays open */
};

/* ---- shared.c: ports that several sockets share ---- */

struct shared {
	struct shared_port **port;	 /* [65536], by port_be as a number */
	TAILQ_HEAD(, shared_port) ports; /* those with claimed sockets that may have to share */
	uint32_t port_cnt;
	struct sock_list settle; /* sockets to be decided about again */
	struct sock_list fresh;	 /* new sockets beside rivals, the oldest first */
	/* NETLINK_SOCK_DIAG: for the listing in turns, for one while a client waits, and for
	 * single questions */
	struct claim_diag scan_diag, first_diag, ask_diag;
	struct claim_scan scan, first;
	bool in_round;	   /* a listing of all of `ports` is under way */
	uint64_t began_ns; /* start of this round, or of the last one */
	uint64_t due_ns;   /* start of the next one */
	uint64_t busy_ns;  /* time of this thread that the round has taken */
};

/* ---- mcast.c: multicast groups that claimed sockets have joined ---- */

#define MCAST_BROADCASTS 16

/* A multicast group or a broadcast address. */
struct mcast_group {
	TAILQ_ENTRY(mcast_group) link;
	struct worker_mcast set; /* the group and port; if active, what the workers know */
	bool active;		 /* diverted */
	bool again;		 /* to be decided about again */
	struct decision d;	 /* why it is not diverted */
};

struct mcast {
	TAILQ_HEAD(, mcast_group) groups;
	uint32_t cnt;
	uint16_t *on_port;	   /* [65536], by port_be as a number: groups */
	bool forwards4, forwards6; /* the kernel routes multicast that comes by the device */
	bool forwards_broadcast;   /* the kernel routes broadcast (bc_forwarding) */
	uint32_t broadcast_be[MCAST_BROADCASTS]; /* addresses of the device's networks */
	uint32_t broadcast_cnt;
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
	uint32_t worker_cnt;	 /* workers that run */
	uint32_t workers_wanted; /* as configured; cfg->workers may be less, for want of queues */
	uint32_t frame_size;
	struct claim_rules rules;
	struct shared shared;
	struct mcast mcast;

	int epoll_fd;
	struct watch listen, signals, tick, work, routing_watch, routing_timer, keeper_watch,
		environment_watch;
	uint64_t work_ns; /* when `work` is due; UINT64_MAX if it is not */
	struct keeper keeper;
	int *discarded; /* descriptors that the keeper could not be given yet */
	uint32_t discarded_cnt, discarded_room;
	uint64_t serial;	   /* of the last session */
	struct log_quota lines;	   /* lines in the log about all clients */
	uint32_t lines_dropped;	   /* lines that were not written, since the last one that was */
	uint64_t lines_dropped_ns; /* time of the first of them */
	int lock_fd;		   /* holds the flock of the lock file beside the socket */
	struct route_netlink *nl;
	struct route_table *route;
	bool routing_dirty; /* netlink has told something that the table does not have */
	bool addrs_changed; /* compare the next table with the sockets' addresses */
	struct environment *environment;
	int cgroup_top;				/* the top of cgroup2; -1 if there is none */
	uint32_t environment_number;		/* counts the changes of rules and programs */
	char excluded_logged[UDPLANE_TEXT_LEN]; /* the rule that was logged last */
	/* peers that are excluded now: IPv4, then IPv6 */
	struct rules_prefix excluded[RULES_PREFIXES];
	uint32_t excluded_cnt;
	/* sockets are not yet judged by the rules of now, so what the former ones exclude stays */
	bool excluded_held;
	uint64_t routing_built_ns;

	struct session **session; /* [max_clients], by channel id */
	uint32_t observers;	  /* sessions that have not attached, and do not capture */
	uint32_t captures;	  /* sessions that capture */
	TAILQ_HEAD(, session) all;
	struct sock **sock;	 /* [max_sockets], by id */
	struct sock_index index; /* those that are claimed */
	/* [max_sockets]: a stack of numbers not in use. The one used last is in the cache. */
	uint32_t *id_free;
	uint32_t id_free_cnt;
	int wake_pair[2];	 /* wake socket of the next claim; -1 if not made yet */
	uint32_t check_next;	 /* socket number that sock_check() continues with */
	uint32_t judge_next;	 /* the same for sock_judge_some(); UINT32_MAX if it is done */
	uint32_t ticks;		 /* seconds since the start */
	uint32_t *beat;		 /* of control_run() */
	struct config_cpus cpus; /* that workers are pinned to; none if empty */
	struct stat annotations; /* of the file, when it was last read */
	/* [0] is the base of what is published now, [1] of what is published some seconds later */
	struct recent_point recent_base[2];
	struct evidence evidence;
	bool tx_stuck; /* the device sends nothing, so no prefix is published */
	bool bypassed; /* datagrams are delivered past the XDP program, and that cannot be helped */
	bool given_up; /* the device loses what it diverts, and is detached for good */
	bool ready;    /* without a device: one could have been opened at the last look */
	uint64_t began_ns;
	bool leaving; /* stop, by a signal */
	bool failed;  /* stop, for a fault */
	bool restart; /* failed, and udplaned is to be started again in place */
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to and from udplaned on the control socket. All under the control lock, but for
 * control_distrust(). */
#ifndef UDPLANE_CLIENT_CONTROL_H
#define UDPLANE_CLIENT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <udplane/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The control socket. Under the control lock, but for what is atomic. */
struct control {
	int fd;
	uint32_t seq;	 /* of the last request */
	uint32_t attn;	 /* atomic: it has something to read, or something is wrong */
	uint32_t broken; /* atomic: a ring has impossible contents */
	bool goodbye;	 /* udplaned sent GOODBYE */
	bool failed;	 /* udplaned broke the protocol, or did not answer */
	bool silent;	 /* udplaned did not answer; its worker may be alive */
};

#define CONTROL_MAX_FDS (3 + UDPLANE_MAX_WORKERS)

struct control_answer {
	union {
		struct udplane_msg msg;
		struct udplane_welcome welcome;
		struct udplane_claimed claimed;
		struct udplane_done done;
		uint8_t bytes[UDPLANE_MSG_MAX];
	} u;
	int fd[CONTROL_MAX_FDS];
	uint32_t fd_cnt;
	bool fds_cut; /* descriptors were lost: this process has reached its limit */
};

/* Reports that udplaned misbehaves: the next call detaches from it. Any thread. */
static inline void control_distrust(struct control *c)
{
	__atomic_store_n(&c->broken, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->attn, 1, __ATOMIC_RELAXED);
}
/* Sends req, of len bytes, with the descriptor send_fd (-1: none). Sets req's msg.seq and
 * msg.len. Returns 0 or -errno. */
int control_send(struct control *c, void *req, size_t len, int send_fd);
/* Waits until deadline_ns for the answer to the last request, of the given type and at least
 * min_len bytes. Returns 0; -ETIMEDOUT, after which it may be waited for again; or another
 * -errno if the connection is no longer usable. On 0 the caller owns the descriptors in ans. */
int control_wait(struct control *c, uint16_t type, size_t min_len, uint64_t deadline_ns,
		 struct control_answer *ans);
/* Both, with CONTROL_DEADLINE_NS. Returns 0; or -errno, after which the connection is no longer
 * usable (except -ETOOMANYREFS: too many descriptors in flight). */
int control_request(struct control *c, void *req, size_t len, int send_fd, uint16_t type,
		    size_t min_len, struct control_answer *ans);
void control_close_fds(struct control_answer *ans);
/* Reads messages that came without a request. Returns true if udplaned has said goodbye or is
 * dead. */
bool control_dead(struct control *c);

#ifdef __cplusplus
}
#endif

#endif

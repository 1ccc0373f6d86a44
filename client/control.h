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
	uint32_t attn;	 /* atomic: it has news, or something is wrong */
	uint32_t broken; /* atomic: a ring holds what cannot be */
	bool goodbye;	 /* udplaned took leave */
	bool failed;	 /* it broke the protocol, or did not answer */
	bool silent;	 /* it did not answer: its worker may be alive */
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
	bool fds_cut; /* descriptors were lost: our limit is reached */
};

/* Something is wrong: udplaned will be taken for dead. Any thread. */
static inline void control_distrust(struct control *c)
{
	__atomic_store_n(&c->broken, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->attn, 1, __ATOMIC_RELAXED);
}
/* Sends req (its msg.seq and len are set here) with send_fd (or -1). 0 or -errno. */
int control_send(struct control *c, void *req, size_t len, int send_fd);
/* Waits for the answer to the last request, until deadline_ns. 0; -ETIMEDOUT: it may be asked for
 * again; another -errno: the connection is no longer usable. */
int control_wait(struct control *c, uint16_t type, size_t min_len, uint64_t deadline_ns,
		 struct control_answer *ans);
/* Both. Sends req (its msg.seq and len are set here) with send_fd (or -1) and waits for the answer
 * of the given type and at least min_len bytes. 0; or -errno, and the connection is no longer
 * usable. */
int control_request(struct control *c, void *req, size_t len, int send_fd, uint16_t type,
		    size_t min_len, struct control_answer *ans);
void control_close_fds(struct control_answer *ans);
/* Reads what came unasked. True: udplaned has left or is dead. */
bool control_dead(struct control *c);

#ifdef __cplusplus
}
#endif

#endif

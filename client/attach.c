/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching to udplaned: connect, HELLO, WELCOME, mappings. Under the control lock. */
#include "client/attach.h"
#include "client/base.h"
#include "client/context.h"
#include "client/control.h"
#include "client/dir.h"
#include "client/own.h"
#include "client/raw.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <udplane/abi.h>
#include <udplane/clock.h>
#include <udplane/ring.h>
#include <unistd.h>

static int connect_to(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	memcpy(sun.sun_path, path, strnlen(path, sizeof(sun.sun_path) - 1));
	err = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) ? -errno : 0;
	dir_keep(!err);
	if (err)
		err = dir_connect(fd, err);
	if (err) {
		close(fd);
		return err;
	}
	fd = own_take(fd);
	return fd >= 0 ? fd : -EBADF;
}

/* --- mappings --- */

/* The whole file is mapped, because a mapping of huge pages can only be removed in whole pages. */
int zone_map(struct zone *z, int fd, uint64_t len, int prot, int flags)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size < len)
		return -EPROTO;
	p = mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED | flags, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	z->addr = p;
	z->len = (size_t)st.st_size;
	return 0;
}

static void zone_unmap(struct zone *z)
{
	if (z->addr)
		munmap(z->addr, z->len);
	z->addr = NULL;
}

void attach_close_fds(struct attach *a)
{
	own_close(&a->control.fd);
	for (uint32_t i = 0; i < a->worker_cnt; i++)
		own_close(&a->lane[i].doorbell);
}

static void attach_destroy(struct attach *a)
{
	attach_close_fds(a);
	for (uint32_t i = 0; i < a->segment_cnt; i++)
		zone_unmap(&a->segment[i]);
	free(a->segment);
	free(a->by_id);
	zone_unmap(&a->channel);
	zone_unmap(&a->frames);
	zone_unmap(&a->stats_zone);
	free(a);
}

void attach_put_many(struct attach *a, uint32_t cnt)
{
	if (__atomic_sub_fetch(&a->refs, cnt, __ATOMIC_ACQ_REL) == 0)
		attach_destroy(a);
}

void attach_put(struct attach *a)
{
	attach_put_many(a, 1);
}

/* --- bounds --- */

static bool power_of_two(uint64_t n, uint64_t min, uint64_t max)
{
	return n >= min && n <= max && (n & (n - 1)) == 0;
}

/* Returns true if [off, off + len) lies within room and off is a multiple of 64. */
static bool inside(uint64_t off, uint64_t len, uint64_t room)
{
	return off % 64 == 0 && off <= room && len <= room - off;
}

static const char *check_stats(const struct udplane_stats_zone *z, uint64_t len)
{
	if (z->magic != UDPLANE_ABI_MAGIC)
		return "the stats zone has the wrong magic number";
	if (z->worker_cnt > UDPLANE_MAX_WORKERS ||
	    !inside(z->worker_off, (uint64_t)z->worker_cnt * sizeof(struct udplane_worker_zone),
		    len))
		return "the stats zone's workers lie outside of it";
	if (z->socket_len < sizeof(struct udplane_socket_zone) || z->socket_len % 8 ||
	    !inside(z->socket_off, (uint64_t)z->socket_max * z->socket_len, len))
		return "the stats zone's sockets lie outside of it";
	if (z->ports_off > len || len - z->ports_off < 8192)
		return "the stats zone's ports lie outside of it";
	return NULL;
}

static const char *check_lanes(const struct udplane_welcome *w)
{
	if (w->worker_cnt < 1 || w->worker_cnt > UDPLANE_MAX_WORKERS)
		return "the number of workers is out of range";
	if (!power_of_two(w->frame_size, 2048, 65536) ||
	    (uint64_t)w->frame_cnt * w->frame_size > w->frames_len || !w->frame_cnt)
		return "the frames do not fit their zone";
	if (w->lane_len % 64 ||
	    !inside(w->lane_off, (uint64_t)w->worker_cnt * w->lane_len, w->channel_len))
		return "the lanes do not fit the channel";
	if (!power_of_two(w->tx_slot_cnt, 2, 1 << 20) ||
	    !inside(w->tx_ring_off,
		    sizeof(struct udplane_tx_ring) +
			    (uint64_t)w->tx_slot_cnt * sizeof(struct udplane_tx_desc),
		    w->lane_len))
		return "the TX ring does not fit the lane";
	if (!power_of_two(w->tx_slot_size, 2048, 65536) ||
	    !inside(w->tx_payload_off, (uint64_t)w->tx_slot_cnt * w->tx_slot_size, w->lane_len))
		return "the payload slots do not fit the lane";
	if (!power_of_two(w->return_cnt, 2, 1 << 30) ||
	    !inside(w->return_off,
		    sizeof(struct udplane_return_ring) + (uint64_t)w->return_cnt * sizeof(uint32_t),
		    w->lane_len))
		return "the return ring does not fit the lane";
	return NULL;
}

/* Behind the payload slots; 0 if it does not fit. */
static uint32_t ready_off(const struct udplane_welcome *w, uint32_t socket_max)
{
	uint64_t off = ((uint64_t)w->tx_payload_off + (uint64_t)w->tx_slot_cnt * w->tx_slot_size +
			UDPLANE_LINE - 1) /
		       UDPLANE_LINE * UDPLANE_LINE;
	uint64_t len =
		sizeof(struct udplane_ready) + ((uint64_t)socket_max + 63) / 64 * sizeof(uint64_t);

	return inside(off, len, w->lane_len) ? (uint32_t)off : 0;
}

/* --- lanes --- */

static void lane_init(struct attach *a, const struct udplane_welcome *w, uint32_t i, int doorbell)
{
	uint8_t *base = a->channel.addr + w->lane_off + (size_t)i * w->lane_len;
	struct udplane_tx_ring *tx = (void *)(base + w->tx_ring_off);
	struct udplane_return_ring *ret = (void *)(base + w->return_off);
	struct lane *l = &a->lane[i];

	udplane_ring_init(&l->tx, &tx->head, w->tx_slot_cnt, udplane_word_load(&tx->head.prod_idx));
	udplane_ring_init(&l->ret, &ret->head, w->return_cnt,
			  udplane_word_load(&ret->head.prod_idx));
	l->desc = tx->desc;
	l->payload = base + w->tx_payload_off;
	l->frame = ret->frame;
	if (a->by_id)
		l->ready = (void *)(base + ready_off(w, a->socket_max));
	l->doorbell = doorbell;
	l->prefixes.seq = 1;
	l->zone = (const void *)(a->stats_zone.addr + a->stats->worker_off +
				 i * sizeof(struct udplane_worker_zone));
}

/* Maps the zones of WELCOME. Takes the descriptors that are kept out of ans. */
static int attach_map_zones(struct attach *a, struct control_answer *ans, const char **text)
{
	const struct udplane_welcome *w = &ans->u.welcome;
	uint32_t want = w->backend == UDPLANE_BACKEND_KERNEL ? 1 : 3 + w->worker_cnt;
	int err;

	*text = "WELCOME has the wrong number of descriptors";
	if (ans->fd_cnt != want)
		return ans->fds_cut ? -EMFILE : -EPROTO;
	*text = "cannot map the stats zone";
	if (w->stats_len < UDPLANE_STATS_LEN_MIN)
		return -EPROTO;
	err = zone_map(&a->stats_zone, ans->fd[0], w->stats_len, PROT_READ, 0);
	if (err)
		return err;
	a->stats = (const void *)a->stats_zone.addr;
	*text = check_stats(a->stats, w->stats_len);
	if (*text)
		return -EPROTO;
	if (w->backend == UDPLANE_BACKEND_KERNEL)
		return 0;
	*text = check_lanes(w);
	if (!*text && a->stats->worker_cnt < w->worker_cnt)
		*text = "the stats zone has fewer workers than WELCOME says";
	if (*text)
		return -EPROTO;
	*text = "cannot map the frames zone";
	err = zone_map(&a->frames, ans->fd[1], w->frames_len, PROT_READ, MAP_POPULATE);
	if (err)
		return err;
	*text = "cannot map the channel";
	err = zone_map(&a->channel, ans->fd[2], w->channel_len, PROT_READ | PROT_WRITE,
		       MAP_POPULATE);
	if (err)
		return err;
	a->socket_max = a->stats->socket_max;
	if (w->minor >= 3 && ready_off(w, a->socket_max))
		a->by_id = calloc(a->socket_max, sizeof(struct sock *));
	for (uint32_t i = 0; i < w->worker_cnt; i++) {
		lane_init(a, w, i, own_take(ans->fd[3 + i]));
		ans->fd[3 + i] = -1;
	}
	return 0;
}

static struct attach *attach_alloc(const struct udplane_welcome *w, const struct control *c)
{
	uint32_t lanes = w->backend == UDPLANE_BACKEND_KERNEL || w->worker_cnt > UDPLANE_MAX_WORKERS
				 ? 0
				 : w->worker_cnt;
	size_t len = (sizeof(struct attach) + lanes * sizeof(struct lane) + UDPLANE_LINE - 1) /
		     UDPLANE_LINE * UDPLANE_LINE;
	struct attach *a = aligned_alloc(UDPLANE_LINE, len);

	if (!a)
		return NULL;
	memset(a, 0, len);
	a->refs = 1;
	a->live = 1;
	a->control = *c;
	a->backend = w->backend;
	a->mode = w->mode;
	a->minor = w->minor;
	a->worker_cnt = lanes;
	a->frame_cnt = w->frame_cnt;
	a->frame_size = w->frame_size;
	a->frame_shift = w->frame_size ? (uint32_t)__builtin_ctz(w->frame_size) : 0;
	a->tx_slot_size = w->tx_slot_size;
	a->tx_slot_shift = w->tx_slot_size ? (uint32_t)__builtin_ctz(w->tx_slot_size) : 0;
	for (uint32_t i = 0; i < lanes; i++)
		a->lane[i].doorbell = -1;
	memcpy(a->text, w->text, sizeof(a->text));
	return a;
}

static uint32_t reason_of(int err)
{
	switch (err) {
	case -EMFILE:
	case -ENFILE: return UDPLANE_REASON_DESCRIPTORS;
	case -ENOMEM: return UDPLANE_REASON_NO_MEMORY;
	case -EPROTO: return UDPLANE_REASON_BAD_MESSAGE;
	default: return UDPLANE_REASON_MEMORY_MAP;
	}
}

/* Returns the attachment for the WELCOME in ans, or NULL with the reason set. Owns the
 * connection in either case. */
static struct attach *welcome(struct control_answer *ans, const struct control *c)
{
	struct udplane_welcome *w = &ans->u.welcome;
	const char *text = "no memory";
	struct attach *a = NULL;
	int err = -ENOMEM;

	if (w->magic != UDPLANE_ABI_MAGIC || w->major != UDPLANE_ABI_MAJOR ||
	    w->status == -EPROTONOSUPPORT) {
		context_set_reason(UDPLANE_REASON_VERSION, "library speaks ABI %d, udplaned %d%s%s",
				   UDPLANE_ABI_MAJOR, w->major, w->text[0] ? ": " : "", w->text);
		close(c->fd);
		return NULL;
	}
	if (w->status) {
		context_set_reason(
			w->status == -ESHUTDOWN			       ? UDPLANE_REASON_LEAVING
			: w->status == -EDQUOT || w->status == -ENOMEM ? UDPLANE_REASON_NO_MEMORY
								       : UDPLANE_REASON_TOO_MANY,
			"udplaned refuses: %s", w->text[0] ? w->text : strerror(-w->status));
		close(c->fd);
		return NULL;
	}
	a = attach_alloc(w, c);
	if (a)
		err = attach_map_zones(a, ans, &text);
	else
		close(c->fd);
	if (!err)
		return a;
	if (a)
		attach_destroy(a);
	context_set_reason(reason_of(err), err == -EPROTO ? "%s" : "%s: %s", text, strerror(-err));
	return NULL;
}

/* Connects and sends HELLO. Returns 0, or -errno with the reason set. */
static int hello_send(void)
{
	struct udplane_hello hello = {.msg.type = UDPLANE_MSG_HELLO,
				      .magic = UDPLANE_ABI_MAGIC,
				      .major = UDPLANE_ABI_MAJOR,
				      .minor = UDPLANE_ABI_MINOR};
	struct control talk = {.fd = connect_to(context.path)};
	int err;

	snprintf(hello.comm, sizeof(hello.comm), "%s", program_invocation_short_name);
	if (talk.fd < 0) {
		context_set_reason(UDPLANE_REASON_NO_SIDECAR, "%s: %s", context.path,
				   strerror(-talk.fd));
		return talk.fd;
	}
	err = control_send(&talk, &hello, sizeof(hello), -1);
	if (err) {
		context_set_reason(UDPLANE_REASON_NO_SIDECAR, "%s: HELLO cannot be sent: %s",
				   context.path, strerror(-err));
		close(talk.fd);
		return err;
	}
	context.hello = talk;
	context.hello_ns = clock_now_ns();
	return 0;
}

void hello_forget(void)
{
	if (context.hello_ns)
		own_close(&context.hello.fd);
	context.hello_ns = 0;
}

/* Returns the attachment if the answer comes before deadline_ns. While udplaned does not run the
 * connection is kept, which costs nothing: each time that an attach is due, the answer is looked
 * for. */
static struct attach *hello_wait(uint64_t deadline_ns)
{
	struct control_answer ans;
	struct attach *a;
	int err = control_wait(&context.hello, UDPLANE_MSG_WELCOME, sizeof(struct udplane_welcome),
			       deadline_ns, &ans);

	if (err == -ETIMEDOUT && clock_now_ns() - context.hello_ns < HELLO_PATIENCE_NS) {
		context_set_reason(
			UDPLANE_REASON_NO_SIDECAR,
			"%s: udplaned does not answer: it is stopped, frozen or overloaded",
			context.path);
		return NULL;
	}
	if (err) {
		context_set_reason(err == -EPROTO ? UDPLANE_REASON_BAD_MESSAGE
						  : UDPLANE_REASON_NO_SIDECAR,
				   "%s: invalid answer to HELLO: %s", context.path, strerror(-err));
		hello_forget();
		return NULL;
	}
	a = welcome(&ans, &context.hello); /* owns the connection */
	context.hello_ns = 0;
	control_close_fds(&ans);
	return a;
}

static struct attach *attach_once(void)
{
	if (context.hello_ns)
		return hello_wait(0);
	return hello_send() ? NULL : hello_wait(clock_now_ns() + HELLO_DEADLINE_NS);
}

void attach_try(void)
{
	uint64_t now = clock_now_ns();

	if (context.disabled || now < context.next_attach_ns)
		return;
	context.att = attach_once();
	if (!context.att) {
		uint64_t wait =
			context.attach_wait_ns ? 2 * context.attach_wait_ns : ATTACH_RETRY_NS;

		context.attach_wait_ns = wait < ATTACH_RETRY_MAX_NS ? wait : ATTACH_RETRY_MAX_NS;
		context.next_attach_ns = clock_now_ns() + context.attach_wait_ns;
		return;
	}
	context.attach_wait_ns = 0;
	context_log(1, "attached to %s: backend %u, %u workers", context.path, context.att->backend,
		    context.att->worker_cnt);
	if (context.att->backend == UDPLANE_BACKEND_KERNEL)
		context_set_reason(UDPLANE_REASON_BACKEND_KERNEL, "%s", context.att->text);
	else
		context_set_reason(UDPLANE_REASON_NONE, "%s", "");
}

/* --- watching --- */

void attach_look(struct attach *a, uint64_t now)
{
	uint64_t last = __atomic_load_n(&a->checked_ns, __ATOMIC_RELAXED);

	if (now - last < DEATH_CHECK_NS && last)
		return;
	__atomic_store_n(&a->checked_ns, now, __ATOMIC_RELAXED);
	/* The message may be an answer that another thread waits for. That costs one needless
	 * check under the control lock. */
	if (!own_is(a->control.fd) || raw_poll(a->control.fd, POLLIN))
		__atomic_store_n(&a->control.attn, 1, __ATOMIC_RELAXED);
}

bool attach_awake(const struct attach *a)
{
	for (uint32_t i = 0; i < a->worker_cnt; i++)
		if (udplane_load32(&a->lane[i].zone->awake))
			return true;
	return false;
}

bool attach_engaged(const struct attach *a)
{
	for (uint32_t i = 0; i < a->worker_cnt; i++)
		if (!udplane_load32(&a->lane[i].zone->engaged))
			return false;
	return true;
}

/* --- doorbells --- */

bool lane_ring_doorbell(struct attach *a, struct lane *l)
{
	if (own_is(l->doorbell))
		return raw_write(l->doorbell, &(uint64_t){1}, 8) == 8;
	control_distrust(
		&a->control); /* the program has closed it; a new attachment brings another */
	return false;
}

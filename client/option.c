/* SPDX-License-Identifier: Apache-2.0 */
/* Socket options. The kernel always gets them; this file decides what happens to the fast path.
 * If the option is known to be harmless, or has no effect with the value given, or asks for
 * control messages that cmsg.c writes, it stays. If it changes who may receive or send, or what
 * udplaned notes of a datagram, udplaned verifies the socket again. With any other option, known or
 * not, the socket takes the kernel path for good, where the option works. The table for users is
 * docs/options.md. */
#include "client/option.h"
#include "client/base.h"
#include "client/claim.h"
#include "client/cmsg.h"
#include "client/context.h"
#include "client/lend.h"
#include "client/life.h"
#include "client/lock.h"
#include "client/member.h"
#include "client/public.h"
#include "client/ready.h"
#include "client/send_option.h"
#include "client/sock.h"
#include "client/table.h"
#include <asm/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/in6.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <udplane/abi.h>

/* The C library's headers clash with some of the kernel's, and are older than others. */
#ifndef IP_RECVERR_RFC4884
#define IP_RECVERR_RFC4884 26
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#ifndef IPV6_RECVORIGDSTADDR
#define IPV6_RECVORIGDSTADDR 74
#endif
#ifndef IPV6_RECVFRAGSIZE
#define IPV6_RECVFRAGSIZE 77
#endif
#ifndef UDP_CORK
#define UDP_CORK	 1
#define UDP_ENCAP	 100
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#define UDP_SEGMENT	 103
#define UDP_GRO		 104
#endif

enum effect {
	OPTION_HONOUR, /* the datagrams of the fast path are sent as it says: send_option.c */
	OPTION_KEEP,   /* honoured, or without effect on UDP */
	OPTION_VALUE,  /* harmless with the one value in the table */
	OPTION_SEND,   /* the same, else it sends by the kernel path, and receives as before */
	OPTION_VERIFY, /* udplaned must verify the socket again */
	OPTION_FILTER, /* kernel path, with reason FILTER */
	OPTION_CMSG,   /* asks for control messages that cmsg.c writes */
	/* so does this one, of what udplaned notes of a datagram; with 0, the value in the table,
	 * or OPTION_ANY */
	OPTION_STAMP,
	OPTION_MEMBER, /* who receives a multicast group */
};

#define OPTION_ANY INT32_MAX
/* for OPTION_SEND: an empty one, or none; a header whose first bytes are 0 is a header */
#define OPTION_EMPTY (INT32_MIN + 1)
#define RX_STAMPS    (SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE)

struct option {
	int level, name;
	enum effect effect;
	int value;
	const char *text;
};

/* The value is 0 if it is not given. */
#define OPTION(effect, level, name, ...)                             \
	{                                                            \
		level, name, OPTION_##effect, __VA_ARGS__ + 0, #name \
	}

static const struct option options[] = {
	/* the ring does not depend on buffer sizes; timeouts are handled below */
	OPTION(KEEP, SOL_SOCKET, SO_RCVBUF),
	OPTION(KEEP, SOL_SOCKET, SO_SNDBUF),
	OPTION(KEEP, SOL_SOCKET, SO_RCVBUFFORCE),
	OPTION(KEEP, SOL_SOCKET, SO_SNDBUFFORCE),
	OPTION(KEEP, SOL_SOCKET, SO_RCVTIMEO_OLD),
	OPTION(KEEP, SOL_SOCKET, SO_SNDTIMEO_OLD),
	OPTION(KEEP, SOL_SOCKET, SO_RCVTIMEO_NEW),
	OPTION(KEEP, SOL_SOCKET, SO_SNDTIMEO_NEW),
	/* what is sent to all or to groups takes the kernel path anyway; udplaned looks at
	 * memberships, and at who wants broadcast */
	OPTION(VERIFY, SOL_SOCKET, SO_BROADCAST),
	OPTION(KEEP, IPPROTO_IP, IP_MULTICAST_TTL),
	OPTION(KEEP, IPPROTO_IP, IP_MULTICAST_LOOP),
	OPTION(KEEP, IPPROTO_IP, IP_MULTICAST_IF),
	OPTION(VERIFY, IPPROTO_IP, IP_MULTICAST_ALL),
	OPTION(MEMBER, IPPROTO_IP, IP_ADD_MEMBERSHIP),
	OPTION(MEMBER, IPPROTO_IP, IP_DROP_MEMBERSHIP),
	OPTION(MEMBER, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP),
	OPTION(MEMBER, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP),
	OPTION(MEMBER, IPPROTO_IP, IP_BLOCK_SOURCE),
	OPTION(MEMBER, IPPROTO_IP, IP_UNBLOCK_SOURCE),
	OPTION(MEMBER, IPPROTO_IP, IP_MSFILTER),
	OPTION(MEMBER, IPPROTO_IP, MCAST_JOIN_GROUP),
	OPTION(MEMBER, IPPROTO_IP, MCAST_LEAVE_GROUP),
	OPTION(MEMBER, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP),
	OPTION(MEMBER, IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP),
	OPTION(MEMBER, IPPROTO_IP, MCAST_BLOCK_SOURCE),
	OPTION(MEMBER, IPPROTO_IP, MCAST_UNBLOCK_SOURCE),
	OPTION(MEMBER, IPPROTO_IP, MCAST_MSFILTER),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_MULTICAST_IF),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_MULTICAST_HOPS),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_MULTICAST_LOOP),
	OPTION(VERIFY, IPPROTO_IPV6, IPV6_MULTICAST_ALL),
	OPTION(MEMBER, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP),
	OPTION(MEMBER, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP),
	OPTION(MEMBER, IPPROTO_IPV6, MCAST_JOIN_GROUP),
	OPTION(MEMBER, IPPROTO_IPV6, MCAST_LEAVE_GROUP),
	OPTION(MEMBER, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP),
	OPTION(MEMBER, IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP),
	OPTION(MEMBER, IPPROTO_IPV6, MCAST_BLOCK_SOURCE),
	OPTION(MEMBER, IPPROTO_IPV6, MCAST_UNBLOCK_SOURCE),
	OPTION(MEMBER, IPPROTO_IPV6, MCAST_MSFILTER),
	/* ICMP errors reach the kernel socket, and its error queue is the application's */
	OPTION(KEEP, IPPROTO_IP, IP_RECVERR),
	OPTION(KEEP, IPPROTO_IP, IP_RECVERR_RFC4884),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_RECVERR),
	OPTION(KEEP, SOL_SOCKET, SO_SELECT_ERR_QUEUE),
	/* for the kernel socket only, or for TCP */
	OPTION(KEEP, SOL_SOCKET, SO_DEBUG),
	OPTION(KEEP, SOL_SOCKET, SO_KEEPALIVE),
	OPTION(KEEP, SOL_SOCKET, SO_LINGER),
	OPTION(KEEP, SOL_SOCKET, SO_OOBINLINE),
	OPTION(KEEP, SOL_SOCKET, SO_RCVLOWAT),
	OPTION(KEEP, SOL_SOCKET, SO_BUSY_POLL),
	OPTION(KEEP, SOL_SOCKET, SO_PREFER_BUSY_POLL),
	OPTION(KEEP, SOL_SOCKET, SO_BUSY_POLL_BUDGET),
	OPTION(KEEP, SOL_SOCKET, SO_ZEROCOPY), /* MSG_ZEROCOPY takes the kernel path */
	OPTION(KEEP, SOL_SOCKET, SO_DETACH_FILTER),
	OPTION(KEEP, SOL_SOCKET, SO_LOCK_FILTER),
	/* a wish as to which member of a SO_REUSEPORT group gets what a CPU has received; the
	 * worker receives on one CPU, and shares by flow */
	OPTION(KEEP, SOL_SOCKET, SO_INCOMING_CPU),
	OPTION(KEEP, SOL_SOCKET, SO_PASSCRED),
	OPTION(KEEP, SOL_SOCKET, SO_PASSSEC),
	OPTION(KEEP, IPPROTO_IP, IP_MINTTL),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_MINHOPCOUNT),
	/* about headers that a datagram of the fast path does not have, and local sends that are
	 * too long, which are the kernel's */
	OPTION(KEEP, IPPROTO_IP, IP_RECVOPTS),
	OPTION(KEEP, IPPROTO_IP, IP_RETOPTS),
	OPTION(KEEP, IPPROTO_IP, IP_RECVFRAGSIZE),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_RECVFRAGSIZE),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_RECVRTHDR),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_RECVHOPOPTS),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_RECVDSTOPTS),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_2292RTHDR),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_2292HOPOPTS),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_2292DSTOPTS),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_RECVPATHMTU),
	/* about datagrams without a checksum, which are the kernel's */
	OPTION(KEEP, IPPROTO_UDP, UDP_NO_CHECK6_RX),
	/* control messages: see cmsg.h */
	OPTION(CMSG, IPPROTO_IP, IP_PKTINFO),
	OPTION(CMSG, IPPROTO_IP, IP_RECVTTL),
	OPTION(CMSG, IPPROTO_IP, IP_RECVTOS),
	OPTION(CMSG, IPPROTO_IP, IP_RECVORIGDSTADDR),
	OPTION(CMSG, IPPROTO_UDP, UDP_GRO),
	OPTION(CMSG, SOL_SOCKET, SO_PEEK_OFF), /* gives none: peek.h */
	OPTION(CMSG, IPPROTO_IPV6, IPV6_RECVPKTINFO),
	OPTION(CMSG, IPPROTO_IPV6, IPV6_RECVHOPLIMIT),
	OPTION(CMSG, IPPROTO_IPV6, IPV6_RECVTCLASS),
	OPTION(CMSG, IPPROTO_IPV6, IPV6_FLOWINFO),
	OPTION(CMSG, IPPROTO_IPV6, IPV6_2292PKTINFO),
	OPTION(CMSG, IPPROTO_IPV6, IPV6_2292HOPLIMIT),
	OPTION(CMSG, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR),
	OPTION(STAMP, SOL_SOCKET, SO_RXQ_OVFL, OPTION_ANY),
	OPTION(STAMP, SOL_SOCKET, SO_TIMESTAMP_OLD, OPTION_ANY),
	OPTION(STAMP, SOL_SOCKET, SO_TIMESTAMP_NEW, OPTION_ANY),
	OPTION(STAMP, SOL_SOCKET, SO_TIMESTAMPNS_OLD, OPTION_ANY),
	OPTION(STAMP, SOL_SOCKET, SO_TIMESTAMPNS_NEW, OPTION_ANY),
	OPTION(STAMP, SOL_SOCKET, SO_TIMESTAMPING_OLD, RX_STAMPS),
	OPTION(STAMP, SOL_SOCKET, SO_TIMESTAMPING_NEW, RX_STAMPS),
	/* they matter when the kernel binds */
	OPTION(KEEP, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
	OPTION(KEEP, IPPROTO_IP, IP_LOCAL_PORT_RANGE),
	OPTION(KEEP, IPPROTO_IP, IP_FREEBIND),
	OPTION(KEEP, IPPROTO_IPV6, IPV6_FREEBIND),
	/* these change which sockets share the port, and the device */
	OPTION(VERIFY, SOL_SOCKET, SO_REUSEADDR),
	OPTION(VERIFY, SOL_SOCKET, SO_REUSEPORT),
	OPTION(VERIFY, SOL_SOCKET, SO_BINDTODEVICE),
	OPTION(VERIFY, SOL_SOCKET, SO_BINDTOIFINDEX),
	OPTION(VERIFY, IPPROTO_IPV6, IPV6_V6ONLY),
	/* for queueing disciplines, with which udplaned does not send by the fast path */
	OPTION(KEEP, SOL_SOCKET, SO_PRIORITY),
	OPTION(HONOUR, IPPROTO_IP, IP_MTU_DISCOVER),
	OPTION(HONOUR, IPPROTO_IP, IP_TOS),
	OPTION(HONOUR, IPPROTO_IP, IP_TTL),
	OPTION(HONOUR, IPPROTO_IP, IP_UNICAST_IF),
	OPTION(HONOUR, IPPROTO_IPV6, IPV6_MTU_DISCOVER),
	OPTION(HONOUR, IPPROTO_IPV6, IPV6_MTU),
	OPTION(HONOUR, IPPROTO_IPV6, IPV6_DONTFRAG),
	OPTION(HONOUR, IPPROTO_IPV6, IPV6_TCLASS),
	OPTION(HONOUR, IPPROTO_IPV6, IPV6_UNICAST_HOPS),
	OPTION(HONOUR, IPPROTO_IPV6, IPV6_UNICAST_IF),
	OPTION(HONOUR, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL),
	OPTION(HONOUR, IPPROTO_IPV6, IPV6_FLOWINFO_SEND),
	OPTION(HONOUR, SOL_SOCKET, SO_NO_CHECK),
	OPTION(HONOUR, IPPROTO_UDP, UDP_NO_CHECK6_TX),
	OPTION(HONOUR, IPPROTO_UDP, UDP_SEGMENT),
	OPTION(SEND, SOL_SOCKET, SO_DONTROUTE, 0),
	OPTION(SEND, SOL_SOCKET, SO_MARK, 0),
	OPTION(SEND, SOL_SOCKET, SO_MAX_PACING_RATE, -1),
	OPTION(SEND, SOL_SOCKET, SO_TXTIME, INT32_MIN),
	OPTION(SEND, IPPROTO_IP, IP_OPTIONS, OPTION_EMPTY),
	OPTION(SEND, IPPROTO_IPV6, IPV6_PKTINFO, INT32_MIN),
	OPTION(SEND, IPPROTO_IPV6, IPV6_HOPOPTS, OPTION_EMPTY),
	OPTION(SEND, IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, OPTION_EMPTY),
	OPTION(SEND, IPPROTO_IPV6, IPV6_RTHDR, OPTION_EMPTY),
	OPTION(SEND, IPPROTO_IPV6, IPV6_DSTOPTS, OPTION_EMPTY),
	OPTION(SEND, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, INT32_MIN),
	OPTION(SEND, IPPROTO_UDP, UDP_CORK, 0),
	/* the fast path behaves like the default value */
	OPTION(VALUE, IPPROTO_IP, IP_CHECKSUM),
	OPTION(VALUE, IPPROTO_IP, IP_TRANSPARENT),
	OPTION(VALUE, IPPROTO_IPV6, IPV6_TRANSPARENT),
	OPTION(VALUE, IPPROTO_UDP, UDP_ENCAP),
	/* only the kernel runs programs */
	OPTION(FILTER, SOL_SOCKET, SO_ATTACH_FILTER),
	OPTION(FILTER, SOL_SOCKET, SO_ATTACH_BPF),
	OPTION(FILTER, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF),
	OPTION(FILTER, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF),
	/* listed for the text only: none of its values is harmless */
	OPTION(VALUE, IPPROTO_IPV6, IPV6_ADDRFORM, INT32_MIN),
};

static const struct option *option_find(int level, int name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].level == level && options[i].name == name)
			return &options[i];
	return NULL;
}

/* As the kernel reads them: IPv4 options may also be one byte, or empty for 0; IPv6 options NULL
 * for 0. */
static int option_value(const void *value, socklen_t len)
{
	int v = 0;

	if (!value)
		return 0;
	if (len >= sizeof(v))
		memcpy(&v, value, sizeof(v));
	else if (len >= 1)
		v = *(const unsigned char *)value;
	return v;
}

/* The kernel reads a negative one back as 0. */
static bool negative_timeout(const void *value, socklen_t len)
{
	struct timeval tv;

	if (len < sizeof(tv))
		return false;
	memcpy(&tv, value, sizeof(tv));
	return tv.tv_sec < 0;
}

static void read_timeout(struct sock *s)
{
	struct timeval tv = {0};
	socklen_t len = sizeof(tv);

	if (getsockopt(s->kfd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len) == 0)
		__atomic_store_n(&s->rx.rcvtimeo_ns,
				 (uint64_t)tv.tv_sec * 1000000000u + (uint64_t)tv.tv_usec * 1000u,
				 __ATOMIC_RELAXED);
}

void sock_read_flags(struct sock *s)
{
	int flags = fcntl(s->kfd, F_GETFL);

	if (flags >= 0)
		__atomic_store_n(&s->rx.nonblock, flags & O_NONBLOCK, __ATOMIC_RELAXED);
	read_timeout(s);
}

#define OPTION_CNT (sizeof(options) / sizeof(options[0]))

/* Returns INT32_MIN if it has no value, or one of another size. */
static int option_now(const struct sock *s, const struct option *o)
{
	int v = 0;
	socklen_t len = sizeof(v);

	if (o->level == SOL_SOCKET && o->name == SO_INCOMING_CPU)
		return INT32_MIN; /* Linux notes there where a datagram came in */
	if (o->effect != OPTION_VALUE && o->effect != OPTION_SEND &&
	    !(o->effect == OPTION_STAMP && o->value != OPTION_ANY))
		return INT32_MIN;
	if (getsockopt(s->kfd, o->level, o->name, &v, &len))
		return INT32_MIN;
	/* with either value, cmsg.c reads it again */
	return o->effect == OPTION_STAMP && v == o->value ? 0 : v;
}

int *options_read(const struct sock *s)
{
	int *v = calloc(OPTION_CNT, sizeof(*v));

	for (size_t i = 0; v && i < OPTION_CNT; i++)
		v[i] = option_now(s, &options[i]);
	return v;
}

const char *options_changed(struct sock *s)
{
	const char *text = s->life.options ? NULL : "an option";

	for (size_t i = 0; s->life.options && !text && i < OPTION_CNT; i++)
		if (option_now(s, &options[i]) != s->life.options[i])
			text = options[i].text;
	return text;
}

void options_forget(struct sock *s)
{
	free(s->life.options);
	s->life.options = NULL;
}

/* While the socket is lent: what this process sets itself is no surprise later. */
static void options_note(struct sock *s)
{
	struct ctl_state st;

	ctl_lock(&st);
	if (s->rx.lent) {
		options_forget(s);
		s->life.options = options_read(s);
	}
	ctl_unlock(&st);
}

/* Each option that concerns sending only has a bit of its own. */
static uint32_t send_bit(const struct option *o)
{
	uint32_t bit = 1;

	for (size_t i = 0; &options[i] < o; i++)
		bit <<= options[i].effect == OPTION_SEND;
	return bit;
}

static void option_to_kernel(struct sock *s, uint32_t reason, const struct option *o, int level,
			     int name)
{
	char text[UDPLANE_TEXT_LEN];
	struct ctl_state st;

	if (o)
		snprintf(text, sizeof(text), "%s was set", o->text);
	else
		snprintf(text, sizeof(text), "option %d of level %d was set", name, level);
	ctl_lock(&st);
	claim_release(s, CLAIM_KERNEL, reason, text);
	ctl_unlock(&st);
}

static void option_verify(struct sock *s)
{
	struct ctl_state st;

	ctl_lock(&st);
	claim_update(s);
	ctl_unlock(&st);
}

static bool fills_error_queue(int level, int name)
{
	switch (level) {
	case SOL_SOCKET:
		return name == SO_ZEROCOPY || name == SO_TIMESTAMPING_OLD ||
		       name == SO_TIMESTAMPING_NEW || name == SO_TXTIME;
	case IPPROTO_IP: return name == IP_RECVERR;
	case IPPROTO_IPV6: return name == IPV6_RECVERR;
	}
	return false;
}

static bool option_set_back(const struct option *o, const void *value, socklen_t len)
{
	if (o->value == OPTION_EMPTY)
		return !value || !len;
	return option_value(value, len) == o->value;
}

static bool option_stamps(const struct option *o, const void *value, socklen_t len)
{
	int v = option_value(value, len);

	return o->effect == OPTION_STAMP && (o->value == OPTION_ANY || !v || v == o->value);
}

void option_was_set(struct sock *s, int level, int name, const void *value, socklen_t len)
{
	const struct option *o = option_find(level, name);

	if (fills_error_queue(level, name) && !(o && option_stamps(o, value, len)))
		__atomic_store_n(&s->rx.error_queue, true, __ATOMIC_RELAXED);

	if (level == SOL_SOCKET && (name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW))
		read_timeout(s);
	if (level == SOL_SOCKET && (name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW) &&
	    negative_timeout(value, len))
		__atomic_store_n(&s->rx.rcvtimeo_ns, RCVTIMEO_NO_WAIT, __ATOMIC_RELAXED);
	if (o && o->effect == OPTION_SEND && option_set_back(o, value, len)) {
		send_option_slow(s, send_bit(o), false);
		return;
	}
	if (o && (o->effect == OPTION_KEEP ||
		  (o->effect == OPTION_VALUE && option_value(value, len) == o->value)))
		return;
	if (o && o->effect == OPTION_HONOUR) {
		if (!send_option_set(s, level, name, option_value(value, len)))
			option_verify(s); /* leaves it to the next call that can have the lock */
		return;
	}
	if (o && o->effect == OPTION_SEND) {
		send_option_slow(s, send_bit(o), true);
		return;
	}
	if (o && o->effect == OPTION_MEMBER) {
		if (!member_was_set(s, level, name, value, len))
			option_to_kernel(s, UDPLANE_REASON_NO_MEMORY, o, level, name);
		return;
	}
	if (o && (o->effect == OPTION_CMSG || o->effect == OPTION_STAMP))
		cmsg_read_options(s);
	if (o && o->effect == OPTION_CMSG) {
		if (level == IPPROTO_IP && name == IP_PKTINFO)
			option_verify(s); /* it matters for multicast groups */
		return;
	}
	if (!o || (o->effect != OPTION_VERIFY && !option_stamps(o, value, len))) {
		option_to_kernel(s,
				 o && o->effect == OPTION_FILTER ? UDPLANE_REASON_FILTER
								 : UDPLANE_REASON_OPTION,
				 o, level, name);
		return;
	}
	option_verify(s);
}

int udplane_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct sock *s = sock_get(fd);
	int err = 0;
	bool held;

	if (!s)
		return set_errno(-EBADF);
	held = lend_change(s);
	if (!sock_kernel_is(s))
		err = -EBADF;
	else if (setsockopt(s->kfd, level, name, value, len))
		err = -errno;
	else
		option_was_set(s, level, name, value, len);
	if (unlikely(__atomic_load_n(&s->rx.lent, __ATOMIC_RELAXED)))
		options_note(s);
	lend_changed(s, held);
	sock_unref(s);
	return set_errno(err);
}

/* Reports an error that a receive has found but not reported, as SO_ERROR. */
static bool sock_take_error(struct sock *s, void *value, socklen_t *len)
{
	int err;

	if (!sock_insist_rx(s))
		return false;
	err = -s->rx.error;
	if (err && *len >= sizeof(int)) {
		s->rx.error = 0;
		memcpy(value, &err, sizeof(int));
		*len = sizeof(int);
		rx_update_readiness(s);
	}
	lock_drop(&s->rx.lock);
	return err != 0;
}

int udplane_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct sock *s = sock_get(fd);
	int err = 0;

	if (!s)
		return set_errno(-EBADF);
	if (level != SOL_SOCKET || name != SO_ERROR || !sock_take_error(s, value, len))
		err = getsockopt(s->kfd, level, name, value, len) ? -errno : 0;
	sock_unref(s);
	return set_errno(err);
}

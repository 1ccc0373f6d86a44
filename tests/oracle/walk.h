/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the program walk share: its state, the words of an operation, the operations.
 * Each operation, op_NAME(), writes down its result; see walk.c. */
#ifndef TESTS_ORACLE_WALK_H
#define TESTS_ORACLE_WALK_H

#include "tests/oracle/peer.h"
#include <netinet/in.h>
#include <setjmp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define SLOTS	    8
#define WORDS	    16
#define IOVECS	    64
#define HERE4	    "10.99.0.1"
#define KERNEL_PORT 4000 /* the fences: one outside of udplaned's range, one in it */
#define FAST_PORT   5001
#define BURST	    48	    /* datagrams, see note_burst() in sidecar/worker */
#define NEVER	    1000003 /* a descriptor that nothing has */

/* Bytes: nothing that a script sends is too much. How much a socket holds is not compared, since
 * the library has room of its own beside the kernel's. */
#define RCVBUF (16 << 20)
/* A script that does not end is one that hangs. */
#define SCRIPT_SECONDS 20
/* How long to wait for something that may not come at all. */
#define MAYBE_MS 40
/* How long for what is known to come. */
#define SURE_MS 2000

struct walk {
	char *word[WORDS];
	int word_cnt;
	int fd[SLOTS];
	bool closed[SLOTS];
	int kernel_fence, fast_fence; /* the latter -1 if nothing is accelerated */
	int sent;		      /* datagrams since the last look at the peer */
	bool missed;		      /* something that was to come did not: no more waiting */
	unsigned int seed, script_cnt;
	unsigned char data[70000], buffer[70000];
	void *unmapped;
	sigjmp_buf crash;
};

extern struct walk walk;

/* --- words.c --- */

/* How long to wait for what is known to come: not long once something has been missed. */
int sure_ms(void);
/* Word i of the operation, "-" without one; as a number; the descriptor in that slot. */
const char *word(int i);
long number(int i);
int slot(int i);
/* Writes the operation's name, value and errno if it is negative. */
void result(long value);
/* The words ADDRESS PORT; or "-" for none, "null", "bad", "unspec". *len: the length that fits. */
const struct sockaddr *address_words(int i, union address *a, socklen_t *len);
/* "null", "bad", "gone" (memory that may not be accessed), else the data to send. */
const void *data_word(int i);
/* The data to send, other bytes at each call. */
void fill(size_t len);
/* A list of lengths with commas; each with a letter before it for the pointer: n NULL, b one that
 * is never mapped, k one of the kernel's, u not mapped now. "-" is none. */
int iovec_word(int i, struct iovec *iov, unsigned char *memory);
/* LEVEL/TYPE/VALUE, several with commas; VALUE "pktinfo" is our address. Also: -, null, bad, cut (a
 * header that does not fit), long (one that says that it is longer than it is). */
void control_word(int i, struct msghdr *m, void *memory);

/* --- ops_socket.c --- */

void slot_close(int i);
void op_socket(void);
void op_bind(void);
void op_connect(void);
void op_name(void);
void op_peername(void);
void op_close(void);
#ifndef ORACLE_UDPLANE
void op_dup(void);
#endif
void op_setopt(void);
void op_timeout(void);
void op_getopt(void);
void op_shutdown(void);
void op_ioctl(void);
void op_nonblock(void);
void op_fionbio(void);
void op_poll(void);
void op_epoll(void);
void op_select(void);

/* --- ops_data.c --- */

void op_send(void);
void op_sendto(void);
void op_sendmsg(void);
void op_sendmmsg(void);
void op_recv(void);
void op_recvfrom(void);
void op_recvmsg(void);
void op_recvmmsg(void);
#ifndef ORACLE_UDPLANE
void op_write(void);
void op_read(void);
void op_writev(void);
void op_readv(void);
#endif

/* --- ops_peer.c --- */

/* In mode balanced the fast path is taken after a burst, for 100 ms; in others it does nothing. */
void engage(void);
void op_psend(void);
void op_poption(void);
void op_precv(void);

#endif

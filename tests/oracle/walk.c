/* SPDX-License-Identifier: Apache-2.0 */
/* Runs call scripts on UDP sockets and writes down what the calls do.
 *
 * walk NETNS DEVICE: the sockets under test are made in the namespace that it is started in, the
 * peer's in NETNS. A script is a line "begin NAME", lines with one operation each, and a line
 * "end"; the words of an operation are described at its function, op_NAME(). After each operation
 * comes one line of trace, or more; after "end" a line "done" and, not to be compared, what each
 * path has carried. scripts.py writes the scripts, oracle_test.py compares the traces.
 *
 * Nothing depends on time: after the peer has sent, a fence follows on the same way, and where a
 * script waits for something that the other side has seen already, the number of it is given. */
#include "tests/oracle/walk.h"
#include "tests/oracle/calls.h"
#include "tests/oracle/trace.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct walk walk;

static const struct {
	const char *name;
	void (*run)(void);
} verbs[] = {
	{"bind", op_bind},	   {"close", op_close},	      {"connect", op_connect},
	{"epoll", op_epoll},	   {"fionbio", op_fionbio},   {"getopt", op_getopt},
	{"ioctl", op_ioctl},	   {"name", op_name},	      {"nonblock", op_nonblock},
	{"peername", op_peername}, {"poll", op_poll},	      {"poption", op_poption},
	{"precv", op_precv},	   {"psend", op_psend},	      {"recv", op_recv},
	{"recvfrom", op_recvfrom}, {"recvmmsg", op_recvmmsg}, {"recvmsg", op_recvmsg},
	{"select", op_select},	   {"send", op_send},	      {"sendmmsg", op_sendmmsg},
	{"sendmsg", op_sendmsg},   {"sendto", op_sendto},     {"setopt", op_setopt},
	{"shutdown", op_shutdown}, {"socket", op_socket},     {"timeout", op_timeout},
#ifndef ORACLE_UDPLANE
	{"dup", op_dup},	   {"read", op_read},	      {"readv", op_readv},
	{"write", op_write},	   {"writev", op_writev},
#endif
};

static void crashed(int signal)
{
	siglongjmp(walk.crash, signal);
}

static void verb_run(void (*run)(void))
{
	errno = 0;
	if (sigsetjmp(walk.crash, 1) == 0)
		run();
	else
		trace("%s SIGSEGV", word(0));
	trace("\n");
	trace_flush();
}

/* A preloaded library claims a socket at the first call that waits for data. In every second pair
 * of scripts this is one that tells nothing, so that it comes before whatever the script does. */
static void touch(void)
{
	struct pollfd p[SLOTS];

	if (walk.fast_fence < 0 || !(walk.script_cnt & 2))
		return;
	for (int i = 0; i < SLOTS; i++)
		p[i] = (struct pollfd){walk.closed[i] ? -1 : walk.fd[i], POLLIN, 0};
	poll(p, SLOTS, 0);
}

static void run_line(char *line)
{
	size_t i = 0;

	walk.word_cnt = 0;
	for (char *w = strtok(line, " \n"); w && walk.word_cnt < WORDS; w = strtok(NULL, " \n"))
		walk.word[walk.word_cnt++] = w;
	if (walk.word_cnt == 0)
		return;
	while (i < sizeof(verbs) / sizeof(verbs[0]) && strcmp(verbs[i].name, word(0)) != 0)
		i++;
	if (i == sizeof(verbs) / sizeof(verbs[0])) {
		fprintf(stderr, "walk: unknown operation \"%s\"\n", word(0));
		exit(2);
	}
	verb_run(verbs[i].run);
	touch();
}

/* Opened by a system call: a preloaded library has no part in it. */
static int open_fence(int port)
{
	union address a;
	socklen_t len = address_parse(&a, HERE4, port);
	int fd = (int)syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || syscall(SYS_bind, fd, &a, len) < 0) {
		perror("fence");
		exit(2);
	}
	return fd;
}

static void script_begin(void)
{
	for (int i = 0; i < SLOTS; i++) {
		walk.fd[i] = NEVER;
		walk.closed[i] = true;
	}
	peer_begin();
	walk.kernel_fence = open_fence(KERNEL_PORT);
	if (walk.fast_fence >= 0 && walk.script_cnt++ % 2)
		engage();
	trace_reset();
	walk.seed = 1;
	walk.sent = 0;
	walk.missed = false;
	alarm(SCRIPT_SECONDS);
}

/* What each path has carried for a socket is known to the library only. */
static void script_end(void)
{
	unsigned long fast_rx = 0, fast_tx = 0, kernel = 0;

#ifdef ORACLE_UDPLANE
	for (int i = 0; i < SLOTS; i++) {
		struct udplane_status st = {.size = sizeof(st)};

		if (walk.closed[i] || udplane_get_status(walk.fd[i], &st) < 0)
			continue;
		fast_rx += st.fast_rx;
		fast_tx += st.fast_tx;
		kernel += st.kernel_rx + st.kernel_tx;
	}
#endif
	for (int i = 0; i < SLOTS; i++)
		slot_close(i);
	syscall(SYS_close, walk.kernel_fence);
	peer_end();
	alarm(0);
	trace("done fast %lu %lu kernel %lu\n", fast_rx, fast_tx, kernel);
	trace_flush();
}

static int open_fast_fence(void)
{
	union address a;
	socklen_t len = address_parse(&a, HERE4, FAST_PORT);
	int fd = CALL(socket)(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || CALL(bind)(fd, &a.sa, len) < 0) {
		perror("fast fence");
		exit(2);
	}
	return fd;
}

int main(int argc, char **argv)
{
	char line[4096];
	struct sigaction sa = {.sa_handler = crashed, .sa_flags = SA_NODEFER};

	if (argc != 3) {
		fprintf(stderr, "usage: walk NETNS DEVICE\n");
		return 2;
	}
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	walk.unmapped =
		mmap(NULL, 1 << 17, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(walk.unmapped, 1 << 17,
		 PROT_NONE); /* not unmapped: another thing might take its place */
	peer_open(argv[1], argv[2]);
	walk.fast_fence = getenv("ORACLE_FAST") ? open_fast_fence() : -1;
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "begin", 5) == 0)
			script_begin();
		else if (strncmp(line, "end", 3) == 0)
			script_end();
		else
			run_line(line);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The words of an operation as arguments of a call, and its result as text. */
#include "tests/oracle/calls.h"
#include "tests/oracle/trace.h"
#include "tests/oracle/walk.h"
#include <errno.h>
#include <limits.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sure_ms(void)
{
	return walk.missed ? MAYBE_MS : SURE_MS;
}

const char *word(int i)
{
	return i < walk.word_cnt ? walk.word[i] : "-";
}

long number(int i)
{
	return strtol(word(i), NULL, 0);
}

int slot(int i)
{
	return walk.fd[number(i) & (SLOTS - 1)];
}

void result(long value)
{
	int e = errno;

	trace("%s ", word(0));
	if (value < 0)
		trace("%ld %s", value, strerrorname_np(e));
	else
		trace("%ld", value);
}

/* The word "slot:N" is the port of that socket. */
static int port_word(int i)
{
	union address a;
	socklen_t len = sizeof(a);
	const char *w = word(i);

	if (strncmp(w, "slot:", 5) != 0)
		return (int)number(i);
	memset(&a, 0, sizeof(a));
	CALL(getsockname)(walk.fd[atoi(w + 5) & (SLOTS - 1)], &a.sa, &len);
	return ntohs(a.in.sin_port);
}

const struct sockaddr *address_words(int i, union address *a, socklen_t *len)
{
	const char *w = word(i);

	memset(a, 0, sizeof(*a));
	*len = 0;
	if (strcmp(w, "-") == 0)
		return NULL;
	*len = sizeof(a->in);
	if (strcmp(w, "null") == 0)
		return NULL;
	if (strcmp(w, "bad") == 0)
		return (const struct sockaddr *)16;
	if (strcmp(w, "unspec") == 0 || strcmp(w, "family77") == 0) {
		a->sa.sa_family = strcmp(w, "unspec") == 0 ? AF_UNSPEC : 77;
		a->in.sin_port = htons((uint16_t)port_word(i + 1));
		return &a->sa;
	}
	*len = address_parse(a, w, port_word(i + 1));
	return &a->sa;
}

void fill(size_t len)
{
	for (size_t i = 0; i < len; i++)
		walk.data[i] = (unsigned char)(i * 7 + (i >> 8) + walk.seed * 31);
	walk.seed++;
}

int iovec_word(int i, struct iovec *iov, unsigned char *memory)
{
	const char *w = word(i);
	int cnt = 0;

	if (strcmp(w, "-") == 0)
		return 0;
	while (*w && cnt < IOVECS) {
		char kind = *w >= 'a' && *w <= 'z' ? *w++ : 0;

		iov[cnt].iov_len = (size_t)strtol(w, (char **)&w, 0);
		iov[cnt].iov_base = kind == 'n'	  ? NULL
				    : kind == 'b' ? (void *)16
				    : kind == 'k' ? (void *)(LONG_MIN + 4096)
				    : kind == 'u' ? walk.unmapped
						  : memory;
		if (!kind && iov[cnt].iov_len < 66000)
			memory += iov[cnt].iov_len;
		cnt++;
		w += *w == ',';
	}
	return cnt;
}

const void *data_word(int i)
{
	const char *w = word(i);

	return strcmp(w, "null") == 0	? NULL
	       : strcmp(w, "bad") == 0	? (void *)16
	       : strcmp(w, "gone") == 0 ? walk.unmapped
					: walk.data;
}

static void control_add(struct msghdr *m, int level, int type, const void *value, size_t len)
{
	struct cmsghdr *c = (void *)((unsigned char *)m->msg_control + m->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), value, len);
	m->msg_controllen += CMSG_SPACE(len);
}

void control_word(int i, struct msghdr *m, void *memory)
{
	const char *w = word(i);
	struct in_pktinfo info = {0};
	int level, type, value, n;

	memset(memory, 0, 512);
	m->msg_control = memory;
	m->msg_controllen = 0;
	if (strcmp(w, "null") == 0 || strcmp(w, "bad") == 0) {
		m->msg_control = strcmp(w, "bad") == 0 ? (void *)16 : NULL;
		m->msg_controllen = CMSG_SPACE(4);
	} else if (strcmp(w, "cut") == 0 || strcmp(w, "long") == 0) {
		value = 8;
		control_add(m, IPPROTO_IP, IP_TOS, &value, sizeof(value));
		if (*w == 'c')
			m->msg_controllen = 10;
		else
			((struct cmsghdr *)memory)->cmsg_len = 200;
	} else if (strcmp(w, "pktinfo") == 0) {
		info.ipi_spec_dst.s_addr = htonl(0x0a630001);
		control_add(m, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else {
		while (sscanf(w, "%i/%i/%i%n", &level, &type, &value, &n) == 3) {
			control_add(m, level, type, &value, sizeof(value));
			w += n + (w[n] == ',');
		}
	}
	if (m->msg_controllen == 0)
		m->msg_control = NULL;
}

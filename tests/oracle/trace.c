/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/oracle/trace.h"
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct {
	bool off;
	int ports[64], port_cnt;
} state;

void trace(const char *format, ...)
{
	va_list args;

	if (state.off)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

void trace_off(bool off)
{
	state.off = off;
}

void trace_reset(void)
{
	state.port_cnt = 0;
}

void trace_flush(void)
{
	fflush(stdout);
}

const char *trace_port(int port)
{
	static char names[4][16];
	static unsigned int next;
	char *name = names[next++ % 4];
	int i = 0;

	if (port < EPHEMERAL_FIRST) {
		snprintf(name, sizeof(names[0]), "%d", port);
		return name;
	}
	while (i < state.port_cnt && state.ports[i] != port)
		i++;
	if (i == state.port_cnt && i < 64)
		state.ports[state.port_cnt++] = port;
	snprintf(name, sizeof(names[0]), "E%d", i);
	return name;
}

void trace_hex(const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		trace("%02x", *p++);
}

void trace_address(const union address *a, size_t room, long len)
{
	char text[INET6_ADDRSTRLEN];

	trace("len %ld ", len);
	if (room >= sizeof(a->in) && a->sa.sa_family == AF_INET && len == sizeof(a->in)) {
		inet_ntop(AF_INET, &a->in.sin_addr, text, sizeof(text));
		trace("%s %s", text, trace_port(ntohs(a->in.sin_port)));
	} else if (room >= sizeof(a->in6) && a->sa.sa_family == AF_INET6 && len == sizeof(a->in6)) {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, text, sizeof(text));
		trace("%s %s flow %x scope %u", text, trace_port(ntohs(a->in6.sin6_port)),
		      ntohl(a->in6.sin6_flowinfo), a->in6.sin6_scope_id);
	} else if (room <= 2) {
		trace_hex(a, room);
	} else { /* cut off: the port by its name, then the rest */
		trace_hex(a, 2);
		trace(" %s ", room >= 4 ? trace_port(ntohs(a->in.sin_port)) : "cut");
		trace_hex(a->bytes + 4, room > 28 ? 24 : room >= 4 ? room - 4 : 0);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "client/examples/common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define EXIT_USAGE 2

volatile sig_atomic_t stop;
bool use_kernel;

void die(int error, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	if (error)
		fprintf(stderr, ": %s", strerror(error));
	fputc('\n', stderr);
	exit(1);
}

static void wrong(const char *option, const char *text, const char *allowed)
{
	fprintf(stderr, "%s: --%s: \"%s\": not allowed; allowed: %s\n",
		program_invocation_short_name, option, text, allowed);
	exit(EXIT_USAGE);
}

struct address parse_address(const char *option, const char *text)
{
	static const char allowed[] = "ADDR:PORT, as 10.0.0.1:5060 or [2001:db8::1]:5060";
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_DGRAM};
	struct addrinfo *found;
	struct address a = {0};
	const char *colon = strrchr(text, ':');
	char host[80];
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!len || len >= sizeof(host))
		wrong(option, text, allowed);
	memcpy(host, text, len);
	host[len] = 0;
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = 0;
		memmove(host, host + 1, len - 1);
	} else if (strchr(host, ':')) {
		wrong(option, text, allowed);
	}
	/* getaddrinfo() would accept 70000 and return port 4464. */
	if (strspn(colon + 1, "0123456789") != strlen(colon + 1) || atol(colon + 1) > 65535 ||
	    getaddrinfo(host, colon + 1, &hints, &found))
		wrong(option, text, allowed);
	memcpy(&a.sa, found->ai_addr, found->ai_addrlen);
	a.len = found->ai_addrlen;
	freeaddrinfo(found);
	return a;
}

uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	unsigned long long value;
	char allowed[64], *end;

	snprintf(allowed, sizeof(allowed), "a whole number from %llu to %llu",
		 (unsigned long long)min, (unsigned long long)max);
	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value < min || value > max)
		wrong(option, text, allowed);
	return value;
}

uint64_t parse_seconds(const char *option, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value) || value < 0.001 || value > 1e6)
		wrong(option, text, "seconds, from 0.001 to 1000000");
	return (uint64_t)(value * 1e9);
}

void parse_ports(const char *option, const char *text, uint16_t *low, uint16_t *high)
{
	static const char allowed[] = "PORT or LOW-HIGH, from 1 to 65535";
	char *end;
	unsigned long first = strtoul(text, &end, 10), last = first;

	if (*end == '-')
		last = strtoul(end + 1, &end, 10);
	if (*end || first < 1 || last > 65535 || first > last)
		wrong(option, text, allowed);
	*low = (uint16_t)first;
	*high = (uint16_t)last;
}

const char *format_address(const struct address *a, char out[80])
{
	char host[64], port[8];

	if (getnameinfo((const struct sockaddr *)&a->sa, a->len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV | NI_DGRAM))
		return "?";
	snprintf(out, 80, a->sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return out;
}

/* sin_port and sin6_port are at the same offset, but the code should not depend on that. */
void set_port(struct address *a, uint16_t port)
{
	if (a->sa.ss_family == AF_INET)
		((struct sockaddr_in *)&a->sa)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)&a->sa)->sin6_port = htons(port);
}

uint16_t get_port(const struct address *a)
{
	if (a->sa.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&a->sa)->sin_port);
	return ntohs(((const struct sockaddr_in6 *)&a->sa)->sin6_port);
}

struct udplane_addr to_peer(const struct address *a)
{
	struct udplane_addr p;

	udplane_addr_from_sockaddr(&p, &a->sa, a->len);
	return p;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void sleep_until(uint64_t ns)
{
	struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

void catch_signals(void)
{
	struct sigaction act = {.sa_handler = on_signal}; /* no SA_RESTART: calls must return */

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
}

void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

uint64_t quantile(uint64_t *values, size_t cnt, double share)
{
	if (!cnt)
		return 0;
	qsort(values, cnt, sizeof(*values), compare);
	return values[(size_t)(share * (double)(cnt - 1))];
}

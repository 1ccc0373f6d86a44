/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udplanectl metrics: prints or serves the counters for Prometheus. The server takes one request at
 * a time and closes each within REQUEST_MS, since a scraper comes only every few seconds. What it
 * serves can be read by everybody in the pod anyway.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/clock.h>
#include <unistd.h>

#include "client/ctl/args.h"
#include "client/ctl/attach.h"
#include "client/ctl/metrics.h"
#include "client/ctl/verb.h"

#define REQUEST_MS  2000
#define REQUEST_MAX 4096

static const char usage[] =
	"Usage: udplanectl metrics [--listen PORT]\n"
	"Prints every counter in the text format of Prometheus.\n"
	"\n"
	"  --listen PORT        serve them at http://*:PORT/metrics instead, until a signal\n" //
	VERB_COMMON_USAGE;

static int print_once(const char *socket)
{
	struct error error;
	struct snapshot s;

	if (attach_snapshot(socket, ATTACH_TIMEOUT_MS, &s, &error)) {
		fprintf(stderr, "udplanectl metrics: %s\n", error.text);
		return EXIT_BAD;
	}
	metrics_print(stdout, &s);
	snapshot_free(&s);
	return 0;
}

/* --- serving --- */

/* A missing udplaned is not an error of the scrape; udplane_up tells it. */
static char *render(const char *socket, size_t *len)
{
	struct error error;
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	struct snapshot s;

	if (!out)
		return NULL;
	if (attach_snapshot(socket, ATTACH_TIMEOUT_MS, &s, &error)) {
		metrics_print_down(out);
	} else {
		metrics_print(out, &s);
		snapshot_free(&s);
	}
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

static bool wait_for(int fd, short events, long deadline)
{
	struct pollfd p = {fd, events, 0};
	long left = deadline - (long)clock_now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* Reads the head of a request, up to its empty line. */
static bool read_request(int fd, char *request, long deadline)
{
	size_t len = 0;

	while (len < REQUEST_MAX - 1 && wait_for(fd, POLLIN, deadline)) {
		ssize_t n = recv(fd, request + len, REQUEST_MAX - 1 - len, MSG_DONTWAIT);

		if (n <= 0)
			return false;
		len += (size_t)n;
		request[len] = '\0';
		if (strstr(request, "\r\n\r\n"))
			return true;
	}
	return false;
}

static void write_all(int fd, const char *data, size_t len, long deadline)
{
	while (len && wait_for(fd, POLLOUT, deadline)) {
		ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static void answer(int fd, const char *status, const char *body, size_t len, long deadline)
{
	char head[256];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
			 "Content-Length: %zu\r\nConnection: close\r\n\r\n",
			 status, len);

	write_all(fd, head, (size_t)n, deadline);
	write_all(fd, body, len, deadline);
}

static void answer_text(int fd, const char *status, const char *text, long deadline)
{
	answer(fd, status, text, strlen(text), deadline);
}

static void serve_one(int fd, const char *socket)
{
	long deadline = (long)clock_now_ms() + REQUEST_MS;
	char request[REQUEST_MAX], *text;
	size_t len;

	if (!read_request(fd, request, deadline))
		return;
	if (strncmp(request, "GET ", 4)) {
		answer_text(fd, "405 Method Not Allowed", "only GET is here\n", deadline);
		return;
	}
	if (strncmp(request + 4, "/metrics", 8) || !strchr(" ?", request[12])) {
		answer_text(fd, "404 Not Found", "only /metrics is here\n", deadline);
		return;
	}
	text = render(socket, &len);
	deadline = (long)clock_now_ms() + REQUEST_MS; /* again, since udplaned may have been slow */
	if (text)
		answer(fd, "200 OK", text, len, deadline);
	else
		answer_text(fd, "500 Internal Server Error", "out of memory\n", deadline);
	free(text);
}

/* Listens on IPv6 and IPv4, or on IPv4 alone if the machine has no IPv6. Returns a descriptor or
 * -errno. */
static int listen_on(uint16_t port)
{
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, zero = 0, err;
	bool v6 = fd >= 0;

	if (!v6)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	err = v6 ? bind(fd, (struct sockaddr *)&any6, sizeof(any6))
		 : bind(fd, (struct sockaddr *)&any4, sizeof(any4));
	if (!err && !listen(fd, 16))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* The first process of a container ignores signals that it does not handle. */
static void leave(int signal)
{
	(void)signal;
	_exit(0);
}

static int serve(const char *socket, uint16_t port)
{
	int fd = listen_on(port), client;

	if (fd < 0) {
		fprintf(stderr, "udplanectl metrics: port %u: %s\n", port, strerror(-fd));
		return EXIT_BAD;
	}
	signal(SIGTERM, leave);
	signal(SIGINT, leave);
	for (;;) {
		client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (client >= 0) {
			serve_one(client, socket);
			close(client);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			poll(NULL, 0, 100); /* out of descriptors or memory; try again later */
		}
	}
}

int verb_metrics(const char *socket, int argc, char **argv)
{
	const char *listen = NULL;
	const struct flag flags[] = {{"listen", FLAG_TEXT, &listen, 0}, {0}};
	struct args a = {"metrics", usage, flags, &socket, NULL, NULL};
	int ret = args_parse(&a, argc, argv);
	uint16_t port;

	if (ret)
		return verb_args_status(ret);
	if (!listen)
		return print_once(socket);
	if (!args_port(listen, &port)) {
		fprintf(stderr, "udplanectl metrics: --listen %s: not a port; allowed: 1-65535\n",
			listen);
		return EXIT_USAGE;
	}
	return serve(socket, port);
}

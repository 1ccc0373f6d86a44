/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/server.h"

#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <udplane/clock.h>

#include "deploy/injector/admission.h"
#include "deploy/injector/certificate.h"
#include "deploy/injector/guard.h"
#include "deploy/injector/metrics.h"
#include "deploy/injector/text.h"
#include "sidecar/base/log.h"

#define REFRESH_S 1

/* Timeouts of both ports. The API server waits for 30 s at most and keeps an idle connection for
 * 90 s; a scrape comes about every 30 s. */
#define FIRST_S		   10
#define REQUEST_S	   30
#define IDLE_S		   95
#define STATUS_CONNECTIONS 64
#define STATUS_PER_ADDRESS 16
#define STATUS_S	   5
/* libmicrohttpd's own timeout. Trickling bytes put it off, so only the guard's deadlines count. */
#define SILENT_S 120
/* Limit of all bodies and answers in memory. For an ordinary pod they take some KiB. */
#define BODIES_MAX (12u << 20)
#define BODY_SMALL (16u << 10)
/* Limit of a request's head; the API server's is some hundred bytes long. */
#define HEAD_MEMORY (16u << 10)
/* Reviews larger than this are examined one at a time, since each may take some 20 MiB. */
#define HEAVY (64u << 10)
/* A rejected body is still read to its end, or its sender might lose the answer, but only up to
 * this many times the limit. */
#define DISCARD_FACTOR 4
/* Kept free for files, libraries, and what we have not thought of. */
#define SPARE_DESCRIPTORS 48
#define LEAST_CONNECTIONS 16

struct server {
	const struct injection *injection;
	const struct server_options *options;
	struct bounds limit;
	struct metrics metrics;
	atomic_bool leaving;
	atomic_uint_fast64_t refused_ns; /* when a refusal was last logged; 0 if never */
	pthread_mutex_t heavy;		 /* one large review at a time */
	struct guard *reviews, *statuses;
};

/* A request while its body arrives. */
struct request {
	struct text body;
	unsigned int status; /* HTTP status of the refusal; 0 if it is not refused */
	const char *why;
};

static void drop_body(struct request *request)
{
	free(request->body.data);
	memset(&request->body, 0, sizeof(request->body));
}

/* Sends `text` and takes ownership of it. If it is NULL, because the caller ran out of memory,
 * returns MHD_NO, and MHD closes the connection. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int status,
			      const char *type, char *text)
{
	struct MHD_Response *response;
	enum MHD_Result ret;

	if (!text)
		return MHD_NO;
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "POST");
	ret = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return ret;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned int status,
				   const char *text)
{
	return answer(connection, status, "text/plain; charset=utf-8", strdup(text));
}

static enum MHD_Result refuse(struct server *server, struct MHD_Connection *connection,
			      const struct request *request)
{
	atomic_fetch_add(&server->metrics.refused, 1);
	return answer_text(connection, request->status, request->why);
}

static const char too_many[] = "too many large reviews at the same time\n";
static const char too_large[] = "larger than a review can be (udplane-injector's --max-body-kib, "
				"the chart's webhook.limits.bodyKiB)\n";

static struct guard_connection *guarded(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* Logs at most one message per second, since anybody who reaches the port could otherwise fill the
 * log. The counters count every refusal. */
static void log_refused(struct server *server, const char *message)
{
	uint_fast64_t last = atomic_load(&server->refused_ns), now = clock_now_ns();

	if ((!last || now - last >= 1000000000) &&
	    atomic_compare_exchange_strong(&server->refused_ns, &last, now))
		log_warn("refused: %s", message);
}

static void log_review(struct server *server, const struct admission *admission)
{
	switch (admission->result) {
	case ADMISSION_INJECTED: log_info("pod %s: injected", admission->pod); break;
	case ADMISSION_DENIED:
		log_info("pod %s: denied: %s", admission->pod, admission->message);
		break;
	case ADMISSION_UNCHANGED: log_debug("pod %s: unchanged", admission->pod); break;
	case ADMISSION_MALFORMED:
	case ADMISSION_TOO_LARGE: log_refused(server, admission->message); break;
	default: log_error("pod %s: out of memory", admission->pod);
	}
}

static unsigned int status_of(enum admission_result result)
{
	return result == ADMISSION_MALFORMED   ? MHD_HTTP_BAD_REQUEST
	       : result == ADMISSION_TOO_LARGE ? MHD_HTTP_CONTENT_TOO_LARGE
					       : MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* Drops the body as soon as it has been examined, since the peer may read the answer slowly, and
 * the answer's bytes count as well. */
static enum MHD_Result review(struct server *server, struct MHD_Connection *connection,
			      struct request *request)
{
	uint64_t start = clock_now_ns();
	bool heavy = request->body.len > HEAVY;
	struct admission admission;
	enum MHD_Result ret;

	if (heavy)
		pthread_mutex_lock(&server->heavy);
	admission_review(server->injection, &server->limit,
			 request->body.data ? request->body.data : "", request->body.len,
			 &admission);
	drop_body(request);
	if (heavy)
		pthread_mutex_unlock(&server->heavy);
	if (admission.response &&
	    !guard_reserve(server->reviews, guarded(connection), strlen(admission.response))) {
		free(admission.response);
		ret = answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, too_many);
	} else if (admission.response) {
		ret = answer(connection, MHD_HTTP_OK, "application/json", admission.response);
	} else {
		ret = answer_text(connection, status_of(admission.result),
				  *admission.message ? admission.message : "out of memory");
	}
	metrics_add(&server->metrics, admission.result, clock_now_ns() - start);
	log_review(server, &admission);
	return ret;
}

static bool is_json(struct MHD_Connection *connection)
{
	const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_TYPE);

	return type && !strncasecmp(type, "application/json", 16) && (!type[16] || type[16] == ';');
}

static void reject(struct request *request, unsigned int status, const char *why)
{
	drop_body(request);
	request->status = status;
	request->why = why;
}

/* ---- reviews ---- */

static size_t body_max(const struct server *server)
{
	return (size_t)server->options->body_kib << 10;
}

/* Returns the body's length in bytes as the head declares it, or 0 if the head does not. */
static uint64_t content_length(struct MHD_Connection *connection)
{
	const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_LENGTH);

	return text ? strtoull(text, NULL, 10) : 0;
}

/* Rejects a request that is wrong by its head alone. */
static void check_head(const struct server *server, struct MHD_Connection *connection,
		       const char *url, const char *method, struct request *request)
{
	if (strcmp(url, "/review"))
		reject(request, MHD_HTTP_NOT_FOUND, "only /review is here\n");
	else if (strcmp(method, MHD_HTTP_METHOD_POST))
		reject(request, MHD_HTTP_METHOD_NOT_ALLOWED, "only POST\n");
	else if (!is_json(connection))
		reject(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "only application/json\n");
	else if (content_length(connection) > body_max(server))
		reject(request, MHD_HTTP_CONTENT_TOO_LARGE, too_large);
}

static void take(struct server *server, struct guard_connection *guarded, struct request *request,
		 const char *data, size_t len)
{
	if (request->body.len + len > body_max(server))
		reject(request, MHD_HTTP_CONTENT_TOO_LARGE, too_large);
	else if (!guard_reserve(server->reviews, guarded, len))
		reject(request, MHD_HTTP_SERVICE_UNAVAILABLE, too_many);
	else
		text_append(&request->body, data, len);
	if (request->body.failed)
		reject(request, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
}

static enum MHD_Result on_head(struct server *server, struct MHD_Connection *connection,
			       const char *url, const char *method, void **context)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return MHD_NO;
	*context = request;
	guard_begin(server->reviews, guarded(connection), clock_now_ns());
	check_head(server, connection, url, method, request);
	if (request->status &&
	    content_length(connection) > (uint64_t)body_max(server) * DISCARD_FACTOR)
		return refuse(server, connection, request);
	return MHD_YES;
}

/* Handler of the HTTPS port. The first call for a request comes before its body, and the last one
 * after it. */
static enum MHD_Result on_review(void *arg, struct MHD_Connection *connection, const char *url,
				 const char *method, const char *version, const char *data,
				 size_t *len, void **context)
{
	struct server *server = arg;
	struct request *request = *context;

	(void)version;
	if (!request)
		return on_head(server, connection, url, method, context);
	if (*len) {
		if (!request->status)
			take(server, guarded(connection), request, data, *len);
		*len = 0;
		return MHD_YES;
	}
	return request->status ? refuse(server, connection, request)
			       : review(server, connection, request);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct request *request = *context;
	struct server *server = arg;

	(void)code;
	if (request)
		drop_body(request);
	free(request);
	*context = NULL;
	guard_end(server->reviews, guarded(connection), clock_now_ns());
}

/* ---- status ---- */

static void on_status_completed(void *arg, struct MHD_Connection *connection, void **context,
				enum MHD_RequestTerminationCode code)
{
	struct server *server = arg;

	(void)context;
	(void)code;
	guard_end(server->statuses, guarded(connection), clock_now_ns());
}

/* Handler of the plain HTTP port. */
static enum MHD_Result on_status(void *arg, struct MHD_Connection *connection, const char *url,
				 const char *method, const char *version, const char *data,
				 size_t *len, void **context)
{
	struct server *server = arg;
	struct text text = {0};

	(void)version;
	(void)data;
	*len = 0;
	if (!*context) { /* first call, for the head; MHD calls again, then on_status_completed */
		*context = server;
		guard_begin(server->statuses, guarded(connection), clock_now_ns());
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
	if (!strcmp(url, "/healthz"))
		return answer_text(connection, MHD_HTTP_OK, "ok\n");
	if (!strcmp(url, "/readyz"))
		return atomic_load(&server->leaving)
			       ? answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "leaving\n")
			       : answer_text(connection, MHD_HTTP_OK, "ok\n");
	if (strcmp(url, "/metrics"))
		return answer_text(connection, MHD_HTTP_NOT_FOUND,
				   "only /healthz, /readyz and /metrics are here\n");
	metrics_print(&server->metrics, certificate_not_after(), &text);
	metrics_print_guard(guard_counts(server->reviews), &text);
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
		      text_take(&text));
}

/* ---- daemons ---- */

static void notify(struct guard *guard, struct MHD_Connection *connection, void **context,
		   enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *address, *fd;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) { /* before the descriptor is closed */
		guard_close(guard, *context);
		*context = NULL;
		return;
	}
	address = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	*context = guard_open(guard, fd->connect_fd, address->client_addr, clock_now_ns());
}

static void on_review_connection(void *arg, struct MHD_Connection *connection, void **context,
				 enum MHD_ConnectionNotificationCode code)
{
	notify(((struct server *)arg)->reviews, connection, context, code);
}

static void on_status_connection(void *arg, struct MHD_Connection *connection, void **context,
				 enum MHD_ConnectionNotificationCode code)
{
	notify(((struct server *)arg)->statuses, connection, context, code);
}

/* Listens on both address families if the machine has IPv6, otherwise on IPv4. */
static struct MHD_Daemon *start(unsigned int flags, unsigned int port,
				MHD_AccessHandlerCallback handler, struct server *server,
				const struct MHD_OptionItem *options)
{
	unsigned int both = MHD_is_feature_supported(MHD_FEATURE_IPv6) ? MHD_USE_DUAL_STACK : 0;
	struct MHD_Daemon *daemon = NULL;
	int attempt;

	/* A thread that has reached its connection limit ignores the listening socket. Without ITC
	 * it would not notice that it must stop. */
	flags |= MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC;
	for (attempt = both ? 0 : 1; !daemon && attempt < 2; attempt++)
		daemon = MHD_start_daemon(flags | (attempt ? 0 : both), (uint16_t)port, NULL, NULL,
					  handler, server, MHD_OPTION_ARRAY, options,
					  MHD_OPTION_END);
	if (!daemon)
		log_error("port %u: %s", port, strerror(errno));
	return daemon;
}

static struct MHD_Daemon *start_review(struct server *server, const struct server_options *options,
				       unsigned int connections)
{
	const struct MHD_OptionItem items[] = {
		{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(intptr_t)certificate_retrieve},
		/* API servers spoke these versions long before Kubernetes 1.30. */
		{MHD_OPTION_HTTPS_PRIORITIES, 0, "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
		{MHD_OPTION_THREAD_POOL_SIZE, options->threads > 1 ? options->threads : 0, NULL},
		/* Never reached: the guard cuts connections earlier. */
		{MHD_OPTION_CONNECTION_LIMIT, connections + GUARD_SPARE, NULL},
		{MHD_OPTION_CONNECTION_TIMEOUT, SILENT_S, NULL},
		{MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEAD_MEMORY, NULL},
		{MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_review_connection, server},
		{MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, server},
		{MHD_OPTION_END, 0, NULL},
	};

	return start(MHD_USE_TLS, options->port, on_review, server, items);
}

static struct MHD_Daemon *start_status(struct server *server, const struct server_options *options)
{
	const struct MHD_OptionItem items[] = {
		{MHD_OPTION_CONNECTION_LIMIT, STATUS_CONNECTIONS + GUARD_SPARE, NULL},
		{MHD_OPTION_CONNECTION_TIMEOUT, SILENT_S, NULL},
		{MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEAD_MEMORY, NULL},
		{MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_status_connection, server},
		{MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_status_completed, server},
		{MHD_OPTION_END, 0, NULL},
	};

	return start(0, options->status_port, on_status, server, items);
}

static void refresh(struct server *server, bool *failing)
{
	struct error err;
	int ret = certificate_refresh(&err);

	if (ret > 0) {
		atomic_fetch_add(&server->metrics.reloads, 1);
		log_info("the certificate has changed, and is in use");
	} else if (ret < 0 && !*failing) {
		atomic_fetch_add(&server->metrics.reload_failures, 1);
		log_warn("the certificate has changed, and the old one stays in use: %s", err.text);
	}
	*failing = ret < 0;
}

/* Waits for one of `signals`, for at most `seconds`, or without limit if that is 0. While it waits
 * it refreshes the certificate and cuts connections whose deadline has passed. */
static void wait_signal(struct server *server, const sigset_t *signals, unsigned int seconds)
{
	const struct timespec tick = {REFRESH_S, 0};
	unsigned int passed = 0;
	bool failing = false;

	while (sigtimedwait(signals, NULL, &tick) < 0) {
		passed += REFRESH_S;
		if (seconds && passed >= seconds)
			return;
		refresh(server, &failing);
		guard_sweep(server->reviews, clock_now_ns());
		guard_sweep(server->statuses, clock_now_ns());
	}
}

/*
 * Returns how many connections the process may accept, at most `wanted`, without ever running out
 * of descriptors: a server that cannot accept connections does not answer probes either. Returns 0
 * if the descriptors do not suffice for LEAST_CONNECTIONS; the log then says so.
 */
static unsigned int affordable_connections(unsigned int wanted)
{
	const unsigned int others = STATUS_CONNECTIONS + 2 * GUARD_SPARE + SPARE_DESCRIPTORS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted + others)
		return wanted;
	limit.rlim_cur = limit.rlim_max < wanted + others ? limit.rlim_max : wanted + others;
	if (!setrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur == wanted + others)
		return wanted;
	if (limit.rlim_cur < others + LEAST_CONNECTIONS) {
		log_error("RLIMIT_NOFILE is %llu: raise it to %u at least",
			  (unsigned long long)limit.rlim_cur, others + LEAST_CONNECTIONS);
		return 0;
	}
	log_warn("RLIMIT_NOFILE is %llu: %u connections instead of %u",
		 (unsigned long long)limit.rlim_cur, (unsigned int)limit.rlim_cur - others, wanted);
	return (unsigned int)limit.rlim_cur - others;
}

/* Returns how many connections the HTTPS port accepts, or 0 with the reason logged. */
static unsigned int start_guards(struct server *server, const struct server_options *options)
{
	unsigned int connections = affordable_connections(options->connections);
	const struct guard_limits reviews = {
		.connections = connections,
		.per_address = options->per_address,
		.bytes = BODIES_MAX,
		.small = BODY_SMALL,
		.first_s = FIRST_S,
		.request_s = REQUEST_S,
		.idle_s = IDLE_S,
		.cut = shutdown,
	};
	const struct guard_limits statuses = {
		.connections = STATUS_CONNECTIONS,
		.per_address = STATUS_PER_ADDRESS,
		.first_s = STATUS_S,
		.request_s = STATUS_S,
		.idle_s = IDLE_S,
		.cut = shutdown,
	};

	if (!connections)
		return 0;
	server->reviews = guard_create(&reviews);
	server->statuses = guard_create(&statuses);
	if (server->reviews && server->statuses)
		return connections;
	log_error("out of memory");
	return 0;
}

/*
 * Returns freed memory to the system, by mapping and unmapping large blocks. Two heaps serve all
 * threads, so that one thread can reuse what another has freed.
 */
static void tame_malloc(void)
{
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

int server_run(const struct injection *injection, const struct server_options *options)
{
	struct server server = {.injection = injection,
				.options = options,
				.limit = {options->values, ADMISSION_DEPTH},
				.heavy = PTHREAD_MUTEX_INITIALIZER};
	struct MHD_Daemon *review_daemon = NULL, *status_daemon = NULL;
	struct error err;
	sigset_t signals;
	unsigned int connections;
	int status = 1;

	tame_malloc();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL); /* before threads start, since they inherit it */
	signal(SIGPIPE, SIG_IGN);
	if (certificate_open(options->certificate, options->key, &err)) {
		log_error("%s", err.text);
		return 1;
	}
	connections = start_guards(&server, options);
	if (connections)
		review_daemon = start_review(&server, options, connections);
	if (review_daemon)
		status_daemon = start_status(&server, options);
	if (status_daemon) {
		log_info("serving reviews on port %u, status on port %u", options->port,
			 options->status_port);
		wait_signal(&server, &signals, 0);
		atomic_store(&server.leaving, true);
		log_info("leaving in %u s", options->drain_s);
		if (options->drain_s)
			wait_signal(&server, &signals, options->drain_s);
		status = 0;
	}
	if (review_daemon)
		MHD_stop_daemon(review_daemon);
	if (status_daemon)
		MHD_stop_daemon(status_daemon);
	guard_destroy(server.reviews);
	guard_destroy(server.statuses);
	certificate_close();
	return status;
}

// SPDX-License-Identifier: Apache-2.0
#include "deploy/injector/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "deploy/injector/admission.h"
#include "deploy/injector/certificate.h"
#include "deploy/injector/metrics.h"
#include "deploy/injector/text.h"
#include "sidecar/base/log.h"

#define REFRESH_S 1

struct server {
	const struct injection *injection;
	struct metrics metrics;
	atomic_bool leaving;
};

/* A request while its body arrives. */
struct request {
	struct text body;
	bool too_large;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Takes `text`, which may be NULL for out of memory. */
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
			      unsigned int status, const char *text)
{
	atomic_fetch_add(&server->metrics.refused, 1);
	return answer_text(connection, status, text);
}

static void log_review(const struct admission *admission)
{
	switch (admission->result) {
	case ADMISSION_INJECTED: log_info("pod %s: injected", admission->pod); break;
	case ADMISSION_DENIED:
		log_info("pod %s: denied: %s", admission->pod, admission->message);
		break;
	case ADMISSION_UNCHANGED: log_debug("pod %s: unchanged", admission->pod); break;
	case ADMISSION_MALFORMED: log_warn("malformed review: %s", admission->message); break;
	default: log_error("pod %s: out of memory", admission->pod);
	}
}

static enum MHD_Result review(struct server *server, struct MHD_Connection *connection,
			      const struct request *request)
{
	uint64_t start = now_ns();
	struct admission admission;
	enum MHD_Result ret;

	admission_review(server->injection, request->body.data ? request->body.data : "",
			 request->body.len, &admission);
	if (admission.response)
		ret = answer(connection, MHD_HTTP_OK, "application/json", admission.response);
	else
		ret = answer_text(connection,
				  admission.result == ADMISSION_MALFORMED
					  ? MHD_HTTP_BAD_REQUEST
					  : MHD_HTTP_INTERNAL_SERVER_ERROR,
				  *admission.message ? admission.message : "out of memory");
	metrics_add(&server->metrics, admission.result, now_ns() - start);
	log_review(&admission);
	return ret;
}

static bool is_json(struct MHD_Connection *connection)
{
	const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
						       MHD_HTTP_HEADER_CONTENT_TYPE);

	return type && !strncasecmp(type, "application/json", 16) && (!type[16] || type[16] == ';');
}

/* Of the HTTPS port. The first call for a request has no body yet, the last one has no more. */
static enum MHD_Result on_review(void *arg, struct MHD_Connection *connection, const char *url,
				 const char *method, const char *version, const char *data,
				 size_t *len, void **context)
{
	struct server *server = arg;
	struct request *request = *context;

	(void)version;
	if (!request) {
		*context = calloc(1, sizeof(*request));
		return *context ? MHD_YES : MHD_NO;
	}
	if (*len) {
		request->too_large |= request->body.len + *len > SERVER_BODY_MAX;
		if (!request->too_large)
			text_append(&request->body, data, *len);
		*len = 0;
		return MHD_YES;
	}
	if (strcmp(url, "/review"))
		return refuse(server, connection, MHD_HTTP_NOT_FOUND, "only /review is here\n");
	if (strcmp(method, MHD_HTTP_METHOD_POST))
		return refuse(server, connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only POST\n");
	if (request->too_large)
		return refuse(server, connection, MHD_HTTP_CONTENT_TOO_LARGE, "above 8 MiB\n");
	if (!is_json(connection))
		return refuse(server, connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
			      "only application/json\n");
	if (request->body.failed)
		return refuse(server, connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
			      "out of memory\n");
	return review(server, connection, request);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct request *request = *context;

	(void)arg;
	(void)connection;
	(void)code;
	if (request)
		free(request->body.data);
	free(request);
	*context = NULL;
}

/* Of the plain port. */
static enum MHD_Result on_status(void *arg, struct MHD_Connection *connection, const char *url,
				 const char *method, const char *version, const char *data,
				 size_t *len, void **context)
{
	struct server *server = arg;
	struct text text = {0};

	(void)version;
	(void)data;
	(void)context;
	*len = 0;
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
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
		      text_take(&text));
}

/* Both families where the machine has IPv6, else IPv4. */
static struct MHD_Daemon *start(unsigned int flags, unsigned int port,
				MHD_AccessHandlerCallback handler, struct server *server,
				const struct MHD_OptionItem *options)
{
	unsigned int both = MHD_is_feature_supported(MHD_FEATURE_IPv6) ? MHD_USE_DUAL_STACK : 0;
	struct MHD_Daemon *daemon = NULL;
	int attempt;

	flags |= MHD_USE_EPOLL_INTERNAL_THREAD;
	for (attempt = both ? 0 : 1; !daemon && attempt < 2; attempt++)
		daemon = MHD_start_daemon(flags | (attempt ? 0 : both), (uint16_t)port, NULL, NULL,
					  handler, server, MHD_OPTION_ARRAY, options,
					  MHD_OPTION_END);
	if (!daemon)
		log_error("port %u: %s", port, strerror(errno));
	return daemon;
}

static struct MHD_Daemon *start_review(struct server *server, const struct server_options *options)
{
	const struct MHD_OptionItem items[] = {
		{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(intptr_t)certificate_retrieve},
		/* What the API server speaks since long before 1.30. */
		{MHD_OPTION_HTTPS_PRIORITIES, 0, "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
		{MHD_OPTION_THREAD_POOL_SIZE, options->threads > 1 ? options->threads : 0, NULL},
		{MHD_OPTION_CONNECTION_LIMIT, SERVER_CONNECTIONS, NULL},
		{MHD_OPTION_CONNECTION_TIMEOUT, SERVER_IDLE_S, NULL},
		{MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, server},
		{MHD_OPTION_END, 0, NULL},
	};

	return start(MHD_USE_TLS, options->port, on_review, server, items);
}

static struct MHD_Daemon *start_status(struct server *server, const struct server_options *options)
{
	static const struct MHD_OptionItem items[] = {
		{MHD_OPTION_CONNECTION_LIMIT, 32, NULL},
		{MHD_OPTION_CONNECTION_TIMEOUT, 10, NULL},
		{MHD_OPTION_END, 0, NULL},
	};

	return start(0, options->status_port, on_status, server, items);
}

static void refresh(struct server *server, bool *failing)
{
	struct config_error err;
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

/* Waits for one of `signals` with an eye on the certificate; for `seconds`, or for ever if 0. */
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
	}
}

int server_run(const struct injection *injection, const struct server_options *options)
{
	struct server server = {.injection = injection};
	struct MHD_Daemon *review_daemon = NULL, *status_daemon = NULL;
	struct config_error err;
	sigset_t signals;
	int status = 1;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL); /* before threads start, which inherit it */
	signal(SIGPIPE, SIG_IGN);
	if (certificate_open(options->certificate, options->key, &err)) {
		log_error("%s", err.text);
		return 1;
	}
	review_daemon = start_review(&server, options);
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
	certificate_close();
	return status;
}

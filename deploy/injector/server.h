/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The webhook: POST /review over HTTPS (one port), and GET /healthz, /readyz and /metrics in plain
 * HTTP (another). Stateless; libmicrohttpd's threads serve, and share nothing but counters.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_SERVER_H
#define UDPLANE_DEPLOY_INJECTOR_SERVER_H

#include "deploy/injector/injection.h"

/* A review holds a pod twice at most, and the API server takes no object above 3 MiB. */
#define SERVER_BODY_MAX	   (8u << 20)
#define SERVER_CONNECTIONS 512
#define SERVER_IDLE_S	   90

struct server_options {
	unsigned int port, status_port, threads;
	unsigned int drain_s; /* served on after SIGTERM, while the cluster learns of it */
	const char *certificate, *key;
};

/* Serves until SIGTERM or SIGINT. Returns the process's exit status, and logs what went wrong. */
int server_run(const struct injection *injection, const struct server_options *options);

#endif

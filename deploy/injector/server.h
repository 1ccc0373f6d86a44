/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The webhook: POST /review over HTTPS (one port), and GET /healthz, /readyz and /metrics in plain
 * HTTP (another). Stateless; libmicrohttpd's threads serve, and share counters and a guard.
 *
 * Whoever reaches the port may send anything: so memory is bounded for all together, and who is
 * slow or takes too much is cut (guard.h), so that the API server's next connection and the
 * kubelet's probe are always taken.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_SERVER_H
#define UDPLANE_DEPLOY_INJECTOR_SERVER_H

#include "deploy/injector/injection.h"

/* A review holds a pod twice at most, of etcd's 1.5 MiB; the rest is for JSON and the envelope. */
#define SERVER_BODY_KIB	   4096
#define SERVER_CONNECTIONS 512
/* API servers come from few addresses, with a connection for each request at the same time. */
#define SERVER_PER_ADDRESS 256

struct server_options {
	unsigned int port, status_port, threads;
	unsigned int drain_s; /* served on after SIGTERM, while the cluster learns of it */
	const char *certificate, *key;
	unsigned int body_kib, values;	       /* of a review, at most */
	unsigned int connections, per_address; /* at most, of the HTTPS port */
};

/* Serves until SIGTERM or SIGINT. Returns the process's exit status, and logs what went wrong. */
int server_run(const struct injection *injection, const struct server_options *options);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The webhook. One port serves POST /review over HTTPS, another one GET /healthz, /readyz and
 * /metrics in plain HTTP. It is stateless. The threads of libmicrohttpd serve, and share counters
 * and a guard.
 *
 * Anybody who reaches the port may send anything. Memory is therefore bounded for all connections
 * together, and connections that are slow or take too much are cut (guard.h), so that the API
 * server's next connection and the kubelet's probe are always accepted.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_SERVER_H
#define UDPLANE_DEPLOY_INJECTOR_SERVER_H

#include "deploy/injector/injection.h"

/* A review contains a pod at most twice, each of at most etcd's 1.5 MiB; the rest is for JSON and
 * the envelope. */
#define SERVER_BODY_KIB	   4096
#define SERVER_CONNECTIONS 512
/* API servers call from few addresses, and open one connection per simultaneous request. */
#define SERVER_PER_ADDRESS 256

struct server_options {
	unsigned int port, status_port, threads;
	unsigned int drain_s; /* how long to serve after SIGTERM, while the cluster learns of it */
	const char *certificate, *key;
	unsigned int body_kib, values;	       /* limits of a review */
	unsigned int connections, per_address; /* limits of the HTTPS port */
};

/* Serves until SIGTERM or SIGINT, and logs errors. Returns the process's exit status. */
int server_run(const struct injection *injection, const struct server_options *options);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
// What a lookup and a table cost. Prints the median and extremes of rounds; `route_bench`.
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <udplane/clock.h>

#include "sidecar/route/route.h"

enum { DEVICE = 7, ROUNDS = 31, LOOKUPS = 200000, DESTINATIONS = 1024 };

struct host {
	struct route_addr addrs[4];
	struct route_route *routes;
	struct route_neigh *neighs;
	struct route_input in;
};

static void address(struct host *h, const char *text, int prefix_len, int scope)
{
	struct route_addr *a = &h->addrs[h->in.addr_cnt++];

	a->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	a->prefix_len = (uint8_t)prefix_len;
	a->ifindex = DEVICE;
	a->scope = (uint8_t)scope;
	inet_pton(a->family, text, a->addr);
}

static struct route_route *route(struct host *h, const char *text, int prefix_len,
				 const char *gateway)
{
	struct route_route *r = &h->routes[h->in.route_cnt++];

	r->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	r->prefix_len = (uint8_t)prefix_len;
	r->type = RTN_UNICAST;
	r->table = RT_TABLE_MAIN;
	r->ifindex = DEVICE;
	inet_pton(r->family, text, r->dst);
	if (gateway) {
		r->has_gateway = true;
		r->gateway_family = r->family;
		inet_pton(r->family, gateway, r->gateway);
	}
	return r;
}

static void neigh(struct host *h, const char *text)
{
	struct route_neigh *n = &h->neighs[h->in.neigh_cnt++];

	n->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	n->ifindex = DEVICE;
	n->state = NUD_REACHABLE;
	n->mac[5] = 1;
	inet_pton(n->family, text, n->addr);
}

static struct host *pod(uint32_t more_routes, const uint8_t *len, uint32_t len_cnt)
{
	struct host *h = calloc(1, sizeof(*h));
	char text[64];
	uint32_t i;

	h->routes = calloc(more_routes + 16, sizeof(*h->routes));
	h->neighs = calloc(2048, sizeof(*h->neighs));
	h->in = (struct route_input){.ifindex = DEVICE,
				     .mtu = 1500,
				     .up = true,
				     .addrs = h->addrs,
				     .routes = h->routes,
				     .neighs = h->neighs};
	address(h, "10.0.0.2", 22, 0);
	address(h, "2001:db8::2", 64, 0);
	address(h, "fe80::2", 64, RT_SCOPE_LINK);
	route(h, "10.0.0.0", 22, NULL)->scope = RT_SCOPE_LINK;
	route(h, "0.0.0.0", 0, "10.0.0.1");
	route(h, "2001:db8::", 64, NULL);
	route(h, "fe80::", 64, NULL);
	route(h, "::", 0, "fe80::1");
	neigh(h, "fe80::1");
	for (i = 1; i < 900; i++) {
		if (i == 2)
			continue;
		snprintf(text, sizeof(text), "10.0.%u.%u", i >> 8, i & 255);
		neigh(h, text);
		snprintf(text, sizeof(text), "2001:db8::%x", i);
		neigh(h, text);
	}
	for (i = 0; i < more_routes; i++) {
		snprintf(text, sizeof(text), "%u.%u.%u.0", 20 + i % 150, i / 150 % 256,
			 i * 7 % 256);
		route(h, text, len[i % len_cnt], "10.0.0.1");
	}
	return h;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *what, double *ns, const char *unit)
{
	qsort(ns, ROUNDS, sizeof(*ns), compare);
	printf("%-44s %8.1f (%.1f-%.1f) %s\n", what, ns[ROUNDS / 2], ns[0], ns[ROUNDS - 1], unit);
}

static void bench(const char *what, const struct route_table *t, uint8_t family, uint8_t (*dst)[16],
		  uint32_t cnt, const void *src)
{
	double ns[ROUNDS];
	uint64_t sum = 0;
	struct route_hop hop;
	uint32_t r, i;

	for (r = 0; r < ROUNDS; r++) {
		double start = (double)clock_now_ns();

		for (i = 0; i < LOOKUPS; i++)
			sum += route_lookup(t, family, dst[i % cnt], src, &hop) + hop.neigh;
		ns[r] = ((double)clock_now_ns() - start) / LOOKUPS;
	}
	report(what, ns, sum ? "ns" : "ns ");
}

int main(void)
{
	static const uint8_t len[] = {24, 26, 32, 16, 17, 18, 19, 20, 21,
				      22, 23, 25, 27, 28, 29, 30, 31};
	static const struct {
		uint32_t route_cnt, len_cnt;
	} sizes[] = {{0, 1}, {10000, 3}, {10000, sizeof(len)}};
	static uint8_t near4[DESTINATIONS][16], far4[DESTINATIONS][16], near6[DESTINATIONS][16],
		far6[DESTINATIONS][16];
	const uint8_t own[4] = {10, 0, 0, 2};
	double ns[ROUNDS];
	uint32_t i, r;

	for (i = 0; i < DESTINATIONS; i++) {
		uint32_t host = 3 + i % 800;
		const uint8_t four[4] = {10, 0, (uint8_t)(host >> 8), (uint8_t)host};

		memcpy(near4[i], four, 4);
		far4[i][0] = (uint8_t)(20 + rand() % 200);
		far4[i][1] = (uint8_t)rand();
		far4[i][2] = (uint8_t)rand();
		far4[i][3] = (uint8_t)rand();
		inet_pton(AF_INET6, "2001:db8::", near6[i]);
		near6[i][14] = (uint8_t)(host >> 8);
		near6[i][15] = (uint8_t)host;
		inet_pton(AF_INET6, "2600:1::", far6[i]);
		far6[i][15] = (uint8_t)i;
	}
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct host *h = pod(sizes[i].route_cnt, len, sizes[i].len_cnt);
		struct route_table *t = route_table_build(&h->in);

		printf("%u routes, %u lengths among those via the gateway, %u neighbours\n",
		       h->in.route_cnt, sizes[i].len_cnt, h->in.neigh_cnt);
		bench("IPv4 on link, one destination", t, AF_INET, near4, 1, NULL);
		bench("IPv4 on link, 1024 destinations", t, AF_INET, near4, DESTINATIONS, NULL);
		bench("IPv4 via gateway, 1024 destinations", t, AF_INET, far4, DESTINATIONS, NULL);
		bench("IPv4 via gateway, 1024, own source given", t, AF_INET, far4, DESTINATIONS,
		      own);
		bench("IPv6 on link, 1024 destinations", t, AF_INET6, near6, DESTINATIONS, NULL);
		bench("IPv6 via gateway, 1024 destinations", t, AF_INET6, far6, DESTINATIONS, NULL);
		for (r = 0; r < ROUNDS; r++) {
			double start = (double)clock_now_ns();
			struct route_table *again = route_table_build(&h->in);

			ns[r] = ((double)clock_now_ns() - start) / 1000;
			route_table_destroy(again);
		}
		report("build", ns, "us");
		route_table_destroy(t);
		free(h->routes);
		free(h->neighs);
		free(h);
	}
	return 0;
}

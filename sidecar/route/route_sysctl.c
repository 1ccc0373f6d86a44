/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/route/route_sysctl.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Returns the number in the file, from 0 to 255, or -1 if it cannot be read or is another one. */
static int read_number(const char *root, const char *name)
{
	char path[256], text[16];
	ssize_t len;
	long value;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return -1;
	text[len] = 0;
	value = strtol(text, NULL, 10);
	return value >= 0 && value <= 255 ? (int)value : -1;
}

bool route_sysctl_read(struct route_sysctl *s, const char *root, const char *ifname)
{
	const struct route_sysctl old = *s;
	int ttl = read_number(root, "ipv4/ip_default_ttl");
	int all = read_number(root, "ipv4/conf/all/rp_filter");
	char name[64];
	int own;

	snprintf(name, sizeof(name), "ipv4/conf/%s/rp_filter", ifname);
	own = read_number(root, name);
	if (ttl > 0)
		s->ttl4 = (uint8_t)ttl;
	if (all >= 0 && own >= 0)
		s->rp_filter = (uint8_t)(all > own ? all : own);
	return s->ttl4 != old.ttl4 || s->rp_filter != old.rp_filter;
}

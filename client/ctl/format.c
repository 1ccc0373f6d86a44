/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/format.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

char *format_host(char out[FORMAT_ADDR_SIZE], const struct udplane_addr *a)
{
	size_t len;

	out[0] = 0;
	if (a->family != AF_INET && a->family != AF_INET6)
		return out;
	inet_ntop(a->family, a->addr, out, FORMAT_ADDR_SIZE);
	len = strlen(out);
	if (a->family == AF_INET6 && a->scope_id)
		snprintf(out + len, FORMAT_ADDR_SIZE - len, "%%%u", a->scope_id);
	return out;
}

char *format_addr(char out[FORMAT_ADDR_SIZE], const struct udplane_addr *a)
{
	char host[FORMAT_ADDR_SIZE];
	unsigned int port = ntohs(a->port_be);

	format_host(host, a);
	if (!host[0])
		snprintf(out, FORMAT_ADDR_SIZE, "-");
	else if (udplane_addr_is_any(a))
		snprintf(out, FORMAT_ADDR_SIZE, "%s:%u", a->family == AF_INET ? "*" : "[*]", port);
	else if (a->family == AF_INET)
		snprintf(out, FORMAT_ADDR_SIZE, "%.15s:%u", host, port);
	else
		snprintf(out, FORMAT_ADDR_SIZE, "[%.54s]:%u", host, port);
	return out;
}

char *format_prefix(char out[FORMAT_ADDR_SIZE], const struct udplane_prefix *p)
{
	struct udplane_addr a = {.family = p->family};
	char host[FORMAT_ADDR_SIZE];

	memcpy(a.addr, p->addr, sizeof(a.addr));
	snprintf(out, FORMAT_ADDR_SIZE, "%.45s/%u", format_host(host, &a), p->len);
	return out;
}

char *format_duration(char out[FORMAT_SIZE], uint64_t ns)
{
	unsigned long long s = ns / 1000000000, m = s / 60, h = m / 60, d = h / 24;

	if (d)
		snprintf(out, FORMAT_SIZE, "%llud %02lluh %02llum", d, h % 24, m % 60);
	else if (h)
		snprintf(out, FORMAT_SIZE, "%lluh %02llum %02llus", h, m % 60, s % 60);
	else if (m)
		snprintf(out, FORMAT_SIZE, "%llum %02llus", m, s % 60);
	else
		snprintf(out, FORMAT_SIZE, "%llus", s);
	return out;
}

char *format_bytes(char out[FORMAT_SIZE], uint64_t bytes)
{
	static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes / 1024;
	unsigned int i = 0;

	if (bytes < 1024) {
		snprintf(out, FORMAT_SIZE, "%u B", (unsigned int)bytes);
		return out;
	}
	for (; value >= 1024 && i < 3; i++)
		value /= 1024;
	snprintf(out, FORMAT_SIZE, "%.1f %s", value, unit[i]);
	return out;
}

char *format_rate(char out[FORMAT_SIZE], double rate)
{
	static const char *const unit[] = {"", "k", "M", "G"};
	unsigned int i = 0;

	for (; rate >= 999.5 && i < 3; i++)
		rate /= 1000;
	if (i)
		snprintf(out, FORMAT_SIZE, "%.*f%s",
			 rate < 9.995	? 2
			 : rate < 99.95 ? 1
					: 0,
			 rate, unit[i]);
	else
		snprintf(out, FORMAT_SIZE, "%.*f", rate > 0 && rate < 99.95 ? 1 : 0, rate);
	return out;
}

char *format_share(char out[FORMAT_SIZE], double share)
{
	if (!(share > 0))
		share = 0;
	if (share > 1)
		share = 1;
	snprintf(out, FORMAT_SIZE, "%.1f %%", 100 * share);
	return out;
}

static bool has_port(const uint8_t *bitmap, uint32_t port)
{
	return port < 65536 && bitmap[port >> 3] >> (port & 7) & 1;
}

uint32_t format_ports(char *out, const uint8_t *bitmap)
{
	uint32_t cnt = 0, low, high;
	size_t len = 0;

	out[0] = 0;
	for (low = 0; low < 65536; low = high + 1) {
		high = low;
		if (!has_port(bitmap, low))
			continue;
		while (has_port(bitmap, high + 1))
			high++;
		cnt += high - low + 1;
		len += (size_t)sprintf(out + len, low == high ? "%s%u" : "%s%u-%u", len ? "," : "",
				       low, high);
	}
	return cnt;
}

void format_cut_ports(char *ports, size_t width)
{
	size_t at;

	if (strlen(ports) <= width || width < 8)
		return;
	for (at = width - 4; at > 1 && ports[at] != ','; at--)
		;
	strcpy(ports + at, ",...");
}

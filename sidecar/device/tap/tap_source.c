/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and routes for the TAP: from options, from what was saved, or from the annotation. */
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sidecar/base/log.h"
#include "sidecar/config/annotations.h"
#include "sidecar/device/tap/tap.h"

#define NETWORK_STATUS "k8s.v1.cni.cncf.io/network-status"
#define FILE_MAX       (1 << 20)
#define MTU_MIN	       68
#define MTU_MAX	       65535
/* The annotation has addresses without their prefix length. */
#define ASSUMED_LEN4 24
#define ASSUMED_LEN6 64

bool tap_parse_mac(const char *s, uint8_t mac[6])
{
	unsigned v[6];
	int used = 0;

	if (sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
		   &used) != 6 ||
	    s[used])
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)v[i];
	return true;
}

/* Parses "ADDR" or "ADDR/LEN". default_len 0: LEN is required; 255: LEN is not allowed. Returns
 * false for anything else. */
static bool parse_prefix(const char *s, uint8_t default4, uint8_t default6, uint8_t *family,
			 uint8_t *len, uint8_t addr[16])
{
	char ip[INET6_ADDRSTRLEN];
	const char *slash = strchr(s, '/');
	size_t n = slash ? (size_t)(slash - s) : strlen(s);
	unsigned long v;
	char *end;

	if (n >= sizeof(ip))
		return false;
	memcpy(ip, s, n);
	ip[n] = 0;
	memset(addr, 0, 16);
	*family = strchr(ip, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(*family, ip, addr) != 1)
		return false;
	*len = *family == AF_INET ? default4 : default6;
	if (!slash)
		return *len != 0;
	v = strtoul(slash + 1, &end, 10);
	*len = (uint8_t)v;
	return slash[1] >= '0' && slash[1] <= '9' && !*end && v <= (*family == AF_INET ? 32 : 128);
}

static bool add_address(struct tap_config *out, const char *s, uint8_t default4, uint8_t default6)
{
	struct tap_addr *a = &out->addr[out->addr_cnt];

	if (out->addr_cnt == TAP_ADDRS ||
	    !parse_prefix(s, default4, default6, &a->family, &a->prefix_len, a->addr) ||
	    !a->prefix_len)
		return false;
	out->addr_cnt++;
	return true;
}

static bool add_gateway(struct tap_config *out, const char *s)
{
	struct tap_route *r = &out->route[out->route_cnt];
	uint8_t len;

	if (out->route_cnt == TAP_ROUTES || strchr(s, '/'))
		return false;
	memset(r, 0, sizeof(*r));
	if (!parse_prefix(s, 32, 128, &r->family, &len, r->gateway))
		return false;
	r->has_gateway = true;
	out->route_cnt++;
	return true;
}

/* --- lists --- */

static int each_item(const char *list, struct tap_config *out,
		     bool (*add)(struct tap_config *, const char *), const char *key,
		     const char *allowed, struct error *error)
{
	char copy[256], *at = copy, *item;

	snprintf(copy, sizeof(copy), "%s", list);
	while ((item = strsep(&at, ","))) {
		if (add(out, item))
			continue;
		return error_set(error, -EINVAL, "%s \"%s\": \"%s\" is not what is allowed: %s",
				 key, list, item, allowed);
	}
	return 0;
}

static bool add_with_len(struct tap_config *out, const char *s)
{
	return add_address(out, s, 0, 0);
}

int tap_source_addresses(const char *list, struct tap_config *out, struct error *error)
{
	return each_item(list, out, add_with_len, "address",
			 "ADDRESS/LENGTH, comma-separated, at most 16", error);
}

int tap_source_gateways(const char *list, struct tap_config *out, struct error *error)
{
	return each_item(list, out, add_gateway, "gateway",
			 "addresses without length, comma-separated", error);
}

/* --- saved file --- */

static bool parse_route(char *rest, struct tap_config *out)
{
	struct tap_route *r = &out->route[out->route_cnt];
	char *word = strsep(&rest, " "), *value;
	uint8_t family, len;

	if (out->route_cnt == TAP_ROUTES || !word)
		return false;
	memset(r, 0, sizeof(*r));
	if (strcmp(word, "default") &&
	    !parse_prefix(word, 32, 128, &r->family, &r->prefix_len, r->dst))
		return false;
	while ((word = strsep(&rest, " ")) && (value = strsep(&rest, " "))) {
		if (!strcmp(word, "via") &&
		    parse_prefix(value, 32, 128, &family, &len, r->gateway)) {
			r->has_gateway = true;
			r->family = family;
		} else if (!strcmp(word, "metric")) {
			r->metric = (uint32_t)strtoul(value, NULL, 10);
		} else {
			return false;
		}
	}
	if (!r->family || word)
		return false;
	out->route_cnt++;
	return true;
}

static bool parse_saved_line(char *line, struct tap_config *out)
{
	char *rest = line, *key = strsep(&rest, " ");
	unsigned long mtu;

	if (!*key || *key == '#')
		return true;
	if (!rest)
		return false;
	if (!strcmp(key, "name") && strlen(rest) < sizeof(out->name)) {
		snprintf(out->name, sizeof(out->name), "%.15s", rest);
		return true;
	}
	if (!strcmp(key, "mtu")) {
		mtu = strtoul(rest, NULL, 10);
		if (mtu < MTU_MIN || mtu > MTU_MAX)
			return false;
		out->mtu = (uint32_t)mtu;
		return true;
	}
	if (!strcmp(key, "mac"))
		return tap_parse_mac(rest, out->mac);
	if (!strcmp(key, "address"))
		return add_address(out, rest, 0, 0);
	if (!strcmp(key, "route"))
		return parse_route(rest, out);
	return !strcmp(key, "driver"); /* bind-vfio's own */
}

int tap_source_saved(const char *path, struct tap_config *out, struct error *error)
{
	FILE *f = fopen(path, "re");
	char line[256];
	int number = 0;

	if (!f)
		return error_set(error, -errno, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		char shown[80];

		number++;
		line[strcspn(line, "\n")] = 0;
		snprintf(shown, sizeof(shown), "%.79s", line);
		if (parse_saved_line(line, out))
			continue;
		log_warn("%s:%d: \"%s\" is left out: at most %d addresses and %d routes are kept, "
			 "and of a route `via` and `metric`",
			 path, number, shown, TAP_ADDRS, TAP_ROUTES);
	}
	fclose(f);
	snprintf(out->origin, sizeof(out->origin), "%.80s", path);
	return 0;
}

/* --- annotation --- */

struct status_search {
	const char *pci;
	const uint8_t *mac;
	struct tap_config *out;
	int result; /* -ENOENT, 0, -EINVAL */
};

static const char *member_string(const cJSON *o, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
}

static bool names_pci(const cJSON *entry, const char *pci)
{
	const cJSON *info = cJSON_GetObjectItemCaseSensitive(entry, "device-info");
	const char *addr =
		member_string(cJSON_GetObjectItemCaseSensitive(info, "pci"), "pci-address");

	return addr && pci && !strcasecmp(addr, pci);
}

static bool names_mac(const cJSON *entry, const uint8_t *mac)
{
	const char *s = member_string(entry, "mac");
	uint8_t v[6];

	return s && tap_parse_mac(s, v) && !memcmp(v, mac, 6);
}

static bool take_entry(const cJSON *entry, struct tap_config *out)
{
	const cJSON *item, *mtu = cJSON_GetObjectItemCaseSensitive(entry, "mtu");
	const char *name = member_string(entry, "interface");
	bool ok = true;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(entry, "ips"))
		ok &= cJSON_IsString(item) &&
		      add_address(out, item->valuestring, ASSUMED_LEN4, ASSUMED_LEN6);
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(entry, "gateway"))
		ok &= cJSON_IsString(item) && add_gateway(out, item->valuestring);
	if (cJSON_IsNumber(mtu) && mtu->valueint >= MTU_MIN && mtu->valueint <= MTU_MAX)
		out->mtu = (uint32_t)mtu->valueint;
	if (name && *name && strlen(name) < sizeof(out->name))
		snprintf(out->name, sizeof(out->name), "%.15s", name);
	return ok;
}

static int search(void *arg, const char *name, const char *value)
{
	struct status_search *s = arg;
	const cJSON *entry, *hit = NULL;
	cJSON *list;

	if (*name)
		return 0; /* network-status-something */
	list = cJSON_Parse(value);
	if (!cJSON_IsArray(list)) {
		cJSON_Delete(list);
		s->result = -EINVAL;
		return 1;
	}
	cJSON_ArrayForEach(entry, list)
		if (names_pci(entry, s->pci))
			hit = entry;
	if (!hit)
		cJSON_ArrayForEach(entry, list)
			if (names_mac(entry, s->mac))
				hit = entry;
	if (hit)
		s->result = take_entry(hit, s->out) ? 0 : -EINVAL;
	cJSON_Delete(list);
	return 1;
}

static char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "re");
	char *buf = f ? malloc(FILE_MAX) : NULL;

	if (buf)
		*len = fread(buf, 1, FILE_MAX, f);
	if (f)
		fclose(f);
	return buf;
}

int tap_source_annotation(const char *path, const char *pci, const uint8_t mac[6],
			  struct tap_config *out, struct error *error)
{
	struct status_search s = {pci, mac, out, -ENOENT};
	struct error why;
	size_t len = 0;
	char *buf = read_file(path, &len);
	int ret;

	if (!buf)
		return -ENOENT;
	ret = annotations_each(path, buf, len, NETWORK_STATUS, search, &s, &why);
	free(buf);
	if (ret < 0)
		s.result = ret;
	if (s.result == -EINVAL)
		error_set(error, -EINVAL, "annotation %s in %s: %s", NETWORK_STATUS, path,
			  ret < 0 ? why.text
				  : "not a list of networks with addresses as Multus writes it");
	if (!s.result)
		snprintf(out->origin, sizeof(out->origin), "annotation %s", NETWORK_STATUS);
	return s.result;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/config/key.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "sidecar/config/list.h"

static const struct choice backends[] = {
	{"auto", CONFIG_BACKEND_AUTO},
	{"vfio", CONFIG_BACKEND_VFIO},
	{"af_xdp", CONFIG_BACKEND_AF_XDP},
	{"kernel", CONFIG_BACKEND_KERNEL},
	{NULL, 0},
};

static const struct choice modes[] = {
	{"latency", UDPLANE_MODE_LATENCY},
	{"balanced", UDPLANE_MODE_BALANCED},
	{"powersave", UDPLANE_MODE_POWERSAVE},
	{NULL, 0},
};

static const struct choice hugepages[] = {
	{"auto", CONFIG_HUGEPAGES_AUTO},
	{"required", CONFIG_HUGEPAGES_REQUIRED},
	{"off", CONFIG_HUGEPAGES_OFF},
	{NULL, 0},
};

static const struct choice xdp_modes[] = {
	{"auto", CONFIG_XDP_AUTO},
	{"zerocopy", CONFIG_XDP_ZEROCOPY},
	{"copy", CONFIG_XDP_COPY},
	{"generic", CONFIG_XDP_GENERIC},
	{NULL, 0},
};

static const struct choice yields[] = {
	{"auto", CONFIG_YIELD_AUTO},
	{"on", CONFIG_YIELD_ON},
	{"off", CONFIG_YIELD_OFF},
	{NULL, 0},
};

static const struct choice switches[] = {
	{"off", CONFIG_OFF},
	{"on", CONFIG_ON},
	{NULL, 0},
};

static const struct choice log_levels[] = {
	{"error", LOG_LEVEL_ERROR},
	{"warn", LOG_LEVEL_WARN},
	{"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},
	{NULL, 0},
};

static const struct choice log_formats[] = {
	{"text", CONFIG_LOG_TEXT},
	{"json", CONFIG_LOG_JSON},
	{NULL, 0},
};

static const struct choice rules[] = {
	{"netfilter", CONFIG_RULES_NETFILTER},
	{"ipsec", CONFIG_RULES_IPSEC},
	{"traffic_control", CONFIG_RULES_TRAFFIC_CONTROL},
	{"cgroup_program", CONFIG_RULES_CGROUP_PROGRAM},
	{NULL, 0},
};

static const struct choice frame_sizes[] = {
	{"auto", 0},
	{"2048", 2048},
	{"4096", 4096},
	{NULL, 0},
};

/* clang-format off */
#define NUMBER(low, high) \
	&value_number, &(const struct number_rule){low, high, false, NULL}
#define NUMBER_NOTE(low, high, note) \
	&value_number, &(const struct number_rule){low, high, false, note}
#define POWER(low, high) \
	&value_number, &(const struct number_rule){low, high, true, NULL}
#define CHOICE(choices) \
	&value_choice, choices
#define TEXT(wrong, allowed) \
	&value_text, &(const struct text_rule){text_wrong_##wrong, allowed, false}
#define TEXT_OR_EMPTY(wrong, allowed) \
	&value_text, &(const struct text_rule){text_wrong_##wrong, allowed, true}
#define FIELD(name) \
	offsetof(struct config, name), sizeof(((struct config *)0)->name)
#define ALSO_ANNOTATED true
#define NO_ANNOTATION false

/*
 * In the order of --help. Avoid names that end in "port" or "service_host": Kubernetes sets
 * UDPLANE_PORT and the like for a Service called udplane. UDPLANE_SPIN_US and UDPLANE_LOG belong to
 * the client library, hence worker_spin_us and log_level.
 *
 * socket_mode: connecting needs write permission, and a process that connects can read what others
 * receive. In a pod, where containers run under any user and share their network anyway, the chart
 * sets 0666: there a container can connect only if it mounts the volume.
 */
static const struct key keys[] = {
	{"interface", "IF", "", ALSO_ANNOTATED,
	 TEXT_OR_EMPTY(interface, "an interface name of 1..15 characters"), FIELD(interface),
	 "network interface to accelerate; empty: the one with the default route"},
	{"ports", "LIST", NULL, ALSO_ANNOTATED, &value_ports, NULL, FIELD(ports),
	 "UDP ports that leave the kernel, such as 5060,10000-10099"},
	{"backend", "NAME", "auto", ALSO_ANNOTATED, CHOICE(backends), FIELD(backend),
	 "what drives the device; auto: the first that works"},
	{"device", "DEVICE", "", NO_ANNOTATION,
	 TEXT_OR_EMPTY(word, "a PCI address or a DPDK vdev with arguments, at most 255 characters, no spaces"),
	 FIELD(device), "vfio: PCI address (0000:03:02.1) or DPDK vdev (net_null0)"},
	{"resource", "NAME", "", ALSO_ANNOTATED,
	 TEXT_OR_EMPTY(word, "a resource name such as intel.com/sriov, at most 255 characters"), FIELD(resource),
	 "vfio: device-plugin resource to take the device from (PCIDEVICE_*)"},
	{"address", "LIST", "", NO_ANNOTATION,
	 TEXT_OR_EMPTY(word, "addresses with length such as 192.0.2.5/24,2001:db8::5/64, no spaces"), FIELD(address),
	 "vfio: addresses of the device; empty: its former ones, or the pod's network status"},
	{"gateway", "LIST", "", NO_ANNOTATION,
	 TEXT_OR_EMPTY(word, "addresses such as 192.0.2.1,2001:db8::1, no spaces"), FIELD(gateway),
	 "vfio: next hops of the default routes; empty: as before"},
	{"vfio_noiommu", "NAME", "off", NO_ANNOTATION, CHOICE(switches), FIELD(vfio_noiommu),
	 "vfio: on: run without an IOMMU; the device can then write to all memory"},
	{"dpdk_telemetry", "NAME", "off", NO_ANNOTATION, CHOICE(switches), FIELD(dpdk_telemetry),
	 "vfio: on: serve DPDK's own telemetry socket"},
	{"xdp_mode", "NAME", "auto", NO_ANNOTATION, CHOICE(xdp_modes), FIELD(xdp_mode),
	 "af_xdp: how to attach; auto: the fastest that works"},
	{"tx_gso", "NAME", "on", NO_ANNOTATION, CHOICE(switches), FIELD(tx_gso),
	 "af_xdp: on: what is sent in a run to one destination goes as one packet that is cut later, where the device can"},
	{"socket", "PATH", "/run/udplane/udplane.sock", NO_ANNOTATION,
	 TEXT(path, "an absolute path of at most 107 characters"), FIELD(socket),
	 "control socket that applications connect to"},
	{"socket_mode", "OCTAL", "0660", NO_ANNOTATION, &value_mode, NULL, FIELD(socket_mode),
	 "permission of the control socket"},
	{"socket_group", "GROUP", "", NO_ANNOTATION,
	 TEXT_OR_EMPTY(word, "a group's name of 1..31 characters, or its number"), FIELD(socket_group),
	 "group of the control socket"},
	{"annotations", "PATH", "", NO_ANNOTATION,
	 TEXT_OR_EMPTY(path, "an absolute path of at most 255 characters"), FIELD(annotations),
	 "downward-API file with the pod's annotations; its ports may change live"},
	{"library_dir", "PATH", "", NO_ANNOTATION,
	 TEXT_OR_EMPTY(path, "an absolute path of at most 255 characters"), FIELD(library_dir),
	 "directory to put libudplane.so.0, libudplane-preload.so and udplane-run into, for applications; empty: nowhere"},
	{"mode", "NAME", "balanced", ALSO_ANNOTATED, CHOICE(modes), FIELD(mode),
	 "latency: never leave the fast path; balanced: the kernel serves low rates; powersave: sleep at once"},
	{"workers", "N", "1", ALSO_ANNOTATED, NUMBER(1, UDPLANE_MAX_WORKERS), FIELD(workers),
	 "polling threads"},
	{"cpus", "LIST", "", ALSO_ANNOTATED, &value_cpus, NULL, FIELD(cpus),
	 "CPUs for the workers, such as 2,4-6; own: those of the cpuset; empty: not pinned"},
	{"worker_spin_us", "N", "-1", NO_ANNOTATION, NUMBER_NOTE(-1, 1000000, "(-1: by mode)"), FIELD(spin_us),
	 "microseconds that a worker spins before it sleeps"},
	{"yield", "NAME", "auto", NO_ANNOTATION, CHOICE(yields), FIELD(yield),
	 "yield the CPU at each empty poll; auto: when there are not two CPUs more than workers"},
	{"frames", "N", "16384", ALSO_ANNOTATED, POWER(1024, 1048576), FIELD(frames),
	 "packet buffers shared with applications"},
	{"frame_size", "BYTES", "auto", NO_ANNOTATION, &value_choice_or_number, frame_sizes, FIELD(frame_size),
	 "size of a packet buffer; auto: by the MTU"},
	{"hugepages", "NAME", "auto", ALSO_ANNOTATED, CHOICE(hugepages), FIELD(hugepages),
	 "auto: 4 KiB pages where there are none; required: do not start without"},
	{"rx_ring_size", "N", "2048", NO_ANNOTATION, POWER(64, 65536), FIELD(rx_ring_size),
	 "datagrams that wait for one socket at most"},
	{"max_sockets", "N", "12288", NO_ANNOTATION, NUMBER(1, 65535), FIELD(max_sockets),
	 "accelerated sockets at most; others use the kernel"},
	{"max_clients", "N", "256", NO_ANNOTATION, NUMBER(1, 1024), FIELD(max_clients),
	 "attached processes at most; others use the kernel"},
	{"memory_max", "MIB", "0", NO_ANNOTATION, NUMBER_NOTE(0, 1048576, "(0: by the cgroup's limits)"), FIELD(memory_max),
	 "MiB shared with applications at most, all together; others use the kernel"},
	{"trust_rules", "LIST", "none", NO_ANNOTATION, &value_choices, rules, FIELD(trust_rules),
	 "kinds of rules that concern no accelerated datagrams, whatever they say: not looked at"},
	{"restart", "NAME", "off", NO_ANNOTATION, CHOICE(switches), FIELD(restart),
	 "on: the first process stays, and starts udplaned again whatever it ends by, with a growing pause"},
	{"watchdog_s", "N", "60", NO_ANNOTATION, NUMBER_NOTE(0, 86400, "(0: none)"), FIELD(watchdog_s),
	 "restart: seconds without a sign of life after which udplaned is ended"},
	{"log_level", "NAME", "info", ALSO_ANNOTATED, CHOICE(log_levels), FIELD(log_level),
	 "what goes to stderr"},
	{"log_format", "NAME", "text", NO_ANNOTATION, CHOICE(log_formats), FIELD(log_format),
	 "json: each line is an object with time, level and text"},
};
/* clang-format on */

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

_Static_assert(KEY_COUNT <= CONFIG_KEYS_MAX, "struct config's source[]");

const struct key *key_at(size_t index)
{
	return index < KEY_COUNT ? &keys[index] : NULL;
}

size_t key_index(const struct key *key)
{
	return (size_t)(key - keys);
}

const struct key *key_find(const char *name)
{
	size_t i;

	for (i = 0; i < KEY_COUNT; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static const char *dashed(const char *prefix, const struct key *key, char *out)
{
	char *at;

	assert(strlen(key->name) <= KEY_NAME_MAX);
	config_print(out, KEY_NAME_SIZE, "%s%s", prefix, key->name);
	for (at = out; *at; at++)
		if (*at == '_')
			*at = '-';
	return out;
}

const char *key_flag(const struct key *key, char *out)
{
	return dashed("--", key, out);
}

const char *key_annotation(const struct key *key, char *out)
{
	return dashed("", key, out);
}

const struct key *key_find_annotated(const char *name)
{
	char annotation[KEY_NAME_SIZE];
	size_t i;

	for (i = 0; i < KEY_COUNT; i++)
		if (keys[i].annotated && !strcmp(key_annotation(&keys[i], annotation), name))
			return &keys[i];
	return NULL;
}

const char *key_environment(const struct key *key, char *out)
{
	char *at;

	assert(strlen(key->name) <= KEY_NAME_MAX);
	config_print(out, KEY_NAME_SIZE, "UDPLANE_%s", key->name);
	for (at = out; *at; at++)
		*at = (char)toupper((unsigned char)*at);
	return out;
}

void *key_field(const struct key *key, struct config *config)
{
	return (char *)config + key->offset;
}

const void *key_field_const(const struct key *key, const struct config *config)
{
	return (const char *)config + key->offset;
}

bool key_equal(const struct key *key, const struct config *a, const struct config *b)
{
	return !memcmp(key_field_const(key, a), key_field_const(key, b), key->size);
}

/* Of a long path the end is shown, so that the message has room for the rest. */
static void describe_file(const char *path, char *out, size_t size)
{
	size_t len = strlen(path);

	if (len < size)
		config_print(out, size, "%s", path);
	else
		config_print(out, size, "...%s", path + len - (size - sizeof("...")));
}

static void describe_origin(const struct key *key, const struct origin *origin, char *out,
			    size_t size)
{
	char name[KEY_NAME_SIZE], file[120];

	describe_file(origin->file ? origin->file : "", file, sizeof(file));
	switch (origin->source) {
	case CONFIG_SOURCE_FILE:
		config_print(out, size, "%s:%u:%u: key \"%s\"", file, origin->line, origin->column,
			     key->name);
		break;
	case CONFIG_SOURCE_ENVIRONMENT:
		config_print(out, size, "environment %s", key_environment(key, name));
		break;
	case CONFIG_SOURCE_ANNOTATION:
		config_print(out, size, "annotation udplane.io/%s%s%s", key_annotation(key, name),
			     origin->file ? " in " : "", file);
		break;
	case CONFIG_SOURCE_FLAG: config_print(out, size, "flag %s", key_flag(key, name)); break;
	case CONFIG_SOURCE_DEFAULT: config_print(out, size, "default of %s", key->name); break;
	}
}

int key_refuse(const struct key *key, const struct origin *origin, const char *text,
	       const char *why, struct error *err)
{
	char where[200], quoted[CONFIG_QUOTE_SIZE], allowed[VALUE_ALLOWED_SIZE];

	describe_origin(key, origin, where, sizeof(where));
	key->type->explain(key->rule, allowed);
	if (!text)
		return error_set(err, -EINVAL, "%s: %s; allowed: %s", where, why, allowed);
	return error_set(err, -EINVAL, "%s: %s: %s; allowed: %s", where, config_quote(text, quoted),
			 why, allowed);
}

int key_apply(const struct key *key, struct config *config, const struct origin *origin,
	      const char *text, struct error *err)
{
	char why[CONFIG_WHY_SIZE];

	if (key->type->parse(key->rule, text, key_field(key, config), key->size, why))
		return key_refuse(key, origin, text, why, err);
	config->source[key_index(key)] = (uint8_t)origin->source;
	return 0;
}

void key_list(bool annotated_only, char *out, size_t size)
{
	char name[KEY_NAME_SIZE];
	size_t len = 0, i;

	for (i = 0; i < KEY_COUNT && len < size; i++) {
		if (annotated_only && !keys[i].annotated)
			continue;
		config_print(out + len, size - len, "%s%s", len ? ", " : "",
			     annotated_only ? key_annotation(&keys[i], name) : keys[i].name);
		len += strlen(out + len);
	}
}

static bool same_letter(char a, char b)
{
	if (a == '-')
		a = '_';
	if (b == '-')
		b = '_';
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Levenshtein distance, one row at a time. Only the first KEY_NAME_MAX letters of `text` count. */
static unsigned int letters_apart(const char *text, const char *name)
{
	unsigned int row[KEY_NAME_MAX + 1], i, j;
	unsigned int len = (unsigned int)strlen(name);

	for (j = 0; j <= len; j++)
		row[j] = j;
	for (i = 0; text[i] && i < KEY_NAME_MAX; i++) {
		unsigned int diagonal = row[0];

		row[0] = i + 1;
		for (j = 0; j < len; j++) {
			unsigned int change = diagonal + !same_letter(text[i], name[j]);
			unsigned int skip = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;

			diagonal = row[j + 1];
			row[j + 1] = change < skip ? change : skip;
		}
	}
	return row[len];
}

const char *key_nearest(const char *text, bool annotated_only, unsigned int *distance)
{
	const char *nearest = keys[0].name;
	unsigned int least = ~0u;
	size_t i;

	for (i = 0; i < KEY_COUNT; i++) {
		unsigned int apart;

		if (annotated_only && !keys[i].annotated)
			continue;
		apart = letters_apart(text, keys[i].name);
		if (apart < least) {
			least = apart;
			nearest = keys[i].name;
		}
	}
	if (distance)
		*distance = least;
	return nearest;
}

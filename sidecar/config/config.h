/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udplaned's settings from all sources, as one typed struct:
 *
 *     defaults < --config FILE.json < environment UDPLANE_<KEY> < annotations file < flags
 *
 * Sources further to the right override those to the left.
 *
 * Pure: reads files and writes help to stdout, and touches no socket, device or global. Called by
 * the control thread only. The caller owns all memory, except that `pci` points into the
 * environment that was passed in, which must live as long.
 *
 * A key is one line in key.c: its flag, environment variable, JSON key, annotation, parser,
 * default, allowed values and help all come from there. A bad value from any source is an error
 * that names the source, the key, the value and what is allowed, even if a later source would
 * override it.
 */
#ifndef UDPLANE_SIDECAR_CONFIG_CONFIG_H
#define UDPLANE_SIDECAR_CONFIG_CONFIG_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sidecar/base/log.h"
#include "sidecar/config/port_set.h"
#include "sidecar/config/text.h"
#include "udplane/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CONFIG_CPUS_MAX	   1024
#define CONFIG_PATH_SIZE   256
#define CONFIG_SOCKET_SIZE 108	     /* of sockaddr_un.sun_path */
#define CONFIG_FILE_MAX	   (1 << 20) /* bytes of a JSON or annotations file */
#define CONFIG_PCI_MAX	   16
#define CONFIG_KEYS_MAX	   48

enum config_backend {
	CONFIG_BACKEND_AUTO,
	CONFIG_BACKEND_VFIO,
	CONFIG_BACKEND_AF_XDP,
	CONFIG_BACKEND_KERNEL,
};

enum config_hugepages {
	CONFIG_HUGEPAGES_AUTO,	   /* use them; without them use 4 KiB pages and warn */
	CONFIG_HUGEPAGES_REQUIRED, /* without them udplaned does not start */
	CONFIG_HUGEPAGES_OFF,
};

enum config_xdp_mode {
	CONFIG_XDP_AUTO, /* zero-copy, otherwise copy, otherwise generic */
	CONFIG_XDP_ZEROCOPY,
	CONFIG_XDP_COPY,
	CONFIG_XDP_GENERIC,
};

enum config_yield {
	CONFIG_YIELD_AUTO, /* when the cpuset has fewer cores than spinning threads */
	CONFIG_YIELD_ON,
	CONFIG_YIELD_OFF,
};

enum config_log_format {
	CONFIG_LOG_TEXT,
	CONFIG_LOG_JSON,
};

enum config_switch {
	CONFIG_OFF,
	CONFIG_ON,
};

/* What can concern datagrams besides routes; numbered as enum judge_kind. */
enum config_rules {
	CONFIG_RULES_NETFILTER,
	CONFIG_RULES_IPSEC,
	CONFIG_RULES_TRAFFIC_CONTROL,
	CONFIG_RULES_CGROUP_PROGRAM,
};

/* In ascending precedence. */
enum config_source {
	CONFIG_SOURCE_DEFAULT,
	CONFIG_SOURCE_FILE,
	CONFIG_SOURCE_ENVIRONMENT,
	CONFIG_SOURCE_ANNOTATION,
	CONFIG_SOURCE_FLAG,
};

/* A set of CPU numbers; if empty, udplaned chooses by itself. */
struct config_cpus {
	uint64_t bits[CONFIG_CPUS_MAX / 64];
	uint64_t count;
	uint64_t own; /* 1: those that the process may run on, and the set is empty */
};

/* PCIDEVICE_<RESOURCE>=<addresses>, as a device plugin sets it. Both strings are in the
 * environment. */
struct config_pci {
	const char *name; /* whole "NAME=value" entry, name first */
	const char *value;
};

struct config {
	char interface[IFNAMSIZ]; /* "": the one with the default route */
	struct port_set ports;	  /* empty only if annotations are read that name none */
	enum config_backend backend;
	/* vfio: PCI address or DPDK vdev with arguments; if "", taken from `resource` and `pci` */
	char device[256];
	char resource[256]; /* device-plugin resource name, "": any */
	char address[256];  /* vfio: "ADDR/LEN,..." of the TAP; if "", as found */
	char gateway[256];  /* vfio: "ADDR,..." default routes; "": as found */
	enum config_switch vfio_noiommu;
	enum config_switch dpdk_telemetry;
	char socket[CONFIG_SOCKET_SIZE];
	uint32_t socket_mode;  /* permission bits; see key.c */
	char socket_group[32]; /* name or number; "": udplaned's */
	uint32_t workers;
	struct config_cpus cpus;
	enum udplane_mode mode;
	int32_t spin_us; /* how long a worker spins before it sleeps; -1: by mode */
	enum config_yield yield;
	uint32_t frames;     /* count, a power of two */
	uint32_t frame_size; /* bytes; 0: by the MTU */
	enum config_hugepages hugepages;
	uint32_t rx_ring_size; /* descriptors, a power of two */
	uint32_t max_sockets;
	uint32_t max_clients;
	uint32_t memory_max; /* MiB, all zones together; 0: by the cgroup's limits */
	enum config_xdp_mode xdp_mode;
	enum config_switch tx_gso; /* af_xdp: send runs of datagrams as super-packets */
	enum log_level log_level;
	enum config_log_format log_format;
	uint32_t trust_rules;		    /* 1 << enum config_rules: not looked at */
	enum config_switch restart;	    /* see sidecar/supervise */
	uint32_t watchdog_s;		    /* with restart: 0: none */
	char annotations[CONFIG_PATH_SIZE]; /* downward-API file, "": none */
	/* where libudplane.so.0 is put for applications, "": nowhere */
	char library_dir[CONFIG_PATH_SIZE];

	struct config_pci pci[CONFIG_PCI_MAX];
	uint32_t pci_count;

	/* The caller logs them once logging is set up. */
	struct config_warnings warnings;

	/* Private: the source of each key, and the ports if the annotation is removed. */
	uint8_t source[CONFIG_KEYS_MAX];
	struct port_set ports_unannotated;
};

/* Zeroes `config` and sets every default. */
void config_set_defaults(struct config *config);

/* Returned by config_load() if it has printed help or version; exit with success. */
#define CONFIG_PRINTED 1

/*
 * Fills `config` from all sources. argv[0] is skipped; `envp` is environ or NULL. Returns 0;
 * CONFIG_PRINTED; or -errno with `err` set. In the last case print it and exit with status 2;
 * `config` is undefined.
 */
int config_load(struct config *config, int argc, char **argv, char **envp, struct error *err);

/*
 * Reads the annotations file again. Only ports may change while udplaned runs. *ports becomes what
 * config->ports would be now; it may be empty. `warnings` (zeroed first) names every other change,
 * which needs a restart. The same file gives the same answer, since changes are found by comparison
 * with `config`; the caller replaces config->ports once it has applied the new ports. Returns 1 if
 * *ports differs from config->ports, 0 if not, or -errno with `err` set: then keep the current
 * ports.
 */
int config_reload_annotations(const struct config *config, struct port_set *ports,
			      struct config_warnings *warnings, struct error *err);

/* Writes a key's value as text that its parser accepts, and returns as snprintf() does; or -ENOENT
 * for an unknown key. */
int config_format(const struct config *config, const char *key, char *out, size_t size);

/* Returns where a key's value comes from; CONFIG_SOURCE_DEFAULT for an unknown key. */
enum config_source config_source_of(const struct config *config, const char *key);
const char *config_source_name(enum config_source source);

/* "auto", "vfio", "af_xdp", "kernel" */
const char *config_backend_name(enum config_backend backend);

void config_print_help(FILE *out);

/*
 * Checks the value of the annotation udplane.io/`name` as config_load() will. Returns 0; -ENOENT if
 * no key has that annotation; or -EINVAL with `err` set: annotation udplane.io/name: "value": what
 * is wrong; allowed: what would be right.
 */
int config_check_annotation(const char *name, const char *value, struct error *err);

static inline bool config_cpus_contains(const struct config_cpus *cpus, uint32_t cpu)
{
	return cpu < CONFIG_CPUS_MAX && (cpus->bits[cpu / 64] >> (cpu % 64) & 1);
}

#ifdef __cplusplus
}
#endif

#endif

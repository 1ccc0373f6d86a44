/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The description of what is injected. The chart renders it from helm/udplane/files/injection.yaml,
 * whose comments say what each part means. It is parsed once; after that any thread may read it.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_INJECTION_H
#define UDPLANE_DEPLOY_INJECTOR_INJECTION_H

#include <stdbool.h>
#include <stddef.h>

#include <cjson/cJSON.h>

#include "sidecar/config/text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define INJECTION_VERSION    3
#define INJECTION_OPERATIONS 128
#define INJECTION_FILE_MAX   (1 << 20)

/* Conditions that hold for a pod, or for one of its containers, as bits. */
#define CONDITION_NODE		 1u
#define CONDITION_AF_XDP	 2u
#define CONDITION_VFIO		 4u
#define CONDITION_HUGEPAGES	 8u
#define CONDITION_PRELOAD	 16u /* of a container */
#define CONDITION_GUARANTEED	 32u
#define CONDITION_POD_RESOURCES	 64u
#define CONDITION_IMAGE		 128u
#define CONDITION_CPU_REQUEST	 256u
#define CONDITION_CPU_LIMIT	 512u
#define CONDITION_MEMORY_REQUEST 1024u
#define CONDITION_MEMORY_LIMIT	 2048u

/* A JSON Patch "add". All strings belong to the document. */
struct operation {
	bool each_container;
	unsigned int all, none; /* CONDITION_ bits that must and must not hold */
	const char *absent;	/* JSON pointer, or NULL if there is no such condition */
	struct {
		const char *in, *key, *is; /* NULL if there is no such condition */
	} missing;
	const char *path;    /* NULL if there is "prepend" */
	const char *prepend; /* environment variable, or NULL */
	const cJSON *value;
};

struct injection {
	cJSON *document;
	const char *backend, *hugepages, *resource; /* defaults of annotations */
	const cJSON *requests, *limits;		    /* of the sidecar */
	const cJSON *guaranteed;		    /* both, in a Guaranteed pod */
	const cJSON *inherit;			    /* annotations that a Namespace may have */
	const cJSON *hugepages_for;		    /* values of the annotation that request them */
	bool node;
	const char *node_ports; /* ports that the nodes divert */
	unsigned int count;
	struct operation operations[INJECTION_OPERATIONS];
};

/*
 * Parses the document, which is JSON or YAML, or a ConfigMap manifest that holds it as
 * "injection.json". Returns the injection, which the caller destroys, or NULL with `err` set.
 *
 * name: the document's name in messages
 * text: the document of `len` bytes
 */
struct injection *injection_parse(const char *name, const char *text, size_t len,
				  struct error *err);
void injection_destroy(struct injection *injection);

/* Parses the built-in document, which has the chart's default values. Returns as above. */
struct injection *injection_default(struct error *err);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is injected: the document that the chart makes of helm/udplane/files/injection.yaml, which
 * says what each part means. Parsed once, then only read, by any thread.
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

#define INJECTION_VERSION    1
#define INJECTION_OPERATIONS 128
#define INJECTION_FILE_MAX   (1 << 20)

/* Conditions that hold for a pod, as bits. */
#define CONDITION_NODE	    1u
#define CONDITION_AF_XDP    2u
#define CONDITION_VFIO	    4u
#define CONDITION_HUGEPAGES 8u

/* A JSON Patch "add". All strings lie in the document. */
struct operation {
	bool each_container;
	unsigned int all, none; /* CONDITION_ bits that must and must not hold */
	const char *absent;	/* JSON pointer, or NULL */
	struct {
		const char *in, *key, *is; /* NULL: no such condition */
	} missing;
	const char *path;
	const cJSON *value;
};

struct injection {
	cJSON *document;
	const char *backend, *hugepages, *resource; /* defaults of annotations */
	const cJSON *hugepages_for;		    /* values that request them */
	bool node;
	unsigned int count;
	struct operation operations[INJECTION_OPERATIONS];
};

/*
 * Parses the document, as JSON or YAML, or a ConfigMap manifest that holds it as "injection.json".
 * `name` is for messages. Returns it, to be destroyed, or NULL with `err` set.
 */
struct injection *injection_parse(const char *name, const char *text, size_t len,
				  struct error *err);
void injection_destroy(struct injection *injection);

/* The document with the chart's default values, built in. */
struct injection *injection_default(struct error *err);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* An AdmissionReview in, an AdmissionReview out (admission.k8s.io/v1). Pure: any thread. */
#ifndef UDPLANE_DEPLOY_INJECTOR_ADMISSION_H
#define UDPLANE_DEPLOY_INJECTOR_ADMISSION_H

#include "deploy/injector/bounds.h"
#include "deploy/injector/injection.h"

#ifdef __cplusplus
extern "C" {
#endif

enum admission_result {
	ADMISSION_INJECTED,  /* allowed, with a patch */
	ADMISSION_UNCHANGED, /* allowed as it is */
	ADMISSION_DENIED,
	ADMISSION_MALFORMED, /* no review: answer with HTTP 400 */
	ADMISSION_TOO_LARGE, /* not looked at: answer with HTTP 413 */
	ADMISSION_NO_MEMORY, /* answer with HTTP 500 */
	ADMISSION_RESULTS,
};

/* What to answer and, for the log, about what. */
struct admission {
	enum admission_result result;
	char *response;	   /* to be freed; NULL for the last three results */
	char message[512]; /* why denied, malformed or too large */
	char pod[200];	   /* namespace/name, of what is known */
};

/*
 * Objects of Kubernetes are some 20 deep. A value takes 64 to 112 bytes of memory; a pod of etcd's
 * 1.5 MiB with nothing but environment variables has 100000. Each container with the library is
 * several operations of the patch.
 */
#define ADMISSION_VALUES     100000
#define ADMISSION_DEPTH	     128
#define ADMISSION_CONTAINERS 256

/* Memory is allocated for what is at most `limit` only: a few times the body's size, and 112 bytes
 * a value. `admission` is filled in whatever comes of it. */
void admission_review(const struct injection *injection, const struct bounds *limit,
		      const char *body, size_t len, struct admission *admission);

/* "injected", "unchanged", "denied", "malformed", "too_large", "no_memory" */
const char *admission_result_name(enum admission_result result);

#ifdef __cplusplus
}
#endif

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Answers an AdmissionReview with an AdmissionReview (admission.k8s.io/v1). Pure; any thread may
 * call it. */
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
	ADMISSION_MALFORMED, /* not a review; answer with HTTP 400 */
	ADMISSION_TOO_LARGE, /* not examined; answer with HTTP 413 */
	ADMISSION_NO_MEMORY, /* answer with HTTP 500 */
	ADMISSION_RESULTS,
};

/* The answer, and what the log says about it. */
struct admission {
	enum admission_result result;
	char *response;	   /* the caller frees it; NULL for the last three results */
	char message[512]; /* why the review was denied, malformed or too large */
	char pod[200];	   /* namespace/name, as far as they are known */
};

/*
 * Objects of Kubernetes are nested some 20 deep. A value takes 64 to 112 bytes of memory. A pod
 * that fills etcd's 1.5 MiB with nothing but environment variables contains 100000 values. Each
 * container with the library adds several operations to the patch. LISTS is for the bytes of
 * LD_PRELOAD in all containers that are preloaded.
 */
#define ADMISSION_VALUES     100000
#define ADMISSION_DEPTH	     128
#define ADMISSION_CONTAINERS 256
#define ADMISSION_LISTS	     65536

/*
 * Examines a review and fills in *admission, whatever the result.
 *
 * limit: a larger review gets ADMISSION_TOO_LARGE, and no memory is allocated for it. Any other
 *        review takes a few times the body's size, and 112 bytes per value.
 * body:  the request's body of `len` bytes
 */
void admission_review(const struct injection *injection, const struct bounds *limit,
		      const char *body, size_t len, struct admission *admission);

/* Returns "injected", "unchanged", "denied", "malformed", "too_large" or "no_memory". */
const char *admission_result_name(enum admission_result result);

#ifdef __cplusplus
}
#endif

#endif

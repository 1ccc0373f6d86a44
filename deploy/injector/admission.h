/* SPDX-License-Identifier: Apache-2.0 */
/* An AdmissionReview in, an AdmissionReview out (admission.k8s.io/v1). Pure: any thread. */
#ifndef UDPLANE_DEPLOY_INJECTOR_ADMISSION_H
#define UDPLANE_DEPLOY_INJECTOR_ADMISSION_H

#include "deploy/injector/injection.h"

#ifdef __cplusplus
extern "C" {
#endif

enum admission_result {
	ADMISSION_INJECTED,  /* allowed, with a patch */
	ADMISSION_UNCHANGED, /* allowed as it is */
	ADMISSION_DENIED,
	ADMISSION_MALFORMED, /* no review: answer with HTTP 400 */
	ADMISSION_NO_MEMORY, /* answer with HTTP 500 */
	ADMISSION_RESULTS,
};

/* What to answer and, for the log, about what. */
struct admission {
	enum admission_result result;
	char *response;	   /* to be freed; NULL for the last two results */
	char message[512]; /* why denied or malformed */
	char pod[200];	   /* namespace/name, of what is known */
};

/* `admission` is filled in whatever comes of it. */
void admission_review(const struct injection *injection, const char *body, size_t len,
		      struct admission *admission);

/* "injected", "unchanged", "denied", "malformed", "no_memory" */
const char *admission_result_name(enum admission_result result);

#ifdef __cplusplus
}
#endif

#endif

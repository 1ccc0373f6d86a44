/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's certificate. It is read from files, and again when the files change, as those of a
 * Secret do when the Secret is renewed. New connections get the new certificate; nothing restarts.
 *
 * One thread calls open, refresh and close. certificate_retrieve() runs on any thread of
 * libmicrohttpd. A certificate that a handshake was given stays valid for CERTIFICATE_GRACE_S after
 * it was replaced, which is longer than a handshake may take.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_CERTIFICATE_H
#define UDPLANE_DEPLOY_INJECTOR_CERTIFICATE_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <time.h>

#include "include/base/error.h"

#define CERTIFICATE_GRACE_S 120

/* Loads both files (PEM). Returns 0, or -errno with `err` set. A process can have only one
 * certificate, since GnuTLS's callback takes no argument that we could choose. The names are not
 * copied. */
int certificate_open(const char *certificate_file, const char *key_file, struct error *err);

/* Loads the files again if they have changed. Returns 1 if a new certificate is in use, or 0 if
 * nothing has changed. On failure returns -errno with `err` set and keeps the old certificate; the
 * next call tries again. */
int certificate_refresh(struct error *err);

/* Returns when the current certificate expires, or 0 if there is none. */
time_t certificate_not_after(void);

void certificate_close(void);

/* Gives a handshake the current certificate. Callback for MHD_OPTION_HTTPS_CERT_CALLBACK. */
int certificate_retrieve(gnutls_session_t session, const gnutls_datum_t *ca_names, int ca_count,
			 const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
			 gnutls_pcert_st **pcerts, unsigned int *pcert_count,
			 gnutls_privkey_t *key);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's certificate, read from files and read again when they change, as Secrets do when
 * they are renewed. New connections get the new one; nothing restarts.
 *
 * One thread calls open, refresh and close; certificate_retrieve() runs on any of libmicrohttpd's.
 * What a handshake has been given stays valid for CERTIFICATE_GRACE_S after it was replaced, longer
 * than a handshake may take.
 */
#ifndef UDPLANE_DEPLOY_INJECTOR_CERTIFICATE_H
#define UDPLANE_DEPLOY_INJECTOR_CERTIFICATE_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <time.h>

#include "include/base/error.h"

#define CERTIFICATE_GRACE_S 120

/* Loads both files (PEM). Returns 0, or -errno with `err` set. One a process: GnuTLS's callback has
 * no argument of ours. */
int certificate_open(const char *certificate_file, const char *key_file, struct error *err);

/* Looks whether the files have changed. Returns 1 for a new certificate, 0 for none, or -errno with
 * `err` set: the old one stays, and the next call tries again. */
int certificate_refresh(struct error *err);

/* When the current one ends. */
time_t certificate_not_after(void);

void certificate_close(void);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK. */
int certificate_retrieve(gnutls_session_t session, const gnutls_datum_t *ca_names, int ca_count,
			 const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
			 gnutls_pcert_st **pcerts, unsigned int *pcert_count,
			 gnutls_privkey_t *key);

#endif

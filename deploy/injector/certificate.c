/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/certificate.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <udplane/clock.h>

#define CHAIN_MAX 8

struct credentials {
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned int count;
	gnutls_privkey_t key;
	time_t not_after;
	uint64_t retired_ns; /* time at which it was replaced; 0 while it is in use */
	struct credentials *next;
};

/* Identifies a file's version. A renewed Secret is a new file behind a symbolic link. */
struct stamp {
	dev_t device;
	ino_t inode;
	struct timespec changed;
};

/* Global because GnuTLS's callback takes no argument that we could choose. */
static struct {
	pthread_mutex_t lock;	     /* protects `current` */
	struct credentials *current; /* followed by the retired ones, newest first */
	const char *certificate_file, *key_file;
	struct stamp stamps[2];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void credentials_destroy(struct credentials *credentials)
{
	unsigned int i;

	for (i = 0; i < credentials->count; i++)
		gnutls_pcert_deinit(&credentials->chain[i]);
	if (credentials->key)
		gnutls_privkey_deinit(credentials->key);
	free(credentials);
}

static int refuse(const char *file, const char *why, struct error *err)
{
	return error_set(err, -EINVAL, "%.200s: %s", file, why);
}

static int load_chain(struct credentials *credentials, gnutls_datum_t *pem, gnutls_x509_crt_t *leaf,
		      struct error *err)
{
	gnutls_x509_crt_t crts[CHAIN_MAX];
	unsigned int count = CHAIN_MAX, i;
	int ret = gnutls_x509_crt_list_import(crts, &count, pem, GNUTLS_X509_FMT_PEM,
					      GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

	if (ret < 0)
		return refuse(state.certificate_file, gnutls_strerror(ret), err);
	for (i = 0; i < count; i++) {
		if (ret >= 0)
			ret = gnutls_pcert_import_x509(&credentials->chain[i], crts[i], 0);
		if (ret >= 0)
			credentials->count++;
		if (i)
			gnutls_x509_crt_deinit(crts[i]);
	}
	credentials->not_after = gnutls_x509_crt_get_expiration_time(crts[0]);
	*leaf = crts[0];
	return ret < 0 ? refuse(state.certificate_file, gnutls_strerror(ret), err) : 0;
}

/* The two files of a Secret change at the same time, but a user's own script may replace one after
 * the other. */
static int check_pair(struct credentials *credentials, gnutls_x509_crt_t leaf, struct error *err)
{
	unsigned char of_key[64], of_certificate[64];
	size_t key_len = sizeof(of_key), certificate_len = sizeof(of_certificate);
	gnutls_pubkey_t public;
	int ret = gnutls_pubkey_init(&public);

	if (ret < 0)
		return refuse(state.key_file, gnutls_strerror(ret), err);
	ret = gnutls_pubkey_import_privkey(public, credentials->key, 0, 0);
	if (ret >= 0)
		ret = gnutls_pubkey_get_key_id(public, 0, of_key, &key_len);
	if (ret >= 0)
		ret = gnutls_x509_crt_get_key_id(leaf, 0, of_certificate, &certificate_len);
	gnutls_pubkey_deinit(public);
	if (ret < 0)
		return refuse(state.key_file, gnutls_strerror(ret), err);
	if (key_len != certificate_len || gnutls_memcmp(of_key, of_certificate, key_len))
		return refuse(state.key_file, "not the key of the certificate", err);
	return 0;
}

static int load_key(struct credentials *credentials, gnutls_x509_crt_t leaf, struct error *err)
{
	gnutls_datum_t pem;
	int ret = gnutls_load_file(state.key_file, &pem);

	if (ret < 0)
		return refuse(state.key_file, gnutls_strerror(ret), err);
	ret = gnutls_privkey_init(&credentials->key);
	if (ret >= 0)
		ret = gnutls_privkey_import_x509_raw(credentials->key, &pem, GNUTLS_X509_FMT_PEM,
						     NULL, 0);
	gnutls_memset(pem.data, 0, pem.size);
	gnutls_free(pem.data);
	if (ret < 0)
		return refuse(state.key_file, gnutls_strerror(ret), err);
	return check_pair(credentials, leaf, err);
}

static struct credentials *credentials_load(struct error *err)
{
	struct credentials *credentials = calloc(1, sizeof(*credentials));
	gnutls_x509_crt_t leaf = NULL;
	gnutls_datum_t pem;
	int ret = gnutls_load_file(state.certificate_file, &pem);

	if (!credentials || ret < 0) {
		refuse(state.certificate_file, credentials ? gnutls_strerror(ret) : "out of memory",
		       err);
		if (ret >= 0)
			gnutls_free(pem.data);
		free(credentials);
		return NULL;
	}
	ret = load_chain(credentials, &pem, &leaf, err);
	gnutls_free(pem.data);
	if (!ret)
		ret = load_key(credentials, leaf, err);
	if (leaf)
		gnutls_x509_crt_deinit(leaf);
	if (!ret)
		return credentials;
	credentials_destroy(credentials);
	return NULL;
}

static struct stamp stamp_of(const char *file)
{
	struct stamp stamp = {0};
	struct stat status;

	if (!stat(file, &status)) {
		stamp.device = status.st_dev;
		stamp.inode = status.st_ino;
		stamp.changed = status.st_mtim;
	}
	return stamp;
}

static bool stamp_equal(const struct stamp *a, const struct stamp *b)
{
	return a->device == b->device && a->inode == b->inode &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static void drop_retired(bool all)
{
	struct credentials **link = state.current ? &state.current->next : NULL;

	while (link && *link) {
		struct credentials *old = *link;

		if (all || clock_now_ns() - old->retired_ns > CERTIFICATE_GRACE_S * 1000000000ull) {
			*link = old->next;
			credentials_destroy(old);
		} else {
			link = &old->next;
		}
	}
}

static int replace(struct error *err)
{
	/* Taken before reading, so that the next refresh sees a change made while we read. */
	struct stamp stamps[2] = {stamp_of(state.certificate_file), stamp_of(state.key_file)};
	struct credentials *credentials = credentials_load(err);

	if (!credentials)
		return -EINVAL;
	state.stamps[0] = stamps[0];
	state.stamps[1] = stamps[1];
	if (state.current)
		state.current->retired_ns = clock_now_ns();
	credentials->next = state.current;
	pthread_mutex_lock(&state.lock);
	state.current = credentials;
	pthread_mutex_unlock(&state.lock);
	return 0;
}

int certificate_open(const char *certificate_file, const char *key_file, struct error *err)
{
	state.certificate_file = certificate_file;
	state.key_file = key_file;
	return replace(err);
}

int certificate_refresh(struct error *err)
{
	struct stamp stamps[2] = {stamp_of(state.certificate_file), stamp_of(state.key_file)};
	int ret;

	drop_retired(false);
	if (stamp_equal(&stamps[0], &state.stamps[0]) && stamp_equal(&stamps[1], &state.stamps[1]))
		return 0;
	ret = replace(err);
	return ret ? ret : 1;
}

time_t certificate_not_after(void)
{
	time_t not_after;

	pthread_mutex_lock(&state.lock);
	not_after = state.current ? state.current->not_after : 0;
	pthread_mutex_unlock(&state.lock);
	return not_after;
}

void certificate_close(void)
{
	drop_retired(true);
	if (state.current)
		credentials_destroy(state.current);
	state.current = NULL;
}

int certificate_retrieve(gnutls_session_t session, const gnutls_datum_t *ca_names, int ca_count,
			 const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
			 gnutls_pcert_st **pcerts, unsigned int *pcert_count, gnutls_privkey_t *key)
{
	(void)session;
	(void)ca_names;
	(void)ca_count;
	(void)algorithms;
	(void)algorithm_count;
	pthread_mutex_lock(&state.lock);
	*pcerts = state.current->chain;
	*pcert_count = state.current->count;
	*key = state.current->key;
	pthread_mutex_unlock(&state.lock);
	return 0;
}

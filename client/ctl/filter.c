/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/filter.h"

#include <dlfcn.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

struct filter {
	void *library;
	__typeof__(&pcap_offline_filter) match;
	__typeof__(&pcap_freecode) freecode;
	struct bpf_program program;
};

/* Debian's name, and everybody else's. */
static void *load(void)
{
	void *library = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL);

	return library ? library : dlopen("libpcap.so.1", RTLD_NOW | RTLD_LOCAL);
}

static int compile(struct filter *f, const char *expression, uint32_t snap_len, struct error *error)
{
	__typeof__(&pcap_open_dead) open_dead;
	__typeof__(&pcap_compile) compile_it;
	__typeof__(&pcap_geterr) geterr;
	__typeof__(&pcap_close) close_it;
	pcap_t *p;
	int ret = 0;

	*(void **)&open_dead = dlsym(f->library, "pcap_open_dead");
	*(void **)&compile_it = dlsym(f->library, "pcap_compile");
	*(void **)&geterr = dlsym(f->library, "pcap_geterr");
	*(void **)&close_it = dlsym(f->library, "pcap_close");
	*(void **)&f->match = dlsym(f->library, "pcap_offline_filter");
	*(void **)&f->freecode = dlsym(f->library, "pcap_freecode");
	if (!open_dead || !compile_it || !geterr || !close_it || !f->match || !f->freecode)
		return error_set(error, -ENOPKG, "this libpcap lacks functions: upgrade it");
	p = open_dead(DLT_EN10MB, (int)snap_len);
	if (!p)
		return error_set(error, -ENOMEM, "no memory");
	if (compile_it(p, &f->program, expression, 1, PCAP_NETMASK_UNKNOWN))
		ret = error_set(error, -EINVAL, "filter \"%s\": %s; see pcap-filter(7)", expression,
				geterr(p));
	close_it(p);
	return ret;
}

int filter_compile(struct filter **out, const char *expression, uint32_t snap_len,
		   struct error *error)
{
	struct filter *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return error_set(error, -ENOMEM, "no memory");
	f->library = load();
	if (!f->library)
		ret = error_set(error, -ENOPKG,
				"filters need libpcap: %s; install libpcap0.8 (Debian) or libpcap, "
				"or filter where you read the capture",
				dlerror());
	else
		ret = compile(f, expression, snap_len, error);
	if (!ret) {
		*out = f;
		return 0;
	}
	if (f->library)
		dlclose(f->library);
	free(f);
	return ret;
}

bool filter_match(const struct filter *f, const uint8_t *data, uint32_t captured_len, uint32_t len)
{
	struct pcap_pkthdr head = {.caplen = captured_len, .len = len};

	return f->match(&f->program, &head, data) != 0;
}

void filter_free(struct filter *f)
{
	f->freecode(&f->program);
	dlclose(f->library);
	free(f);
}

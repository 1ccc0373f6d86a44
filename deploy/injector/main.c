/* SPDX-License-Identifier: Apache-2.0 */
// udplane-injector: the command line of the webhook server and of its tools.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/injector/admission.h"
#include "deploy/injector/injection.h"
#include "deploy/injector/manifest.h"
#include "deploy/injector/server.h"
#include "sidecar/base/log.h"
#include "udplane/udplane.h"

#define MANIFEST_MAX (64u << 20)

static const char usage[] =
	"usage: udplane-injector serve --certificate FILE --key FILE [flags]\n"
	"       udplane-injector patch [--injection FILE] [--pod-path PATH] [FILE...]\n"
	"\n"
	"serve: the admission webhook of the udplane chart.\n"
	"  --certificate FILE, --key FILE   PEM; read again when they change\n"
	"  --injection FILE     what to inject: injection.json of the chart's ConfigMap; default: "
	"built in,\n"
	"                       the chart's with its default values\n"
	"  --port N             HTTPS, for POST /review; default 8443\n"
	"  --status-port N      HTTP, for /healthz, /readyz, /metrics; default 8080\n"
	"  --threads N          that serve reviews, 1..64; default 4\n"
	"  --drain-seconds N    to serve on after SIGTERM, 0..600; default 5\n"
	"  --max-body-kib N     a larger review is refused (413), 64..16384; default 4096\n"
	"  --max-values N       one with more JSON values, too, 1000..1000000; default 100000\n"
	"  --connections N      at the same time, 16..16384; default 512: above, the longest idle "
	"one "
	"of the\n"
	"                       address with the most is cut\n"
	"  --connections-per-address N      8..16384; default 256: above, the address's own is "
	"cut\n"
	"  --log-level NAME     error, warn, info, debug; default info\n"
	"\n"
	"patch: reads manifests (YAML or JSON; no FILE or -: standard input) and writes them with "
	"the\n"
	"sidecar in every pod and pod template that carries udplane.io annotations; what is there "
	"already\n"
	"is left alone. A text in which something is injected loses its comments and its layout; "
	"values,\n"
	"quotes and the order of keys stay, and JSON becomes one line. Exit status 1 for a bad "
	"annotation,\n"
	"with the reason, and nothing written.\n"
	"  --injection FILE     as above; a ConfigMap manifest (helm template -s "
	"templates/injection.yaml)\n"
	"                       will do, too\n"
	"  --pod-path PATH      where kinds that are not known have their pod template, such as\n"
	"                       spec.template; may be given 8 times\n"
	"Known: the workloads of core, apps and batch, Argo Rollout, Agones Fleet, GameServerSet "
	"and\n"
	"GameServer, OpenKruise CloneSet, StatefulSet, DaemonSet, BroadcastJob and "
	"AdvancedCronJob,\n"
	"Knative Service and Configuration. What is left alone although it has our annotations "
	"is said.\n"
	"\n"
	"       udplane-injector --version | --help\n";

#define PATHS_MAX 8

struct options {
	struct server_options server;
	const char *paths[PATHS_MAX + 1]; /* NULL at the end */
	unsigned int path_count;
	const char *injection;
	enum log_level log_level;
};

static int fail(const char *message)
{
	fprintf(stderr, "udplane-injector: %s\n", message);
	return 2;
}

/* ---- files ---- */

/* Reads a whole file, or standard input for "-", and terminates it with a NUL. Returns the text,
 * which the caller frees, and its length in *len without the NUL. Returns NULL with `err` set if
 * the file cannot be read or is longer than `max` bytes. */
static char *read_file(const char *path, size_t max, size_t *len, struct error *err)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "re") : stdin;
	size_t size = 64 << 10;
	char *data = file ? malloc(size) : NULL;

	*len = 0;
	while (data && !feof(file) && !ferror(file) && *len <= max) {
		*len += fread(data + *len, 1, size - 1 - *len, file);
		if (*len == size - 1) {
			char *grown = realloc(data, size *= 2);

			if (!grown)
				free(data);
			data = grown;
		}
	}
	if (!file || !data || ferror(file) || *len > max) {
		error_set(err, -EINVAL, "%.300s: %s", path,
			  *len > max ? "too large" : strerror(errno));
		free(data);
		data = NULL;
	} else {
		data[*len] = 0;
	}
	if (file && file != stdin)
		fclose(file);
	return data;
}

static struct injection *load_injection(const char *path, struct error *err)
{
	struct injection *injection;
	size_t len;
	char *text;

	if (!path)
		return injection_default(err);
	text = read_file(path, INJECTION_FILE_MAX, &len, err);
	if (!text)
		return NULL;
	injection = injection_parse(path, text, len, err);
	free(text);
	return injection;
}

/* ---- arguments ---- */

static int number(const char *flag, const char *text, unsigned int low, unsigned int high,
		  unsigned int *out)
{
	char *end, message[160];
	unsigned long value = strtoul(text, &end, 10);

	if (*text >= '0' && *text <= '9' && !*end && value >= low && value <= high) {
		*out = (unsigned int)value;
		return 0;
	}
	snprintf(message, sizeof(message), "%s \"%.40s\": allowed: %u..%u", flag, text, low, high);
	return fail(message);
}

static int log_level(const char *text, enum log_level *out)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	int i;

	for (i = 0; i < 4; i++) {
		if (!strcmp(text, names[i])) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return fail("--log-level: allowed: error, warn, info, debug");
}

static int apply_flag(struct options *options, const char *flag, const char *value)
{
	struct server_options *server = &options->server;
	char message[160];

	if (!strcmp(flag, "--pod-path")) {
		if (options->path_count == PATHS_MAX)
			return fail("--pod-path: more than 8");
		options->paths[options->path_count++] = value;
		return 0;
	}
	if (!strcmp(flag, "--injection"))
		return options->injection = value, 0;
	if (!strcmp(flag, "--certificate"))
		return server->certificate = value, 0;
	if (!strcmp(flag, "--key"))
		return server->key = value, 0;
	if (!strcmp(flag, "--port"))
		return number(flag, value, 1, 65535, &server->port);
	if (!strcmp(flag, "--status-port"))
		return number(flag, value, 1, 65535, &server->status_port);
	if (!strcmp(flag, "--threads"))
		return number(flag, value, 1, 64, &server->threads);
	if (!strcmp(flag, "--drain-seconds"))
		return number(flag, value, 0, 600, &server->drain_s);
	if (!strcmp(flag, "--max-body-kib"))
		return number(flag, value, 64, 16384, &server->body_kib);
	if (!strcmp(flag, "--max-values"))
		return number(flag, value, 1000, 1000000, &server->values);
	if (!strcmp(flag, "--connections"))
		return number(flag, value, 16, 16384, &server->connections);
	if (!strcmp(flag, "--connections-per-address"))
		return number(flag, value, 8, 16384, &server->per_address);
	if (!strcmp(flag, "--log-level"))
		return log_level(value, &options->log_level);
	snprintf(message, sizeof(message), "%.60s: unknown; see --help", flag);
	return fail(message);
}

/* Reads flags. *index becomes that of the first argument that is not a flag. */
static int parse_flags(int argc, char **argv, int *index, struct options *options)
{
	while (*index < argc && !strncmp(argv[*index], "--", 2)) {
		char *flag = argv[(*index)++], *equals = strchr(flag, '=');
		int ret;

		if (equals)
			*equals = 0;
		else if (*index == argc)
			return fail("a flag without its value; see --help");
		ret = apply_flag(options, flag, equals ? equals + 1 : argv[(*index)++]);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- commands ---- */

static int serve(const struct options *options)
{
	struct injection *injection;
	struct error err;
	int status;

	if (!options->server.certificate || !options->server.key)
		return fail("serve needs --certificate and --key; see --help");
	injection = load_injection(options->injection, &err);
	if (!injection)
		return fail(err.text);
	log_init(options->log_level);
	status = server_run(injection, &options->server);
	injection_destroy(injection);
	return status;
}

static int patch_file(const struct injection *injection, const struct options *options,
		      const char *path, bool separate)
{
	struct config_warnings notes = {0};
	struct manifest_counts counts = {0};
	struct error err;
	unsigned int i;
	size_t len;
	char *text = read_file(path, MANIFEST_MAX, &len, &err), *out;

	if (!text)
		return fail(err.text);
	out = manifest_patch(injection, strcmp(path, "-") ? path : "standard input", text, len,
			     options->paths, &counts, &notes, &err);
	free(text);
	if (!out) {
		fail(err.text);
		return 1;
	}
	for (i = 0; i < notes.count && i < CONFIG_WARNINGS_MAX; i++)
		fprintf(stderr, "udplane-injector: note: %s\n", notes.entry[i].text);
	if (separate)
		fputs("---\n", stdout);
	fputs(out, stdout);
	if (*out && out[strlen(out) - 1] != '\n')
		fputs("\n", stdout); /* "---" starts a line */
	free(out);
	return fflush(stdout) ? fail("cannot write to standard output") : 0;
}

static int patch(const struct options *options, int count, char **files)
{
	struct injection *injection;
	struct error err;
	int status = 0, i;

	injection = load_injection(options->injection, &err);
	if (!injection)
		return fail(err.text);
	if (!count)
		status = patch_file(injection, options, "-", false);
	for (i = 0; i < count && !status; i++)
		status = patch_file(injection, options, files[i], i > 0);
	injection_destroy(injection);
	return status;
}

int main(int argc, char **argv)
{
	struct options options = {.server = {.port = 8443,
					     .status_port = 8080,
					     .threads = 4,
					     .drain_s = 5,
					     .body_kib = SERVER_BODY_KIB,
					     .values = ADMISSION_VALUES,
					     .connections = SERVER_CONNECTIONS,
					     .per_address = SERVER_PER_ADDRESS},
				  .log_level = LOG_LEVEL_INFO};
	const char *command = argc > 1 ? argv[1] : "";
	int index = 2, ret;

	if (!strcmp(command, "--help") || !strcmp(command, "-h"))
		return fputs(usage, stdout) < 0;
	if (!strcmp(command, "--version"))
		return printf("udplane-injector %s\n", UDPLANE_VERSION) < 0;
	if (strcmp(command, "serve") && strcmp(command, "patch"))
		return fail("no command; allowed: serve, patch, --version, --help");
	ret = parse_flags(argc, argv, &index, &options);
	if (ret)
		return ret;
	if (!strcmp(command, "patch"))
		return patch(&options, argc - index, argv + index);
	return index < argc ? fail("serve takes no files; see --help") : serve(&options);
}

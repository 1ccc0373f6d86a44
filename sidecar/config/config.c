/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/config/config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sidecar/config/annotations.h"
#include "sidecar/config/key.h"
#include "sidecar/config/layer.h"
#include "udplane/udplane.h"

struct text {
	char *data;
	size_t len;
};

void config_set_defaults(struct config *config)
{
	struct origin origin = {CONFIG_SOURCE_DEFAULT, NULL, 0, 0};
	const struct key *key;
	size_t i;

	memset(config, 0, sizeof(*config));
	for (i = 0; (key = key_at(i)); i++)
		if (key->initial && key_apply(key, config, &origin, key->initial, NULL))
			abort(); /* the table is wrong; a test checks that it is not */
}

static int refuse_file(const char *source, const char *path, const char *kind, int error,
		       struct error *err)
{
	char quoted[CONFIG_QUOTE_SIZE];

	return error_set(err, -error, "%s: %s: %s; allowed: a readable %s of at most 1 MiB", source,
			 config_quote(path, quoted), strerror(error), kind);
}

/* Reads until the end or one byte beyond the limit. Returns 0 or an errno. */
static int read_all(int fd, struct text *text)
{
	while (text->len <= CONFIG_FILE_MAX) {
		ssize_t got = read(fd, text->data + text->len, CONFIG_FILE_MAX + 1 - text->len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? errno : 0;
		text->len += (size_t)got;
	}
	return EFBIG;
}

/* Returns 0 and a text that the caller frees, or -errno. `source` says where the path comes from,
 * `kind` what the file must be. */
static int read_file(const char *source, const char *path, const char *kind, struct text *text,
		     struct error *err)
{
	int error, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	*text = (struct text){NULL, 0};
	if (fd < 0)
		return refuse_file(source, path, kind, errno, err);
	text->data = malloc(CONFIG_FILE_MAX + 1);
	error = text->data ? read_all(fd, text) : ENOMEM;
	close(fd);
	if (!error)
		return 0;
	free(text->data);
	text->data = NULL;
	return refuse_file(source, path, kind, error, err);
}

static int load_json(struct config *config, const char *flag, char **envp, struct error *err)
{
	const char *path = flag ? flag : environment_get(envp, "UDPLANE_CONFIG");
	struct text text;
	int ret;

	if (!path || (!flag && !*path))
		return 0;
	ret = read_file(flag ? "flag --config" : "environment UDPLANE_CONFIG", path, "JSON file",
			&text, err);
	if (ret)
		return ret;
	ret = layer_json(config, path, text.data, text.len, err);
	free(text.data);
	return ret;
}

static int load_annotations(struct config *config, struct error *err)
{
	char source[40];
	struct text text;
	int ret;

	config->ports_unannotated = config->ports;
	if (!config->annotations[0])
		return 0;
	config_print(source, sizeof(source), "annotations (by %s)",
		     config_source_name(config_source_of(config, "annotations")));
	ret = read_file(source, config->annotations, "downward-API file", &text, err);
	if (ret)
		return ret;
	ret = layer_annotations(config, config->annotations, text.data, text.len, err);
	free(text.data);
	return ret;
}

static int check(struct config *config, struct error *err)
{
	if (!config->ports.count && config->annotations[0])
		config_warn(&config->warnings,
			    "annotation " ANNOTATION_PREFIX
			    "ports in %s: not there; no port is diverted until it is",
			    config->annotations);
	else if (!config->ports.count)
		return error_set(
			err, -EINVAL,
			"ports: none given; allowed: " PORT_SET_ALLOWED
			", by flag --ports, annotation " ANNOTATION_PREFIX
			"ports, environment UDPLANE_PORTS or \"ports\" in the --config file");
	if (config->cpus.count && config->workers > config->cpus.count)
		return error_set(err, -EINVAL,
				 "workers (by %s): %u, but cpus (by %s) has only %u; allowed: "
				 "at most one worker per CPU, or cpus empty",
				 config_source_name(config_source_of(config, "workers")),
				 config->workers,
				 config_source_name(config_source_of(config, "cpus")),
				 (unsigned int)config->cpus.count);
	return 0;
}

int config_load(struct config *config, int argc, char **argv, char **envp, struct error *err)
{
	struct flags_special special;
	int ret;

	config_set_defaults(config);
	ret = flags_scan(argc, argv, &special, err);
	if (!ret && special.help) {
		config_print_help(stdout);
		return CONFIG_PRINTED;
	}
	if (!ret && special.version) {
		printf("udplaned %s\n", UDPLANE_VERSION);
		return CONFIG_PRINTED;
	}
	if (!ret)
		ret = load_json(config, special.config, envp, err);
	if (!ret)
		ret = layer_environment(config, envp, err);
	if (!ret) /* the file's name may be a flag, and flags come after the file */
		ret = layer_flags(config, argc, argv, key_find("annotations"), err);
	if (!ret)
		ret = load_annotations(config, err);
	if (!ret)
		ret = layer_flags(config, argc, argv, NULL, err);
	if (!ret)
		ret = check(config, err);
	return ret;
}

/* ---- live reload ---- */

static bool by_flag(const struct config *config, const struct key *key)
{
	return config->source[key_index(key)] == CONFIG_SOURCE_FLAG;
}

/* Makes a copy of `config` without its annotations, but keeps the values of all keys except
 * ports. */
static struct config *forget_annotations(const struct config *config)
{
	struct config *copy = malloc(sizeof(*copy));
	size_t i;

	if (!copy)
		return NULL;
	*copy = *config;
	copy->ports = config->ports_unannotated;
	memset(&copy->warnings, 0, sizeof(copy->warnings));
	for (i = 0; key_at(i); i++)
		if (copy->source[i] == CONFIG_SOURCE_ANNOTATION)
			copy->source[i] = CONFIG_SOURCE_DEFAULT;
	return copy;
}

static void warn_of_changes(const struct config *old, const struct config *now,
			    struct config_warnings *warnings)
{
	char name[KEY_NAME_SIZE];
	const struct key *key;
	size_t i;

	for (i = 0; (key = key_at(i)); i++) {
		bool gone = old->source[i] == CONFIG_SOURCE_ANNOTATION &&
			    now->source[i] != CONFIG_SOURCE_ANNOTATION;
		bool is_ports = key->offset == offsetof(struct config, ports);

		if (by_flag(old, key)) {
			if (is_ports && !key_equal(key, old, now) &&
			    now->source[i] == CONFIG_SOURCE_ANNOTATION)
				config_warn(warnings,
					    "annotation " ANNOTATION_PREFIX
					    "%s in %s: without effect, flag --ports wins",
					    key->name, old->annotations);
		} else if (!is_ports && (gone || !key_equal(key, old, now))) {
			config_warn(warnings,
				    "annotation " ANNOTATION_PREFIX
				    "%s in %s %s: takes effect at the next start",
				    key_annotation(key, name), old->annotations,
				    gone ? "removed" : "changed");
		}
	}
}

int config_reload_annotations(const struct config *config, struct port_set *ports,
			      struct config_warnings *warnings, struct error *err)
{
	struct config *now = forget_annotations(config);
	int ret;

	memset(warnings, 0, sizeof(*warnings));
	*ports = config->ports;
	if (!now)
		return error_set(err, -ENOMEM, "annotations: out of memory");
	ret = load_annotations(now, err);
	if (!ret) {
		*warnings = now->warnings;
		warn_of_changes(config, now, warnings);
		if (!by_flag(config, key_find("ports")))
			*ports = now->ports;
		ret = !port_set_equal(ports, &config->ports);
	}
	free(now);
	return ret;
}

/* ---- looking at it ---- */

int config_format(const struct config *config, const char *key_name, char *out, size_t size)
{
	const struct key *key = key_find(key_name);

	if (!key)
		return -ENOENT;
	return key->type->format(key->rule, key_field_const(key, config), out, size);
}

int config_check_annotation(const char *name, const char *value, struct error *err)
{
	struct origin origin = {CONFIG_SOURCE_ANNOTATION, NULL, 0, 0};
	const struct key *key = key_find_annotated(name);
	struct config *scratch;
	int ret;

	if (!key)
		return -ENOENT;
	scratch = calloc(1, sizeof(*scratch));
	if (!scratch)
		return error_set(err, -ENOMEM, "annotation " ANNOTATION_PREFIX "%s: out of memory",
				 name);
	ret = key_apply(key, scratch, &origin, value, err);
	free(scratch);
	return ret;
}

enum config_source config_source_of(const struct config *config, const char *key_name)
{
	const struct key *key = key_find(key_name);

	return key ? (enum config_source)config->source[key_index(key)] : CONFIG_SOURCE_DEFAULT;
}

const char *config_source_name(enum config_source source)
{
	static const char *const names[] = {
		[CONFIG_SOURCE_DEFAULT] = "default",
		[CONFIG_SOURCE_FILE] = "file",
		[CONFIG_SOURCE_ENVIRONMENT] = "environment",
		[CONFIG_SOURCE_ANNOTATION] = "annotation",
		[CONFIG_SOURCE_FLAG] = "flag",
	};

	return names[source];
}

const char *config_backend_name(enum config_backend backend)
{
	static const char *const names[] = {
		[CONFIG_BACKEND_AUTO] = "auto",
		[CONFIG_BACKEND_VFIO] = "vfio",
		[CONFIG_BACKEND_AF_XDP] = "af_xdp",
		[CONFIG_BACKEND_KERNEL] = "kernel",
	};

	return names[backend];
}

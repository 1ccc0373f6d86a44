/* SPDX-License-Identifier: Apache-2.0 */
/* Command line: --key value or --key=value. Not getopt_long(), which prints by itself and takes
 * abbreviations. */
#include <errno.h>
#include <string.h>

#include "sidecar/config/layer.h"

enum flag_kind {
	FLAG_KEY,
	FLAG_HELP,
	FLAG_VERSION,
	FLAG_CONFIG,
};

struct flag {
	enum flag_kind kind;
	const struct key *key; /* of FLAG_KEY */
	const char *value;     /* of FLAG_KEY and FLAG_CONFIG */
};

static int refuse(const char *text, size_t len, const char *why, struct error *err)
{
	char shown[CONFIG_QUOTE_SIZE], quoted[CONFIG_QUOTE_SIZE], flag[KEY_NAME_SIZE], names[400];
	const struct key *key;
	size_t used = 0, i;

	names[0] = 0;
	for (i = 0; (key = key_at(i)) && used < sizeof(names); i++) {
		config_print(names + used, sizeof(names) - used, ", %s", key_flag(key, flag));
		used += strlen(names + used);
	}
	config_print(shown, sizeof(shown), "%.*s", len > 40 ? 40 : (int)len, text);
	return error_set(err, -EINVAL, "argument %s: %s; allowed: --help, --version, --config%s",
			 config_quote(shown, quoted), why, names);
}

static int refuse_unknown(const char *text, size_t len, struct error *err)
{
	char name[KEY_NAME_SIZE], flag[KEY_NAME_SIZE], why[80];

	config_print(name, sizeof(name), "%.*s", (int)(len - 2), text + 2);
	config_print(why, sizeof(why), "unknown, the nearest is %s",
		     key_flag(key_find(key_nearest(name, false, NULL)), flag));
	return refuse(text, len, why, err);
}

/* Which flag the first `len` bytes of `text` name. */
static int flag_identify(const char *text, size_t len, struct flag *flag, struct error *err)
{
	static const struct {
		const char *name;
		enum flag_kind kind;
	} specials[] = {
		{"--help", FLAG_HELP},
		{"-h", FLAG_HELP},
		{"--version", FLAG_VERSION},
		{"--config", FLAG_CONFIG},
	};
	char name[KEY_NAME_SIZE];
	size_t i;

	*flag = (struct flag){FLAG_KEY, NULL, NULL};
	for (i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
		flag->kind = specials[i].kind;
		if (strlen(specials[i].name) == len && !memcmp(text, specials[i].name, len))
			return 0;
	}
	flag->kind = FLAG_KEY;
	if (len < 3 || text[0] != '-' || text[1] != '-')
		return refuse(text, len, "not a flag", err);
	for (i = 0; (flag->key = key_at(i)); i++)
		if (strlen(key_flag(flag->key, name)) == len && !memcmp(text, name, len))
			return 0;
	return refuse_unknown(text, len, err);
}

static int refuse_missing(const struct flag *flag, struct error *err)
{
	struct origin origin = {CONFIG_SOURCE_FLAG, NULL, 0, 0};

	if (flag->kind == FLAG_KEY)
		return key_refuse(flag->key, &origin, NULL, "no value given", err);
	return error_set(err, -EINVAL,
			 "flag --config: no value given; allowed: path of a JSON file");
}

/* Reads the flag at argv[*index] and steps over it and its value. */
static int flag_next(int argc, char **argv, int *index, struct flag *flag, struct error *err)
{
	const char *text = argv[(*index)++];
	size_t len = strcspn(text, "=");
	int ret = flag_identify(text, len, flag, err);

	if (ret)
		return ret;
	if (flag->kind == FLAG_HELP || flag->kind == FLAG_VERSION)
		return text[len] ? refuse(text, strlen(text), "takes no value", err) : 0;
	if (text[len]) {
		flag->value = text + len + 1;
		return 0;
	}
	/* "--ports --backend kernel" is a forgotten value; "--device=--x" is still possible. */
	if (*index >= argc || !strncmp(argv[*index], "--", 2))
		return refuse_missing(flag, err);
	flag->value = argv[(*index)++];
	return 0;
}

int flags_scan(int argc, char **argv, struct flags_special *special, struct error *err)
{
	struct flag flag;
	int i = 1, ret;

	*special = (struct flags_special){false, false, NULL};
	while (i < argc) {
		ret = flag_next(argc, argv, &i, &flag, err);
		if (ret)
			return ret;
		special->help |= flag.kind == FLAG_HELP;
		special->version |= flag.kind == FLAG_VERSION;
		if (flag.kind == FLAG_CONFIG)
			special->config = flag.value;
	}
	return 0;
}

int layer_flags(struct config *config, int argc, char **argv, const struct key *only,
		struct error *err)
{
	struct origin origin = {CONFIG_SOURCE_FLAG, NULL, 0, 0};
	struct flag flag;
	int i = 1, ret;

	while (i < argc) {
		ret = flag_next(argc, argv, &i, &flag, err);
		if (!ret && flag.kind == FLAG_KEY && (!only || only == flag.key))
			ret = key_apply(flag.key, config, &origin, flag.value, err);
		if (ret)
			return ret;
	}
	return 0;
}

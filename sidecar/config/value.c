/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/config/value.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sidecar/config/config.h"
#include "sidecar/config/list.h"

static int refuse(char *why, const char *wrong)
{
	config_print(why, CONFIG_WHY_SIZE, "%s", wrong);
	return -EINVAL;
}

/* ---- numbers ---- */

static int number_parse(const void *rule, const char *text, void *field, size_t size, char *why)
{
	const struct number_rule *range = rule;
	bool negative = text[0] == '-' && text[1] != '0';
	const char *digits = negative ? text + 1 : text;
	uint64_t wide = 0;
	const char *wrong = decimal_parse(digits, strlen(digits), &wide);
	int64_t number = negative ? -(int64_t)wide : (int64_t)wide;

	assert(size == sizeof(int32_t));
	if (wrong)
		return refuse(why, wrong);
	if (number < range->min || number > range->max)
		return refuse(why, "out of range");
	if (range->power_of_two && (number & (number - 1)))
		return refuse(why, "not a power of two");
	*(int32_t *)field = (int32_t)number;
	return 0;
}

static int number_format(const void *rule, const void *field, char *out, size_t size)
{
	(void)rule;
	return snprintf(out, size, "%d", *(const int32_t *)field);
}

static void number_explain(const void *rule, char *out)
{
	const struct number_rule *range = rule;

	config_print(out, VALUE_ALLOWED_SIZE, "%s %d..%d%s%s",
		     range->power_of_two ? "a power of two" : "a whole number", range->min,
		     range->max, range->note ? " " : "", range->note ? range->note : "");
}

const struct value_type value_number = {
	number_parse,
	number_format,
	number_explain,
	VALUE_JSON_NUMBER,
};

/* ---- choices ---- */

static int choice_parse(const void *rule, const char *text, void *field, size_t size, char *why)
{
	const struct choice *choice;

	assert(size == sizeof(int32_t));
	for (choice = rule; choice->name; choice++) {
		if (strcmp(choice->name, text))
			continue;
		*(int32_t *)field = choice->value;
		return 0;
	}
	return refuse(why, "unknown value");
}

const char *choice_name(const struct choice *choices, int32_t value)
{
	for (; choices->name; choices++)
		if (choices->value == value)
			return choices->name;
	return "?";
}

static int choice_format(const void *rule, const void *field, char *out, size_t size)
{
	return snprintf(out, size, "%s", choice_name(rule, *(const int32_t *)field));
}

static void choice_explain(const void *rule, char *out)
{
	const struct choice *choice = rule;
	size_t len = 0;

	for (; choice->name && len < VALUE_ALLOWED_SIZE; choice++) {
		config_print(out + len, VALUE_ALLOWED_SIZE - len, "%s%s", len ? ", " : "",
			     choice->name);
		len += strlen(out + len);
	}
}

const struct value_type value_choice = {
	choice_parse,
	choice_format,
	choice_explain,
	VALUE_JSON_STRING,
};

const struct value_type value_choice_or_number = {
	choice_parse,
	choice_format,
	choice_explain,
	VALUE_JSON_STRING | VALUE_JSON_NUMBER,
};

/* ---- sets of choices ---- */

static int choices_parse(const void *rule, const char *text, void *field, size_t size, char *why)
{
	uint32_t set = 0;

	assert(size == sizeof(set));
	if (strcmp(text, "none")) {
		do {
			const struct choice *choice = rule;
			size_t len = strcspn(text, ",");

			while (choice->name &&
			       (strlen(choice->name) != len || strncmp(choice->name, text, len)))
				choice++;
			if (!choice->name)
				return refuse(why, "contains an unknown name");
			set |= 1u << choice->value;
			text += len;
		} while (*text++ == ',');
	}
	memcpy(field, &set, sizeof(set));
	return 0;
}

static int choices_format(const void *rule, const void *field, char *out, size_t size)
{
	const struct choice *choice;
	uint32_t set;
	int len = 0;

	memcpy(&set, field, sizeof(set));
	if (!set)
		return snprintf(out, size, "none");
	for (choice = rule; choice->name; choice++)
		if (set & 1u << choice->value)
			len += snprintf((size_t)len < size ? out + len : NULL,
					(size_t)len < size ? size - (size_t)len : 0, "%s%s",
					len ? "," : "", choice->name);
	return len;
}

static void choices_explain(const void *rule, char *out)
{
	size_t len;

	config_print(out, VALUE_ALLOWED_SIZE, "none, or of: ");
	len = strlen(out);
	for (const struct choice *choice = rule; choice->name && len < VALUE_ALLOWED_SIZE;
	     choice++) {
		config_print(out + len, VALUE_ALLOWED_SIZE - len, "%s%s", choice == rule ? "" : ",",
			     choice->name);
		len += strlen(out + len);
	}
}

const struct value_type value_choices = {
	choices_parse,
	choices_format,
	choices_explain,
	VALUE_JSON_STRING,
};

/* ---- texts ---- */

const char *text_wrong_word(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return "contains whitespace or control characters";
	return NULL;
}

/* The same rule as the kernel's dev_valid_name(). */
const char *text_wrong_interface(const char *text)
{
	if (!strcmp(text, ".") || !strcmp(text, ".."))
		return "not an interface name";
	if (strpbrk(text, "/:"))
		return "contains '/' or ':'";
	return text_wrong_word(text);
}

const char *text_wrong_path(const char *text)
{
	if (text[0] != '/')
		return "not an absolute path";
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return "contains control characters";
	return text[-1] == '/' ? "names a directory" : NULL;
}

static int text_parse(const void *rule, const char *text, void *field, size_t size, char *why)
{
	const struct text_rule *limits = rule;
	size_t len = strlen(text);
	const char *wrong = NULL;

	if (!len && !limits->may_be_empty)
		return refuse(why, "empty");
	if (len >= size)
		return refuse(why, "too long");
	if (len)
		wrong = limits->wrong(text);
	if (wrong)
		return refuse(why, wrong);
	memset(field, 0, size);
	memcpy(field, text, len);
	return 0;
}

static int text_format(const void *rule, const void *field, char *out, size_t size)
{
	(void)rule;
	return snprintf(out, size, "%s", (const char *)field);
}

static void text_explain(const void *rule, char *out)
{
	config_print(out, VALUE_ALLOWED_SIZE, "%s", ((const struct text_rule *)rule)->allowed);
}

const struct value_type value_text = {
	text_parse,
	text_format,
	text_explain,
	VALUE_JSON_STRING,
};

/* ---- lists ---- */

static int ports_parse(const void *rule, const char *text, void *field, size_t size, char *why)
{
	struct port_set *ports = field;
	int ret;

	(void)rule;
	assert(size == sizeof(*ports));
	port_set_clear(ports);
	ret = list_parse(text, 1, PORT_SET_BITS - 1, ports->bits, why);
	ports->count = list_count(ports->bits, PORT_SET_BITS);
	return ret;
}

static int ports_format(const void *rule, const void *field, char *out, size_t size)
{
	(void)rule;
	return (int)port_set_format(field, out, size);
}

static void ports_explain(const void *rule, char *out)
{
	(void)rule;
	config_print(out, VALUE_ALLOWED_SIZE, PORT_SET_ALLOWED);
}

const struct value_type value_ports = {
	ports_parse,
	ports_format,
	ports_explain,
	VALUE_JSON_STRING,
};

static int cpus_parse(const void *rule, const char *text, void *field, size_t size, char *why)
{
	struct config_cpus *cpus = field;
	int ret;

	(void)rule;
	assert(size == sizeof(*cpus));
	memset(cpus, 0, sizeof(*cpus));
	if (!*text)
		return 0;
	if (!strcmp(text, "own")) {
		cpus->own = 1;
		return 0;
	}
	ret = list_parse(text, 0, CONFIG_CPUS_MAX - 1, cpus->bits, why);
	cpus->count = list_count(cpus->bits, CONFIG_CPUS_MAX);
	return ret;
}

static int cpus_format(const void *rule, const void *field, char *out, size_t size)
{
	const struct config_cpus *cpus = field;

	(void)rule;
	if (cpus->own)
		return snprintf(out, size, "own");
	return (int)list_format(cpus->bits, CONFIG_CPUS_MAX, out, size);
}

static void cpus_explain(const void *rule, char *out)
{
	(void)rule;
	config_print(out, VALUE_ALLOWED_SIZE,
		     "own, or CPU numbers 0-%d and ranges LOW-HIGH, comma-separated",
		     CONFIG_CPUS_MAX - 1);
}

const struct value_type value_cpus = {
	cpus_parse,
	cpus_format,
	cpus_explain,
	VALUE_JSON_STRING,
};

/* ---- permission bits ---- */

/* Always octal, as for chmod, with or without leading zeros. Hence not a JSON number, which is
 * decimal. */
static int mode_parse(const void *rule, const char *text, void *field, size_t size, char *why)
{
	size_t len = strspn(text, "01234567"), i;
	uint32_t mode = 0;

	(void)rule;
	assert(size == sizeof(mode));
	if (!len || text[len])
		return refuse(why, "not an octal number");
	if (len > 4 || (len == 4 && text[0] != '0'))
		return refuse(why, "out of range");
	for (i = 0; i < len; i++)
		mode = mode * 8 + (uint32_t)(text[i] - '0');
	*(uint32_t *)field = mode;
	return 0;
}

static int mode_format(const void *rule, const void *field, char *out, size_t size)
{
	(void)rule;
	return snprintf(out, size, "%04o", *(const uint32_t *)field);
}

static void mode_explain(const void *rule, char *out)
{
	(void)rule;
	config_print(out, VALUE_ALLOWED_SIZE, "permission bits in octal, 0000..0777");
}

const struct value_type value_mode = {
	mode_parse,
	mode_format,
	mode_explain,
	VALUE_JSON_STRING,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Types of values: how each is parsed, printed and explained. key.c says which key has which type.
 * Internal to sidecar/config. */
#ifndef UDPLANE_SIDECAR_CONFIG_VALUE_H
#define UDPLANE_SIDECAR_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* JSON types that a value may be written in. */
#define VALUE_JSON_STRING 1u
#define VALUE_JSON_NUMBER 2u

/* A buffer for what a type's explain() writes. */
#define VALUE_ALLOWED_SIZE 160

struct value_type {
	/*
	 * Parses `text` into `field`, which is `size` bytes long, and sets every byte of it, so
	 * that fields can be compared by memcmp(). Returns 0, or -EINVAL with `why`
	 * (CONFIG_WHY_SIZE bytes) set.
	 */
	int (*parse)(const void *rule, const char *text, void *field, size_t size, char *why);
	/* Writes the field as text that parse() accepts, and returns as snprintf() does. */
	int (*format)(const void *rule, const void *field, char *out, size_t size);
	/* Writes what is allowed to `out` (VALUE_ALLOWED_SIZE bytes). */
	void (*explain)(const void *rule, char *out);
	unsigned int json; /* VALUE_JSON_ bits */
};

/* int32_t or uint32_t; rule: struct number_rule */
struct number_rule {
	int32_t min, max;
	bool power_of_two;
	const char *note; /* after the range in messages, or NULL */
};
extern const struct value_type value_number;

/* enum, int32_t or uint32_t; rule: array of struct choice that ends with a NULL name */
struct choice {
	const char *name;
	int32_t value;
};
extern const struct value_type value_choice;
extern const struct value_type value_choice_or_number; /* names may be numbers, also in JSON */

/* uint32_t with bits 1 << value of several choices; "none", or names separated by commas. rule: as
 * for value_choice */
extern const struct value_type value_choices;

/* char[]; rule: struct text_rule. "" is allowed only if it is the default. */
struct text_rule {
	const char *(*wrong)(
		const char *text); /* returns NULL, or what is wrong; not called with "" */
	const char *allowed;
	bool may_be_empty;
};
extern const struct value_type value_text;

const char *text_wrong_interface(const char *text);
const char *text_wrong_path(const char *text); /* absolute */
const char *text_wrong_word(const char *text); /* no whitespace or control characters */

extern const struct value_type value_ports; /* struct port_set; no rule */
extern const struct value_type value_cpus;  /* struct config_cpus; no rule */
extern const struct value_type value_mode;  /* uint32_t permission bits, octal; no rule */

/* Returns the name of a choice, or "?" if there is no such value. */
const char *choice_name(const struct choice *choices, int32_t value);

#ifdef __cplusplus
}
#endif

#endif

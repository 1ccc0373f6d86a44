/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/config/annotations.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Reads `digits` hexadecimal digits. Returns them, or UINT32_MAX. */
static uint32_t hex_parse(const char *at, const char *end, unsigned int digits)
{
	uint32_t value = 0;

	if (end - at < (ptrdiff_t)digits)
		return UINT32_MAX;
	for (; digits; digits--, at++) {
		uint32_t digit;

		if (*at >= '0' && *at <= '9')
			digit = (uint32_t)(*at - '0');
		else if (*at >= 'a' && *at <= 'f')
			digit = (uint32_t)(*at - 'a' + 10);
		else if (*at >= 'A' && *at <= 'F')
			digit = (uint32_t)(*at - 'A' + 10);
		else
			return UINT32_MAX;
		value = value << 4 | digit;
	}
	return value;
}

/* Returns the number of bytes written, or 0 if it is not a code point. */
static size_t utf8_encode(uint32_t code, char *out)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		if (code >= 0xd800 && code < 0xe000)
			return 0;
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	if (code > 0x10ffff)
		return 0;
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/*
 * Decodes the escape after a backslash at *at and steps over it. Returns the number of bytes
 * written, which is never more than were read, or 0. A NUL is not accepted.
 */
static size_t unescape(const char **at, const char *end, char *out)
{
	static const char letters[] = "abfnrtv\\\"", bytes[] = "\a\b\f\n\r\t\v\\\"";
	const char *letter;
	unsigned int digits;
	uint32_t code;

	if (*at == end)
		return 0;
	letter = memchr(letters, **at, sizeof(letters) - 1);
	if (letter) {
		++*at;
		*out = bytes[letter - letters];
		return 1;
	}
	digits = **at == 'x' ? 2 : **at == 'u' ? 4 : **at == 'U' ? 8 : 0;
	code = digits ? hex_parse(*at + 1, end, digits) : 0;
	if (code == 0 || code == UINT32_MAX)
		return 0;
	*at += digits + 1;
	if (digits > 2)
		return utf8_encode(code, out);
	*out = (char)code; /* \xNN is a byte, not a code point */
	return 1;
}

/* Unquotes at..end to `out`, which must be as long. Returns NULL, or a text that says what is
 * wrong. */
static const char *unquote(const char *at, const char *end, char *out)
{
	if (at == end || *at != '"')
		return "the value is not in double quotes";
	for (at++; at < end && *at != '"';) {
		if (*at == 0)
			return "a NUL byte";
		if (*at == '\\') {
			size_t len;

			at++;
			len = unescape(&at, end, out);
			if (!len)
				return "an invalid escape, or one for NUL";
			out += len;
		} else {
			*out++ = *at++;
		}
	}
	*out = 0;
	if (at == end)
		return "the closing quote is missing";
	return at + 1 == end ? NULL : "more after the closing quote";
}

struct line {
	const char *text, *end;
	unsigned int number;
};

static int refuse(const char *file, const struct line *line, const char *wrong, struct error *err)
{
	char shown[CONFIG_QUOTE_SIZE], quoted[CONFIG_QUOTE_SIZE];
	size_t len = (size_t)(line->end - line->text);

	config_print(shown, sizeof(shown), "%.*s", len > 70 ? 70 : (int)len, line->text);
	return error_set(err, -EINVAL,
			 "%.200s:%u: annotation %s: %s; allowed: lines of key=\"value\"", file,
			 line->number, config_quote(shown, quoted), wrong);
}

/* `key` and `value` must each be as long as the line. */
static int parse_line(const char *file, const struct line *line, size_t prefix_len, char *key,
		      char *value, struct error *err)
{
	const char *equals = memchr(line->text, '=', (size_t)(line->end - line->text));
	const char *wrong;
	size_t len;

	if (!equals)
		return refuse(file, line, "no '='", err);
	len = (size_t)(equals - line->text);
	if (memchr(line->text, 0, len))
		return refuse(file, line, "a NUL byte", err);
	wrong = unquote(equals + 1, line->end, value);
	if (wrong)
		return refuse(file, line, wrong, err);
	memcpy(key, line->text + prefix_len, len - prefix_len);
	key[len - prefix_len] = 0;
	return 0;
}

int annotations_each(const char *file, const char *text, size_t len, const char *prefix,
		     int (*each)(void *arg, const char *name, const char *value), void *arg,
		     struct error *err)
{
	size_t prefix_len = strlen(prefix);
	const char *end = text + len;
	char *room = malloc(2 * (len + 1)); /* a key and a value, each at most a line */
	struct line line;
	int ret = 0;

	if (!room)
		return error_set(err, -ENOMEM, "%.200s: out of memory", file);
	for (line = (struct line){text, text, 1}; line.text < end && !ret; line.number++) {
		size_t rest = (size_t)(end - line.text);
		const char *newline = memchr(line.text, '\n', rest);

		line.end = newline ? newline : end;
		if ((size_t)(line.end - line.text) >= prefix_len &&
		    !memcmp(line.text, prefix, prefix_len)) {
			ret = parse_line(file, &line, prefix_len, room, room + len + 1, err);
			if (!ret)
				ret = each(arg, room, room + len + 1);
		}
		line.text = newline ? newline + 1 : end;
	}
	free(room);
	return ret;
}

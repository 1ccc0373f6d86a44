/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/config/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void config_warn(struct config_warnings *warnings, const char *format, ...)
{
	struct error *entry;
	va_list args;

	if (!warnings || warnings->count++ >= CONFIG_WARNINGS_MAX)
		return;
	entry = &warnings->entry[warnings->count - 1];
	va_start(args, format);
	vsnprintf(entry->text, sizeof(entry->text), format, args);
	va_end(args);
}

void config_print(char *out, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(out, size, format, args);
	va_end(args);
}

const char *config_quote(const char *text, char *out)
{
	/* Room for the longest escape, the mark of a cut text, and the final NUL. */
	const size_t limit = CONFIG_QUOTE_SIZE - sizeof("\\xNN...\"");
	size_t len = 0;

	out[len++] = '"';
	for (; *text && len < limit; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			out[len++] = '\\';
			out[len++] = (char)c;
		} else if (c >= ' ' && c < 0x7f) {
			out[len++] = (char)c;
		} else {
			len += (size_t)snprintf(out + len, CONFIG_QUOTE_SIZE - len, "\\x%02x", c);
		}
	}
	snprintf(out + len, CONFIG_QUOTE_SIZE - len, "%s\"", *text ? "..." : "");
	return out;
}

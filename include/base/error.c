/* SPDX-License-Identifier: Apache-2.0 */
#include "include/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int ret, const char *format, ...)
{
	struct error made;
	va_list args;

	if (!error)
		return ret;
	va_start(args, format);
	vsnprintf(made.text, sizeof(made.text), format, args);
	va_end(args);
	memcpy(error->text, made.text, strlen(made.text) + 1);
	return ret;
}

int error_prefix(struct error *error, int ret, const char *format, ...)
{
	struct error made;
	va_list args;
	size_t used;

	if (!error)
		return ret;
	va_start(args, format);
	vsnprintf(made.text, sizeof(made.text), format, args);
	va_end(args);
	used = strlen(made.text);
	snprintf(made.text + used, sizeof(made.text) - used, "%s", error->text);
	*error = made;
	return ret;
}

void error_copy(const struct error *error, char *out, size_t size)
{
	size_t len = strnlen(error->text, size - 1);

	memcpy(out, error->text, len);
	out[len] = '\0';
}

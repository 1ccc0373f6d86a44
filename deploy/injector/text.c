/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct text *text, size_t more)
{
	size_t size = text->size ? text->size : 256;
	char *data;

	while (size < text->len + more + 1)
		size *= 2;
	if (size == text->size || text->failed)
		return !text->failed;
	data = realloc(text->data, size);
	if (!data) {
		text->failed = true;
		return false;
	}
	text->data = data;
	text->size = size;
	return true;
}

void text_append(struct text *text, const char *data, size_t len)
{
	if (!make_room(text, len))
		return;
	if (len)
		memcpy(text->data + text->len, data, len);
	text->len += len;
	text->data[text->len] = 0;
}

void text_add(struct text *text, const char *string)
{
	text_append(text, string, strlen(string));
}

void text_print(struct text *text, const char *format, ...)
{
	va_list args, again;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len > 0 && make_room(text, (size_t)len)) {
		vsnprintf(text->data + text->len, (size_t)len + 1, format, again);
		text->len += (size_t)len;
	}
	va_end(again);
}

char *text_take(struct text *text)
{
	char *data;

	text_append(text, "", 0);
	data = text->data;
	if (text->failed) {
		free(data);
		data = NULL;
	}
	memset(text, 0, sizeof(*text));
	return data;
}

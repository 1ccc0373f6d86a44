/* SPDX-License-Identifier: Apache-2.0 */
#include "deploy/injector/bounds.h"

#include <stdbool.h>

/* Returns the index behind the closing quote of the string whose opening quote is before
 * text[at]. */
static size_t skip_string(const char *text, size_t len, size_t at)
{
	while (at < len && text[at] != '"')
		at += text[at] == '\\' ? 2 : 1;
	return at + 1;
}

/* cJSON skips these characters between values; they are more than JSON allows. */
static bool is_space(char c)
{
	return (unsigned char)c <= ' ';
}

struct bounds bounds_measure(const char *text, size_t len, const struct bounds *limit)
{
	struct bounds found = {.values = 1};
	unsigned int depth = 0;
	bool opened = false; /* the last byte that was not a space was [ or { */
	size_t at = 0;

	while (at < len && found.values <= limit->values && found.depth <= limit->depth) {
		char c = text[at++];

		if (is_space(c))
			continue;
		/* No comma announces the first member or item. */
		found.values += opened && c != ']' && c != '}';
		opened = c == '[' || c == '{';
		if (c == '"') {
			at = skip_string(text, len, at);
		} else if (c == ',') {
			found.values++;
		} else if (opened) {
			if (++depth > found.depth)
				found.depth = depth;
		} else if ((c == ']' || c == '}') && depth) {
			depth--;
		}
	}
	return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/config/list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "sidecar/config/text.h"

struct span {
	const char *text;
	size_t len;
};

const char *decimal_parse(const char *text, size_t len, uint64_t *value)
{
	uint64_t number = 0;
	size_t i;

	if (len == 0)
		return "not a whole number";
	for (i = 0; i < len; i++)
		if (text[i] < '0' || text[i] > '9')
			return "not a whole number";
	if (text[0] == '0' && len > 1)
		return "leading zero";
	if (len > 18) /* 10^18 fits in 60 bits */
		return "too large";
	for (i = 0; i < len; i++)
		number = number * 10 + (uint64_t)(text[i] - '0');
	*value = number;
	return NULL;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct span trim(const char *text, size_t len)
{
	while (len && is_space(text[0])) {
		text++;
		len--;
	}
	while (len && is_space(text[len - 1]))
		len--;
	return (struct span){text, len};
}

static const char *number_parse(struct span number, uint32_t min, uint32_t max, uint32_t *value)
{
	uint64_t wide;
	const char *wrong = decimal_parse(number.text, number.len, &wide);

	if (wrong)
		return wrong;
	if (wide < min || wide > max)
		return "out of range";
	*value = (uint32_t)wide;
	return NULL;
}

static const char *range_parse(struct span item, uint32_t min, uint32_t max, uint32_t *low,
			       uint32_t *high)
{
	const char *dash = memchr(item.text, '-', item.len);
	struct span first = item, last;
	const char *wrong;

	if (!item.len)
		return "empty item";
	if (!dash) {
		wrong = number_parse(item, min, max, low);
		*high = *low;
		return wrong;
	}
	first.len = (size_t)(dash - item.text);
	last = (struct span){dash + 1, item.len - first.len - 1};
	if (!first.len || !last.len)
		return "range with an end missing";
	wrong = number_parse(first, min, max, low);
	if (!wrong)
		wrong = number_parse(last, min, max, high);
	if (wrong)
		return wrong;
	return *low > *high ? "range runs backwards" : NULL;
}

/* Names the item only if it is not the whole text, which the caller shows. */
static void explain(struct span item, const char *text, unsigned int index, const char *wrong,
		    char *why)
{
	char shown[CONFIG_QUOTE_SIZE], quoted[CONFIG_QUOTE_SIZE];

	if (!strchr(text, ',')) {
		config_print(why, CONFIG_WHY_SIZE, "%s", item.len ? wrong : "empty");
		return;
	}
	config_print(shown, sizeof(shown), "%.*s", item.len > 24 ? 24 : (int)item.len, item.text);
	config_print(why, CONFIG_WHY_SIZE, "item %u %s: %s", index, config_quote(shown, quoted),
		     wrong);
}

/* Works on words, so that a megabyte of "1-65535,1-65535,..." does not take seconds. */
static void set_bits(uint64_t *bits, uint32_t low, uint32_t high)
{
	uint32_t word = low / 64, last = high / 64;
	uint64_t mask = ~UINT64_C(0) << (low % 64);

	for (; word < last; word++) {
		bits[word] |= mask;
		mask = ~UINT64_C(0);
	}
	bits[last] |= mask & ~UINT64_C(0) >> (63 - high % 64);
}

int list_parse(const char *text, uint32_t min, uint32_t max, uint64_t *bits, char *why)
{
	const char *start = text, *end = text + strlen(text), *comma;
	unsigned int index = 1;

	for (;; index++) {
		struct span item;
		uint32_t low = 0, high = 0;
		const char *wrong;

		comma = memchr(start, ',', (size_t)(end - start));
		item = trim(start, (size_t)((comma ? comma : end) - start));
		wrong = range_parse(item, min, max, &low, &high);
		if (wrong) {
			explain(item, text, index, wrong, why);
			return -EINVAL;
		}
		set_bits(bits, low, high);
		if (!comma)
			return 0;
		start = comma + 1;
	}
}

static bool has_bit(const uint64_t *bits, uint32_t index)
{
	return bits[index / 64] >> (index % 64) & 1;
}

size_t list_format(const uint64_t *bits, uint32_t count, char *out, size_t size)
{
	size_t len = 0;
	uint32_t low, high;

	if (size)
		out[0] = 0;
	for (low = 0; low < count; low = high + 1) {
		bool fits = len < size;
		char *at = fits ? out + len : NULL;
		size_t room = fits ? size - len : 0;

		high = low;
		if (!has_bit(bits, low))
			continue;
		while (high + 1 < count && has_bit(bits, high + 1))
			high++;
		if (low == high)
			len += (size_t)snprintf(at, room, "%s%u", len ? "," : "", low);
		else
			len += (size_t)snprintf(at, room, "%s%u-%u", len ? "," : "", low, high);
	}
	return len;
}

uint32_t list_count(const uint64_t *bits, uint32_t count)
{
	uint32_t total = 0, i;

	for (i = 0; i < count / 64; i++)
		total += (uint32_t)__builtin_popcountll(bits[i]);
	return total;
}

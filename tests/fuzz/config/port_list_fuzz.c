/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sidecar/config/port_set.h"

static void check_set(const struct port_set *set)
{
	static char text[PORT_SET_TEXT_SIZE];
	static struct port_set again;
	uint64_t count = 0;
	int port;

	for (port = port_set_next(set, 0); port >= 0; port = port_set_next(set, port + 1), count++)
		if (!port || !port_set_contains(set, (uint16_t)port))
			abort();
	if (!count || count != set->count)
		abort();
	if (port_set_format(set, text, sizeof(text)) >= sizeof(text))
		abort();
	if (port_set_parse(text, &again, NULL) || !port_set_equal(set, &again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct port_set set;
	struct error err = {""};
	char *text = malloc(size + 1);

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	if (!port_set_parse(text, &set, &err))
		check_set(&set);
	else if (set.count || !strstr(err.text, "; allowed: " PORT_SET_ALLOWED))
		abort();
	free(text);
	return 0;
}

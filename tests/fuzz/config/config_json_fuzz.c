/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>

#include "sidecar/config/layer.h"
#include "tests/fuzz/config/round_trip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config config, again;
	struct error err = {""};

	config_set_defaults(&config);
	if (layer_json(&config, "f.json", (const char *)data, size, &err))
		check_message(&err);
	else
		check_round_trip(&config, &again);
	return 0;
}

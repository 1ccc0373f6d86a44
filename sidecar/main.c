/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>
#include "sidecar/base/log.h"
#include "sidecar/config/config.h"
#include "sidecar/control/control.h"

int main(int argc, char **argv)
{
	static struct config cfg; /* some 20 KiB */
	struct config_error err;
	int r = config_load(&cfg, argc, argv, environ, &err);

	if (r == CONFIG_PRINTED)
		return 0;
	if (r) {
		fprintf(stderr, "udplaned: %s\n", err.text);
		return 2;
	}
	log_init(cfg.log_level);
	for (unsigned int i = 0; i < cfg.warnings.count; i++)
		log_warn("%s", cfg.warnings.entry[i].text);
	return control_run(&cfg);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "sidecar/base/log.h"
#include "sidecar/config/config.h"
#include "sidecar/control/control.h"

/* In place: same pid, arguments and environment, so that no supervisor need notice. Descriptors that libraries left open are closed. */
static int run_again(char **argv)
{
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	execv("/proc/self/exe", argv);
	log_error("cannot start again: /proc/self/exe: %s", strerror(errno));
	return 1;
}

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
	switch (control_run(&cfg)) {
	case CONTROL_STOPPED:
		return 0;
	case CONTROL_RESTART:
		return run_again(argv);
	default:
		return 1;
	}
}

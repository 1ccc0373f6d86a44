/* SPDX-License-Identifier: Apache-2.0 */
/* churn COUNT: opens, binds and closes an accelerated socket COUNT times; each bind must be
 * claimed, each port free again at once. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <udplane/udplane.h>

int main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 1000;

	for (long i = 0; i < count; i++) {
		struct sockaddr_in sin = {.sin_family = AF_INET,
					  .sin_port = htons((uint16_t)(1024 + i % 7))};
		struct udplane_status st = {.size = sizeof(st)};
		int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0);

		if (fd < 0 || udplane_bind(fd, (void *)&sin, sizeof(sin))) {
			perror("churn: open or bind");
			return 1;
		}
		if (udplane_get_status(fd, &st) || !st.accelerated) {
			fprintf(stderr, "churn: round %ld is not accelerated: %s: %s\n", i,
				st.reason, st.text);
			return 1;
		}
		if (udplane_close(fd)) {
			perror("churn: close");
			return 1;
		}
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udplaned consists of a parent (sidecar/supervise) and a child process, which does the work
 * (sidecar/control), and the keeper of descriptors (sidecar/keeper).
 */
#include "sidecar/supervise/supervise.h"
#include <unistd.h>

int main(int argc, char **argv)
{
	return supervise(argc, argv, environ);
}

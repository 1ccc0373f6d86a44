#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a program without address randomisation: the sanitizers' shadow has no place where the kernel spreads mappings over
# 32 bits (vm.mmap_rnd_bits). Where the container forbids that, runs it as it is.
if setarch -R true 2>/dev/null; then
	exec setarch -R "$@"
fi
exec "$@"

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# libudplane.so and libudplane-preload.so ask for nothing that glibc 2.17 does not have, nor for what
# musl does not have (where musl-tools are installed; tests/integration/musl_test.py and
# preload_test.py load them there). Arguments: the library, the libraries that it may need.
set -u
library=$1 may_need=$2 newest=2.17
musl=/usr/lib/$(uname -m)-linux-musl/libc.so
failed=0
[[ ! -f $musl ]] || of_musl=$(nm -D --defined-only "$musl" | awk '{ print $NF }')

wrong()
{
	echo "$*"
	failed=1
}

# Undefined symbols as "NAME VERSION BIND": VERSION without GLIBC_, or - for none.
symbols=$(readelf --dyn-syms -W "$library" | awk '
	$7 == "UND" && $8 != "" {
		split($8, part, "@")
		sub(/^GLIBC_/, "", part[2])
		print part[1], (part[2] == "" ? "-" : part[2]), $5
	}')
(($(wc -l <<<"$symbols") > 20)) || wrong "readelf shows hardly any symbols of $library:" "$symbols"
while read -r name version bind; do
	[[ $version == - && $bind != WEAK ]] && wrong "$name has no version: it is no symbol of glibc"
	[[ $version == - || $(printf '%s\n' "$version" $newest | sort -V | tail -1) == "$newest" ]] ||
		wrong "$name needs glibc $version, and may need $newest at most:" \
			"pthread_*: add it to client/portable_pthread.c; others: an older interface or syscall(2), in client/portable.h"
	[[ ! -f $musl || $bind == WEAK ]] || grep -qx "$name" <<<"$of_musl" ||
		wrong "$name is not in musl: define it in client/portable.c, or do without"
done <<<"$symbols"

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' ')
[[ $needed == "$may_need " ]] ||
	wrong "needs the libraries \"$needed\", and may need \"$may_need\": an application's image has no others (musl means itself by these)"
[[ -f $musl ]] || echo "no musl-gcc: musl's symbols are not looked at"
exit $failed

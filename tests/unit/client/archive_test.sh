#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every global name that libudplane.a defines begins with udplane_: it is linked into programs with names of their own.
# Arguments: the archive.
set -u
names=$(nm --extern-only --defined-only --format=posix "$1" | awk 'NF >= 3 { print $1 }')
[[ $names == *udplane_socket* ]] || { echo "no udplane_socket in $1"; exit 1; }
wrong=$(grep -v '^udplane_' <<<"$names")
[[ -z $wrong ]] && exit 0
echo "global names without the prefix udplane_ in libudplane.a: ${wrong//$'\n'/ }"
echo "in client/: hide what other files need, and make the rest static; client/BUILD.bazel makes hidden names local"
exit 1

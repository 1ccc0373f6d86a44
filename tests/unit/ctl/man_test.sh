#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The man pages name what the programs have: every flag of udplaned, every verb of udplanectl, every
# public call. Reasons: names_test.cc.
set -u
udplaned=$1 udplanectl=$2 map=$3
man=docs/man
failed=0

expect() { # WHAT PATTERN FILE
	grep -q -e "$2" "$3" && return
	echo "$3: $1 is not documented"
	failed=1
}

flags=$("$udplaned" --help | sed -n 's/^  --\([a-z-]*\).*/\1/p')
[ "$(echo "$flags" | wc -l)" -gt 10 ] || { echo "udplaned --help lists no flags"; failed=1; }
for flag in $flags; do
	expect "--$flag" "^\.It Fl -$flag\b" "$man"/udplaned.8
done
# shellcheck disable=SC2013 # one word a line
for flag in $(sed -n 's/^\.It Fl -\([a-z-]*\).*/\1/p' "$man"/udplaned.8); do
	grep -qx -e "$flag" <<<"$flags" || { echo "udplaned has no --$flag"; failed=1; }
done
for verb in $("$udplanectl" help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
	expect "$verb" "^\.Cm $verb\b" "$man"/udplanectl.1
done
# shellcheck disable=SC2013
for call in $(sed -n 's/^\t*\(udplane_[a-z_]*\);$/\1/p' "$map"); do
	[ -f "$man/$call.3" ] || { echo "no page for $call()"; failed=1; }
done
for page in "$man"/udplane_*.3; do
	target=$(sed -n '1s/^\.so man3\///p' "$page")
	[ -z "$target" ] || [ -f "$man/$target" ] || { echo "$page: no $target"; failed=1; }
done
if command -v mandoc >/dev/null; then
	for page in "$man"/*.[1378]; do
		grep -q '^\.so' "$page" || mandoc -Tlint -Wwarning "$page" || failed=1
	done
fi
exit $failed

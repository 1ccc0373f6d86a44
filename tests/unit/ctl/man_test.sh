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
# deploy/install makes a page's other names of this section, too.
names=$(for page in "$man"/udplane_*.3; do sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([a-z_]*\).*/\1/p' "$page"; done | sort)
[ -z "$(uniq -d <<<"$names")" ] || { echo "in two NAME sections: $(uniq -d <<<"$names")"; failed=1; }
calls=$(sed -n 's/^\t*\(udplane_[a-z_]*\);$/\1/p' "$map" | sort -u)
[ "$(wc -l <<<"$calls")" -gt 20 ] || { echo "$map lists no calls"; failed=1; }
diff <(echo "$calls") <(echo "$names") || { echo "< calls without a page, > NAMEs that are no calls"; failed=1; }
if command -v mandoc >/dev/null; then
	for page in "$man"/*.[1378]; do
		mandoc -Tlint -Wwarning "$page" || failed=1
	done
fi
exit $failed

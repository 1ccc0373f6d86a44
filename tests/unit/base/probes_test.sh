#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# udplaned has the USDT probes that its man page lists, and no others; each is a nop until somebody attaches to it.
set -u
udplaned=$1 page=docs/man/udplaned.8

has=$(readelf -n "$udplaned" | awk '/Provider: udplane$/ { ours = 1 } ours && /Name:/ { print $2; ours = 0 }' | sort -u)
lists=$(sed -n '/^\.Sh PROBES/,/^\.Sh SIGNALS/s/^\.It Cm \([a-z_]*\)$/\1/p' "$page" | sort)
[ "$(wc -l <<<"$has")" -gt 5 ] || { echo "$udplaned has few probes: $has"; exit 1; }
diff <(echo "$has") <(echo "$lists") || { echo "< probes without a line in $page, > lines without a probe"; exit 1; }
# An instruction at a probe's place that is no nop would mean that it costs something.
readelf -n "$udplaned" | awk '/Provider: udplane$/ { ours = 1 } ours && /Location:/ { print $2; ours = 0 }' | tr -d , | sort -u |
while read -r place; do
	objdump -d --start-address="$place" --stop-address="$((place + 1))" "$udplaned" | grep -qw nop ||
		{ echo "no nop at $place"; exit 1; }
done

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by tests/run
title_attack="hostile clients beside an honest one; and once more with udplaned under AddressSanitizer"

suite_attack()
{
	script_suite tests/attack
	[[ $built == yes ]] || return 0
	if ! bazel_logged attack-build.log build --config=asan -- //sidecar:udplaned; then
		count_failure "build --config=asan //sidecar:udplaned"
		show_build_errors "$logs/attack-build.log"
		return
	fi
	# Not those whose subject is what udplaned needs: memory (the sanitizer's own is larger), system calls (it has more), speed.
	echo "   udplaned under AddressSanitizer and UBSan:"
	UDPLANE_UDPLANED=$root/bazel-asan-bin/sidecar/udplaned UDPLANE_WRAP="setarch -R" \
		ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
		script_suite tests/attack/{chaos,descriptors,limits,multicast,multicast_kill,rings,wake}_test.py
}

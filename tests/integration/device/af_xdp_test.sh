#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The AF_XDP device with real packets: each test of the program af_xdp_test in two fresh namespaces joined by a veth pair.
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../../lib/case.sh"
require_root

test=$UDPLANE_BIN/tests/integration/device/af_xdp_test
export XDP_GEN=$UDPLANE_BIN/tests/bench/gen/xdp_gen
[[ -x $test && -x $XDP_GEN ]] || { echo "FAIL af_xdp_test (not built: bazel build //tests/...)"; exit 1; }

af_xdp() # TEST
{
	case $1 in
	TwoQueues*) netns_pair 2 ;;
	*) netns_pair ;;
	esac
	UDPLANE_PEER_NS=$ns_b in_a "$test" --gtest_filter="AfXdp.$1" --gtest_brief=1
}

for name in $("$test" --gtest_list_tests | sed -n 's/^  //p'); do
	[[ -z ${1-} || $name == *$1* ]] || continue
	run_case af_xdp "$name"
done
finish

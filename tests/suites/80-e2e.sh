# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_e2e="a Kubernetes cluster of one node: chart, injection, pods"
suite_e2e()
{
	build_all || return 0
	UDPLANE_TEST_TIMEOUT=${UDPLANE_E2E_TIMEOUT:-2400} run_script tests/e2e/run
}

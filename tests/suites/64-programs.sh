# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by tests/run
title_programs="programs of others, unmodified under udplane-run, beside the same with plain sockets"

suite_programs()
{
	# Before the scripts, whose time is limited.
	tests/programs/modules >"$logs/modules.log" 2>&1 || {
		count_failure "tests/programs/modules"
		show_tail "$logs/modules.log"
		return
	}
	script_suite tests/programs
}

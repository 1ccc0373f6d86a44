# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by tests/run
title_programs="programs of others, unmodified under udplane-run, beside the same with plain sockets"

suite_programs()
{
	local what

	# Before the scripts, whose time is limited.
	for what in modules sources; do
		"tests/programs/$what" >"$logs/$what.log" 2>&1 || {
			count_failure "tests/programs/$what"
			show_tail "$logs/$what.log"
			return
		}
	done
	script_suite tests/programs
}

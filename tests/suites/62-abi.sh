# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # sourced by tests/run
title_abi="library and udplaned of this tree and of an older commit, both ways round"

suite_abi()
{
	# Before the script, whose time is limited. If there is no older commit, the script says so.
	tests/abi/older >"$logs/older.log" 2>&1 || (($? == 77)) || {
		count_failure "tests/abi/older"
		show_tail "$logs/older.log"
		return
	}
	script_suite tests/abi
}

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_lint="the sources, without building: format, scripts, spelling, licences, who includes what"
suite_lint() { run_script tests/lint/lint; }

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_oracle="scripts of calls, named and random, on plain and on accelerated sockets: no difference"
suite_oracle() { script_suite tests/oracle; }

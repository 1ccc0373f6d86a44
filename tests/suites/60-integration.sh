# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_integration="real packets in network namespaces"
suite_integration() { script_suite tests/integration; }

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # sourced by tests/run
title_helm="the Helm chart: lint, templates, schema (needs helm, or Go to build it)"
suite_helm() { script_suite tests/helm/*_test.sh; }

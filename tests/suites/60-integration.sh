# SPDX-License-Identifier: Apache-2.0
title_integration="real packets in network namespaces"
suite_integration() { script_suite tests/integration; }

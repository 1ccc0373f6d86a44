#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
echo "bazel coverage needs tools that Debian does not package" >&2
exit 1

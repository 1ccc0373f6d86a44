# SPDX-License-Identifier: Apache-2.0
title_attack="hostile clients beside an honest one"
suite_attack() { script_suite tests/attack; }

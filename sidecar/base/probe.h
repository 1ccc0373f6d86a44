/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USDT probes: places in the program to which bpftrace, perf and SystemTap can attach while it
 * runs, for instance
 *
 *     bpftrace -p PID -e 'usdt:*:udplane:rx_drop { @[arg1] = count(); }'
 *
 * A probe is one nop, and a note in the file that says where it is and where its arguments are.
 * They are integers that are at hand there. docs/man/udplaned.8, PROBES, lists them; probes_test
 * compares.
 */
#ifndef SIDECAR_BASE_PROBE_H
#define SIDECAR_BASE_PROBE_H

#include <sys/sdt.h>

#define PROBE1(name, a)	      DTRACE_PROBE1(udplane, name, a)
#define PROBE2(name, a, b)    DTRACE_PROBE2(udplane, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(udplane, name, a, b, c)

#endif

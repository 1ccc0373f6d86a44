/* SPDX-License-Identifier: Apache-2.0 */
/* One source, two programs: CALL(recv) is recv, or udplane_recv with -DORACLE_UDPLANE. */
#ifndef TESTS_ORACLE_CALLS_H
#define TESTS_ORACLE_CALLS_H

#ifdef ORACLE_UDPLANE
#include <udplane/udplane.h>
#define CALL(name) udplane_##name
#else
#define CALL(name) name
#endif

#endif

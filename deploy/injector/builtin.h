/* SPDX-License-Identifier: Apache-2.0 */
/* injection.json beside this file, as text: what the chart makes with its default values. */
#ifndef UDPLANE_DEPLOY_INJECTOR_BUILTIN_H
#define UDPLANE_DEPLOY_INJECTOR_BUILTIN_H

extern const char injection_builtin[];

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The text of injection.json in this folder, which the chart renders with its default values. */
#ifndef UDPLANE_DEPLOY_INJECTOR_BUILTIN_H
#define UDPLANE_DEPLOY_INJECTOR_BUILTIN_H

extern const char injection_builtin[];

#endif

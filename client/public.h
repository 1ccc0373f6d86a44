/* SPDX-License-Identifier: Apache-2.0 */
/* The public header inside the library, whose other functions are compiled hidden. */
#ifndef UDPLANE_CLIENT_PUBLIC_H
#define UDPLANE_CLIENT_PUBLIC_H

#pragma GCC visibility push(default)
#include <udplane/udplane.h>
#pragma GCC visibility pop

#endif

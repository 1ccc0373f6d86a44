/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first process of udplaned: it waits for a child that does the work. It keeps the
 * capabilities that are needed to open a device; the child gives them up once that is done. When a
 * device must be opened again, another child is started: who started us sees the same process.
 *
 * With key `restart`, it does so whatever the child dies of, after a pause that grows with each
 * failure. In a pod this keeps the container, and so the pod, ready: to Kubernetes a container that
 * ends twice is broken, while the pod's sockets work without udplaned.
 *
 *     child ends          restart off             restart on
 *     as asked            end with its status     end with its status
 *     CONTROL_RESTART     start another at once   start another at once, with new settings
 *     otherwise           end like it             note it, pause, start another with new settings
 *     bad settings        end with status 2       note it, pause, read them again
 */
#ifndef SIDECAR_SUPERVISE_SUPERVISE_H
#define SIDECAR_SUPERVISE_SUPERVISE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Runs udplaned with the arguments and environment of main() until it is told to end. Returns the
 * exit status, or ends by the signal that the child ended by. */
int supervise(int argc, char **argv, char **envp);

/* Returns for how many ms to wait before another child is started. failures: consecutive ones, at
 * least 1. */
uint32_t supervise_pause_ms(uint32_t failures);

#ifdef __cplusplus
}
#endif

#endif

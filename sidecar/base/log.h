/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levelled logging to stderr, one line a message:
 *
 *     2025-01-31T12:00:00.123Z warn  interface eth0: native XDP refused, using generic
 *
 * Under journald (JOURNAL_STREAM set) a line starts with the syslog priority "<N>" instead of the
 * time, which journald adds itself. Any thread may log; a line is one write(2), so lines never mix.
 * It costs a system call: never log on the packet path. What is not printable ASCII in a
 * message is replaced (a client cannot forge a line, nor talk to a terminal), and a message longer
 * than LOG_LINE_MAX is cut. errno is left as it was.
 *
 * The level is the one mutable global here: a logger handed through every call would only hide that
 * it is one.
 */
#ifndef UDPLANE_SIDECAR_BASE_LOG_H
#define UDPLANE_SIDECAR_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOG_LINE_MAX 1024

/* Not LOG_ERR and friends: those are <syslog.h>'s macros. */
enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* Sets the level, and looks at JOURNAL_STREAM. Until it is called, the level is info. Call it
 * before threads start. */
void log_init(enum log_level level);

/* True when a message of this level would be written. */
int log_enabled(enum log_level level);

/* Writes one line whatever the level set; use the macros below, which do not evaluate arguments in
 * vain. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For lines that somebody else can cause: how many have been written in the current minute. Zeroed
 * by its owner; no lock. */
struct log_quota {
	uint64_t since_ns;
	uint32_t said;
};
#define LOG_QUOTA_NS 60000000000ull
/* May another one be written, if `lines` may in a minute? now_ns: of clock_now_ns(). */
bool log_quota_take(struct log_quota *q, uint32_t lines, uint64_t now_ns);

#define log_at(level, ...)                             \
	do {                                           \
		if (log_enabled(level))                \
			log_write(level, __VA_ARGS__); \
	} while (0)

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif

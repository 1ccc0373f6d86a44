/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levelled logging to stderr, one line per message:
 *
 *     2025-01-31T12:00:00.123Z warn  interface eth0: native XDP refused, using generic
 *
 * Under journald (JOURNAL_STREAM is set) a line starts with the syslog priority "<N>" instead of
 * the time, which journald adds itself. With log_as_json() a line is an object:
 *
 *     {"time":"2025-01-31T12:00:00.123Z","level":"warn","text":"interface eth0: native XDP ..."}
 *
 * Any thread may log. A line is one write(2), so lines never mix. Logging costs a system call:
 * never log on the packet path. Bytes of a message that are not printable ASCII are replaced, so
 * that a client cannot forge a line or control a terminal. A message longer than LOG_LINE_MAX is
 * cut. errno is preserved.
 *
 * Level and format are the only mutable globals here. A logger passed to every call would only hide
 * that they are global.
 */
#ifndef UDPLANE_SIDECAR_BASE_LOG_H
#define UDPLANE_SIDECAR_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOG_LINE_MAX 1024

/* Not named LOG_ERR and so on, since those are macros of <syslog.h>. */
enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* Sets the level, and reads JOURNAL_STREAM. Before it is called, the level is info. Call it before
 * threads start. */
void log_init(enum log_level level);

/* Lines are JSON from now on, also under journald. Call it before threads start. */
void log_as_json(bool on);

/* Returns true if a message of this level would be written. */
int log_enabled(enum log_level level);

/* Writes one line at any level. Use the macros below: they do not evaluate their arguments for a
 * message that is not written. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A limit for lines that a client can cause: how many have been written in the current minute. Its
 * owner zeroes it; there is no lock. */
struct log_quota {
	uint64_t since_ns;
	uint32_t said;
};
#define LOG_QUOTA_NS 60000000000ull
/* Returns true if another line may be written, with at most `lines` per minute, and counts it.
 * now_ns: of clock_now_ns(). */
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

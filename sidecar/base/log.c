/* SPDX-License-Identifier: Apache-2.0 */
#include "sidecar/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
	enum log_level level;
	int journal; /* written by log_init() only */
	bool json;   /* written by log_as_json() only */
} logger = {.level = LOG_LEVEL_INFO};

static const struct {
	const char *name;
	int priority; /* of syslog(3) */
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", 3},
	[LOG_LEVEL_WARN] = {"warn", 4},
	[LOG_LEVEL_INFO] = {"info", 6},
	[LOG_LEVEL_DEBUG] = {"debug", 7},
};

void log_init(enum log_level level)
{
	const char *stream = getenv("JOURNAL_STREAM");

	logger.level = level;
	logger.journal = stream && *stream;
}

void log_as_json(bool on)
{
	logger.json = on;
}

int log_enabled(enum log_level level)
{
	return level <= logger.level;
}

static int write_prefix(enum log_level level, char *line, size_t size)
{
	struct timespec now;
	struct tm utc;
	char date[32];

	if (logger.journal && !logger.json)
		return snprintf(line, size, "<%d>", levels[level].priority);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	return snprintf(line, size,
			logger.json ? "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"text\":\""
				    : "%s.%03dZ %-5s ",
			date, (int)(now.tv_nsec / 1000000), levels[level].name);
}

/* Escapes the message, from `start` on, and ends the object. What does not fit is cut. Returns the
 * length of the line. */
static size_t finish_json(const char *line, size_t start, size_t len, char out[LOG_LINE_MAX + 1])
{
	size_t to = start;

	memcpy(out, line, start);
	for (size_t i = start; i < len && to < LOG_LINE_MAX - 4; i++) {
		if (line[i] == '"' || line[i] == '\\')
			out[to++] = '\\';
		out[to++] = line[i];
	}
	memcpy(out + to, "\"}\n", 3);
	return to + 3;
}

bool log_quota_take(struct log_quota *q, uint32_t lines, uint64_t now_ns)
{
	if (now_ns - q->since_ns >= LOG_QUOTA_NS || !q->since_ns) {
		q->since_ns = now_ns;
		q->said = 0;
	}
	if (q->said == lines)
		return false;
	q->said++;
	return true;
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char line[LOG_LINE_MAX + 1], json[LOG_LINE_MAX + 1];
	size_t len, i, start = (size_t)write_prefix(level, line, sizeof(line));
	va_list args;
	int body;

	va_start(args, format);
	errno = saved_errno; /* for %m */
	body = vsnprintf(line + start, LOG_LINE_MAX - start, format, args);
	va_end(args);

	len = start + (body > 0 ? (size_t)body : 0);
	if (len > LOG_LINE_MAX - 1)
		len = LOG_LINE_MAX - 1;
	for (i = start; i < len; i++)
		if (line[i] < ' ' ||
		    line[i] > '~') /* C1 too, as a byte or in UTF-8: some terminals obey both */
			line[i] = '?';
	if (logger.json)
		len = finish_json(line, start, len, json);
	else
		line[len++] = '\n';
	if (write(STDERR_FILENO, logger.json ? json : line, len) < 0) {
		/* There is no way left to report it. */
	}
	errno = saved_errno;
}

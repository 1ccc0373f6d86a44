/* SPDX-License-Identifier: Apache-2.0 */
/* What any file may do to a session: log a line about its client, or mark it to be closed. */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <udplane/clock.h>

#define SESSION_LINES	  20  /* in the log a minute: about one client, */
#define SESSION_LINES_ALL 200 /* and about all of them */

void session_log(struct control *c, struct session *s, enum log_level level, const char *fmt, ...)
{
	uint64_t now = clock_now_ns();
	char text[2 * UDPLANE_TEXT_LEN];
	va_list ap;

	if (!log_enabled(level))
		return;
	if (!log_quota_take(&s->lines, SESSION_LINES, now) ||
	    !log_quota_take(&c->lines, SESSION_LINES_ALL, now)) {
		if (!c->lines_dropped++)
			c->lines_dropped_ns = now;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_write(level, "client %d (%s) %s", s->pid, s->comm, text);
}

void session_close_later(struct session *s, const char *why)
{
	if (s->closing)
		return;
	s->closing = true;
	snprintf(s->close_reason, sizeof(s->close_reason), "%s", why);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The process-wide context, the log, and why there is no attachment. */
#include "client/context.h"
#include "client/lock.h"
#include "client/raw.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <udplane/abi.h>
#include <unistd.h>

struct context context = {.share = {.fd = -1, .pipe = {-1, -1}}, .dir = {.fd = -1}};

const char *reason_name(uint32_t reason)
{
	static const char *const name[] = {
#define UDPLANE_REASON(id, name, help) name,
#include <udplane/reasons.h>
#undef UDPLANE_REASON
	};

	return reason < UDPLANE_REASON_CNT ? name[reason] : "unknown";
}

void context_log(int level, const char *format, ...)
{
	char line[512];
	va_list ap;
	int n, m;

	if (context.log < level)
		return;
	n = snprintf(line, sizeof(line), "udplane[%d]: ", (int)getpid());
	va_start(ap, format);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, ap);
	va_end(ap);
	n = m < 0 || (size_t)(n + m) > sizeof(line) - 2 ? (int)sizeof(line) - 2 : n + m;
	line[n] = '\n';
	if (raw_write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		return;
}

void context_set_reason(uint32_t reason, const char *format, ...)
{
	char text[UDPLANE_TEXT_LEN];
	va_list ap;
	bool news;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (!lock_take(&context.info_lock))
		return;
	news = context.reason != reason || strcmp(context.text, text);
	context.reason = reason;
	memcpy(context.text, text, sizeof(text));
	lock_drop(&context.info_lock);
	if (news && reason)
		context_log(1, "not attached: %s: %s", reason_name(reason), text);
}

int set_errno(int err)
{
	if (err >= 0)
		return err;
	errno = -err;
	return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct table table_create(const char *head, ...)
{
	struct table t = {0};
	va_list args;

	va_start(args, head);
	for (; head && t.column_cnt < TABLE_COLUMNS_MAX; head = va_arg(args, const char *))
		t.head[t.column_cnt++] = head;
	va_end(args);
	return t;
}

void table_cell(struct table *t, const char *format, ...)
{
	va_list args;

	if (t->cell_cnt == t->cell_max) {
		t->cell_max = t->cell_max ? 2 * t->cell_max : 64;
		t->cell = realloc(t->cell, t->cell_max * sizeof(*t->cell));
		if (!t->cell)
			abort();
	}
	va_start(args, format);
	if (vasprintf(&t->cell[t->cell_cnt], format, args) < 0)
		abort();
	va_end(args);
	t->cell_cnt++;
}

static const char *cell_text(const struct table *t, char *const *row, size_t column)
{
	return row ? row[column] : t->head[column] + 1;
}

/* Prints one row, or the heading if `row` is NULL. */
static void print_row(const struct table *t, FILE *out, const int *width, char *const *row)
{
	size_t cnt = t->column_cnt, i;

	while (cnt && !*cell_text(t, row, cnt - 1))
		cnt--;
	for (i = 0; i < cnt; i++) {
		int fill = t->head[i][0] == '>' ? width[i] : -width[i];

		if (i + 1 == cnt && fill < 0)
			fill = 0; /* no spaces at the line's end */
		fprintf(out, "%s%*s", i ? "  " : "", fill, cell_text(t, row, i));
	}
	fputc('\n', out);
}

void table_print(struct table *t, FILE *out)
{
	int width[TABLE_COLUMNS_MAX];
	size_t i;

	for (i = 0; i < t->column_cnt; i++)
		width[i] = (int)strlen(t->head[i]) - 1;
	for (i = 0; i < t->cell_cnt; i++) {
		int len = (int)strlen(t->cell[i]), *w = &width[i % t->column_cnt];

		if (len > *w)
			*w = len;
	}
	print_row(t, out, width, NULL);
	for (i = 0; i + t->column_cnt <= t->cell_cnt; i += t->column_cnt)
		print_row(t, out, width, &t->cell[i]);
	for (i = 0; i < t->cell_cnt; i++)
		free(t->cell[i]);
	free(t->cell);
	memset(t, 0, sizeof(*t));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of text in columns that are as wide as their contents.
 *
 *     struct table t = table_create("<ADDRESS", ">RECEIVED", NULL);  '<' left, '>' right aligned
 *     table_cell(&t, "*:%u", port);                                  cell after cell,
 *     table_cell(&t, "%" PRIu64, n);                                 row after row
 *     table_print(&t, stdout);                                       prints and frees
 *
 * If memory runs out, the program exits; it has nothing to save.
 */
#ifndef UDPLANE_CLIENT_CTL_TABLE_H
#define UDPLANE_CLIENT_CTL_TABLE_H

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TABLE_COLUMNS_MAX 16

struct table {
	const char *head[TABLE_COLUMNS_MAX];
	size_t column_cnt;
	char **cell;
	size_t cell_cnt, cell_max;
};

struct table table_create(const char *head, ...) __attribute__((sentinel));
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *t, FILE *out);

#ifdef __cplusplus
}
#endif

#endif

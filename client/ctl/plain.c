/* SPDX-License-Identifier: Apache-2.0 */
#include "client/ctl/plain.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/run/check.h"

static void add(struct plain_list *list, const struct plain_socket *s)
{
	if (list->cnt == list->max) {
		size_t max = list->max ? 2 * list->max : 16;
		void *grown = realloc(list->socket, max * sizeof(*list->socket));

		if (!grown)
			return;
		list->socket = grown;
		list->max = max;
	}
	list->socket[list->cnt++] = *s;
}

/* The kernel prints addresses as 32-bit words in this machine's byte order, and the port as a
 * number. */
static bool parse_line(const char *line, bool ipv6, struct plain_socket *s)
{
	unsigned int word[4] = {0}, port;
	int n;

	memset(s, 0, sizeof(*s));
	if (ipv6)
		n = sscanf(line, " %*d: %8X%8X%8X%8X:%4X", &word[0], &word[1], &word[2], &word[3],
			   &port) -
		    4;
	else
		n = sscanf(line, " %*d: %8X:%4X", &word[0], &port) - 1;
	if (n != 1)
		return false;
	if (sscanf(line, " %*d: %*s %*s %*s %*s %*s %*s %" SCNu32 " %*s %" SCNu64, &s->uid,
		   &s->inode) != 2)
		return false;
	memcpy(s->local.addr, word, sizeof(s->local.addr));
	s->local.family = ipv6 ? AF_INET6 : AF_INET;
	s->local.port_be = htons((uint16_t)port);
	return true;
}

void plain_parse(struct plain_list *list, FILE *file, bool ipv6, uint16_t port)
{
	struct plain_socket s;
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, file) > 0)
		if (parse_line(line, ipv6, &s) && (!port || s.local.port_be == htons(port)))
			add(list, &s);
	free(line);
}

void plain_read(struct plain_list *list, uint16_t port)
{
	static const char *const path[] = {"/proc/net/udp", "/proc/net/udp6"};

	for (int i = 0; i < 2; i++) {
		FILE *f = fopen(path[i], "re");

		if (!f)
			continue;
		plain_parse(list, f, i == 1, port);
		fclose(f);
	}
}

static void read_comm(int32_t pid, char comm[17])
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(comm, 17, f))
		comm[strcspn(comm, "\n")] = 0;
	for (char *c = comm; *c; c++)
		*c = *c >= ' ' && *c <= '~' ? *c : '?';
	fclose(f);
}

static bool has_loaded(int32_t pid, const char *library)
{
	char path[64], *line = NULL;
	bool found = false;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && !found && getline(&line, &size, f) > 0)
		found = strstr(line, library);
	free(line);
	if (f)
		fclose(f);
	return found;
}

static void set_owner(struct plain_socket *s, int32_t pid)
{
	char path[64], text[sizeof(s->obstacle)];

	s->pid = pid;
	read_comm(pid, s->comm);
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	s->preloaded = has_loaded(pid, "/libudplane-preload.so");
	if (!s->preloaded && access(path, R_OK) == 0 && check_program(path, text, sizeof(text)))
		memcpy(s->obstacle, text, sizeof(text));
}

static void match_link(struct plain_list *list, int dirfd, const char *name, int32_t pid)
{
	char link[64];
	ssize_t len = readlinkat(dirfd, name, link, sizeof(link) - 1);
	uint64_t inode;

	if (len <= 0)
		return;
	link[len] = 0;
	if (sscanf(link, "socket:[%" SCNu64 "]", &inode) != 1)
		return;
	for (size_t i = 0; i < list->cnt; i++)
		if (list->socket[i].inode == inode && !list->socket[i].pid)
			set_owner(&list->socket[i], pid);
}

static void match_process(struct plain_list *list, int32_t pid)
{
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	if (!d)
		return;
	while ((e = readdir(d)))
		match_link(list, dirfd(d), e->d_name, pid);
	closedir(d);
}

void plain_find_owners(struct plain_list *list)
{
	struct dirent *e;
	DIR *d = list->cnt ? opendir("/proc") : NULL;

	if (!d)
		return;
	while ((e = readdir(d)))
		if (atoi(e->d_name) > 0)
			match_process(list, atoi(e->d_name));
	closedir(d);
}

void plain_free(struct plain_list *list)
{
	free(list->socket);
	memset(list, 0, sizeof(*list));
}

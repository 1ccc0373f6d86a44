/* SPDX-License-Identifier: Apache-2.0 */
/* See check.h. */
#include "client/run/check.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEFAULT_PATH  "/usr/local/bin:/usr/bin:/bin"
#define SCRIPTS_DEPTH 4 /* as Linux follows them */

int find_program(const char *name, char *path, size_t len)
{
	const char *dirs = getenv("PATH"), *end;

	if (strchr(name, '/')) {
		snprintf(path, len, "%s", name);
		return access(path, F_OK);
	}
	for (dirs = dirs ? dirs : DEFAULT_PATH;; dirs = end + 1) {
		end = strchrnul(dirs, ':');
		snprintf(path, len, "%.*s%s%s", (int)(end - dirs), dirs, end > dirs ? "/" : "./",
			 name);
		if (access(path, X_OK) == 0)
			return 0;
		if (!*end)
			return -1;
	}
}

/* The file in memory; NULL, with errno, if it cannot be read. */
static const uint8_t *map(const char *path, size_t *len, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_size > 0)
		p = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	else
		errno = ENOEXEC;
	close(fd);
	*len = (size_t)st->st_size;
	return p == MAP_FAILED ? NULL : p;
}

/* The machine that this program was built for. */
#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#else
#define MACHINE EM_NONE
#endif

static int is_dynamic(const uint8_t *p, size_t len, const Elf64_Ehdr *e)
{
	for (uint32_t i = 0; i < e->e_phnum; i++) {
		uint64_t at = e->e_phoff + (uint64_t)i * sizeof(Elf64_Phdr);
		Elf64_Phdr ph;

		if (e->e_phoff > len || at + sizeof(ph) > len)
			return 0;
		memcpy(&ph, p + at, sizeof(ph));
		if (ph.p_type == PT_INTERP)
			return 1;
	}
	return 0;
}

static int check_elf(const uint8_t *p, size_t len, char *text, size_t text_len)
{
	/* put together here, so that this program does not find itself */
	volatile char first = '\xff';
	char go[] = "? Go buildinf:";
	Elf64_Ehdr e;

	go[0] = first;
	memcpy(&e, p, sizeof(e));
	if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_machine != MACHINE) {
		snprintf(text, text_len, "built for another machine");
		return 1;
	}
	if (memmem(p, len, go, sizeof(go) - 1)) {
		snprintf(text, text_len,
			 "written in Go: it makes its system calls itself, not through "
			 "the C library");
		return 1;
	}
	if (!is_dynamic(p, len, &e)) {
		snprintf(text, text_len, "statically linked: nothing can be preloaded");
		return 1;
	}
	snprintf(text, text_len, "dynamically linked");
	return 0;
}

/* Returns true if the dynamic loader ignores LD_PRELOAD for it. */
static int gains_privileges(const char *path, const struct stat *st)
{
	return ((st->st_mode & S_ISUID) && st->st_uid != getuid()) ||
	       ((st->st_mode & S_ISGID) && (st->st_mode & S_IXGRP) && st->st_gid != getgid()) ||
	       getxattr(path, "security.capability", NULL, 0) > 0;
}

static int check_file(const char *path, char *text, size_t text_len, int depth)
{
	size_t len;
	struct stat st;
	const uint8_t *p = map(path, &len, &st);
	char line[PATH_MAX];
	int r = 1;

	if (!p) {
		snprintf(text, text_len, "%s", strerror(errno));
		return 1;
	}
	if (gains_privileges(path, &st)) {
		snprintf(text, text_len,
			 "setuid, setgid or with file capabilities: the loader ignores "
			 "LD_PRELOAD");
	} else if (len > sizeof(Elf64_Ehdr) && !memcmp(p, ELFMAG, SELFMAG)) {
		r = check_elf(p, len, text, text_len);
	} else if (len > 2 && p[0] == '#' && p[1] == '!' && depth < SCRIPTS_DEPTH) {
		snprintf(line, sizeof(line), "%.*s", (int)(len - 2 < 255 ? len - 2 : 255),
			 (const char *)p + 2);
		line[strcspn(line, "\n")] = 0;
		p = (const uint8_t *)line + strspn(line, " \t");
		line[strcspn((const char *)p, " \t") + (size_t)((const char *)p - line)] = 0;
		r = check_file((const char *)p, text, text_len, depth + 1);
		return r;
	} else {
		snprintf(text, text_len, "neither a program nor a script");
	}
	munmap((void *)p, len);
	return r;
}

int check_program(const char *path, char *text, size_t len)
{
	return check_file(path, text, len, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libudplane.so.0, and libudplane-preload.so with udplane-run, on the volume that applications
 * mount (key library_dir), so that an application's image needs no file of udplane. A file is
 * replaced by rename, so a process that has the old one mapped keeps it.
 */
#include "sidecar/base/log.h"
#include "sidecar/control/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* The places are relative to the directory of udplaned: as installed; as Bazel builds. Never a
 * search path: this process is privileged. */
static const struct library {
	const char *name, *places[2], *without;
} libraries[] = {
	{"libudplane.so.0",
	 {"../lib/libudplane.so.0", "../client/libudplane.so"},
	 "applications with a copy of their own are not affected"},
	{"libudplane-preload.so",
	 {"../lib/libudplane-preload.so", "../client/libudplane-preload.so"},
	 "programs that preload it from there start without it and use the kernel"},
	{"udplane-run",
	 {"../bin/udplane-run", "../client/run/udplane-run"},
	 "programs are not started through it from there"},
};

static int open_ours(const struct library *library)
{
	char dir[PATH_MAX - 64], path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	int fd = -1;

	dir[n > 0 ? n : 0] = 0;
	if (strrchr(dir, '/'))
		*strrchr(dir, '/') = 0;
	for (size_t i = 0; fd < 0 && i < sizeof(library->places) / sizeof(library->places[0]);
	     i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, library->places[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

static int copy(int from, int to)
{
	ssize_t n;

	do
		n = sendfile(to, from, NULL, 1 << 20);
	while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0 || fchmod(to, 0755))
		return -errno;
	return 0;
}

/* 0 or -errno. */
static int put(const char *dir, const char *name, int from)
{
	char path[CONFIG_PATH_SIZE + 32], fresh[CONFIG_PATH_SIZE + 40];
	int to, err;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	if (!mkdir(dir, 0755))
		chmod(dir, 0755); /* applications run as any user, whatever our umask */
	else if (errno != EEXIST)
		return -errno;
	if (unlink(fresh) && errno != ENOENT) /* of one that was killed in the middle */
		return -errno;
	to = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0700);
	if (to < 0)
		return -errno;
	err = copy(from, to);
	close(to);
	if (!err && rename(fresh, path))
		err = -errno;
	if (err)
		unlink(fresh);
	return err;
}

static void publish(const char *dir, const struct library *library)
{
	int from = open_ours(library);
	int err = from < 0 ? from : put(dir, library->name, from);

	if (err)
		log_warn("%s is not in %s: %s; %s", library->name, dir, strerror(-err),
			 library->without);
	if (from >= 0)
		close(from);
}

void library_publish(const char *dir)
{
	for (size_t i = 0; dir[0] && i < sizeof(libraries) / sizeof(libraries[0]); i++)
		publish(dir, &libraries[i]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slow_wake SECONDS reader|watchers: makes the signal to a sleeping client slow.
 *   reader    threads read from the wake socket into a page that is missing for ever
 *             (userfaultfd): a thread that takes a lock of a reader waits for ever
 *   watchers  20000 watches in epoll instances of the wake socket, each called back at a signal
 * Claims 10.99.0.1:6000, arms its ring all the time and takes what comes. Prints datagrams taken
 * and whether it is still attached.
 */
#include <linux/userfaultfd.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "tests/attack/hostile.h"

#define READERS		   8
#define WATCHERS	   20000
#define WATCHERS_PER_EPOLL 500

static struct hostile h;
static struct hostile_socket s;

static void *missing_page(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	reg.range.start = (uintptr_t)page;
	reg.range.len = 4096;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg)) {
		fprintf(stderr, "userfaultfd: %s\n", strerror(errno));
		exit(2);
	}
	return page;
}

static void *read_for_ever(void *page)
{
	struct pollfd pfd = {.fd = s.wake_fd, .events = POLLIN};

	for (;;) {
		poll(&pfd, 1, 100);
		(void)!read(s.wake_fd, page, 64);
	}
	return NULL;
}

static void start_readers(void)
{
	void *page = missing_page();
	pthread_t thread;

	for (int i = 0; i < READERS; i++)
		pthread_create(&thread, NULL, read_for_ever, page);
}

/* One descriptor can be in an epoll instance once, a duplicate of it once more. */
static void start_watchers(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int copies[WATCHERS_PER_EPOLL];

	for (int i = 0; i < WATCHERS_PER_EPOLL; i++)
		copies[i] = dup(s.wake_fd);
	for (int n = 0; n < WATCHERS; n += WATCHERS_PER_EPOLL) {
		int epoll = epoll_create1(0);

		for (int i = 0; i < WATCHERS_PER_EPOLL; i++) {
			if (copies[i] < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, copies[i], &ev)) {
				fprintf(stderr, "watcher %d: %s\n", n + i, strerror(errno));
				exit(2);
			}
		}
	}
}

int main(int argc, char **argv)
{
	struct udplane_ring rx, back;
	uint64_t cnt = 0;
	double end;
	int fd;

	if (argc != 3) {
		fputs("usage: slow_wake SECONDS reader|watchers\n", stderr);
		return 2;
	}
	hostile_all_descriptors();
	fd = hostile_udp("10.99.0.1", 6000, 0);
	if (hostile_attach(&h, 0, 5000) || hostile_claim(&h, fd, &s, 5000))
		return 1;
	if (!strcmp(argv[2], "reader"))
		start_readers();
	else
		start_watchers();
	puts("ready");
	fflush(stdout);
	udplane_ring_init(&rx, &s.ring->head, s.claimed.ring_size, 0);
	udplane_ring_init(&back, &hostile_return_ring(&h)->head, h.welcome.return_cnt, 0);
	for (end = hostile_now() + atof(argv[1]); hostile_now() < end; usleep(50)) {
		uint32_t n = udplane_ring_avail(&rx, 1);

		for (uint32_t i = 0; i < n; i++)
			hostile_return_ring(&h)->frame[udplane_ring_slot(&back, back.idx + i)] =
				s.ring->desc[udplane_ring_slot(&rx, rx.idx + i)].frame;
		udplane_ring_publish(&back, n);
		udplane_ring_consume(&rx, n);
		cnt += n;
		udplane_ring_arm(&rx);
	}
	printf("{\"datagrams\": %lu, \"attached\": %s}\n", cnt,
	       recv(h.fd, &(char){0}, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN ? "true" : "false");
	fflush(stdout);
	_exit(0); /* the readers never return */
}

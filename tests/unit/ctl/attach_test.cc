// SPDX-License-Identifier: Apache-2.0
/* attach_snapshot() against a udplaned made of a thread, honest and not. */
#include "client/ctl/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "tests/unit/ctl/image.h"

namespace
{

class Daemon
{
      public:
	explicit Daemon(std::function<void(int)> answer)
	{
		const char *tmp = getenv("TEST_TMPDIR");
		static int number;

		path = std::string(tmp && strlen(tmp) < 60 ? tmp : "/tmp") + "/ctl-" +
		       std::to_string(getpid()) + "-" + std::to_string(number++);
		struct sockaddr_un a = {};
		a.sun_family = AF_UNIX;
		strcpy(a.sun_path, path.c_str());
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		EXPECT_EQ(0, bind(fd, reinterpret_cast<sockaddr *>(&a), sizeof(a)));
		EXPECT_EQ(0, listen(fd, 4));
		thread = std::thread([this, answer] {
			struct pollfd p = {fd, POLLIN, 0};
			if (poll(&p, 1, 10000) != 1)
				return;
			int peer = accept(fd, nullptr, nullptr);
			if (recv(peer, &hello, sizeof(hello), 0) == sizeof(hello))
				answer(peer);
			close(peer);
		});
	}
	~Daemon()
	{
		thread.join();
		close(fd);
		unlink(path.c_str());
	}

	std::string path;
	struct udplane_hello hello = {};

      private:
	int fd;
	std::thread thread;
};

udplane_welcome welcome_of(const Image &image)
{
	udplane_welcome w = {};

	w.msg = {UDPLANE_MSG_WELCOME, sizeof(w), 1};
	w.magic = UDPLANE_ABI_MAGIC;
	w.major = UDPLANE_ABI_MAJOR;
	w.stats_len = image.size();
	return w;
}

int memfd_of(const Image &image, size_t len)
{
	int fd = memfd_create("stats", MFD_CLOEXEC);

	EXPECT_EQ(static_cast<ssize_t>(len), write(fd, image.words.data(), len));
	return fd;
}

void send_with_fds(int to, const void *data, size_t len, std::vector<int> fds)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(19 * sizeof(int))] = {};
	struct iovec iov = {const_cast<void *>(data), len};
	struct msghdr msg = {};

	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	if (!fds.empty()) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
		memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
	}
	EXPECT_EQ(static_cast<ssize_t>(len), sendmsg(to, &msg, MSG_NOSIGNAL));
	for (int fd : fds)
		close(fd);
}

struct Result {
	explicit Result(const std::string &path, int timeout_ms = 2000)
	{
		ret = attach_snapshot(path.c_str(), timeout_ms, &s, &error);
	}
	~Result()
	{
		if (!ret)
			snapshot_free(&s);
	}
	struct snapshot s;
	struct error error = {};
	int ret;
};

int open_fds()
{
	int cnt = 0;
	for (int fd = 0; fd < 256; fd++)
		cnt += fcntl(fd, F_GETFD) >= 0;
	return cnt;
}

TEST(Attach, GetsTheZone)
{
	Image image;
	int before = open_fds();
	{
		Daemon d([&](int peer) {
			udplane_welcome w = welcome_of(image);
			send_with_fds(peer, &w, sizeof(w), {memfd_of(image, image.size())});
		});
		Result r(d.path);
		ASSERT_EQ(0, r.ret) << r.error.text;
		EXPECT_STREQ("eth0", r.s.ifname);
		EXPECT_GT(r.s.now_ns, 0u);
		EXPECT_EQ(UDPLANE_HELLO_OBSERVER, d.hello.flags);
		EXPECT_EQ(UDPLANE_ABI_MAGIC, d.hello.magic);
		EXPECT_EQ(sizeof(d.hello), d.hello.msg.len);
		EXPECT_NE(0u, d.hello.msg.seq);
	}
	EXPECT_EQ(before, open_fds());
}

/* More descriptors and a longer message than this version knows: used as far as known, and nothing
 * leaks. */
TEST(Attach, NewerMinor)
{
	Image image;
	int before = open_fds();
	{
		Daemon d([&](int peer) {
			char longer[512] = {};
			udplane_welcome w = welcome_of(image);
			w.minor = 3;
			memcpy(longer, &w, sizeof(w));
			send_with_fds(peer, longer, sizeof(longer),
				      {memfd_of(image, image.size()), dup(0), dup(0)});
		});
		Result r(d.path);
		EXPECT_EQ(0, r.ret) << r.error.text;
	}
	EXPECT_EQ(before, open_fds());
}

struct error capture_error(std::function<void(int)> answer, int *ret)
{
	struct error error = {};
	struct capture_link link;
	udplane_capture asked{};
	Daemon d(answer);
	*ret = attach_capture(d.path.c_str(), 500, &asked, &link, &error);
	if (!*ret)
		attach_capture_end(&link);
	return error;
}

// What an older udplaned or a hostile one says about a capture is refused before it is used.
TEST(AttachCapture, IsCheckedBeforeUse)
{
	Image image;
	int before = open_fds(), ret;
	udplane_welcome w = welcome_of(image);
	w.minor = 2;
	struct error e = capture_error(
		[&](int peer) {
			send_with_fds(peer, &w, sizeof(w), {memfd_of(image, image.size())});
		},
		&ret);
	EXPECT_EQ(ret, -EPROTONOSUPPORT);
	EXPECT_NE(strstr(e.text, "cannot capture yet"), nullptr) << e.text;
	w.minor = 3;
	udplane_captured good{};
	good.msg = {UDPLANE_MSG_CAPTURED, sizeof(good), 2};
	good.ring_cnt = 1;
	good.slot_cnt = 4;
	good.slot_size = 64;
	good.ring_len = 1024;
	good.len = 1024;
	auto answer = [&](const udplane_captured &c) {
		return capture_error(
			[&](int peer) {
				char buf[512];
				send_with_fds(peer, &w, sizeof(w), {memfd_of(image, image.size())});
				recv(peer, buf, sizeof(buf), 0);
				send_with_fds(peer, &c, sizeof(c), {memfd_of(image, 1024)});
			},
			&ret);
	};
	e = answer(good);
	EXPECT_EQ(ret, 0) << e.text;
	for (auto spoil : std::vector<std::function<void(udplane_captured *)>>{
		     [](auto *c) { c->ring_cnt = UDPLANE_MAX_WORKERS + 1; },
		     [](auto *c) { c->ring_cnt = 0; }, [](auto *c) { c->slot_cnt = 3; },
		     [](auto *c) { c->slot_cnt = 1u << 31; }, [](auto *c) { c->slot_size = 32; },
		     [](auto *c) { c->ring_len = 512; }, [](auto *c) { c->ring_cnt = 2; },
		     [](auto *c) { c->len = c->ring_len = 4096; },
		     [](auto *c) { c->msg.type = 1; }}) {
		udplane_captured bad = good;
		spoil(&bad);
		answer(bad);
		EXPECT_EQ(ret, -EPROTO);
	}
	udplane_captured refused = good;
	refused.status = -EACCES;
	strcpy(refused.text, "not you\033[2J");
	e = answer(refused);
	EXPECT_EQ(ret, -EACCES);
	EXPECT_NE(strstr(e.text, "not you?[2J"), nullptr) << e.text;
	EXPECT_EQ(before, open_fds());
}

void expect_failure(std::function<void(int)> answer, int error, const char *part)
{
	int before = open_fds();
	{
		Daemon d(answer);
		Result r(d.path, 300);
		EXPECT_EQ(error, r.ret) << r.error.text;
		EXPECT_NE(nullptr, strstr(r.error.text, part)) << r.error.text;
		EXPECT_EQ(0, strncmp(r.error.text, d.path.c_str(), d.path.size()));
	}
	EXPECT_EQ(before, open_fds());
}

TEST(Attach, Refusals)
{
	Image image;
	udplane_welcome w = welcome_of(image);
	expect_failure([](int) {}, -ECONNRESET, "closed the connection");
	expect_failure([](int peer) { send(peer, "hello", 5, 0); }, -EPROTO, "not udplaned's");
	expect_failure([&](int peer) { send_with_fds(peer, &w, sizeof(w), {}); }, -EPROTO,
		       "no stats zone");
	expect_failure([&](int peer) { send_with_fds(peer, &w, sizeof(w), {memfd_of(image, 0)}); },
		       -EPROTO, "empty");
	expect_failure(
		[&](int peer) { send_with_fds(peer, &w, sizeof(w), {memfd_of(image, 4096)}); },
		-EPROTO, "leads out of it");
	w.status = -EPROTONOSUPPORT;
	strcpy(w.text, "ABI 9 is needed\033[2J");
	expect_failure([&](int peer) { send_with_fds(peer, &w, sizeof(w), {}); }, -EPROTONOSUPPORT,
		       "udplaned refuses: ABI 9 is needed?[2J");
	w = welcome_of(image);
	w.major = 9;
	expect_failure([&](int peer) { send_with_fds(peer, &w, sizeof(w), {}); }, -EPROTONOSUPPORT,
		       "speaks ABI 9");
}

TEST(Attach, SilenceEndsInTime)
{
	expect_failure(
		[](int peer) {
			struct pollfd p = {peer, POLLIN, 0};
			poll(&p, 1, 10000); /* until we hang up */
		},
		-ETIMEDOUT, "does not answer");
}

TEST(Attach, NobodyThere)
{
	EXPECT_EQ(-ENOENT, Result("/tmp/no/such/udplane.sock").ret);
	EXPECT_EQ(-ENAMETOOLONG, Result(std::string(200, 'x')).ret);
	std::string stale;
	{
		Daemon d([](int) {});
		stale = d.path;
		Result r(stale, 300);
	}
	EXPECT_EQ(-ENOENT, Result(stale).ret);
	EXPECT_EQ(-ECONNREFUSED, Result("/dev/null").ret);
}

} // namespace

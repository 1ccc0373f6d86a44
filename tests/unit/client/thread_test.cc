// SPDX-License-Identifier: Apache-2.0
// Several threads on one socket and on many, closing while others are inside, and a worker that
// never stops.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>

#include "tests/unit/client/peer.h"

namespace
{
class ThreadTest : public ClientTest
{
};

TEST_F(ThreadTest, ReadersShareASocket)
{
	for (uint64_t spin : {0, 50000}) {
		Peer *p = Start();
		int fd = Claimed(SOCK_DGRAM);
		const int total = 5000;
		std::atomic<int> got{0};
		std::vector<std::thread> readers;
		std::vector<std::atomic<int>> seen(total);
		struct timeval tv = {0, 50000};

		context.spin_ns = spin;
		udplane_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		for (int i = 0; i < 4; i++) {
			readers.emplace_back([&, i] {
				while (got < total) {
					struct udplane_pkt pkts[4];
					if (i % 2) {
						std::string s = Recv(fd);
						if (s[0] == '!')
							continue;
						seen[static_cast<size_t>(atoi(s.c_str()))]++;
						got++;
						continue;
					}
					int n = udplane_recv_burst(fd, pkts, 4, 0);
					for (int k = 0; k < n; k++)
						seen[static_cast<size_t>(
							atoi(std::string(static_cast<const char *>(
										 pkts[k].data),
									 pkts[k].len)
								     .c_str()))]++;
					if (n > 0)
						udplane_release(fd, pkts,
								static_cast<unsigned int>(n));
					got += n > 0 ? n : 0;
				}
			});
		}
		for (int i = 0; i < total; i++)
			ASSERT_TRUE(Until([&] { return p->Deliver(Id(fd), std::to_string(i)); }));
		for (auto &t : readers)
			t.join();
		for (auto &n : seen)
			ASSERT_EQ(n, 1);
		EXPECT_EQ(p->FramesOut(), 0u);
		EXPECT_FALSE(Readable(fd));
		Close(fd);
	}
}

TEST_F(ThreadTest, WritersShareALane)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	const int each = 2000;
	int fd[2] = {Claimed(), Claimed()};
	std::vector<std::thread> writers;
	std::atomic<bool> stop{false};
	std::map<std::string, int> last;
	uint64_t taken = 0;

	std::thread worker([&] {
		while (!stop) {
			for (const Sent &s : p->Take(16)) {
				int n = atoi(s.payload.c_str() + 2);
				EXPECT_GT(n, last[s.payload.substr(0, 1)])
					<< "the order of each writer holds";
				last[s.payload.substr(0, 1)] = n;
				taken++;
			}
			sched_yield();
		}
	});
	for (int i = 0; i < 4; i++) {
		writers.emplace_back([&, i] {
			struct sockaddr_storage ss;
			socklen_t len = Address("10.1.2.3:1", &ss);
			for (int n = 1; n <= each; n++) {
				std::string s = std::string(1, static_cast<char>('a' + i)) + " " +
						std::to_string(n);
				if (n % 3) {
					udplane_sendto(fd[i % 2], s.data(), s.size(), 0,
						       reinterpret_cast<struct sockaddr *>(&ss),
						       len);
					continue;
				}
				struct udplane_buf b;
				if (udplane_reserve(fd[i % 2], &b, 1) != 1)
					continue;
				memcpy(b.data, s.data(), s.size());
				b.len = static_cast<uint32_t>(s.size());
				udplane_addr_from_sockaddr(&b.peer, &ss, sizeof(ss));
				udplane_submit(fd[i % 2], &b, 1);
			}
		});
	}
	for (auto &t : writers)
		t.join();
	EXPECT_TRUE(Until([&] {
		return udplane_word_load(&table_get(fd[0])->tx.lane->tx.head->cons_idx) ==
		       table_get(fd[0])->tx.lane->tx.idx;
	}));
	stop = true;
	worker.join();
	EXPECT_EQ(taken, Status(fd[0]).fast_tx + Status(fd[1]).fast_tx);
	EXPECT_GT(taken, 0u);
}

TEST_F(ThreadTest, CloseWakesSleepers)
{
	for (bool sidecar : {false, true}) {
		if (sidecar)
			Start();
		int fd = Open(SOCK_DGRAM);
		EXPECT_EQ(Status(fd).accelerated, sidecar);
		Receiver a(fd), b(fd);
		ASSERT_TRUE(Until([&] { return Visitors(fd) == 2; }));
		Close(fd);
		EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "the number is free";
		EXPECT_EQ(a.Join(), "!EBADF");
		EXPECT_EQ(b.Join(), "!EBADF");
	}
}

TEST_F(ThreadTest, SocketsComeAndGoWhileOthersUseThem)
{
	Peer *p = Start();
	p->SetPrefix("10.0.0.0/8");
	std::atomic<int> current{-1};
	std::atomic<bool> stop{false};
	std::vector<std::thread> users;

	for (int i = 0; i < 3; i++) {
		users.emplace_back([&, i] {
			struct sockaddr_storage ss;
			socklen_t len = Address("10.1.2.3:1", &ss);
			struct udplane_pkt pkts[8];
			while (!stop) {
				int fd = current;
				if (fd < 0)
					continue;
				if (i == 0) {
					udplane_sendto(fd, "x", 1, MSG_DONTWAIT,
						       reinterpret_cast<struct sockaddr *>(&ss),
						       len);
				} else if (i == 1) {
					Recv(fd, MSG_DONTWAIT);
				} else {
					int n = udplane_recv_burst(fd, pkts, 8, MSG_DONTWAIT);
					if (n > 0)
						udplane_release(fd, pkts,
								static_cast<unsigned int>(n));
				}
				p->Take();
			}
		});
	}
	for (int i = 0; i < 300; i++) {
		int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0);
		struct sockaddr_storage ss;
		socklen_t len = Address("127.0.0.1:0", &ss);
		ASSERT_EQ(udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
		current = fd;
		for (uint32_t id : p->Socks())
			for (int k = 0; k < 5; k++)
				p->Deliver(id, "y");
		current = -1;
		ASSERT_EQ(udplane_close(fd), 0);
	}
	stop = true;
	for (auto &t : users)
		t.join();
	EXPECT_TRUE(Until([&] { return p->FramesOut() == 0; }));
	EXPECT_EQ(p->Socks().size(), 0u);
}

TEST_F(ThreadTest, DeathUnderLoadOnManySockets)
{
	std::vector<int> fds;
	std::atomic<bool> stop{false};
	std::vector<std::thread> users;

	Start()->SetPrefix("10.0.0.0/8");
	for (int i = 0; i < 8; i++)
		fds.push_back(Open());
	for (int i = 0; i < 4; i++) {
		users.emplace_back([&, i] {
			struct sockaddr_storage ss;
			socklen_t len = Address("10.1.2.3:1", &ss);
			for (size_t k = static_cast<size_t>(i); !stop; k++) {
				int fd = fds[k % fds.size()];
				if (i % 2)
					udplane_sendto(fd, "x", 1, MSG_DONTWAIT,
						       reinterpret_cast<struct sockaddr *>(&ss),
						       len);
				else
					Recv(fd);
			}
		});
	}
	for (int round = 0; round < 3; round++) {
		ASSERT_TRUE(Until([&] {
			bool all = true;
			peer_->Take();
			for (int fd : fds)
				all &= Status(fd).accelerated != 0;
			return all;
		}));
		peer_->Die();
		ASSERT_TRUE(Until([&] {
			bool none = true;
			for (int fd : fds)
				none &= !Status(fd).accelerated;
			return none;
		}));
		peer_.reset();
		peer_.reset(new Peer(path_));
		peer_->SetPrefix("10.0.0.0/8");
	}
	stop = true;
	for (auto &t : users)
		t.join();
}

// The usual way to end a receiver thread: Linux lets it return 0.
TEST_F(ThreadTest, ShutdownWakesAReceiver)
{
	Start();
	for (bool by_library : {true, false}) {
		for (bool burst : {false, true}) {
			int fd = Claimed(SOCK_DGRAM);
			struct udplane_pkt pkt;
			int n = -1;
			std::thread t([&] {
				char c;
				n = burst ? udplane_recv_burst(fd, &pkt, 1, 0)
					  : static_cast<int>(udplane_recv(fd, &c, 1, 0));
			});
			ASSERT_TRUE(Until([&] { return Visitors(fd) == 1; }));
			if (by_library)
				udplane_shutdown(fd, SHUT_RDWR);
			else
				shutdown(udplane_kernel_fd(fd), SHUT_RD);
			t.join();
			EXPECT_EQ(n, 0) << by_library << burst;
		}
	}
}

// A thread may wait before the socket has a port; what comes by a ring that is made later wakes it.
TEST_F(ThreadTest, AReceiverThatWaitsBeforeBindIsWoken)
{
	Peer *p = Start();
	int fd = udplane_socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage ss;
	socklen_t len = Address("127.0.0.1:0", &ss);

	{
		Receiver r(fd);
		ASSERT_TRUE(Until([&] { return Visitors(fd) == 1; }));
		ASSERT_EQ(udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0);
		ASSERT_TRUE(Status(fd).accelerated);
		p->Deliver(Id(fd), "x");
		EXPECT_EQ(r.Join(), "x");
	}
	udplane_close(fd);
}
} // namespace

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scripted udplaned: it speaks abi.h over a socket in a temporary folder, with real memfds and
 * rings, and does exactly what a test tells it: one thread answers messages, the test itself plays
 * worker. Nothing here believes the library, so a test that finds its datagrams where they belong
 * has checked both directions.
 */
#ifndef TESTS_UNIT_CLIENT_PEER_H
#define TESTS_UNIT_CLIENT_PEER_H

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "client/attach.h"
#include "client/context.h"
#include "client/dest.h"
#include "client/init.h"
#include "client/lock.h"
#include "client/own.h"
#include "client/pktbuf.h"
#include "client/public.h"
#include "client/raw.h"
#include "client/restart.h"
#include "client/sock.h"
#include "client/table.h"
#include "client/visit.h"

/* True as soon as ok() is, false after five seconds. */
bool Until(const std::function<bool()> &ok);

constexpr uint32_t kFrameSize = 2048, kFrames = 512, kReturns = 512, kSocks = 64, kPayloadOff = 256;

/* In the headers of what the peer delivers. */
constexpr int kTtl = 33, kTos = 0x2e, kDstPort = 4660;
constexpr const char *kDst4 = "10.1.2.3", *kDst6 = "fe80::1:2";
constexpr uint64_t kStampNs = 1700000000123456789, kDrops = 5;

inline uint32_t Up(size_t n)
{
	return static_cast<uint32_t>((n + 127) / 128 * 128);
}

struct Zone {
	int fd = -1;
	uint8_t *addr = nullptr;
	size_t len = 0;

	void Create(size_t bytes);
	void Destroy();
};

/* What the peer has been asked to send. */
struct Sent {
	uint32_t sock;
	std::string payload;
	bool ipv6;
	uint8_t dst[16];
	uint16_t port;
};

class Peer
{
      public:
	struct Options {
		uint32_t workers = 1;
		uint32_t start = 0; /* index at which every ring starts */
		uint32_t ring_size = 64;
		uint32_t tx_slots = 64;
		uint32_t backend = UDPLANE_BACKEND_AF_XDP;
		uint32_t mode = UDPLANE_MODE_BALANCED;
		bool segments = false; /* each claim gets rings in a segment of its own */
	};

	explicit Peer(const std::string &path) : Peer(path, Options())
	{
	}
	Peer(const std::string &path, const Options &options);
	~Peer();

	/* What answers are to be; set them before the client asks. */
	std::function<void(struct udplane_welcome *)> on_welcome;
	std::function<void(struct udplane_claimed *)> on_claimed;
	std::function<void(struct udplane_done *)> on_done;
	std::function<void(std::vector<int> *)> on_fds; /* descriptors of WELCOME and CLAIMED */
	std::atomic<bool> silent{false};		/* answer nothing */

	/* --- as the worker --- */
	void Awake(bool awake)
	{
		Awake(awake, awake);
	}
	void Awake(bool awake, bool engaged); /* all workers */
	void Disengage(uint32_t worker);      /* this one alone, and asleep */
	bool IsAwake() const;
	/* Puts a datagram into the ring of (sock, worker); src is "1.2.3.4:5" or "[fe80::1]:5".
	 * Returns false if the ring is full. */
	bool Deliver(uint32_t sock, const std::string &payload,
		     const std::string &src = "10.9.9.9:999", uint16_t flags = 0,
		     uint32_t worker = 0);
	/* The same in two steps: fill the ring and publish, then signal the armed ones. */
	bool Put(uint32_t sock, const std::string &payload, const std::string &src, uint16_t flags,
		 uint32_t worker);
	void Signal(uint32_t sock, uint32_t worker = 0);
	void PutRaw(uint32_t sock, const struct udplane_rx_desc &d, uint32_t worker = 0);
	bool Armed(uint32_t sock, uint32_t worker = 0);
	uint32_t Tokens() const
	{
		return tokens_;
	} /* signals given so far */
	std::vector<Sent> Take(uint32_t max = UINT32_MAX,
			       uint32_t worker = 0); /* from the TX ring */
	/* Rewrites what waits in the TX ring, so that it can be sent over loopback. */
	void Redirect(const uint8_t dst[4], uint16_t port);
	uint32_t FramesOut(); /* in the client's hands, after taking the return rings */
	bool DoorbellRang(uint32_t worker = 0); /* and clears it */
	const struct udplane_rx_ring *Ring(uint32_t sock, uint32_t worker = 0);

	/* --- as the control thread --- */
	struct udplane_stats_zone *Stats()
	{
		return reinterpret_cast<struct udplane_stats_zone *>(stats_.addr);
	}
	struct udplane_socket_zone *Row(uint32_t sock);
	void SetPrefix(const std::string &text, bool on_link = false,
		       bool slow = false); /* "10.0.0.0/8"; slow: a hole */
	void ClearPrefixes();
	void AskPort(uint16_t port, bool asked);
	void Goodbye();
	void Die(); /* closes all descriptors without a message; memory stays */

	/* --- what has been asked --- */
	struct Request {
		uint16_t type;
		uint32_t sock, reason;
		std::string text;
		struct udplane_addr local;
	};
	std::vector<Request> Requests();
	uint32_t Count(uint16_t type);
	uint32_t Attaches()
	{
		return attaches_;
	}
	pid_t ClientPid();	       /* of the last connection */
	std::vector<uint32_t> Socks(); /* claimed now, in order */

      private:
	struct Rings {
		std::vector<struct udplane_ring> ring; /* per worker: producer */
		std::vector<struct udplane_rx_ring *> shared;
		int wake_read = -1, wake_write = -1;
		Zone segment;
	};
	struct Session {
		int fd = -1;
		Zone channel;
		std::vector<struct udplane_ring> tx, ret; /* consumer */
		std::vector<int> doorbell;
		std::map<uint32_t, Rings> socks;
		uint32_t used = 0; /* bytes of the channel */
		uint32_t segments = 0;
	};

	void Serve();
	void HandleMessage(Session *s);
	void Welcome(Session *s, uint32_t seq);
	void Claim(Session *s, const struct udplane_claim *m);
	void Answer(Session *s, void *msg, uint16_t type, uint16_t len, uint32_t seq,
		    std::vector<int> fds);
	void Close(Session *s);
	void TakeReturns(Session *s);
	Session *Of(uint32_t sock, Rings **rings);
	uint8_t *Lane(Session *s, uint32_t worker);

	Options opt_;
	std::string path_;
	std::recursive_mutex mutex_; /* on_done() may Put() */
	std::thread thread_;
	int listen_fd_ = -1, stop_fd_ = -1;
	Zone stats_, frames_;
	std::vector<std::unique_ptr<Session>> sessions_;
	std::vector<Request> requests_;
	std::vector<std::vector<uint32_t>> free_; /* frames per worker */
	std::vector<bool> out_;
	std::atomic<uint32_t> tokens_{0}, attaches_{0};
	uint32_t next_sock_ = 1, frames_out_ = 0;
	bool dead_ = false;
};

/* A test with a temporary folder, in which the library will look for udplaned. */
class ClientTest : public ::testing::Test
{
      protected:
	void SetUp() override;
	void TearDown() override;

	/* Starts the peer and makes the library look for it at once. */
	Peer *Start()
	{
		return Start(Peer::Options());
	}
	Peer *Start(const Peer::Options &options);
	/* A socket bound to loopback (so that its kernel path can be used), closed at the end. */
	int Open(int type = SOCK_DGRAM | SOCK_NONBLOCK, int domain = AF_INET, uint16_t port = 0);
	int Claimed(int type = SOCK_DGRAM | SOCK_NONBLOCK,
		    int domain = AF_INET); /* expects it to be claimed */
	void Close(int fd);
	struct sock *Sock(int fd); /* the library's own view */
	uint32_t Id(int fd)
	{
		return Sock(fd)->tx.id;
	}
	uint32_t Visitors(int fd); /* calls that wait, or are in a system call on it */
	/* A datagram for fd through its kernel socket. */
	void SendKernel(int fd, const std::string &payload);
	int plain()
	{
		return plain_;
	} /* a plain socket on loopback */
	uint16_t plain_port()
	{
		return plain_port_;
	}
	std::string PlainRecv(); /* what it gets, "" after five seconds */

	std::string dir_, path_;
	std::unique_ptr<Peer> peer_;

      private:
	std::vector<int> fds_;
	int plain_ = -1, plain6_ = -1;
	uint16_t plain_port_ = 0;
};

/* One receive: the payload, or "!ERRNO". */
std::string Recv(int fd, int flags = 0);
/* A receive of another thread (poll for done). */
struct Receiver {
	explicit Receiver(int fd, int flags = 0);
	~Receiver();
	std::string Join();

	std::string result;
	std::thread thread;
};
bool Readable(int fd, int timeout_ms = 0);
struct udplane_status Status(int fd);
/* "10.1.2.3:4" or "[fd00::1]:4" */
socklen_t Address(const std::string &text, struct sockaddr_storage *ss);
std::string Text(const struct sockaddr *sa);

#endif

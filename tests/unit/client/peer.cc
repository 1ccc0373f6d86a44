// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/client/peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

bool Until(const std::function<bool()> &ok)
{
	auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);

	while (!ok()) {
		if (std::chrono::steady_clock::now() > end)
			return false;
		sched_yield();
	}
	return true;
}

void Zone::Create(size_t bytes)
{
	len = (bytes + 4095) / 4096 * 4096;
	fd = memfd_create("peer", MFD_CLOEXEC);
	if (ftruncate(fd, static_cast<off_t>(len)))
		abort();
	addr = static_cast<uint8_t *>(
		mmap(nullptr, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}

void Zone::Destroy()
{
	if (addr)
		munmap(addr, len);
	if (fd >= 0)
		close(fd);
	addr = nullptr;
	fd = -1;
}

Peer::Peer(const std::string &path, const Options &options)
    : opt_(options), path_(path), out_(kFrames)
{
	struct sockaddr_un sun = {};
	struct udplane_stats_zone *z;
	uint32_t workers = opt_.workers;
	uint32_t worker_off = Up(sizeof(*z)),
		 socket_off = worker_off + workers * sizeof(struct udplane_worker_zone);
	uint32_t counters_off = socket_off + kSocks * sizeof(struct udplane_socket_zone);
	uint32_t ports_off =
		Up(counters_off + kSocks * workers * sizeof(struct udplane_socket_counters));

	stats_.Create(ports_off + 8192);
	frames_.Create(static_cast<size_t>(kFrames) * kFrameSize);
	z = Stats();
	z->magic = UDPLANE_ABI_MAGIC;
	z->major = UDPLANE_ABI_MAJOR;
	z->state = UDPLANE_STATE_RUNNING;
	z->backend = opt_.backend;
	z->mode = opt_.mode;
	z->worker_cnt = workers;
	z->socket_max = kSocks;
	z->minor = UDPLANE_ABI_MINOR;
	z->worker_off = worker_off;
	z->socket_off = socket_off;
	z->socket_len = sizeof(struct udplane_socket_zone);
	z->counters_off = counters_off;
	z->ports_off = ports_off;
	z->ifindex = 77;
	z->mtu = 1500;
	memset(stats_.addr + ports_off, 0xff, 8192);
	free_.resize(workers);
	for (uint32_t f = 0; f < kFrames; f++)
		free_[f * workers / kFrames].push_back(f);
	Awake(true);

	unlink(path.c_str());
	listen_fd_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	sun.sun_family = AF_UNIX;
	memcpy(sun.sun_path, path.c_str(), path.size());
	if (bind(listen_fd_, reinterpret_cast<struct sockaddr *>(&sun), sizeof(sun)) ||
	    listen(listen_fd_, 8))
		abort();
	stop_fd_ = eventfd(0, EFD_CLOEXEC);
	thread_ = std::thread([this] { Serve(); });
}

Peer::~Peer()
{
	Die();
	for (auto &s : sessions_) {
		s->channel.Destroy();
		for (auto &k : s->socks)
			k.second.segment.Destroy();
	}
	stats_.Destroy();
	frames_.Destroy();
	close(stop_fd_);
}

void Peer::Serve()
{
	for (;;) {
		std::vector<struct pollfd> p = {{stop_fd_, POLLIN, 0}, {listen_fd_, POLLIN, 0}};
		std::vector<Session *> who;

		{
			std::lock_guard<std::recursive_mutex> lock(mutex_);
			for (auto &s : sessions_) {
				if (s->fd < 0)
					continue;
				p.push_back({s->fd, POLLIN, 0});
				who.push_back(s.get());
			}
		}
		poll(p.data(), p.size(), -1);
		if (p[0].revents)
			return;
		std::lock_guard<std::recursive_mutex> lock(mutex_);
		for (size_t i = 0; i < who.size(); i++)
			if (p[i + 2].revents && who[i]->fd >= 0)
				HandleMessage(who[i]);
		if (p[1].revents) {
			sessions_.emplace_back(new Session);
			sessions_.back()->fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
		}
	}
}

void Peer::Answer(Session *s, void *msg, uint16_t type, uint16_t len, uint32_t seq,
		  std::vector<int> fds)
{
	auto *m = static_cast<struct udplane_msg *>(msg);
	char control[CMSG_SPACE(32 * sizeof(int))] = {};
	struct iovec iov = {msg, len};
	struct msghdr mh = {};

	if (!m->type)
		m->type = type;
	if (!m->len)
		m->len = len;
	if (!m->seq)
		m->seq = seq;
	iov.iov_len = m->len < len ? m->len : len;
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	if (on_fds)
		on_fds(&fds);
	if (!fds.empty()) {
		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
		struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
		memcpy(CMSG_DATA(cm), fds.data(), fds.size() * sizeof(int));
	}
	if (!silent)
		sendmsg(s->fd, &mh, MSG_NOSIGNAL);
}

uint8_t *Peer::Lane(Session *s, uint32_t worker)
{
	return s->channel.addr +
	       worker * Up(4096 + opt_.tx_slots * (sizeof(struct udplane_tx_desc) + 2048) +
			   kReturns * 4 + 1024);
}

void Peer::Welcome(Session *s, uint32_t seq)
{
	uint32_t lane_len = static_cast<uint32_t>(Lane(s, 1) - Lane(s, 0));
	uint32_t return_off =
		Up(sizeof(struct udplane_tx_ring) + opt_.tx_slots * sizeof(struct udplane_tx_desc));
	struct udplane_welcome w = {};
	std::vector<int> fds = {stats_.fd};

	attaches_++;
	w.magic = UDPLANE_ABI_MAGIC;
	w.major = UDPLANE_ABI_MAJOR;
	w.stats_len = stats_.len;
	w.backend = opt_.backend;
	w.mode = opt_.mode;
	snprintf(w.text, sizeof(w.text), "scripted peer");
	if (opt_.backend != UDPLANE_BACKEND_KERNEL) {
		s->used = opt_.workers * lane_len;
		s->channel.Create(s->used + 1024 * 1024);
		fds.push_back(frames_.fd);
		fds.push_back(s->channel.fd);
		for (uint32_t i = 0; i < opt_.workers; i++) {
			auto *tx = reinterpret_cast<struct udplane_tx_ring *>(Lane(s, i));
			auto *ret = reinterpret_cast<struct udplane_return_ring *>(Lane(s, i) +
										   return_off);
			struct udplane_ring r;

			tx->head.prod_idx = tx->head.cons_idx = ret->head.prod_idx =
				ret->head.cons_idx = opt_.start;
			udplane_ring_init(&r, &tx->head, opt_.tx_slots, opt_.start);
			s->tx.push_back(r);
			udplane_ring_init(&r, &ret->head, kReturns, opt_.start);
			s->ret.push_back(r);
			s->doorbell.push_back(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
			fds.push_back(s->doorbell.back());
		}
		w.frames_len = frames_.len;
		w.channel_len = s->channel.len;
		w.worker_cnt = opt_.workers;
		w.frame_cnt = kFrames;
		w.frame_size = kFrameSize;
		w.lane_len = lane_len;
		w.tx_slot_cnt = opt_.tx_slots;
		w.tx_slot_size = 2048;
		w.return_off = return_off;
		w.return_cnt = kReturns;
		w.tx_payload_off =
			Up(return_off + sizeof(struct udplane_return_ring) + kReturns * 4);
	}
	if (on_welcome)
		on_welcome(&w);
	Answer(s, &w, UDPLANE_MSG_WELCOME, sizeof(w), seq, fds);
}

void Peer::Claim(Session *s, const struct udplane_claim *m)
{
	uint32_t ring_len = Up(sizeof(struct udplane_rx_ring) +
			       opt_.ring_size * sizeof(struct udplane_rx_desc));
	uint32_t id = next_sock_++ % kSocks;
	struct udplane_claimed c = {};
	std::vector<int> fds;
	uint8_t *base;
	Rings rings;
	int p[2];

	c.sock = id;
	c.ring_len = ring_len;
	c.ring_size = opt_.ring_size;
	if (opt_.segments) {
		rings.segment.Create(static_cast<size_t>(ring_len) * opt_.workers);
		c.segment = ++s->segments;
		c.segment_len = static_cast<uint32_t>(rings.segment.len);
		base = rings.segment.addr;
	} else {
		c.ring_off = s->used;
		base = s->channel.addr + s->used;
		s->used += ring_len * opt_.workers;
	}
	if (on_claimed)
		on_claimed(&c);
	if (!c.status) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p))
			abort();
		rings.wake_write = p[1];
		for (uint32_t i = 0; i < opt_.workers; i++) {
			auto *shared =
				reinterpret_cast<struct udplane_rx_ring *>(base + i * ring_len);
			struct udplane_ring r;

			memset(static_cast<void *>(shared), 0, sizeof(*shared));
			shared->head.prod_idx = shared->head.cons_idx = opt_.start;
			udplane_ring_init(&r, &shared->head, opt_.ring_size, opt_.start);
			rings.ring.push_back(r);
			rings.shared.push_back(shared);
		}
		fds.push_back(p[0]);
		if (opt_.segments)
			fds.push_back(rings.segment.fd);
		s->socks[id] = rings;
		Row(id)->state = UDPLANE_SOCKET_ACTIVE;
		Row(id)->local = m->local;
	}
	Answer(s, &c, UDPLANE_MSG_CLAIMED, sizeof(c), m->msg.seq, fds);
	if (!c.status)
		close(p[0]);
}

pid_t Peer::ClientPid()
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	struct ucred cred = {};
	socklen_t len = sizeof(cred);

	getsockopt(sessions_.back()->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return cred.pid;
}

void Peer::HandleMessage(Session *s)
{
	union {
		struct udplane_msg msg;
		struct udplane_claim claim;
		struct udplane_sock_req req;
		char bytes[UDPLANE_MSG_MAX];
	} u = {};
	char control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = {&u, sizeof(u)};
	struct msghdr mh = {};
	struct udplane_done done = {};
	Request r = {};
	int fd = -1;

	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = control;
	mh.msg_controllen = sizeof(control);
	if (recvmsg(s->fd, &mh, MSG_CMSG_CLOEXEC) <= 0) {
		Close(s);
		return;
	}
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&mh); cm; cm = CMSG_NXTHDR(&mh, cm))
		memcpy(&fd, CMSG_DATA(cm), sizeof(int));
	r.type = u.msg.type;
	if (u.msg.type == UDPLANE_MSG_CLAIM)
		r.local = u.claim.local;
	if (u.msg.type == UDPLANE_MSG_UPDATE || u.msg.type == UDPLANE_MSG_RELEASE) {
		r.sock = u.req.sock;
		r.reason = u.req.reason;
		r.text = u.req.text;
	}
	requests_.push_back(r);
	switch (u.msg.type) {
	case UDPLANE_MSG_HELLO: Welcome(s, u.msg.seq); break;
	case UDPLANE_MSG_CLAIM: Claim(s, &u.claim); break;
	default:
		if (on_done)
			on_done(&done);
		if (u.msg.type == UDPLANE_MSG_RELEASE) {
			Row(u.req.sock)->state =
				u.req.reason ? UDPLANE_SOCKET_KERNEL : UDPLANE_SOCKET_FREE;
			if (!u.req.reason && s->socks.count(u.req.sock)) {
				close(s->socks[u.req.sock].wake_write);
				s->socks[u.req.sock].segment.Destroy();
				s->socks.erase(u.req.sock);
			}
		}
		Answer(s, &done, UDPLANE_MSG_DONE, sizeof(done), u.msg.seq, {});
	}
	if (fd >= 0)
		close(fd);
}

void Peer::Close(Session *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	for (auto &k : s->socks) {
		if (k.second.wake_write >= 0)
			close(k.second.wake_write);
		k.second.wake_write = -1;
	}
	for (int fd : s->doorbell)
		close(fd);
	s->doorbell.clear();
}

void Peer::Die()
{
	if (dead_)
		return;
	dead_ = true;
	uint64_t one = 1;
	if (write(stop_fd_, &one, 8) != 8)
		abort();
	thread_.join();
	close(listen_fd_);
	unlink(path_.c_str());
	for (auto &s : sessions_)
		Close(s.get());
}

void Peer::Goodbye()
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	struct udplane_msg m = {};

	udplane_store32(&Stats()->state, UDPLANE_STATE_GONE);
	for (auto &s : sessions_) {
		if (s->fd < 0)
			continue;
		m = {UDPLANE_MSG_GOODBYE, sizeof(m), 0};
		if (send(s->fd, &m, sizeof(m), MSG_NOSIGNAL) < 0)
			continue;
	}
}

/* --- control --- */

struct udplane_socket_zone *Peer::Row(uint32_t sock)
{
	return reinterpret_cast<struct udplane_socket_zone *>(stats_.addr + Stats()->socket_off) +
	       sock;
}

void Peer::SetPrefix(const std::string &text, bool on_link, bool slow)
{
	struct udplane_stats_zone *z = Stats();
	struct udplane_prefix p = {};
	size_t slash = text.find('/');
	std::string addr = text.substr(0, slash);

	p.family = addr.find(':') == std::string::npos ? AF_INET : AF_INET6;
	inet_pton(p.family, addr.c_str(), p.addr);
	p.len = static_cast<uint8_t>(atoi(text.c_str() + slash + 1));
	p.on_link = on_link;
	p.slow = slow;
	udplane_seq_begin(&z->prefix_seq);
	z->prefix[z->prefix_cnt++] = p;
	udplane_seq_end(&z->prefix_seq);
}

void Peer::ClearPrefixes()
{
	udplane_seq_begin(&Stats()->prefix_seq);
	Stats()->prefix_cnt = 0;
	udplane_seq_end(&Stats()->prefix_seq);
}

void Peer::AskPort(uint16_t port, bool asked)
{
	uint8_t *byte = stats_.addr + Stats()->ports_off + (port >> 3);
	uint8_t bit = static_cast<uint8_t>(1 << (port & 7));

	__atomic_store_n(byte, asked ? *byte | bit : *byte & ~bit, __ATOMIC_RELAXED);
}

std::vector<Peer::Request> Peer::Requests()
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);

	return requests_;
}

uint32_t Peer::Count(uint16_t type)
{
	uint32_t n = 0;

	for (const Request &r : Requests())
		n += r.type == type;
	return n;
}

std::vector<uint32_t> Peer::Socks()
{
	std::lock_guard<std::recursive_mutex> lock(mutex_);
	std::vector<uint32_t> all;

	for (auto &s : sessions_)
		if (s->fd >= 0)
			for (auto &k : s->socks)
				all.push_back(k.first);
	return all;
}

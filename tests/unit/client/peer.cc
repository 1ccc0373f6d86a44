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

namespace
{
constexpr uint32_t kFrameSize = 2048, kFrames = 512, kReturns = 512, kSocks = 64, kPayloadOff = 256;

uint32_t Up(size_t n)
{
	return static_cast<uint32_t>((n + 127) / 128 * 128);
}

/* A network of our own: what the library hands to the kernel must not leave the machine. */
bool Isolate()
{
	struct ifreq ifr = {};
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strcpy(ifr.ifr_name, "lo");
	ifr.ifr_flags = IFF_UP;
	bool up = ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
	close(fd);
	return up;
}
const bool isolated = Isolate();
} // namespace

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
	addr = static_cast<uint8_t *>(mmap(nullptr, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
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

Peer::Peer(const std::string &path, const Options &options) : opt_(options), path_(path), out_(kFrames)
{
	struct sockaddr_un sun = {};
	struct udplane_stats_zone *z;
	uint32_t workers = opt_.workers;
	uint32_t worker_off = Up(sizeof(*z)), socket_off = worker_off + workers * sizeof(struct udplane_worker_zone);
	uint32_t counters_off = socket_off + kSocks * sizeof(struct udplane_socket_zone);
	uint32_t ports_off = Up(counters_off + kSocks * workers * sizeof(struct udplane_socket_counters));

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
	if (bind(listen_fd_, reinterpret_cast<struct sockaddr *>(&sun), sizeof(sun)) || listen(listen_fd_, 8))
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
			std::lock_guard<std::mutex> lock(mutex_);
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
		std::lock_guard<std::mutex> lock(mutex_);
		for (size_t i = 0; i < who.size(); i++)
			if (p[i + 2].revents && who[i]->fd >= 0)
				HandleMessage(who[i]);
		if (p[1].revents) {
			sessions_.emplace_back(new Session);
			sessions_.back()->fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
		}
	}
}

void Peer::Answer(Session *s, void *msg, uint16_t type, uint16_t len, uint32_t seq, std::vector<int> fds)
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
	return s->channel.addr + worker * Up(4096 + opt_.tx_slots * (sizeof(struct udplane_tx_desc) + 2048) + kReturns * 4 + 1024);
}

void Peer::Welcome(Session *s, uint32_t seq)
{
	uint32_t lane_len = static_cast<uint32_t>(Lane(s, 1) - Lane(s, 0));
	uint32_t return_off = Up(sizeof(struct udplane_tx_ring) + opt_.tx_slots * sizeof(struct udplane_tx_desc));
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
			auto *ret = reinterpret_cast<struct udplane_return_ring *>(Lane(s, i) + return_off);
			struct udplane_ring r;

			tx->head.prod_idx = tx->head.cons_idx = ret->head.prod_idx = ret->head.cons_idx = opt_.start;
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
		w.tx_payload_off = Up(return_off + sizeof(struct udplane_return_ring) + kReturns * 4);
	}
	if (on_welcome)
		on_welcome(&w);
	Answer(s, &w, UDPLANE_MSG_WELCOME, sizeof(w), seq, fds);
}

void Peer::Claim(Session *s, const struct udplane_claim *m)
{
	uint32_t ring_len = Up(sizeof(struct udplane_rx_ring) + opt_.ring_size * sizeof(struct udplane_rx_desc));
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
		if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
			abort();
		rings.pipe_write = p[1];
		for (uint32_t i = 0; i < opt_.workers; i++) {
			auto *shared = reinterpret_cast<struct udplane_rx_ring *>(base + i * ring_len);
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
	case UDPLANE_MSG_HELLO:
		Welcome(s, u.msg.seq);
		break;
	case UDPLANE_MSG_CLAIM:
		Claim(s, &u.claim);
		break;
	default:
		if (on_done)
			on_done(&done);
		if (u.msg.type == UDPLANE_MSG_RELEASE) {
			Row(u.req.sock)->state = u.req.reason ? UDPLANE_SOCKET_KERNEL : UDPLANE_SOCKET_FREE;
			if (!u.req.reason && s->socks.count(u.req.sock)) {
				close(s->socks[u.req.sock].pipe_write);
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
		if (k.second.pipe_write >= 0)
			close(k.second.pipe_write);
		k.second.pipe_write = -1;
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
	std::lock_guard<std::mutex> lock(mutex_);
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

/* ---------------------------------------------------------------------------------------------------------- worker -- */

void Peer::Awake(bool awake, bool engaged)
{
	for (uint32_t i = 0; i < opt_.workers; i++) {
		auto *z = reinterpret_cast<struct udplane_worker_zone *>(stats_.addr + Stats()->worker_off) + i;

		udplane_store32(&z->awake, awake);
		udplane_store32(&z->engaged, engaged);
	}
	udplane_fence();
}

void Peer::Disengage(uint32_t worker)
{
	auto *z = reinterpret_cast<struct udplane_worker_zone *>(stats_.addr + Stats()->worker_off) + worker;

	udplane_store32(&z->awake, 0);
	udplane_store32(&z->engaged, 0);
	udplane_fence();
}

bool Peer::IsAwake() const
{
	auto *z = reinterpret_cast<const struct udplane_stats_zone *>(stats_.addr);

	return udplane_load32(&reinterpret_cast<const struct udplane_worker_zone *>(stats_.addr + z->worker_off)->awake);
}

/* The latest session that has it: numbers are not reused within a test. */
Peer::Session *Peer::Of(uint32_t sock, Rings **rings)
{
	for (auto i = sessions_.rbegin(); i != sessions_.rend(); ++i) {
		auto k = (*i)->socks.find(sock);

		if (k == (*i)->socks.end())
			continue;
		*rings = &k->second;
		return i->get();
	}
	return nullptr;
}

void Peer::TakeReturns(Session *s)
{
	for (uint32_t w = 0; w < s->ret.size(); w++) {
		struct udplane_ring *r = &s->ret[w];
		auto *shared = reinterpret_cast<struct udplane_return_ring *>(r->head);
		uint32_t n = udplane_ring_avail(r, kReturns);

		ASSERT_NE(n, UDPLANE_RING_CORRUPT);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t f = shared->frame[udplane_ring_slot(r, r->idx + i)];

			ASSERT_LT(f, kFrames);
			ASSERT_TRUE(out_[f]) << "frame " << f << " was returned twice";
			ASSERT_EQ(w, f * opt_.workers / kFrames) << "frame " << f << " went back through another lane";
			out_[f] = false;
			frames_out_--;
			free_[w].push_back(f);
		}
		udplane_ring_consume(r, n);
	}
}

bool Peer::Put(uint32_t sock, const std::string &payload, const std::string &src, uint16_t flags, uint32_t worker)
{
	std::lock_guard<std::mutex> lock(mutex_);
	struct sockaddr_storage ss;
	struct udplane_rx_desc d = {};
	Rings *k = nullptr;
	Session *s = Of(sock, &k);
	uint8_t *frame;

	if (!s)
		return false;
	TakeReturns(s);
	struct udplane_ring *r = &k->ring[worker];
	uint32_t room = udplane_ring_free(r, 1);
	if (room == 0 || room == UDPLANE_RING_CORRUPT || free_[worker].empty())
		return false;
	Address(src, &ss);
	d.frame = free_[worker].back();
	free_[worker].pop_back();
	out_[d.frame] = true;
	frames_out_++;
	d.offset = kPayloadOff;
	d.len = static_cast<uint16_t>(payload.size());
	d.flags = flags;
	frame = frames_.addr + static_cast<size_t>(d.frame) * kFrameSize;
	if (ss.ss_family == AF_INET) {
		auto *in = reinterpret_cast<struct sockaddr_in *>(&ss);

		d.src4_be = in->sin_addr.s_addr;
		d.src_port_be = in->sin_port;
	} else {
		auto *in6 = reinterpret_cast<struct sockaddr_in6 *>(&ss);

		d.flags |= UDPLANE_RX_IPV6;
		d.src_port_be = in6->sin6_port;
		memcpy(frame + kPayloadOff - 40, &in6->sin6_addr, 16);
	}
	memcpy(frame + kPayloadOff, payload.data(), payload.size());
	k->shared[worker]->desc[udplane_ring_slot(r, r->idx)] = d;
	udplane_ring_publish(r, 1);
	return true;
}

void Peer::PutRaw(uint32_t sock, const struct udplane_rx_desc &d, uint32_t worker)
{
	std::lock_guard<std::mutex> lock(mutex_);
	Rings *k = nullptr;

	if (!Of(sock, &k))
		return;
	struct udplane_ring *r = &k->ring[worker];
	if (d.frame < kFrames) {
		out_[d.frame] = true;
		frames_out_++;
	}
	k->shared[worker]->desc[udplane_ring_slot(r, r->idx)] = d;
	udplane_ring_publish(r, 1);
}

void Peer::Signal(uint32_t sock, uint32_t worker)
{
	std::lock_guard<std::mutex> lock(mutex_);
	Rings *k = nullptr;

	udplane_fence();
	if (!Of(sock, &k) || !udplane_ring_take_arm(&k->ring[worker]))
		return;
	tokens_++;
	if (write(k->pipe_write, "", 1) != 1)
		abort();
}

bool Peer::Deliver(uint32_t sock, const std::string &payload, const std::string &src, uint16_t flags, uint32_t worker)
{
	if (!Put(sock, payload, src, flags, worker))
		return false;
	Signal(sock, worker);
	return true;
}

const struct udplane_rx_ring *Peer::Ring(uint32_t sock, uint32_t worker)
{
	std::lock_guard<std::mutex> lock(mutex_);
	Rings *k = nullptr;

	return Of(sock, &k) ? k->shared[worker] : nullptr;
}

bool Peer::Armed(uint32_t sock, uint32_t worker)
{
	const struct udplane_rx_ring *r = Ring(sock, worker);

	return r && udplane_load32(&r->head.armed) == 1;
}

std::vector<Sent> Peer::Take(uint32_t max, uint32_t worker)
{
	std::lock_guard<std::mutex> lock(mutex_);
	std::vector<Sent> all;

	for (auto &s : sessions_) {
		if (s->tx.empty())
			continue;
		struct udplane_ring *r = &s->tx[worker];
		auto *shared = reinterpret_cast<struct udplane_tx_ring *>(r->head);
		uint32_t return_off = Up(sizeof(struct udplane_tx_ring) + opt_.tx_slots * sizeof(struct udplane_tx_desc));
		const uint8_t *payload = Lane(s.get(), worker) + Up(return_off + sizeof(struct udplane_return_ring) + kReturns * 4);
		uint32_t n = udplane_ring_avail(r, UINT32_MAX);

		EXPECT_NE(n, UDPLANE_RING_CORRUPT);
		n = n > max ? max : n;
		for (uint32_t i = 0; i < n; i++) {
			uint32_t slot = udplane_ring_slot(r, r->idx + i);
			const struct udplane_tx_desc &d = shared->desc[slot];
			Sent out = {d.sock, std::string(reinterpret_cast<const char *>(payload) + slot * 2048, d.len),
				    (d.flags & UDPLANE_TX_IPV6) != 0, {}, ntohs(d.dst_port_be)};

			memcpy(out.dst, d.dst, 16);
			all.push_back(out);
		}
		udplane_ring_consume(r, n);
	}
	return all;
}

void Peer::Redirect(const uint8_t dst[4], uint16_t port)
{
	std::lock_guard<std::mutex> lock(mutex_);

	for (auto &s : sessions_) {
		for (struct udplane_ring &r : s->tx) {
			auto *shared = reinterpret_cast<struct udplane_tx_ring *>(r.head);
			uint32_t n = udplane_ring_avail(&r, UINT32_MAX);

			for (uint32_t i = 0; i < n; i++) {
				struct udplane_tx_desc *d = &shared->desc[udplane_ring_slot(&r, r.idx + i)];

				memcpy(d->dst, dst, 4);
				d->dst_port_be = htons(port);
			}
		}
	}
}

uint32_t Peer::FramesOut()
{
	std::lock_guard<std::mutex> lock(mutex_);

	for (auto &s : sessions_)
		TakeReturns(s.get());
	return frames_out_;
}

bool Peer::DoorbellRang(uint32_t worker)
{
	std::lock_guard<std::mutex> lock(mutex_);
	bool rang = false;
	uint64_t n;

	for (auto &s : sessions_)
		if (worker < s->doorbell.size())
			rang |= read(s->doorbell[worker], &n, 8) == 8;
	return rang;
}

/* --------------------------------------------------------------------------------------------------------- control -- */

struct udplane_socket_zone *Peer::Row(uint32_t sock)
{
	return reinterpret_cast<struct udplane_socket_zone *>(stats_.addr + Stats()->socket_off) + sock;
}

void Peer::SetPrefix(const std::string &text, bool on_link)
{
	struct udplane_stats_zone *z = Stats();
	struct udplane_prefix p = {};
	size_t slash = text.find('/');
	std::string addr = text.substr(0, slash);

	p.family = addr.find(':') == std::string::npos ? AF_INET : AF_INET6;
	inet_pton(p.family, addr.c_str(), p.addr);
	p.len = static_cast<uint8_t>(atoi(text.c_str() + slash + 1));
	p.on_link = on_link;
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
	std::lock_guard<std::mutex> lock(mutex_);

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
	std::lock_guard<std::mutex> lock(mutex_);
	std::vector<uint32_t> all;

	for (auto &s : sessions_)
		if (s->fd >= 0)
			for (auto &k : s->socks)
				all.push_back(k.first);
	return all;
}

/* --------------------------------------------------------------------------------------------------------- fixture -- */

socklen_t Address(const std::string &text, struct sockaddr_storage *ss)
{
	size_t colon = text.rfind(':');
	std::string host = text.substr(0, colon);
	uint16_t port = htons(static_cast<uint16_t>(atoi(text.c_str() + colon + 1)));

	memset(ss, 0, sizeof(*ss));
	if (host[0] != '[') {
		auto *in = reinterpret_cast<struct sockaddr_in *>(ss);

		in->sin_family = AF_INET;
		in->sin_port = port;
		EXPECT_EQ(inet_pton(AF_INET, host.c_str(), &in->sin_addr), 1) << text;
		return sizeof(*in);
	}
	auto *in6 = reinterpret_cast<struct sockaddr_in6 *>(ss);
	host = host.substr(1, host.size() - 2);
	size_t percent = host.find('%');
	if (percent != std::string::npos) {
		in6->sin6_scope_id = static_cast<uint32_t>(atoi(host.c_str() + percent + 1));
		host.resize(percent);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = port;
	EXPECT_EQ(inet_pton(AF_INET6, host.c_str(), &in6->sin6_addr), 1) << text;
	return sizeof(*in6);
}

std::string Text(const struct sockaddr *sa)
{
	char host[INET6_ADDRSTRLEN];

	if (sa->sa_family == AF_INET) {
		auto *in = reinterpret_cast<const struct sockaddr_in *>(sa);

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		return std::string(host) + ":" + std::to_string(ntohs(in->sin_port));
	}
	auto *in6 = reinterpret_cast<const struct sockaddr_in6 *>(sa);
	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	return "[" + std::string(host) + (in6->sin6_scope_id ? "%" + std::to_string(in6->sin6_scope_id) : "") +
	       "]:" + std::to_string(ntohs(in6->sin6_port));
}

void ClientTest::SetUp()
{
	char name[] = "/tmp/udplane-XXXXXX"; /* Bazel's folder has a longer name than a socket path may be */
	struct sockaddr_in in = {};
	socklen_t len = sizeof(in);

	if (!isolated)
		GTEST_SKIP() << "needs root, or user namespaces, for a network of its own";
	ASSERT_NE(mkdtemp(name), nullptr);
	dir_ = name;
	path_ = dir_ + "/udplane.sock";
	setenv("UDPLANE_SOCKET", path_.c_str(), 1);
	setenv("UDPLANE_SPIN_US", "0", 1);
	unsetenv("UDPLANE_DISABLE");
	context_reset();
	plain_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	in.sin_family = AF_INET;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ASSERT_EQ(bind(plain_, reinterpret_cast<struct sockaddr *>(&in), sizeof(in)), 0);
	getsockname(plain_, reinterpret_cast<struct sockaddr *>(&in), &len);
	plain_port_ = ntohs(in.sin_port);
	plain6_ = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

void ClientTest::TearDown()
{
	for (int fd : fds_)
		udplane_close(fd);
	peer_.reset();
	context_reset();
	close(plain_);
	close(plain6_);
	unlink(path_.c_str());
	rmdir(dir_.c_str());
}

Peer *ClientTest::Start(const Peer::Options &options)
{
	peer_.reset(); // its path is removed with it
	peer_.reset(new Peer(path_, options));
	context_reset();
	return peer_.get();
}

int ClientTest::Open(int type, int domain, uint16_t port)
{
	int fd = udplane_socket(domain, type, 0);
	struct sockaddr_storage ss;
	socklen_t len = Address((domain == AF_INET ? "127.0.0.1:" : "[::]:") + std::to_string(port), &ss);

	EXPECT_GE(fd, 0) << strerror(errno);
	EXPECT_EQ(udplane_bind(fd, reinterpret_cast<struct sockaddr *>(&ss), len), 0) << strerror(errno);
	fds_.push_back(fd);
	return fd;
}

int ClientTest::Claimed(int type, int domain)
{
	int fd = Open(type, domain);

	EXPECT_TRUE(Status(fd).accelerated) << Status(fd).reason << ": " << Status(fd).text;
	return fd;
}

struct sock *ClientTest::Sock(int fd)
{
	struct sock *s = table_get(fd);

	if (!s)
		abort();
	return s;
}

void ClientTest::Close(int fd)
{
	EXPECT_EQ(udplane_close(fd), 0);
	for (int &f : fds_)
		if (f == fd)
			f = -1;
}

void ClientTest::SendKernel(int fd, const std::string &payload)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	ASSERT_EQ(udplane_getsockname(fd, reinterpret_cast<struct sockaddr *>(&ss), &len), 0);
	if (ss.ss_family == AF_INET6)
		reinterpret_cast<struct sockaddr_in6 *>(&ss)->sin6_addr = in6addr_loopback;
	ASSERT_EQ(sendto(ss.ss_family == AF_INET ? plain_ : plain6_, payload.data(), payload.size(), 0,
			 reinterpret_cast<struct sockaddr *>(&ss), len),
		  static_cast<ssize_t>(payload.size()));
}

std::string ClientTest::PlainRecv()
{
	struct pollfd p = {plain_, POLLIN, 0};
	char buf[65536];

	if (poll(&p, 1, 5000) != 1)
		return "";
	ssize_t n = recv(plain_, buf, sizeof(buf), MSG_DONTWAIT);
	return n < 0 ? "" : std::string(buf, static_cast<size_t>(n));
}

std::string Recv(int fd, int flags)
{
	char buf[65536];
	ssize_t n = udplane_recv(fd, buf, sizeof(buf), flags);

	return n < 0 ? std::string("!") + strerrorname_np(errno) : std::string(buf, static_cast<size_t>(n));
}

Receiver::Receiver(int fd, int flags)
{
	thread = std::thread([this, fd, flags] { result = Recv(fd, flags); });
}

Receiver::~Receiver()
{
	if (thread.joinable())
		thread.join();
}

std::string Receiver::Join()
{
	thread.join();
	return result;
}

bool Readable(int fd, int timeout_ms)
{
	struct pollfd p = {fd, POLLIN, 0};

	return poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLIN);
}

struct udplane_status Status(int fd)
{
	struct udplane_status st = {};

	st.size = sizeof(st);
	EXPECT_EQ(udplane_get_status(fd, &st), 0);
	return st;
}

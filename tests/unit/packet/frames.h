/* SPDX-License-Identifier: Apache-2.0 */
// What the tests of sidecar/packet compare with: everything here goes byte by byte, and shares no
// code with it.
#ifndef TESTS_UNIT_PACKET_FRAMES_H
#define TESTS_UNIT_PACKET_FRAMES_H

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

using Bytes = std::vector<uint8_t>;

// RFC 1071 over big-endian words, not complemented.
inline uint16_t NaiveSum(const uint8_t *p, size_t n, uint32_t start = 0)
{
	uint64_t sum = start;

	for (size_t i = 0; i < n; i++)
		sum += i % 2 == 0 ? p[i] << 8 : p[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return static_cast<uint16_t>(sum);
}

inline uint16_t Swap(uint16_t x)
{
	return static_cast<uint16_t>(x << 8 | x >> 8);
}

inline void Put16(Bytes *frame, size_t off, unsigned value)
{
	(*frame)[off] = static_cast<uint8_t>(value >> 8);
	(*frame)[off + 1] = static_cast<uint8_t>(value);
}

inline unsigned Get16(const Bytes &frame, size_t off)
{
	return static_cast<unsigned>(frame[off] << 8 | frame[off + 1]);
}

constexpr size_t kIp = 14, kUdp4 = 34, kUdp6 = 54;

inline void FixIpChecksum(Bytes *frame)
{
	Put16(frame, kIp + 10, 0);
	Put16(frame, kIp + 10, static_cast<uint16_t>(~NaiveSum(frame->data() + kIp, 20)));
}

// The pseudo-header's sum for a frame whose UDP length field is right.
inline uint16_t PseudoSum(const Bytes &frame)
{
	const bool v4 = Get16(frame, 12) == 0x0800;
	const size_t udp = v4 ? kUdp4 : kUdp6;
	Bytes pseudo(frame.begin() + (v4 ? kIp + 12 : kIp + 8),
		     frame.begin() + static_cast<long>(udp));

	pseudo.insert(pseudo.end(), {frame[udp + 4], frame[udp + 5], 0, 17});
	return NaiveSum(pseudo.data(), pseudo.size());
}

inline void FixUdpChecksum(Bytes *frame)
{
	const size_t udp = Get16(*frame, 12) == 0x0800 ? kUdp4 : kUdp6;
	uint16_t field;

	Put16(frame, udp + 6, 0);
	field = static_cast<uint16_t>(
		~NaiveSum(frame->data() + udp, Get16(*frame, udp + 4), PseudoSum(*frame)));
	Put16(frame, udp + 6, field ? field : 0xffff);
}

inline Bytes Payload(size_t n, unsigned seed = 1)
{
	Bytes payload(n);

	for (auto &b : payload) {
		seed = seed * 1103515245 + 12345;
		b = static_cast<uint8_t>(seed >> 16);
	}
	return payload;
}

// clang-format off

// 10.1.2.3:5353 -> 192.168.7.9:4660, DF, id 0xbeef, ttl 63, tos 0xb8
inline Bytes Frame4(const Bytes &payload)
{
	Bytes f = {0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0xb8, 0, 0, 0xbe, 0xef, 0x40, 0x00, 63, 17, 0, 0,
		   10, 1, 2, 3, 192, 168, 7, 9, 0x14, 0xe9, 0x12, 0x34, 0, 0, 0, 0};

	f.insert(f.end(), payload.begin(), payload.end());
	Put16(&f, kIp + 2, static_cast<unsigned>(f.size() - kIp));
	Put16(&f, kUdp4 + 4, static_cast<unsigned>(f.size() - kUdp4));
	FixIpChecksum(&f);
	FixUdpChecksum(&f);
	return f;
}

// [2001:db8::1:2]:5353 -> [fd00:a:b::9:fffe]:4660, hop limit 63, class 0xb8, label 0xabcde
inline Bytes Frame6(const Bytes &payload)
{
	Bytes f = {0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x6b, 0x8a, 0xbc, 0xde, 0, 0, 17, 63,
		   0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2,
		   0xfd, 0x00, 0, 0x0a, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xfe, 0x14, 0xe9, 0x12, 0x34, 0, 0, 0, 0};

	f.insert(f.end(), payload.begin(), payload.end());
	Put16(&f, kIp + 4, static_cast<unsigned>(f.size() - kUdp6));
	Put16(&f, kUdp6 + 4, static_cast<unsigned>(f.size() - kUdp6));
	FixUdpChecksum(&f);
	return f;
}

// clang-format on

// Memory between two inaccessible pages: AtEnd(n) ends at the one behind, Begin() begins
// behind the one in front.
class Fenced
{
      public:
	explicit Fenced(size_t size)
	    : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))),
	      size_((size + page_ - 1) / page_ * page_)
	{
		base_ = static_cast<uint8_t *>(mmap(nullptr, size_ + 2 * page_, PROT_NONE,
						    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		if (base_ == MAP_FAILED ||
		    mprotect(base_ + page_, size_, PROT_READ | PROT_WRITE) != 0)
			abort();
	}
	~Fenced()
	{
		munmap(base_, size_ + 2 * page_);
	}
	Fenced(const Fenced &) = delete;
	Fenced &operator=(const Fenced &) = delete;

	uint8_t *Begin() const
	{
		return base_ + page_;
	}
	uint8_t *AtEnd(size_t n) const
	{
		return base_ + page_ + size_ - n;
	}

      private:
	size_t page_, size_;
	uint8_t *base_;
};

#endif

// SPDX-License-Identifier: Apache-2.0
/* Each verdict of the XDP program, on frames made by hand. Every test also checks that each frame
 * was counted once. */
#include "tests/unit/xdp/xdp_program.h"

class XdpVerdict : public XdpProgram
{
      protected:
	Datagram v4, v6;

	void SetUp() override
	{
		XdpProgram::SetUp();
		v6.src = "2001:db8::9";
		v6.dst = "2001:db8::1";
		if (IsSkipped())
			return;
		ASSERT_EQ(insert(claim("0.0.0.0", 5060)), 0);
		ASSERT_EQ(insert(claim("::", 5060)), 0);
	}
};

TEST_F(XdpVerdict, ValidIsDiverted)
{
	EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
	EXPECT_EQ(run(v6), XDP_COUNT_DIVERTED);
}

TEST_F(XdpVerdict, SmallestAndLargest)
{
	for (Datagram d : {v4, v6}) {
		d.payload = 0;
		EXPECT_EQ(run(d), XDP_COUNT_DIVERTED);
		d.padding = 18;
		EXPECT_EQ(run(d), XDP_COUNT_DIVERTED);
		d.padding = 0;
		d.payload = 1792 - d.udp_off() - 8;
		EXPECT_EQ(run(d), XDP_COUNT_DIVERTED);
		d.payload++;
		EXPECT_EQ(run(d), XDP_COUNT_UNFIT);
	}
}

TEST_F(XdpVerdict, PaddingBeyondAFrameOfOurs)
{
	v4.padding = 1792 - v4.frame().size();
	EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
	v4.padding++;
	EXPECT_EQ(run(v4), XDP_COUNT_UNFIT);
}

TEST_F(XdpVerdict, SeveralBuffers)
{
	shared()->max_len = 4096 - 256;
	for (Datagram d : {v4, v6}) {
		d.payload = 6000;
		EXPECT_EQ(run(d), XDP_COUNT_UNFIT);
		d.payload = 100; /* all in the first buffer, but not alone */
		d.padding = 6000;
		EXPECT_EQ(run(d), XDP_COUNT_UNFIT);
		d.padding = 0;
		d.payload = 6000;
		d.dport = 5061;
		EXPECT_EQ(run(d), XDP_COUNT_UNCLAIMED);
	}
}

TEST_F(XdpVerdict, OtherEtherTypes)
{
	for (uint32_t type :
	     {0x0806 /* ARP */, 0x8100 /* VLAN */, 0x88a8, 0x8847, 0x0805, 0x0040, 0x86de}) {
		Bytes f = v4.frame();

		put16(f, 12, type);
		EXPECT_EQ(run(f), XDP_COUNT_NOT_IP) << type;
	}
}

TEST_F(XdpVerdict, TaggedDatagram)
{
	for (const Datagram &d : {v4, v6}) {
		Bytes f = d.frame();

		f.insert(f.begin() + 12, {0x81, 0x00, 0x00, 0x05});
		EXPECT_EQ(run(f), XDP_COUNT_NOT_IP);
	}
}

TEST_F(XdpVerdict, OtherMac)
{
	for (const Datagram &d : {v4, v6}) {
		for (int byte = 0; byte < 6; byte++) {
			for (int bit = 0; bit < 8; bit++) {
				Bytes f = d.frame();

				f[byte] ^= 1 << bit;
				EXPECT_EQ(run(f), XDP_COUNT_NOT_LOCAL);
			}
		}
		Bytes f = d.frame();

		std::fill(f.begin(), f.begin() + 6, 0xff);
		EXPECT_EQ(run(f), XDP_COUNT_NOT_LOCAL);
	}
}

TEST_F(XdpVerdict, OtherDestination)
{
	for (const char *dst : {"192.0.2.2", "192.0.2.255", "255.255.255.255", "224.0.0.251",
				"0.0.0.0", "127.0.0.1", "1.2.0.192"}) {
		v4.dst = dst;
		EXPECT_EQ(run(v4), XDP_COUNT_NOT_LOCAL) << dst;
	}
	for (const char *dst : {"2001:db8::2", "ff02::1", "ff02::fb", "::", "::1",
				"::ffff:192.0.2.1", "fe80::2", "2001:db8:0:0:1::1"}) {
		v6.dst = dst;
		EXPECT_EQ(run(v6), XDP_COUNT_NOT_LOCAL) << dst;
	}
	v6.dst = "fe80::1";
	EXPECT_EQ(run(v6), XDP_COUNT_DIVERTED);
}

TEST_F(XdpVerdict, Options4)
{
	for (int ihl = 6; ihl <= 15; ihl++) {
		Bytes f = v4.frame();

		f[14] = 0x40 | ihl;
		f.insert(f.begin() + 34, (ihl - 5) * 4, 1 /* NOP */);
		put16(f, 16, f.size() - 14);
		EXPECT_EQ(run(f), XDP_COUNT_OPTIONS) << ihl;
	}
}

TEST_F(XdpVerdict, ImpossibleVersionOrHeaderLength)
{
	for (int first : {0x40, 0x41, 0x44, 0x35, 0x55, 0x65, 0x05, 0xf5}) {
		Bytes f = v4.frame();

		f[14] = first;
		EXPECT_EQ(run(f), XDP_COUNT_MALFORMED) << first;
	}
	for (int first : {0x40, 0x50, 0x70, 0x00}) {
		Bytes f = v6.frame();

		f[14] = first;
		EXPECT_EQ(run(f), XDP_COUNT_MALFORMED) << first;
	}
}

TEST_F(XdpVerdict, Fragments4)
{
	for (uint32_t field : {0x2000 /* first */, 0x2001 /* middle */, 0x0001, 0x00b9 /* last */,
			       0x1fff, 0x3fff, 0x6000}) {
		Bytes f = v4.frame();

		put16(f, 20, field);
		EXPECT_EQ(run(f), XDP_COUNT_FRAGMENT) << field;
	}
	Bytes f = v4.frame();

	put16(f, 20, 0x4000); /* DF alone is none */
	EXPECT_EQ(run(f), XDP_COUNT_DIVERTED);
	put16(f, 20, 0x8000); /* the reserved bit: Linux looks at neither */
	EXPECT_EQ(run(f), XDP_COUNT_DIVERTED);
}

TEST_F(XdpVerdict, WithoutAChecksum)
{
	v4.checksum = v6.checksum = 0;
	EXPECT_EQ(run(v4.frame()), XDP_COUNT_DIVERTED);
	EXPECT_EQ(run(v6.frame()), XDP_COUNT_NO_CHECKSUM);
	v6.dport = 5061;
	EXPECT_EQ(run(v6.frame()), XDP_COUNT_UNCLAIMED);
}

TEST_F(XdpVerdict, ShortLastFragment)
{
	Bytes f = v4.frame();

	put16(f, 20, 0x00b9);
	f.resize(34 + 4);
	put16(f, 16, 24);
	EXPECT_EQ(run(f), XDP_COUNT_FRAGMENT);
}

TEST_F(XdpVerdict, Fragments6)
{
	Bytes f = v6.frame();

	f[20] = IPPROTO_FRAGMENT;
	f.insert(f.begin() + 54, {IPPROTO_UDP, 0, 0, 1, 0, 0, 0, 7});
	put16(f, 18, f.size() - 54);
	EXPECT_EQ(run(f), XDP_COUNT_FRAGMENT);
}

TEST_F(XdpVerdict, ExtensionHeaders)
{
	for (int header : {0 /* hop-by-hop */, 43 /* routing */, 60 /* destination */, 51 /* AH */,
			   135 /* mobility */}) {
		Bytes f = v6.frame();

		f[20] = header;
		f.insert(f.begin() + 54, {IPPROTO_UDP, 0, 1, 4, 0, 0, 0, 0});
		put16(f, 18, f.size() - 54);
		EXPECT_EQ(run(f), XDP_COUNT_OPTIONS) << header;
	}
}

TEST_F(XdpVerdict, OtherProtocols)
{
	for (int protocol = 0; protocol < 256; protocol++) {
		Bytes f4 = v4.frame(), f6 = v6.frame();
		int expect6 = XDP_COUNT_NOT_UDP;

		f4[23] = protocol;
		f6[20] = protocol;
		if (protocol == IPPROTO_UDP)
			continue;
		if (protocol == 0 || protocol == 43 || protocol == 51 || protocol == 60 ||
		    protocol == 135)
			expect6 = XDP_COUNT_OPTIONS;
		if (protocol == 44)
			expect6 = XDP_COUNT_FRAGMENT;
		EXPECT_EQ(run(f4), XDP_COUNT_NOT_UDP) << protocol;
		EXPECT_EQ(run(f6), expect6) << protocol;
	}
}

TEST_F(XdpVerdict, TruncatedAnywhere)
{
	for (const Datagram &d : {v4, v6}) {
		Bytes full = d.frame();

		for (size_t len = 14; len < full.size(); len++)
			EXPECT_EQ(run(Bytes(full.begin(), full.begin() + len)), XDP_COUNT_MALFORMED)
				<< len;
	}
}

TEST_F(XdpVerdict, LengthsThatDisagree)
{
	for (int change : {-32, -9, -1, 1, 8, 1000, 0x4000}) {
		Bytes f = v4.frame();

		put16(f, 16, get16(f, 16) + change);
		EXPECT_EQ(run(f), XDP_COUNT_MALFORMED) << "total length " << change;
		f = v4.frame();
		put16(f, 38, get16(f, 38) + change);
		EXPECT_EQ(run(f), XDP_COUNT_MALFORMED) << "UDP length " << change;
		f = v6.frame();
		put16(f, 18, get16(f, 18) + change);
		EXPECT_EQ(run(f), XDP_COUNT_MALFORMED) << "payload length " << change;
		f = v6.frame();
		put16(f, 58, get16(f, 58) + change);
		EXPECT_EQ(run(f), XDP_COUNT_MALFORMED) << "UDP length " << change;
	}
}

TEST_F(XdpVerdict, LengthsThatAgreeButAreWrong)
{
	for (Datagram d : {v4, v6}) {
		size_t ip_len = d.v6() ? 18 : 16, fixed = d.v6() ? 0 : 20;

		for (uint32_t udp_len = 0; udp_len < 8; udp_len++) {
			Bytes f = d.frame();

			put16(f, ip_len, fixed + udp_len);
			put16(f, d.udp_off() + 4, udp_len);
			EXPECT_EQ(run(f), XDP_COUNT_MALFORMED) << udp_len;
		}
		Bytes f = d.frame();

		put16(f, ip_len, fixed + 41); /* one more than there is */
		put16(f, d.udp_off() + 4, 41);
		EXPECT_EQ(run(f), XDP_COUNT_MALFORMED);
		put16(f, ip_len, fixed + 39); /* one less: padding */
		put16(f, d.udp_off() + 4, 39);
		EXPECT_EQ(run(f), XDP_COUNT_DIVERTED);
	}
}

TEST_F(XdpVerdict, Jumbogram)
{
	Bytes f = v6.frame();

	put16(f, 18, 0);
	put16(f, 58, 0);
	EXPECT_EQ(run(f), XDP_COUNT_MALFORMED);
}

TEST_F(XdpVerdict, MartianSources)
{
	for (const char *src : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1",
				"239.255.255.255", "240.0.0.1", "255.255.255.255"}) {
		v4.src = src;
		EXPECT_EQ(run(v4), XDP_COUNT_MARTIAN) << src;
	}
	for (const char *src :
	     {"::", "::1", "ff02::1", "ffff::", "::ffff:1.2.3.4", "::ffff:0.0.0.0"}) {
		v6.src = src;
		EXPECT_EQ(run(v6), XDP_COUNT_MARTIAN) << src;
	}
	for (const char *src :
	     {"1.0.0.0", "126.255.255.255", "128.0.0.0", "223.255.255.255", "10.0.0.1"}) {
		v4.src = src;
		EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED) << src;
	}
	for (const char *src :
	     {"::2", "fe80::9", "2001::1", "fd00::1", "::1:0:0", "::fffe:1.2.3.4"}) {
		v6.src = src;
		EXPECT_EQ(run(v6), XDP_COUNT_DIVERTED) << src;
	}
}

TEST_F(XdpVerdict, UnclaimedPort)
{
	for (uint32_t port : {0, 1, 5059, 5061, 0xc413 /* 5060 the other way round */, 65535}) {
		v4.dport = v6.dport = port;
		EXPECT_EQ(run(v4), XDP_COUNT_UNCLAIMED) << port;
		EXPECT_EQ(run(v6), XDP_COUNT_UNCLAIMED) << port;
	}
}

TEST_F(XdpVerdict, IdleAndUnboundQueue)
{
	shared()->queue[0].state = XDP_STATE_IDLE;
	EXPECT_EQ(run(v4), XDP_COUNT_IDLE);
	EXPECT_EQ(run(v6), XDP_COUNT_IDLE);
	shared()->queue[0].state = XDP_STATE_UNBOUND;
	EXPECT_EQ(run(v4), XDP_COUNT_NO_QUEUE);
	v4.dport = 1;
	EXPECT_EQ(run(v4), XDP_COUNT_UNCLAIMED) << "idle counts only what would have been diverted";
	shared()->queue[0].state = XDP_STATE_ENGAGED;
	EXPECT_EQ(run(v6), XDP_COUNT_DIVERTED);
}

/* enum xdp_state: what the program does when the kernel gives way to the worker, and back. */
class XdpState : public XdpVerdict
{
      protected:
	uint32_t state()
	{
		return __atomic_load_n(&shared()->queue[0].state, __ATOMIC_ACQUIRE);
	}
	void set(uint32_t s)
	{
		__atomic_store_n(&shared()->queue[0].state, s, __ATOMIC_RELEASE);
	}

	bool becomes(uint32_t wanted)
	{
		for (time_t end = time(nullptr) + 10; state() != wanted && time(nullptr) < end;)
			sched_yield();
		return state() == wanted;
	}
};

TEST_F(XdpState, EngagedWhenThePollHasEnded)
{
	for (int i = 0; i < 100; i++) {
		set(XDP_STATE_ENGAGING);
		EXPECT_EQ(run(i % 2 ? v4 : v6), XDP_COUNT_DIVERTED);
		ASSERT_TRUE(becomes(XDP_STATE_ENGAGED)) << i << ": " << state();
	}
}

TEST_F(XdpState, OnlyAClaimedDatagramStartsTheTimer)
{
	set(XDP_STATE_ENGAGING);
	v4.dport = 1;
	EXPECT_EQ(run(v4), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(state(), XDP_STATE_ENGAGING);
}

TEST_F(XdpState, TheTimerLeavesOtherStatesAlone)
{
	for (uint32_t other : {XDP_STATE_IDLE, XDP_STATE_HELD, XDP_STATE_LEAVING}) {
		set(XDP_STATE_ENGAGING);
		EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
		set(other); /* the timer may be running just now, or have run */
		for (int i = 0; i < 1000; i++)
			sched_yield();
		EXPECT_EQ(state(), other);
	}
}

TEST_F(XdpState, WhatComesAfterTheNoticeKeepsItEngaged)
{
	set(XDP_STATE_LEAVING);
	EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
	EXPECT_EQ(state(), XDP_STATE_ENGAGED);
	set(XDP_STATE_LEAVING);
	v4.dport = 1;
	EXPECT_EQ(run(v4), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(state(), XDP_STATE_LEAVING);
}

TEST_F(XdpState, HeldIsNotedAndSettlingLeft)
{
	set(XDP_STATE_HELD);
	EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
	EXPECT_EQ(state(), XDP_STATE_HELD_SEEN);
	EXPECT_EQ(run(v6), XDP_COUNT_DIVERTED);
	EXPECT_EQ(state(), XDP_STATE_HELD_SEEN);
	set(XDP_STATE_RESUMING);
	EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
	EXPECT_TRUE(becomes(XDP_STATE_ENGAGED)) << state();
	set(XDP_STATE_SETTLING);
	EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
	EXPECT_EQ(state(), XDP_STATE_SETTLING);
}

/* The worker that should poll the queue: it answers what the program asks, or does not run. */
class XdpStall : public XdpState
{
      protected:
	xdp_queue *queue()
	{
		return &shared()->queue[0];
	}
	void answer()
	{
		queue()->answered_ns = queue()->asked_ns;
	}
	/* Waits until the program has checked again, which it does once per tick. Returns its
	 * verdict. */
	int look()
	{
		uint64_t before = __atomic_load_n(&queue()->tick, __ATOMIC_RELAXED);
		int verdict = run(v4);

		for (time_t end = time(nullptr) + 10;
		     queue()->tick == before && time(nullptr) < end;)
			verdict = run(v4);
		return verdict;
	}
};

TEST_F(XdpStall, AWorkerThatAnswersKeepsItsQueue)
{
	queue()->answered_ns = 0;
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(look(), XDP_COUNT_DIVERTED);
		EXPECT_NE(queue()->asked_ns, 0u);
		queue()->asked_ns -= 2 * XDP_STALL_NS; /* long ago, but answered */
		answer();
	}
	EXPECT_EQ(state(), XDP_STATE_ENGAGED);
}

TEST_F(XdpStall, AWorkerThatDoesNotRunLosesItsQueueFromAnyState)
{
	for (uint32_t from :
	     {XDP_STATE_ENGAGED, XDP_STATE_LEAVING, XDP_STATE_ENGAGING, XDP_STATE_SETTLING,
	      XDP_STATE_HELD, XDP_STATE_HELD_SEEN, XDP_STATE_RESUMING}) {
		SCOPED_TRACE(from);
		set(XDP_STATE_ENGAGED);
		queue()->answered_ns = queue()->asked_ns = 1;
		EXPECT_EQ(look(), XDP_COUNT_DIVERTED); /* asks */
		EXPECT_EQ(look(), XDP_COUNT_DIVERTED); /* no answer, but that is not long ago */
		queue()->asked_ns -= 2 * XDP_STALL_NS;
		set(from);
		EXPECT_EQ(look(), XDP_COUNT_STALLED);
		EXPECT_EQ(state(), XDP_STATE_STALLED);
		EXPECT_EQ(run(v6), XDP_COUNT_STALLED);
		/* it runs again, and takes the queue back when it has looked into its ring */
		answer();
		EXPECT_EQ(run(v4), XDP_COUNT_STALLED);
		set(XDP_STATE_ENGAGING);
		EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
		EXPECT_TRUE(becomes(XDP_STATE_ENGAGED)) << state();
	}
}

TEST_F(XdpStall, NobodyIsAskedForWhatIsNotDiverted)
{
	queue()->asked_ns = 0;
	set(XDP_STATE_IDLE);
	EXPECT_EQ(run(v4), XDP_COUNT_IDLE);
	set(XDP_STATE_ENGAGED);
	v4.dport = 1;
	EXPECT_EQ(run(v4), XDP_COUNT_UNCLAIMED);
	EXPECT_EQ(queue()->asked_ns, 0u);
}

/* Before Linux 5.15 */
class XdpStateWithoutTimers : public XdpState
{
      protected:
	XdpStateWithoutTimers()
	{
		timers = false;
	}
};

TEST_F(XdpStateWithoutTimers, EngagedAtOnce)
{
	set(XDP_STATE_ENGAGING);
	EXPECT_EQ(run(v4), XDP_COUNT_DIVERTED);
	EXPECT_EQ(state(), XDP_STATE_ENGAGED);
}

/* As a sender's stack on this host leaves it: the checksum field holds the sum of the
 * pseudo-header. */
static Bytes with_partial_checksum(const Datagram &d)
{
	Bytes f = d.frame();
	uint32_t sum = IPPROTO_UDP + 8 + d.payload;

	for (size_t i = d.v6() ? 22 : 26; i < d.udp_off(); i += 2)
		sum += get16(f, i);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(f, d.udp_off() + 6, (sum & 0xffff) + (sum >> 16));
	return f;
}

TEST_F(XdpVerdict, PartialChecksums)
{
	EXPECT_EQ(run(with_partial_checksum(v4)), XDP_COUNT_DIVERTED);
	EXPECT_EQ(run(with_partial_checksum(v6)), XDP_COUNT_DIVERTED);
	TearDown();
	sent = 0;
	load(true); /* generic mode: perhaps several datagrams in one */
	ASSERT_EQ(insert(claim("0.0.0.0", 5060)), 0);
	ASSERT_EQ(insert(claim("2001:db8::1", 5060)), 0);
	for (Datagram d : {v4, v6}) {
		for (const char *src : {"2001:db8::9", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
					"192.0.2.9", "203.255.255.255"}) {
			if (strchr(src, ':') ? !d.v6() : d.v6())
				continue;
			d.src = src;
			for (d.payload = 0; d.payload < 1000; d.payload += 7) {
				EXPECT_EQ(run(d), XDP_COUNT_DIVERTED);
				EXPECT_EQ(run(with_partial_checksum(d)), XDP_COUNT_PARTIAL);
			}
		}
		d.dport = 5061;
		EXPECT_EQ(run(with_partial_checksum(d)), XDP_COUNT_UNCLAIMED);
	}
}

/* --- random frames --- */

/* The same rules once more, as plainly as possible. */
static bool in_first(const Bytes &f, size_t off, std::initializer_list<int> bytes)
{
	for (int b : bytes)
		if (f[off++] != b)
			return false;
	return true;
}

static int expected(const Bytes &f)
{
	if (!std::equal(device_mac.begin(), device_mac.end(), f.begin()))
		return XDP_COUNT_NOT_LOCAL;
	if (get16(f, 12) == 0x0800) {
		if (f.size() < 34 || f[14] >> 4 != 4 || (f[14] & 15) < 5)
			return XDP_COUNT_MALFORMED;
		if (f[23] != 17)
			return XDP_COUNT_NOT_UDP;
		if ((f[14] & 15) != 5)
			return XDP_COUNT_OPTIONS;
		if (get16(f, 20) & 0x3fff)
			return XDP_COUNT_FRAGMENT;
		if (f.size() < 42)
			return XDP_COUNT_MALFORMED;
		if (!in_first(f, 30, {192, 0, 2, 1}))
			return XDP_COUNT_NOT_LOCAL;
		if (get16(f, 38) < 8 || get16(f, 16) != get16(f, 38) + 20 ||
		    f.size() < 14 + get16(f, 16))
			return XDP_COUNT_MALFORMED;
		if (f[26] == 0 || f[26] == 127 || f[26] >= 224)
			return XDP_COUNT_MARTIAN;
		return get16(f, 36) == 5060 ? XDP_COUNT_DIVERTED : XDP_COUNT_UNCLAIMED;
	}
	if (get16(f, 12) != 0x86dd)
		return XDP_COUNT_NOT_IP;
	if (f.size() < 54 || f[14] >> 4 != 6)
		return XDP_COUNT_MALFORMED;
	switch (f[20]) {
	case 17: break;
	case 44: return XDP_COUNT_FRAGMENT;
	case 0:
	case 43:
	case 51:
	case 60:
	case 135: return XDP_COUNT_OPTIONS;
	default: return XDP_COUNT_NOT_UDP;
	}
	if (f.size() < 62)
		return XDP_COUNT_MALFORMED;
	if (!in_first(f, 38, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}) &&
	    !in_first(f, 38, {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}))
		return XDP_COUNT_NOT_LOCAL;
	if (get16(f, 58) < 8 || get16(f, 18) != get16(f, 58) || f.size() < 54 + get16(f, 18))
		return XDP_COUNT_MALFORMED;
	if (f[22] == 0xff || in_first(f, 22, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}) ||
	    (in_first(f, 22, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) && f[37] <= 1))
		return XDP_COUNT_MARTIAN;
	return get16(f, 56) == 5060 ? XDP_COUNT_DIVERTED : XDP_COUNT_UNCLAIMED;
}

static uint32_t random32(uint64_t &state)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return state >> 33;
}

TEST_F(XdpVerdict, RandomDamage)
{
	const uint8_t interesting[] = {0,  1,  4,    5,	   6,	 8,    17,  44,
				       45, 60, 0x45, 0x60, 0x7f, 0x80, 0xff};
	uint64_t state = 42;
	int seen[XDP_COUNT_CNT] = {};

	for (int i = 0; i < 100000; i++) {
		Bytes f = (i & 1 ? v4 : v6).frame();

		for (uint32_t n = random32(state) % 4; n; n--) {
			uint32_t at = random32(state) % (random32(state) % 4 ? 64 : f.size());

			f[at % f.size()] =
				random32(state) % 2
					? random32(state)
					: interesting[random32(state) % sizeof(interesting)];
		}
		if (random32(state) % 8 == 0)
			f.resize(14 + random32(state) % (f.size() - 13));
		int want = expected(f);

		ASSERT_EQ(run(f), want) << testing::PrintToString(f);
		seen[want]++;
	}
	for (int v : {XDP_COUNT_DIVERTED, XDP_COUNT_NOT_IP, XDP_COUNT_NOT_UDP, XDP_COUNT_FRAGMENT,
		      XDP_COUNT_OPTIONS, XDP_COUNT_NOT_LOCAL, XDP_COUNT_MARTIAN,
		      XDP_COUNT_MALFORMED, XDP_COUNT_UNCLAIMED})
		EXPECT_GT(seen[v], 20) << "the damage no longer leads to verdict " << v;
}

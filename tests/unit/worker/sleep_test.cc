// SPDX-License-Identifier: Apache-2.0
// When a worker sleeps, and who receives then.
#include "tests/unit/worker/fixture.h"

namespace
{

class Sleeper : public WorkerTest
{
      protected:
	void SetUp() override
	{
		Start(UDPLANE_MODE_BALANCED, 1000);
	}
	bool Asleep()
	{
		return Until([&] {
			return !udplane_load32(&zone_->awake) &&
			       udplane_load64(&zone_->counter[UDPLANE_WORKER_SLEEPS]) > sleeps_;
		});
	}
	uint64_t sleeps_ = 0;
};

TEST_F(Sleeper, BalancedModeLeavesTheKernelInChargeUntilADoorbell)
{
	Client *c = Attach(0, 7);
	ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
	EXPECT_TRUE(Until([&] { return !__atomic_load_n(&fake->engaged, __ATOMIC_RELAXED); }));
	EXPECT_EQ(udplane_load32(&zone_->engaged), 0u);
	for (int i = 0; i < 100; i++) {
		c->Send(0, "x", 1, inet_addr("192.0.2.2"), 1); // rings the bell
		ASSERT_TRUE(Until([&] {
			Guard g;
			return fake->sent.size() == (size_t)i + 1;
		})) << i;
	}
	EXPECT_TRUE(Until([&] {
		c->Bell(); // now and then it is really asleep when the bell rings, and counts it
		return Count(UDPLANE_WORKER_DOORBELLS) > 0;
	}));
}

// The device takes nothing for longer than the worker stays awake for it, and does not say when
// there is room again.
TEST_F(Sleeper, WhatTheDeviceDoesNotTakeGoesOutLater)
{
	Client *c = Attach(0, 7);
	{
		Guard g;
		fake->tx_full = true;
	}
	for (int i = 0; i < 40; i++)
		c->Send(0, "x", 1, inet_addr("192.0.2.2"), 1);
	uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
	ASSERT_TRUE(Until([&] {
		return Count(UDPLANE_WORKER_SLEEPS) > sleeps && !udplane_load32(&zone_->awake);
	}));
	{
		Guard g;
		EXPECT_EQ(fake->sent.size(), 0u);
		fake->tx_full = false;
	}
	EXPECT_TRUE(Until([&] {
		Guard g;
		return fake->sent.size() == 40;
	}));
}

// Something comes between its notice and its leaving: it stays, and gives notice again.
TEST_F(Sleeper, WhatComesAfterTheNoticeKeepsItEngaged)
{
	Client *c = Attach(0, 7);
	for (int i = 0; i < 20; i++) {
		__atomic_store_n(&fake->meddle, 3, __ATOMIC_SEQ_CST);
		ASSERT_TRUE(Until([&] {
			c->Bell();
			return __atomic_load_n(&fake->meddle, __ATOMIC_SEQ_CST) == 0;
		})) << i;
		ASSERT_TRUE(Until([&] { // the last bell may engage it once more
			return !udplane_load32(&zone_->engaged) &&
			       !__atomic_load_n(&fake->engaged, __ATOMIC_RELAXED);
		})) << i;
	}
}

// After a burst it sleeps engaged, and disengages when no other has come for a while. What is a
// burst depends on time, so in each of these tests there are as many as it takes.
class Bursts : public WorkerTest
{
      protected:
	void SetUp() override
	{
		Start(UDPLANE_MODE_BALANCED, 1000, 10000);
		client_ = Attach(0, 7);
	}
	bool Disengaged()
	{
		return Until([&] { return !udplane_load32(&zone_->engaged); });
	}
	bool Engage()
	{
		return Until([&] {
			client_->Bell();
			return udplane_load32(&zone_->engaged) == 1;
		});
	}
	bool LiesDownEngaged()
	{
		EXPECT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
		return udplane_load32(&zone_->engaged) == 1;
	}
	Client *client_;
};

TEST_F(Bursts, AreMetEngagedAsleep)
{
	ASSERT_TRUE(Disengaged());
	EXPECT_TRUE(Until([&] {
		udplane_rx_desc d{};
		EXPECT_TRUE(Engage());
		{
			Guard g;
			for (int i = 0; i < 40; i++)
				EXPECT_TRUE(InjectLocked(7, "x"));
		}
		for (int i = 0; i < 40; i++) {
			EXPECT_EQ(Receive(client_, &d), "x");
			client_->Return(d.frame);
		}
		return LiesDownEngaged();
	}));
	EXPECT_TRUE(Disengaged()) << "it is to stay so for a while, not for ever";
}

TEST_F(Bursts, AreSeenWhereTheKernelGotThem)
{
	EXPECT_TRUE(Until([&] {
		EXPECT_TRUE(Disengaged());
		__atomic_add_fetch(&fake->left_to_kernel, 1u << 30, __ATOMIC_RELAXED);
		EXPECT_TRUE(Engage());
		return LiesDownEngaged();
	}));
	EXPECT_TRUE(Disengaged());
}

// What waits in a ring is older than what the kernel would deliver next: the kernel takes over when
// the rings are empty, not before.
class Reader : public Sleeper
{
      protected:
	void SetUp() override
	{
		Start(UDPLANE_MODE_BALANCED, 5000000);
	} // long enough to be seen awake
};

TEST_F(Reader, FindsTheFastPathEngagedUntilEverythingIsRead)
{
	Client *c = Attach(0, 7);
	ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->engaged); }));
	for (int i = 0; i < 20; i++) {
		ASSERT_TRUE(Until([&] {
			c->Bell();
			return udplane_load32(&zone_->engaged) == 1;
		}));
		ASSERT_TRUE(Inject(7, "x"));
		ASSERT_TRUE(Until([&] { return udplane_ring_avail(&c->my_rx, 1) != 0; }));
		uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
		c->Bell(); // one more spin, and it sleeps again
		ASSERT_TRUE(Until([&] {
			return Count(UDPLANE_WORKER_SLEEPS) > sleeps &&
			       !udplane_load32(&zone_->awake);
		}));
		ASSERT_EQ(udplane_load32(&zone_->engaged), 1u) << i;
		udplane_rx_desc d;
		ASSERT_EQ(Receive(c, &d), "x");
		ASSERT_EQ(d.flags, UDPLANE_RX_SWITCHED);
		c->Return(d.frame); // rings the bell
		ASSERT_TRUE(Until([&] { return udplane_load32(&zone_->engaged) == 0; })) << i;
	}
}

// No doorbell rings for a client that has ended: the worker looks by itself, or it would stay
// engaged for good.
TEST_F(Sleeper, LiesDownWhenTheClientThatHadNotReadIsGone)
{
	Client *c = Attach(0, 7);
	ASSERT_TRUE(Until([&] {
		c->Bell();
		return udplane_load32(&zone_->engaged) == 1;
	}));
	ASSERT_TRUE(Inject(7, "x"));
	ASSERT_TRUE(Until([&] { return udplane_ring_avail(&c->my_rx, 1) != 0; }));
	uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
	ASSERT_TRUE(Until([&] {
		return Count(UDPLANE_WORKER_SLEEPS) > sleeps && !udplane_load32(&zone_->awake);
	}));
	ASSERT_EQ(udplane_load32(&zone_->engaged), 1u);
	port_key key = BedKey(7);
	ASSERT_EQ(Call(WORKER_KEY_REMOVE, 0, nullptr, nullptr, &key), 0);
	ASSERT_EQ(Call(WORKER_SOCKET_REMOVE, 0), 0);
	EXPECT_TRUE(Until([&] { return udplane_load32(&zone_->engaged) == 0; }));
}

// The device was detached for a while: what the kernel got is older than what comes now, for every
// socket.
TEST_F(WorkerTest, AfterASwitchTheFirstDatagramOfEachSocketSaysSo)
{
	Client *c[2] = {Attach(0, 7), Attach(1, 8)};
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 2; i++) {
			for (int n = 0; n < 2; n++) {
				ASSERT_TRUE(Inject((uint16_t)(7 + i), "x"));
				udplane_rx_desc d;
				ASSERT_EQ(Receive(c[i], &d), "x");
				EXPECT_EQ(d.flags, n == 0 ? UDPLANE_RX_SWITCHED : 0) << round;
				c[i]->Return(d.frame);
			}
		}
		ASSERT_EQ(Call(WORKER_SWITCHED, 0), 0);
	}
}

// The control thread carries out orders itself while the worker sleeps: no thread is woken for
// them. Linux would give the flows of a SO_REUSEPORT group to other sockets than the worker does:
// it keeps them while there is a group.
TEST_F(Sleeper, AGroupKeepsTheFastPathEngaged)
{
	Attach(0, 7);
	Attach(1, 8);
	port_key key = BedKey(7);
	for (int i = 0; i < 5; i++) {
		ASSERT_TRUE(Until([&] {
			udplane_rx_desc
				d; // the last round's datagram may be delivered as late as now
			for (auto &c : clients_) {
				while (c->Take(&d))
					c->Return(d.frame);
			}
			return !udplane_load32(&zone_->engaged) && !udplane_load32(&zone_->awake);
		})) << i;
		ASSERT_EQ(Call(WORKER_KEY_INSERT, 1, nullptr, nullptr, &key), 0);
		ASSERT_TRUE(Until([&] { return udplane_load32(&zone_->engaged) != 0; }))
			<< "no doorbell is needed";
		uint64_t sleeps = Count(UDPLANE_WORKER_SLEEPS);
		ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
		Inject(7, "x");
		ASSERT_TRUE(Until([&] {
			return Count(UDPLANE_WORKER_SLEEPS) > sleeps &&
			       !udplane_load32(&zone_->awake);
		}));
		ASSERT_EQ(udplane_load32(&zone_->engaged), 1u);
		ASSERT_TRUE(__atomic_load_n(&fake->engaged, __ATOMIC_RELAXED));
		ASSERT_EQ(Call(WORKER_KEY_REMOVE, 1, nullptr, nullptr, &key), 0);
	}
}

TEST_F(Sleeper, OrdersDoNotWakeIt)
{
	Attach(0, 7);
	ASSERT_TRUE(Until([&] { return !udplane_load32(&zone_->awake); }));
	ASSERT_TRUE(Until([&] {
		return Count(UDPLANE_WORKER_SLEEPS) > 0 || !udplane_load32(&zone_->awake);
	}));
	for (int i = 0; i < 1000; i++) {
		port_key key{};
		key.local.family = AF_INET;
		key.local.port_be = htons((uint16_t)(100 + i));
		ASSERT_EQ(Call(WORKER_KEY_INSERT, 0, nullptr, nullptr, &key), 0);
		ASSERT_EQ(Call(WORKER_KEY_REMOVE, 0, nullptr, nullptr, &key), 0);
	}
}

} // namespace

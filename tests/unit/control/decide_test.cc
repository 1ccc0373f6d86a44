// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>
#include <endian.h>
#include <string>

#include "sidecar/control/decide.h"

namespace
{

decide_claim_facts GoodClaim()
{
	decide_claim_facts facts{};
	facts.found.text = "";
	facts.named_port_be = facts.bound_port_be = htobe16(5060);
	facts.duplicate = -1;
	return facts;
}

TEST(DecideClaim, EachFactRefusesByItsOwnReason)
{
	decide_claim_facts good = GoodClaim(), no_device = good, bad = good, not_asked = good,
			   not_local = good, other_port = good, twice = good;

	no_device.no_device = "no VFIO device is given";
	bad.found.reason = UDPLANE_REASON_OPTION;
	bad.found.text = "a socket filter is attached";
	not_asked.found.not_asked = "port 5060 is not asked for";
	not_local = not_asked;
	not_local.found.reason = UDPLANE_REASON_NOT_LOCAL;
	not_local.found.text = "not an address of this host";
	other_port.named_port_be = htobe16(5061);
	twice.duplicate = 7;

	const struct {
		const char *name;
		const decide_claim_facts &facts;
		udplane_reason reason;
		const char *text;
	} table[] = {
		{"good", good, UDPLANE_REASON_NONE, ""},
		{"no device", no_device, UDPLANE_REASON_BACKEND_KERNEL, "no VFIO device is given"},
		{"bad option", bad, UDPLANE_REASON_OPTION, "a socket filter is attached"},
		{"not asked for", not_asked, UDPLANE_REASON_NOT_ASKED,
		 "port 5060 is not asked for"},
		{"not local says more than not asked for", not_local, UDPLANE_REASON_NOT_LOCAL,
		 "not an address of this host"},
		{"other port", other_port, UDPLANE_REASON_OTHER_PORT,
		 "the message names port 5061, the socket is bound to 5060"},
		{"twice", twice, UDPLANE_REASON_DUPLICATE,
		 "this process has claimed the socket already, as number 7"},
	};
	for (const auto &t : table) {
		decision d;
		EXPECT_EQ(decide_claim(&d, &t.facts), t.reason) << t.name;
		EXPECT_EQ(d.reason, t.reason) << t.name;
		EXPECT_STREQ(d.text, t.text) << t.name;
	}
}

TEST(DecideClaim, NotAskedForHidesOtherReasons)
{
	decide_found_facts found{UDPLANE_REASON_OPTION, "a socket filter is attached", "not asked"};
	decision d;

	EXPECT_EQ(decide_found(&d, &found), UDPLANE_REASON_NOT_ASKED);
	EXPECT_STREQ(d.text, "not asked");
}

TEST(DecideUpdate, Table)
{
	const udplane_reason none = UDPLANE_REASON_NONE, bad = UDPLANE_REASON_OPTION;
	const struct {
		bool kept;
		udplane_socket_state state;
		udplane_reason found;
		bool same;
		decide_update_act want;
	} table[] = {
		{false, UDPLANE_SOCKET_KERNEL, none, false, DECIDE_NO_CHANGE},
		{false, UDPLANE_SOCKET_KERNEL, bad, false, DECIDE_NO_CHANGE},
		{true, UDPLANE_SOCKET_ACTIVE, none, true, DECIDE_NO_CHANGE},
		{true, UDPLANE_SOCKET_ACTIVE, none, false, DECIDE_CLAIM_AGAIN},
		{true, UDPLANE_SOCKET_PENDING, none, true, DECIDE_CLAIM_AGAIN},
		{true, UDPLANE_SOCKET_PENDING, none, false, DECIDE_CLAIM_AGAIN},
		{true, UDPLANE_SOCKET_ACTIVE, bad, true, DECIDE_TO_KERNEL},
		{true, UDPLANE_SOCKET_PENDING, bad, false, DECIDE_TO_KERNEL},
	};
	for (const auto &t : table)
		EXPECT_EQ(decide_update(t.kept, t.state, t.found, t.same), t.want) << &t - table;
}

TEST(DecideLook, Table)
{
	const udplane_reason none = UDPLANE_REASON_NONE, bad = UDPLANE_REASON_OPTION;

	EXPECT_FALSE(decide_look(true, none, true));
	EXPECT_TRUE(decide_look(true, none, false)); // another key by connect()
	EXPECT_TRUE(decide_look(true, bad, true));
	EXPECT_FALSE(decide_look(true, UDPLANE_REASON_NOT_ASKED, true));
	EXPECT_FALSE(decide_look(true, UDPLANE_REASON_NOT_ASKED, false));
	EXPECT_FALSE(decide_look(false, bad, false)); // released while the keeper looked
}

// A socket that nothing speaks against, as long as nobody asks about others on its port.
decide_rx_facts Alone()
{
	decide_rx_facts facts{};
	facts.asked_for = true;
	facts.judged_text = "";
	return facts;
}

decide_rx_facts Shared(bool connected)
{
	decide_rx_facts facts = Alone();
	facts.reuse = true;
	facts.connected = connected;
	return facts;
}

decide_rx_facts With(decide_rx_facts facts, decide_winner winner, decide_others others,
		     const char *text = "")
{
	facts.winner = winner;
	facts.others = others;
	snprintf(facts.text, sizeof(facts.text), "%s", text);
	return facts;
}

TEST(DecideRx, AsksNoMoreThanTheDecisionDependsOn)
{
	decide_rx_facts gone = Shared(true), judged = Shared(true), rival = Shared(true);
	decision d;

	gone.asked_for = false;
	judged.judged = UDPLANE_REASON_NETFILTER;
	rival.rival = true;
	EXPECT_EQ(decide_rx(&d, &gone), DECIDE_NEEDS_NOTHING);
	EXPECT_EQ(decide_rx(&d, &judged), DECIDE_NEEDS_NOTHING);
	EXPECT_EQ(decide_rx(&d, &rival), DECIDE_NEEDS_NOTHING);

	decide_rx_facts alone = Alone(), any = Shared(false), connected = Shared(true),
			unsaid = With(connected, DECIDE_WINNER_NONE, DECIDE_OTHERS_UNKNOWN);
	EXPECT_EQ(decide_rx(&d, &alone), DECIDE_NEEDS_NOTHING);
	EXPECT_EQ(decide_rx(&d, &any), DECIDE_NEEDS_OTHERS);
	EXPECT_EQ(decide_rx(&d, &connected), DECIDE_NEEDS_WINNER);
	EXPECT_EQ(decide_rx(&d, &unsaid), DECIDE_NEEDS_OTHERS);
}

TEST(DecideRx, Table)
{
	decide_rx_facts gone = Alone(), judged = Alone(), rival = Alone(), all = Alone();

	judged.judged = UDPLANE_REASON_NETFILTER;
	judged.judged_text = "nft: a rule counts";
	rival.rival = true;
	rival.rival_pid = 42;
	all = rival;
	all.asked_for = false;
	all.judged = UDPLANE_REASON_NETFILTER;
	all.judged_text = "nft: a rule counts";
	gone.asked_for = false;
	const std::string rivals = "process 42 has another socket on the same address and port by "
				   "SO_REUSEADDR; only Linux knows which of them receives";
	const decide_rx_facts bound = Shared(false), connected = Shared(true);
	const decide_winner unknown = DECIDE_WINNER_UNKNOWN, nobody = DECIDE_WINNER_NONE;

	const struct {
		const char *name;
		decide_rx_facts facts;
		udplane_reason reason;
		std::string text;
	} table[] = {
		{"alone", Alone(), UDPLANE_REASON_NONE, ""},
		{"annotation", gone, UDPLANE_REASON_NOT_ASKED,
		 "the port was taken out of the annotation"},
		{"rules", judged, UDPLANE_REASON_NETFILTER, "nft: a rule counts"},
		{"rival", rival, UDPLANE_REASON_SHARED, rivals},
		{"the annotation comes first", all, UDPLANE_REASON_NOT_ASKED,
		 "the port was taken out of the annotation"},
		{"nobody else", With(bound, unknown, DECIDE_OTHERS_NONE), UDPLANE_REASON_NONE, ""},
		{"overlap", With(bound, unknown, DECIDE_OTHERS_OVERLAP, "pid 7 is there"),
		 UDPLANE_REASON_SHARED, "pid 7 is there"},
		{"listing", With(bound, unknown, DECIDE_OTHERS_PENDING), UDPLANE_REASON_SHARED,
		 "the sockets on this port are being listed"},
		{"too many", With(bound, unknown, DECIDE_OTHERS_TOO_MANY), UDPLANE_REASON_SHARED,
		 "there are more than 1024 sockets on this port that do not use udplane"},
		{"failed", With(bound, unknown, DECIDE_OTHERS_FAILED, "Bad message"),
		 UDPLANE_REASON_DEVICE, "cannot list the sockets on this port: Bad message"},
		{"no memory", With(bound, unknown, DECIDE_OTHERS_NO_MEMORY, "Out of memory"),
		 UDPLANE_REASON_NO_MEMORY, "cannot list the sockets on this port: Out of memory"},
		{"wins", With(connected, DECIDE_WINNER_CLAIMED, DECIDE_OTHERS_UNKNOWN),
		 UDPLANE_REASON_NONE, ""},
		{"loses", With(connected, DECIDE_WINNER_OTHER, DECIDE_OTHERS_UNKNOWN, "pid 8 wins"),
		 UDPLANE_REASON_SHARED, "pid 8 wins"},
		{"undecided, alone", With(connected, nobody, DECIDE_OTHERS_NONE),
		 UDPLANE_REASON_NONE, ""},
		{"undecided, overlap",
		 With(connected, nobody, DECIDE_OTHERS_OVERLAP, "pid 9 is there"),
		 UDPLANE_REASON_SHARED, "pid 9 is there"},
	};
	for (const auto &t : table) {
		decision d;
		EXPECT_EQ(decide_rx(&d, &t.facts), DECIDE_NEEDS_NOTHING) << t.name;
		EXPECT_EQ(d.reason, t.reason) << t.name;
		EXPECT_EQ(d.text, t.text) << t.name;
	}
}

TEST(DecideDivert, Table)
{
	const udplane_reason none = UDPLANE_REASON_NONE, shared = UDPLANE_REASON_SHARED;
	const struct {
		udplane_socket_state state;
		udplane_reason reason;
		decide_divert_act want;
	} table[] = {
		{UDPLANE_SOCKET_PENDING, none, DECIDE_START},
		{UDPLANE_SOCKET_PENDING, shared, DECIDE_LEAVE},
		{UDPLANE_SOCKET_ACTIVE, none, DECIDE_LEAVE},
		{UDPLANE_SOCKET_ACTIVE, shared, DECIDE_STOP},
		{UDPLANE_SOCKET_KERNEL, none, DECIDE_LEAVE},
		{UDPLANE_SOCKET_KERNEL, shared, DECIDE_LEAVE},
	};
	for (const auto &t : table)
		EXPECT_EQ(decide_divert(t.state, t.reason), t.want) << &t - table;
}

TEST(DecideDivert, AFullDeviceNamesWhatIsTooMuch)
{
	decision d;

	EXPECT_EQ(decide_device_refused(&d, -ENOSPC), UDPLANE_REASON_DEVICE);
	EXPECT_STREQ(d.text, "the device refuses the claim: No space left on device; too many "
			     "addresses or peers");
	EXPECT_EQ(decide_device_refused(&d, -EIO), UDPLANE_REASON_DEVICE);
	EXPECT_STREQ(d.text, "the device refuses the claim: Input/output error");
}

TEST(DecideTx, Table)
{
	const struct {
		udplane_reason judged;
		const char *judged_text;
		bool source_gone;
		udplane_reason reason;
		const char *text;
	} table[] = {
		{UDPLANE_REASON_NONE, "", false, UDPLANE_REASON_NONE, ""},
		{UDPLANE_REASON_NONE, "left from before", false, UDPLANE_REASON_NONE, ""},
		{UDPLANE_REASON_IPSEC, "a policy", false, UDPLANE_REASON_IPSEC, "a policy"},
		{UDPLANE_REASON_IPSEC, "a policy", true, UDPLANE_REASON_IPSEC, "a policy"},
		{UDPLANE_REASON_NONE, "", true, UDPLANE_REASON_NOT_LOCAL,
		 "the address that it is bound to is gone from this host"},
	};
	for (const auto &t : table) {
		decision d;
		EXPECT_EQ(decide_tx(&d, t.judged, t.judged_text, t.source_gone), t.reason);
		EXPECT_EQ(d.reason, t.reason);
		EXPECT_STREQ(d.text, t.text);
	}
}

TEST(DecideTx, TheWorkersAreToldOfANewPathOnly)
{
	const udplane_reason none = UDPLANE_REASON_NONE, ipsec = UDPLANE_REASON_IPSEC;
	const struct {
		udplane_reason was;
		const char *was_text;
		udplane_reason now;
		const char *text;
		decide_news_kind want;
	} table[] = {
		{none, "", none, "", DECIDE_OLD},
		{ipsec, "a policy", ipsec, "a policy", DECIDE_OLD},
		{ipsec, "a policy", ipsec, "another policy", DECIDE_NEW_TEXT},
		{ipsec, "a policy", UDPLANE_REASON_CGROUP_PROGRAM, "a policy", DECIDE_NEW_TEXT},
		{none, "", ipsec, "a policy", DECIDE_NEW_PATH},
		{ipsec, "a policy", none, "", DECIDE_NEW_PATH},
	};
	for (const auto &t : table) {
		decision d;
		decide(&d, t.now, "%s", t.text);
		EXPECT_EQ(decide_news(t.was, t.was_text, &d), t.want) << &t - table;
	}
}

} // namespace

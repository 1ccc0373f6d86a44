// SPDX-License-Identifier: Apache-2.0
#include "client/ctl/names.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "udplane/abi.h"

namespace
{

TEST(Names, EveryNumberHasOne)
{
	EXPECT_EQ(static_cast<uint32_t>(UDPLANE_DEVICE_COUNTER_CNT), device_counters.cnt);
	EXPECT_EQ(static_cast<uint32_t>(UDPLANE_WORKER_COUNTER_CNT), worker_counters.cnt);
	EXPECT_EQ(static_cast<uint32_t>(UDPLANE_SOCKET_COUNTER_CNT), socket_counters.cnt);
	EXPECT_EQ(static_cast<uint32_t>(UDPLANE_CONTROL_COUNTER_CNT), control_counters.cnt);
	EXPECT_STREQ("af_xdp", backend_name(UDPLANE_BACKEND_AF_XDP));
	EXPECT_STREQ("vfio", backend_name(UDPLANE_BACKEND_VFIO));
	EXPECT_STREQ("powersave", mode_name(UDPLANE_MODE_POWERSAVE));
	EXPECT_STREQ("gone", state_name(UDPLANE_STATE_GONE));
	EXPECT_STREQ("kernel", socket_state_name(UDPLANE_SOCKET_KERNEL));
	for (uint32_t wrong : {100u, UINT32_MAX}) {
		EXPECT_STREQ("unknown", backend_name(wrong));
		EXPECT_STREQ("unknown", mode_name(wrong));
		EXPECT_STREQ("unknown", state_name(wrong));
		EXPECT_STREQ("unknown", socket_state_name(wrong));
		EXPECT_STREQ("unknown", reason_name(wrong));
		EXPECT_NE(nullptr, reason_help(wrong));
	}
}

/* They are keys of the JSON objects. */
TEST(Names, AreUniqueAndSnakeCase)
{
	for (const counter_names *names :
	     {&device_counters, &worker_counters, &socket_counters, &control_counters}) {
		std::set<std::string> seen;
		for (uint32_t i = 0; i < names->cnt; i++) {
			std::string name = names->entry[i].name;
			EXPECT_TRUE(seen.insert(name).second) << name;
			EXPECT_EQ(std::string::npos,
				  name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"));
		}
	}
}

TEST(Names, TheManualHasEveryReason)
{
	std::ifstream file("docs/man/udplane_status.3");
	std::stringstream page;

	ASSERT_TRUE(file);
	page << file.rdbuf();
	for (uint32_t i = 0; i < UDPLANE_REASON_CNT; i++)
		EXPECT_NE(std::string::npos,
			  page.str().find(std::string("\n.It Li ") + reason_name(i) + "\n"))
			<< reason_name(i);
}

} // namespace

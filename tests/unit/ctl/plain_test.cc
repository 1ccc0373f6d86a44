// SPDX-License-Identifier: Apache-2.0
#include "client/ctl/plain.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/ctl/format.h"
#include "tests/unit/ctl/image.h"

namespace
{

struct plain_list parse(const char *text, bool ipv6, uint16_t port)
{
	struct plain_list list = {};
	FILE *f = fmemopen(const_cast<char *>(text), strlen(text), "r");
	plain_parse(&list, f, ipv6, port);
	fclose(f);
	return list;
}

const char head[] = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   "
		    "uid  timeout inode ref pointer drops\n";

/* As the kernel of a little-endian machine writes it. */
TEST(Plain, ParsesIpv4)
{
	std::string text = std::string(head) +
			   "  412: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 "
			   "00000000   999        0 4026531 2 0000000000000000 0\n"
			   "  413: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 "
			   "00000000     0        0 77 2 0000000000000000 0\n"
			   "  nonsense\n\n  5: 0100007F:13C4 short\n";
	char out[FORMAT_ADDR_SIZE];
	struct plain_list list = parse(text.c_str(), false, 5060);
	ASSERT_EQ(1u, list.cnt);
	EXPECT_STREQ("127.0.0.1:5060", format_addr(out, &list.socket[0].local));
	EXPECT_EQ(999u, list.socket[0].uid);
	EXPECT_EQ(4026531u, list.socket[0].inode);
	plain_free(&list);
	list = parse(text.c_str(), false, 0);
	EXPECT_EQ(2u, list.cnt);
	plain_free(&list);
}

TEST(Plain, ParsesIpv6)
{
	std::string text =
		std::string(head) +
		"  1: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 "
		"07 "
		"00000000:00000000 00:00000000 00000000     5        0 8 2 0000000000000000 0\n";
	char out[FORMAT_ADDR_SIZE];
	struct plain_list list = parse(text.c_str(), true, 53);
	ASSERT_EQ(1u, list.cnt);
	EXPECT_STREQ("[2001:db8::1]:53", format_addr(out, &list.socket[0].local));
	plain_free(&list);
}

TEST(Plain, FindsOurOwnSocket)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {};
	socklen_t len = sizeof(a);
	struct plain_list list = {};

	a.sin_family = AF_INET;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ASSERT_EQ(0, bind(fd, reinterpret_cast<sockaddr *>(&a), sizeof(a)));
	ASSERT_EQ(0, getsockname(fd, reinterpret_cast<sockaddr *>(&a), &len));
	plain_read(&list, ntohs(a.sin_port));
	plain_find_owners(&list);
	ASSERT_EQ(1u, list.cnt);
	EXPECT_EQ(getpid(), list.socket[0].pid);
	EXPECT_FALSE(list.socket[0].preloaded);
	EXPECT_STREQ("", list.socket[0].obstacle);
	plain_free(&list);
	close(fd);
}

} // namespace

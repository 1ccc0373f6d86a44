// SPDX-License-Identifier: Apache-2.0
#include "sidecar/base/log.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <regex>
#include <string>
#include <thread>
#include <udplane/clock.h>
#include <vector>

namespace
{

class Log : public testing::Test
{
      protected:
	void SetUp() override
	{
		unsetenv("JOURNAL_STREAM");
		log_init(LOG_LEVEL_INFO);
		testing::internal::CaptureStderr();
	}
	std::string output()
	{
		return testing::internal::GetCapturedStderr();
	}
};

TEST_F(Log, OneLineWithTimeLevelAndMessage)
{
	log_warn("queue %d: %s", 3, "gone");
	EXPECT_TRUE(
		std::regex_match(output(), std::regex("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\."
						      "\\d{3}Z warn  queue 3: gone\n")));
}

TEST_F(Log, LessUrgentLevelsAreNotEvenEvaluated)
{
	int calls = 0;
	log_debug("%d", ++calls);
	log_init(LOG_LEVEL_ERROR);
	log_info("%d", ++calls);
	log_warn("%d", ++calls);
	EXPECT_EQ("", output());
	EXPECT_EQ(0, calls);
}

TEST_F(Log, JournaldGetsPrioritiesInstead)
{
	setenv("JOURNAL_STREAM", "8:1", 1);
	log_init(LOG_LEVEL_DEBUG);
	log_error("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	unsetenv("JOURNAL_STREAM");
	EXPECT_EQ("<3>a\n<4>b\n<6>c\n<7>d\n", output());
}

TEST_F(Log, JsonIsOneObjectALine)
{
	setenv("JOURNAL_STREAM", "8:1", 1);
	log_init(LOG_LEVEL_INFO);
	unsetenv("JOURNAL_STREAM");
	log_as_json(true);
	log_warn("a \"b\" \\ c\nd");
	log_warn("%s", std::string(3 * LOG_LINE_MAX, '"').c_str());
	log_as_json(false);
	std::string text = output();
	size_t first = text.find('\n');
	EXPECT_TRUE(std::regex_match(
		text.substr(0, first),
		std::regex("\\{\"time\":\"\\d{4}-\\d\\d-\\d\\dT[0-9:.]{12}Z\",\"level\":\"warn\","
			   "\"text\":\"a \\\\\"b\\\\\" \\\\\\\\ c\\?d\"\\}")))
		<< text;
	// A line that is cut is an object, too: no escape is torn, and it ends as it should.
	std::string second = text.substr(first + 1);
	ASSERT_LE(second.size(), (size_t)LOG_LINE_MAX);
	EXPECT_EQ(second.substr(second.size() - 5), "\\\"\"}\n");
	EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST_F(Log, AMessageCannotForgeALine)
{
	log_info("%s", "a\nb\x1b[31mc\x7f\x9b"
		       "1m\xc2\x9b"
		       "2m");
	std::string text = output();
	EXPECT_NE(std::string::npos, text.find("info  a?b?[31mc??1m??2m\n"));
	EXPECT_EQ(1, std::count(text.begin(), text.end(), '\n'));
}

TEST(LogQuota, SoManyLinesAMinute)
{
	struct log_quota q = {};
	uint64_t now = 5000000000;

	for (int i = 0; i < 3; i++)
		EXPECT_TRUE(log_quota_take(&q, 3, now + i));
	EXPECT_FALSE(log_quota_take(&q, 3, now + 4));
	EXPECT_FALSE(log_quota_take(&q, 3, now + LOG_QUOTA_NS - 1));
	EXPECT_TRUE(log_quota_take(&q, 3, now + LOG_QUOTA_NS));
}

TEST_F(Log, ALongMessageIsCut)
{
	log_info("%s", std::string(5000, 'x').c_str());
	std::string text = output();
	EXPECT_EQ(static_cast<size_t>(LOG_LINE_MAX), text.size());
	EXPECT_EQ('\n', text.back());
}

TEST_F(Log, ErrnoStaysAndCanBePrinted)
{
	errno = ENOENT;
	log_info("open: %m");
	EXPECT_EQ(ENOENT, errno);
	EXPECT_NE(std::string::npos, output().find("open: No such file or directory\n"));
}

TEST_F(Log, LinesOfThreadsDoNotMix)
{
	std::vector<std::thread> threads;
	for (int t = 0; t < 4; t++)
		threads.emplace_back([t] {
			for (int i = 0; i < 200; i++)
				log_info("%s",
					 std::string(100, static_cast<char>('a' + t)).c_str());
		});
	for (std::thread &thread : threads)
		thread.join();
	std::string text = output();
	std::regex line("[^ ]+ info  (a{100}|b{100}|c{100}|d{100})");
	size_t lines = 0;
	for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos;
	     at = end + 1, lines++)
		ASSERT_TRUE(std::regex_match(text.substr(at, end - at), line))
			<< text.substr(at, end - at);
	EXPECT_EQ(800u, lines);
}

TEST(Clock, DoesNotGoBack)
{
	uint64_t before = clock_now_ns();
	EXPECT_GT(before, 0u);
	EXPECT_GE(clock_now_ns(), before);
}

} // namespace

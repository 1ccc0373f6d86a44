// SPDX-License-Identifier: Apache-2.0
#include "client/ctl/metrics.h"

#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "client/ctl/names.h"
#include "tests/unit/ctl/image.h"

namespace
{

std::string metrics(Image &image)
{
	Shot shot(image);
	return text_of([&](FILE *f) { metrics_print(f, &shot.s); });
}

/* Every line is a HELP, its TYPE, or a sample of that family; a family comes once, a series comes
 * once. */
TEST(Metrics, AreWellFormed)
{
	Image image;
	image.claim("2001:db8::1", 5060, UDPLANE_SOCKET_ACTIVE);
	strcpy(image.claim("0.0.0.0", 5060, UDPLANE_SOCKET_KERNEL)->comm, "a\"b\\c");
	std::istringstream text(metrics(image));
	std::regex sample(
		R"re(([a-z_]+)(\{[a-z]+="([^"\\]|\\["\\])*"(,[a-z]+="([^"\\]|\\["\\])*")*\})? [0-9]+)re");
	std::set<std::string> families, series;
	std::string line, name, type;
	std::smatch match;

	while (std::getline(text, line)) {
		std::istringstream words(line);
		std::string hash, what, word;

		if (line[0] != '#') {
			ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
			EXPECT_EQ(name, match[1]) << line;
			EXPECT_EQ(type == "counter", std::regex_search(name, std::regex("_total$")))
				<< line;
			EXPECT_TRUE(series.insert(line.substr(0, line.rfind(' '))).second) << line;
			continue;
		}
		words >> hash >> what >> name;
		EXPECT_EQ("HELP", what);
		EXPECT_TRUE(families.insert(name).second) << name;
		EXPECT_EQ(0u, name.find("udplane_"));
		ASSERT_TRUE(std::getline(text, line));
		std::istringstream(line) >> hash >> what >> word >> type;
		EXPECT_EQ("TYPE", what);
		EXPECT_EQ(name, word);
		EXPECT_TRUE(type == "counter" || type == "gauge") << line;
	}
	EXPECT_GT(families.size(), device_counters.cnt + worker_counters.cnt +
					   control_counters.cnt + socket_counters.cnt);
}

TEST(Metrics, HaveLabelsAndValues)
{
	Image image;
	image.claim("10.0.0.1", 5060, UDPLANE_SOCKET_ACTIVE);
	image.counters(0, 0)[UDPLANE_SOCKET_RX_DELIVERED] = 3;
	image.counters(0, 1)[UDPLANE_SOCKET_RX_DELIVERED] = 4;
	image.worker(1)->counter[UDPLANE_WORKER_RX_FRAMES] = 18446744073709551615ull;
	image.zone()->refused[UDPLANE_REASON_TOO_MANY] = 5;
	std::string text = metrics(image);

	for (const char *line : {
		     "udplane_up 1",
		     "udplane_info{version=\"0.1.0\",backend=\"af_xdp\",mode=\"balanced\","
		     "interface=\"eth0\"} 1",
		     "udplane_socket_rx_delivered_total{id=\"0\",address=\"10.0.0.1\",port="
		     "\"5060\",comm=\"server\"} 7",
		     "udplane_worker_rx_frames_total{worker=\"1\"} 18446744073709551615",
		     "udplane_refused_total{reason=\"too_many_sockets\"} 5",
		     "# TYPE udplane_device_frames_free gauge",
		     "# TYPE udplane_device_frames gauge",
		     "udplane_control_clients 0",
		     "udplane_memory_bytes{pages=\"huge\"} 33554432",
	     })
		EXPECT_NE(std::string::npos, text.find(std::string(line) + "\n")) << line << "\n"
										  << text;
}

TEST(Metrics, SayThatNobodyAnswers)
{
	std::string text = text_of([](FILE *f) { metrics_print_down(f); });

	EXPECT_NE(std::string::npos, text.find("\nudplane_up 0\n"));
}

} // namespace

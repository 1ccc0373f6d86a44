// SPDX-License-Identifier: Apache-2.0
/* What must hold for every line of the table. */
#include "sidecar/config/key.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "include/preflight/memory_need.h"
#include "tests/unit/config/load.h"

namespace
{

TEST(Key, EveryLineIsWellFormed)
{
	std::set<std::string> names;
	const struct key *key;
	for (size_t i = 0; (key = key_at(i)); i++) {
		std::string name = key->name;
		EXPECT_EQ(std::string::npos, name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"));
		EXPECT_LE(name.size(), static_cast<size_t>(KEY_NAME_MAX));
		EXPECT_TRUE(names.insert(name).second) << name;
		EXPECT_EQ(i, key_index(key));
		EXPECT_EQ(key, key_find(key->name));
		EXPECT_LE(key->offset + key->size, sizeof(struct config));
		EXPECT_GT(strlen(key->help), 4u);
	}
	EXPECT_EQ(nullptr, key_find("nothing"));
}

/* Kubernetes sets UDPLANE_PORT, UDPLANE_SERVICE_HOST, ... for a Service called udplane; the others
 * are the library's. */
TEST(Key, NoVariableCollidesWithServiceLinksOrTheClientLibrary)
{
	const struct key *key;
	char variable[KEY_NAME_SIZE];
	for (size_t i = 0; (key = key_at(i)); i++) {
		std::string name = key_environment(key, variable);
		for (const char *taken :
		     {"UDPLANE_PORT", "UDPLANE_SERVICE_HOST", "UDPLANE_SERVICE_PORT",
		      "UDPLANE_SPIN_US", "UDPLANE_LOG", "UDPLANE_DISABLE", "UDPLANE_CONFIG"})
			EXPECT_NE(taken, name);
	}
}

TEST(Key, DefaultsAreDocumented)
{
	auto config = std::make_unique<struct config>();
	config_set_defaults(config.get());
	EXPECT_STREQ("", config->interface);
	EXPECT_EQ(0u, config->ports.count);
	EXPECT_EQ(CONFIG_BACKEND_AUTO, config->backend);
	EXPECT_STREQ("/run/udplane/udplane.sock", config->socket);
	EXPECT_EQ(0660u, config->socket_mode);
	EXPECT_STREQ("", config->socket_group);
	EXPECT_EQ(1u, config->workers);
	EXPECT_EQ(0u, config->cpus.count);
	EXPECT_EQ(UDPLANE_MODE_BALANCED, config->mode);
	EXPECT_EQ(-1, config->spin_us);
	EXPECT_EQ(CONFIG_YIELD_AUTO, config->yield);
	EXPECT_EQ(CONFIG_ON, config->tx_gso);
	EXPECT_EQ(MEMORY_NEED_FRAMES, config->frames);
	EXPECT_EQ(0u, config->frame_size);
	EXPECT_EQ(CONFIG_HUGEPAGES_AUTO, config->hugepages);
	EXPECT_EQ(2048u, config->rx_ring_size);
	EXPECT_EQ(12288u, config->max_sockets);
	EXPECT_EQ(0u, config->memory_max);
	EXPECT_EQ(256u, config->max_clients);
	EXPECT_EQ(CONFIG_XDP_AUTO, config->xdp_mode);
	EXPECT_EQ(0u, config->trust_rules);
	EXPECT_EQ(LOG_LEVEL_INFO, config->log_level);
	EXPECT_EQ(CONFIG_LOG_TEXT, config->log_format);
	EXPECT_STREQ("", config->annotations);
}

TEST(Key, FlagAndVariableAreDerivedFromTheName)
{
	char text[KEY_NAME_SIZE];
	EXPECT_STREQ("--rx-ring-size", key_flag(key_find("rx_ring_size"), text));
	EXPECT_STREQ("UDPLANE_RX_RING_SIZE", key_environment(key_find("rx_ring_size"), text));
}

TEST(Key, ThoseThatAPodMaySetAreFew)
{
	char names[300];
	key_list(true, names, sizeof(names));
	EXPECT_STREQ("interface, ports, backend, resource, mode, workers, cpus, frames, hugepages, "
		     "log-level",
		     names);
}

TEST(Key, NearestIgnoresCaseAndDashes)
{
	unsigned int distance;
	EXPECT_STREQ("ports", key_nearest("port", false, &distance));
	EXPECT_EQ(1u, distance);
	EXPECT_STREQ("max_sockets", key_nearest("Max-Sockets", false, &distance));
	EXPECT_EQ(0u, distance);
	EXPECT_STREQ("hugepages", key_nearest("huge-page", true, nullptr));
	EXPECT_NE(nullptr, key_nearest("", true, nullptr));
	EXPECT_NE(nullptr, key_nearest(std::string(10000, 'x').c_str(), false, nullptr));
}

TEST(Key, HelpTellsOfEveryKey)
{
	char *text = nullptr;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	config_print_help(out);
	fclose(out);
	std::string help(text, size);
	free(text);
	const struct key *key;
	char flag[KEY_NAME_SIZE], allowed[VALUE_ALLOWED_SIZE];
	for (size_t i = 0; (key = key_at(i)); i++) {
		key->type->explain(key->rule, allowed);
		EXPECT_NE(std::string::npos, help.find(key_flag(key, flag)));
		EXPECT_NE(std::string::npos, help.find(key->help));
		EXPECT_NE(std::string::npos, help.find(allowed));
		EXPECT_LT(strlen(allowed), static_cast<size_t>(VALUE_ALLOWED_SIZE - 1));
	}
	EXPECT_NE(std::string::npos, help.find("default: 16384"));
}

/* Any key's value, formatted, gives itself from every source. */
TEST(Key, FormattedDefaultsParse)
{
	auto config = std::make_unique<struct config>(), again = std::make_unique<struct config>();
	struct origin origin = {};
	config_set_defaults(config.get());
	ASSERT_EQ(0, port_set_parse("53,99-102", &config->ports, nullptr));
	memset(again.get(), 0, sizeof(*again));
	const struct key *key;
	for (size_t i = 0; (key = key_at(i)); i++) {
		char text[300];
		struct error err;
		ASSERT_LT(config_format(config.get(), key->name, text, sizeof(text)), 300);
		ASSERT_EQ(0, key_apply(key, again.get(), &origin, text, &err)) << err.text;
		EXPECT_TRUE(key_equal(key, config.get(), again.get())) << key->name;
	}
	EXPECT_EQ(-ENOENT, config_format(config.get(), "nothing", nullptr, 0));
}

} // namespace

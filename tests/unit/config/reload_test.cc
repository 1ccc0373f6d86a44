// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/config/load.h"

namespace
{

class Reload : public testing::Test
{
      protected:
	void start(const std::string &text, std::vector<std::string> flags = {},
		   std::vector<std::string> environment = {})
	{
		file.write(text);
		flags.push_back("--annotations=" + file.path);
		loaded = load(flags, environment);
		ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	}
	int reload(const std::string &text)
	{
		file.write(text);
		return config_reload_annotations(loaded.config.get(), &ports, &warnings, &err);
	}
	std::string now() const
	{
		std::vector<char> text(PORT_SET_TEXT_SIZE);
		port_set_format(&ports, text.data(), text.size());
		return text.data();
	}
	std::string warning() const
	{
		return warnings.count ? warnings.entry[0].text : "";
	}

	TempFile file{""};
	Loaded loaded;
	struct port_set ports;
	struct config_warnings warnings;
	struct error err = {};
};

TEST_F(Reload, NothingChanged)
{
	start("udplane.io/ports=\"1\"\nudplane.io/mode=\"latency\"\n");
	EXPECT_EQ(0, reload("a=\"b\"\nudplane.io/mode=\"latency\"\nudplane.io/ports=\"1-1\"\n"));
	EXPECT_EQ("1", now());
	EXPECT_EQ(0u, warnings.count);
}

TEST_F(Reload, PortsChangeLive)
{
	start("udplane.io/ports=\"1,2\"\n");
	EXPECT_EQ(1, reload("udplane.io/ports=\"2,3\"\n"));
	EXPECT_EQ("2-3", now());
	EXPECT_EQ("1-2", loaded.format("ports")); /* the caller's to change */
	loaded.config->ports = ports;
	EXPECT_EQ(0, reload("udplane.io/ports=\"2,3\"\n"));
	EXPECT_EQ(1, reload("udplane.io/ports=\"1,2\"\n"));
	EXPECT_EQ(0u, warnings.count);
}

TEST_F(Reload, ARemovedAnnotationUncoversTheNextSource)
{
	start("udplane.io/ports=\"1\"\n", {}, {"UDPLANE_PORTS=7"});
	EXPECT_EQ(1, reload(""));
	EXPECT_EQ("7", now());
}

TEST_F(Reload, WithNoOtherSourceNoPortsRemain)
{
	start("udplane.io/ports=\"1\"\n");
	EXPECT_EQ(1, reload(""));
	EXPECT_EQ("", now());
	EXPECT_EQ(0u, ports.count);
}

TEST_F(Reload, AnAnnotationThatAppearsCovers)
{
	start("", {}, {"UDPLANE_PORTS=7"});
	EXPECT_EQ(1, reload("udplane.io/ports=\"8\"\n"));
	EXPECT_EQ("8", now());
}

TEST_F(Reload, TheFlagStillWins)
{
	start("udplane.io/ports=\"1\"\nudplane.io/mode=\"latency\"\n",
	      {"--ports=5", "--mode=balanced"});
	EXPECT_EQ(0, reload("udplane.io/ports=\"2\"\nudplane.io/mode=\"powersave\"\n"));
	EXPECT_EQ("5", now());
	ASSERT_EQ(1u, warnings.count);
	EXPECT_NE(std::string::npos, warning().find("udplane.io/ports in " + file.path +
						    ": without effect, flag --ports wins"));
}

TEST_F(Reload, OtherChangesAreWarnings)
{
	start("udplane.io/ports=\"1\"\nudplane.io/mode=\"latency\"\nudplane.io/backend=\"auto\"\n");
	EXPECT_EQ(1, reload("udplane.io/ports=\"2\"\nudplane.io/mode=\"powersave\"\nudplane.io/"
			    "cpus=\"1\"\n"));
	EXPECT_EQ("2", now());
	ASSERT_EQ(3u, warnings.count);
	EXPECT_NE(std::string::npos, std::string(warnings.entry[0].text)
					     .find("udplane.io/backend in " + file.path +
						   " removed: takes effect at the next start"));
	EXPECT_NE(std::string::npos, std::string(warnings.entry[1].text)
					     .find("udplane.io/mode in " + file.path + " changed"));
	EXPECT_NE(std::string::npos, std::string(warnings.entry[2].text)
					     .find("udplane.io/cpus in " + file.path + " changed"));
	EXPECT_EQ(UDPLANE_MODE_LATENCY, loaded.config->mode);
}

TEST_F(Reload, AnAnnotationWithTheValueInForceIsNoChange)
{
	start("udplane.io/ports=\"1\"\n");
	EXPECT_EQ(0, reload("udplane.io/ports=\"1\"\nudplane.io/mode=\"balanced\"\n"));
	EXPECT_EQ(0u, warnings.count);
}

TEST_F(Reload, ABadValueKeepsWhatThereIs)
{
	start("udplane.io/ports=\"1\"\n");
	EXPECT_EQ(-EINVAL, reload("udplane.io/ports=\"\"\n"));
	EXPECT_EQ("1", now());
	EXPECT_EQ("annotation udplane.io/ports in " + file.path +
			  ": \"\": empty; allowed: ports 1-65535 and ranges LOW-HIGH, "
			  "comma-separated",
		  err.text);
	EXPECT_EQ(-EINVAL, reload("udplane.io/ports=\"2\"\nudplane.io/mode=\"x\"\n"));
	EXPECT_EQ("1", now());
}

TEST_F(Reload, AFileThatIsGoneIsAnError)
{
	start("udplane.io/ports=\"1\"\n");
	unlink(file.path.c_str());
	EXPECT_EQ(-ENOENT, config_reload_annotations(loaded.config.get(), &ports, &warnings, &err));
	EXPECT_EQ("1", now());
}

TEST_F(Reload, WithoutAFileNothingChanges)
{
	loaded = load({"--ports=4"});
	EXPECT_EQ(0, config_reload_annotations(loaded.config.get(), &ports, &warnings, &err));
	EXPECT_EQ("4", now());
}

} // namespace

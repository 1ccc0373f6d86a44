// SPDX-License-Identifier: Apache-2.0
/* Sources together: precedence, files, environment. */
#include <gtest/gtest.h>

#include "sidecar/config/key.h"
#include "tests/unit/config/load.h"

namespace
{

TEST(Load, TheExampleFileSetsWhatTheDefaultsAre)
{
	Loaded loaded = load({"--config", "sidecar/config/udplaned.example.json"});
	ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	EXPECT_STREQ("eth0", loaded.config->interface);
	EXPECT_EQ("5060,10000-10099", loaded.format("ports"));
	EXPECT_EQ(0u, loaded.config->warnings.count);
	auto defaults = std::make_unique<struct config>();
	config_set_defaults(defaults.get());
	const struct key *key;
	for (size_t i = 0; (key = key_at(i)); i++)
		if (key->initial && key != key_find("interface")) {
			EXPECT_TRUE(key_equal(key, defaults.get(), loaded.config.get()))
				<< key->name;
		}
}

/* Each source sets one key more than the next higher one. */
TEST(Load, LaterSourcesWin)
{
	TempFile json(
		"{\"ports\":\"1\",\"mode\":\"latency\",\"backend\":\"vfio\",\"interface\":\"json\","
		"\"hugepages\":\"off\"}");
	TempFile annotations("udplane.io/ports=\"3\"\nudplane.io/backend=\"af_xdp\"\n"
			     "udplane.io/interface=\"ann\"\n");
	Loaded loaded = load({"--interface=flag", "--backend", "kernel", "--config", json.path,
			      "--annotations", annotations.path},
			     {"UDPLANE_PORTS=2", "UDPLANE_BACKEND=auto", "UDPLANE_INTERFACE=env",
			      "UDPLANE_HUGEPAGES=required"});
	ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	const struct config *config = loaded.config.get();
	EXPECT_STREQ("flag", config->interface);
	EXPECT_EQ(CONFIG_BACKEND_KERNEL, config->backend);
	EXPECT_EQ("3", loaded.format("ports"));
	EXPECT_EQ(CONFIG_HUGEPAGES_REQUIRED, config->hugepages);
	EXPECT_EQ(UDPLANE_MODE_LATENCY, config->mode);
	EXPECT_EQ(CONFIG_SOURCE_FLAG, config_source_of(config, "interface"));
	EXPECT_EQ(CONFIG_SOURCE_ANNOTATION, config_source_of(config, "ports"));
	EXPECT_EQ(CONFIG_SOURCE_ENVIRONMENT, config_source_of(config, "hugepages"));
	EXPECT_EQ(CONFIG_SOURCE_FILE, config_source_of(config, "mode"));
	EXPECT_EQ(CONFIG_SOURCE_DEFAULT, config_source_of(config, "frames"));
}

TEST(Load, EveryKeyHasAVariable)
{
	const struct key *key;
	char variable[KEY_NAME_SIZE];
	for (size_t i = 0; (key = key_at(i)); i++) {
		const char *value = key->initial && *key->initial    ? key->initial
				    : key == key_find("library_dir") ? "/7"
								     : "7";
		if (key == key_find("annotations"))
			continue; /* would be read */
		Loaded loaded =
			load({}, {"UDPLANE_PORTS=7",
				  std::string(key_environment(key, variable)) + "=" + value});
		ASSERT_EQ(0, loaded.ret) << loaded.err.text;
		EXPECT_EQ(CONFIG_SOURCE_ENVIRONMENT,
			  config_source_of(loaded.config.get(), key->name));
		EXPECT_EQ(value, loaded.format(key->name));
	}
}

TEST(Load, AnEmptyVariableIsUnset)
{
	Loaded loaded = load({"--ports=1"}, {"UDPLANE_BACKEND=", "UDPLANE_CONFIG="});
	ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	EXPECT_EQ(CONFIG_SOURCE_DEFAULT, config_source_of(loaded.config.get(), "backend"));
}

TEST(Load, TheConfigAndAnnotationsPathsMayBeVariables)
{
	TempFile annotations("udplane.io/ports=\"9\"\n");
	TempFile json("{\"annotations\":\"" + annotations.path + "\"}");
	EXPECT_EQ("9", load({}, {"UDPLANE_CONFIG=" + json.path}).format("ports"));
	EXPECT_EQ("9", load({}, {"UDPLANE_ANNOTATIONS=" + annotations.path}).format("ports"));
	/* The flag's file replaces the variable's. */
	TempFile other("udplane.io/ports=\"8\"\n");
	EXPECT_EQ("8",
		  load({"--annotations", other.path}, {"UDPLANE_ANNOTATIONS=" + annotations.path})
			  .format("ports"));
}

TEST(Load, ABadValueIsAnErrorEvenWhereItWouldBeOverridden)
{
	Loaded loaded = load({"--ports=1"}, {"UDPLANE_PORTS=70000"});
	EXPECT_EQ(-EINVAL, loaded.ret);
	EXPECT_STREQ(
		"environment UDPLANE_PORTS: \"70000\": out of range; allowed: ports 1-65535 and "
		"ranges LOW-HIGH, comma-separated",
		loaded.err.text);
}

TEST(Load, ABadAnnotationNamesKeyFileAndValue)
{
	TempFile annotations("udplane.io/ports=\"5060, 99-1\"\n");
	Loaded loaded = load({"--annotations", annotations.path});
	EXPECT_EQ(-EINVAL, loaded.ret);
	EXPECT_EQ("annotation udplane.io/ports in " + annotations.path +
			  ": \"5060, 99-1\": item 2 \"99-1\": range runs backwards; allowed: ports "
			  "1-65535 "
			  "and ranges LOW-HIGH, comma-separated",
		  loaded.err.text);
}

TEST(Load, UnknownAnnotationsAreWarnings)
{
	TempFile annotations("udplane.io/prots=\"1\"\nudplane.io/preload=\"*\"\n"
			     "udplane.io/device=\"0000:00:00.0\"\n");
	Loaded loaded = load({"--ports=1", "--annotations", annotations.path});
	ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	ASSERT_EQ(2u, loaded.config->warnings.count);
	EXPECT_NE(std::string::npos,
		  loaded.warning(0).find(
			  "key \"prots\": unknown and ignored, the nearest is \"ports\""));
	/* A pod must not choose the sidecar's device, socket or limits. */
	EXPECT_NE(std::string::npos, loaded.warning(1).find("key \"device\": unknown"));
	EXPECT_STREQ("", loaded.config->device);
}

TEST(Load, WarningsAreBounded)
{
	std::string text;
	for (int i = 0; i < 100; i++)
		text += "udplane.io/x=\"1\"\n";
	TempFile annotations(text);
	Loaded loaded = load({"--ports=1", "--annotations", annotations.path});
	EXPECT_EQ(0, loaded.ret);
	EXPECT_EQ(100u, loaded.config->warnings.count);
}

struct File {
	const char *path;
	int ret;
	const char *reason;
};

TEST(Load, FilesThatCannotBeReadAreNamed)
{
	for (const File &file :
	     {File{"/nonexistent.json", -ENOENT, "No such file or directory"},
	      File{"/", -EISDIR, "Is a directory"}, File{"", -ENOENT, "No such file or directory"},
	      File{"/dev/zero", -EFBIG, "File too large"}}) {
		Loaded loaded = load({std::string("--config=") + file.path});
		EXPECT_EQ(file.ret, loaded.ret);
		EXPECT_EQ(std::string("flag --config: \"") + file.path + "\": " + file.reason +
				  "; allowed: a readable JSON file of at most 1 MiB",
			  loaded.err.text);
	}
	Loaded loaded = load({"--ports=1", "--annotations=/nonexistent"});
	EXPECT_EQ(-ENOENT, loaded.ret);
	EXPECT_EQ(0u, std::string(loaded.err.text)
			      .find("annotations (by flag): \"/nonexistent\": No such file"));
}

TEST(Load, AFileOfExactlyTheLimitIsRead)
{
	std::string text = "{\"ports\":\"1\"}";
	TempFile json(text + std::string(CONFIG_FILE_MAX - text.size(), ' '));
	EXPECT_EQ(0, load({"--config", json.path}).ret);
	json.write(text + std::string(CONFIG_FILE_MAX + 1 - text.size(), ' '));
	EXPECT_EQ(-EFBIG, load({"--config", json.path}).ret);
}

TEST(Load, AMessageFitsWhateverTheLengthOfThePath)
{
	TempFile json("{\"portz\":\"1\"}");
	std::string path = "/" + std::string(3000, '/') + json.path;
	Loaded loaded = load({"--config", path});
	EXPECT_EQ(-EINVAL, loaded.ret);
	EXPECT_NE(std::string::npos, std::string(loaded.err.text)
					     .find("key \"portz\": unknown, the nearest is "
						   "\"ports\"; allowed: interface, ports"));
}

TEST(Load, DevicePluginVariablesAreCollected)
{
	Loaded loaded = load({"--ports=1"},
			     {"PATH=/bin", "PCIDEVICE_INTEL_COM_SRIOV=0000:03:02.1,0000:03:02.2",
			      "PCIDEVICE_INTEL_COM_SRIOV_INFO={\"0000:03:02.1\":{}}",
			      "PCIDEVICE_EMPTY=", "PCIDEVICE_X"});
	ASSERT_EQ(0, loaded.ret);
	ASSERT_EQ(1u, loaded.config->pci_count);
	EXPECT_EQ(0, strncmp("PCIDEVICE_INTEL_COM_SRIOV=", loaded.config->pci[0].name, 26));
	EXPECT_STREQ("0000:03:02.1,0000:03:02.2", loaded.config->pci[0].value);
	EXPECT_EQ(0u, loaded.config->warnings.count);
}

TEST(Load, MoreDevicesThanAnybodyHasAreAWarning)
{
	std::vector<std::string> environment;
	for (int i = 0; i < CONFIG_PCI_MAX + 1; i++)
		environment.push_back("PCIDEVICE_R" + std::to_string(i) + "=0000:00:00.0");
	Loaded loaded = load({"--ports=1"}, environment);
	EXPECT_EQ(static_cast<uint32_t>(CONFIG_PCI_MAX), loaded.config->pci_count);
	EXPECT_EQ(0u, loaded.warning().find("environment PCIDEVICE_R16: more than 16"));
}

TEST(Load, ASlipInAVariableIsAWarningAndServiceLinksAreNot)
{
	Loaded loaded = load({"--ports=1"},
			     {"UDPLANE_PORT=tcp://10.96.0.7:443", "UDPLANE_SERVICE_HOST=10.96.0.7",
			      "UDPLANE_PORT_443_TCP=tcp://10.96.0.7:443",
			      "UDPLANE_PORT_443_TCP_PORT=443", "UDPLANE_LOG=2",
			      "UDPLANE_SPIN_US=50", "UDPLANE_DISABLE=1", "UDPLANE_BACKED=kernel",
			      "UDPLANE_", "UDPLANE_" + std::string(5000, 'X') + "=1"});
	ASSERT_EQ(0, loaded.ret) << loaded.err.text;
	ASSERT_EQ(1u, loaded.config->warnings.count) << loaded.warning(0) << loaded.warning(1);
	EXPECT_EQ("environment UDPLANE_BACKED: unknown and ignored, the nearest is UDPLANE_BACKEND",
		  loaded.warning());
}

} // namespace

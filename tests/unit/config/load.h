/* SPDX-License-Identifier: Apache-2.0 */
/* Calls config_load() with sources given as C++ values. */
#ifndef UDPLANE_TESTS_UNIT_CONFIG_LOAD_H
#define UDPLANE_TESTS_UNIT_CONFIG_LOAD_H

#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/config/config.h"

/* A file that goes away with its object. */
class TempFile
{
      public:
	explicit TempFile(const std::string &content)
	{
		path = "/tmp/udplane_config.XXXXXX"; /* short: messages cut long paths */
		close(mkstemp(&path[0]));
		write(content);
	}
	~TempFile()
	{
		unlink(path.c_str());
	}
	void write(const std::string &content)
	{
		std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
	}
	std::string path;
};

struct Loaded {
	int ret = 0;
	std::unique_ptr<struct config> config{new struct config};
	struct error err = {};
	std::vector<std::string> environment; /* config->pci points into it */

	std::string format(const char *key) const
	{
		std::vector<char> text(PORT_SET_TEXT_SIZE);
		config_format(config.get(), key, text.data(), text.size());
		return text.data();
	}
	std::string warning(unsigned int index = 0) const
	{
		return index < config->warnings.count ? config->warnings.entry[index].text : "";
	}
};

inline std::vector<char *> pointers(std::vector<std::string> &texts)
{
	std::vector<char *> out;
	for (std::string &text : texts)
		out.push_back(&text[0]);
	out.push_back(nullptr);
	return out;
}

inline Loaded load(std::vector<std::string> flags, std::vector<std::string> environment = {})
{
	Loaded loaded;
	flags.insert(flags.begin(), "udplaned");
	loaded.environment = std::move(environment);
	std::vector<char *> argv = pointers(flags), envp = pointers(loaded.environment);
	loaded.ret = config_load(loaded.config.get(), static_cast<int>(flags.size()), argv.data(),
				 envp.data(), &loaded.err);
	return loaded;
}

#endif

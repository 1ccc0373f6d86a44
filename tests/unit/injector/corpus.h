/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UDPLANE_TESTS_UNIT_INJECTOR_CORPUS_H
#define UDPLANE_TESTS_UNIT_INJECTOR_CORPUS_H

#include <cjson/cJSON.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "deploy/injector/injection.h"

struct json_delete {
	void operator()(cJSON *item) const
	{
		cJSON_Delete(item);
	}
};
using json = std::unique_ptr<cJSON, json_delete>;

struct injection_delete {
	void operator()(struct injection *injection) const
	{
		injection_destroy(injection);
	}
};
using injection_ptr = std::unique_ptr<struct injection, injection_delete>;

inline const std::string corpus_root = "tests/unit/injector/";

inline std::string read_file(const std::string &path)
{
	std::ifstream file(path, std::ios::binary);
	std::stringstream text;

	text << file.rdbuf();
	return text.str();
}

inline std::vector<std::string> files_of(const std::string &folder)
{
	std::vector<std::string> files;

	for (const auto &entry :
	     std::filesystem::directory_iterator(corpus_root + "corpus/" + folder))
		files.push_back(entry.path());
	return files;
}

/* The chart's default values, or tests/helm/values/full.yaml. */
inline injection_ptr load_injection(bool full)
{
	struct error err = {};
	std::string text;

	if (!full)
		return injection_ptr(injection_default(&err));
	text = read_file(corpus_root + "full.json");
	return injection_ptr(injection_parse("full.json", text.data(), text.size(), &err));
}

#endif

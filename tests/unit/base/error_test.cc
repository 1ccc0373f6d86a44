// SPDX-License-Identifier: Apache-2.0
#include "include/base/error.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <string>

namespace
{

TEST(Error, SetsTheTextAndReturnsTheCallersValue)
{
	struct error error;

	EXPECT_EQ(-EINVAL, error_set(&error, -EINVAL, "frame size %d: too %s", 7, "small"));
	EXPECT_STREQ("frame size 7: too small", error.text);
	EXPECT_EQ(3, error_set(&error, 3, "again"));
	EXPECT_STREQ("again", error.text);
}

TEST(Error, PrefixPutsContextInFront)
{
	struct error error;

	error_set(&error, -EBUSY, "busy");
	EXPECT_EQ(-EBUSY, error_prefix(&error, -EBUSY, "interface %s: ", "eth0"));
	EXPECT_STREQ("interface eth0: busy", error.text);
	error_prefix(&error, -EBUSY, "start: ");
	EXPECT_STREQ("start: interface eth0: busy", error.text);
}

TEST(Error, TakesItsOwnTextAsAnArgument)
{
	struct error error;

	error_set(&error, -EIO, "inner");
	error_set(&error, -EIO, "%s, then %s", error.text, error.text);
	EXPECT_STREQ("inner, then inner", error.text);
	error_prefix(&error, -EIO, "%s: ", error.text);
	EXPECT_STREQ("inner, then inner: inner, then inner", error.text);
}

TEST(Error, CutsWhatDoesNotFit)
{
	struct error error;
	const std::string full(sizeof(error.text) - 1, 'x');

	error_set(&error, -EIO, "%s%s", full.c_str(), "y");
	EXPECT_EQ(full, error.text);
	error_prefix(&error, -EIO, "in front: ");
	EXPECT_EQ("in front: " + full.substr(10), error.text);
	error_prefix(&error, -EIO, "%s%s", full.c_str(), "y");
	EXPECT_EQ(full, error.text);
	error_set(&error, -EIO, "%s", "");
	error_prefix(&error, -EIO, "%s", full.c_str());
	EXPECT_EQ(full, error.text);
}

TEST(Error, CopiesIntoAField)
{
	struct error error;
	char field[8] = "xxxxxxx";

	error_set(&error, -EIO, "short");
	error_copy(&error, field, sizeof(field));
	EXPECT_STREQ("short", field);
	error_set(&error, -EIO, "too long");
	error_copy(&error, field, sizeof(field));
	EXPECT_STREQ("too lon", field);
	error_copy(&error, field, 1);
	EXPECT_STREQ("", field);
}

TEST(Error, NoErrorWantsNoText)
{
	EXPECT_EQ(-ENOMEM, error_set(nullptr, -ENOMEM, "lost"));
	EXPECT_EQ(-ENOMEM, error_prefix(nullptr, -ENOMEM, "lost: "));
}

} // namespace

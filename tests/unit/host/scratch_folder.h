// A folder of a test's own, gone with it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace teacup::host {

class ScratchFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/teacup-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    parent_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(parent_); }

  std::string parent_;
};

}  // namespace teacup::host

#include "host/broker/prepared_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/unit/host/scratch_folder.h"

namespace teacup::host {
namespace {

namespace stdfs = std::filesystem;

class PreparedCacheTest : public ScratchFolderTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(ScratchFolderTest::SetUp());
    folder_ = parent_ + "/teacup/prepared";
  }

  static std::vector<std::byte> bytes(std::string_view text) {
    const auto* at = reinterpret_cast<const std::byte*>(text.data());
    return {at, at + text.size()};
  }
  stdfs::path only_entry() const {
    std::vector<stdfs::path> all;
    for (const auto& entry : stdfs::directory_iterator(folder_)) all.push_back(entry.path());
    EXPECT_EQ(all.size(), 1U);
    return all.at(0);
  }

  std::string folder_;
};

TEST_F(PreparedCacheTest, FindsWhatWasStoredUnderTheSameKeyOnly) {
  PreparedCache cache(folder_);
  cache.store("key", bytes("blob"));
  EXPECT_EQ(cache.load("key"), bytes("blob"));
  EXPECT_EQ(cache.load("other"), std::nullopt);
  EXPECT_EQ(PreparedCache(folder_).load("key"), bytes("blob"));
}

TEST_F(PreparedCacheTest, KeepsNothingUnderAnEmptyKey) {
  PreparedCache cache(folder_);
  cache.store("", bytes("blob"));
  EXPECT_EQ(cache.load(""), std::nullopt);
  EXPECT_TRUE(stdfs::is_empty(folder_));
}

TEST_F(PreparedCacheTest, AnEntryOfAnotherKeyUnderTheNameIsNotUsed) {
  PreparedCache cache(folder_);
  cache.store("key", bytes("blob"));
  stdfs::path first = only_entry();
  cache.store("other", bytes("poison"));
  for (const auto& entry : stdfs::directory_iterator(folder_)) {
    if (entry.path() != first) stdfs::rename(entry.path(), first);
  }
  EXPECT_EQ(cache.load("key"), std::nullopt);
}

TEST_F(PreparedCacheTest, AnyChangedByteAndAnyTruncationIsNoticedAndWrittenAnew) {
  PreparedCache cache(folder_);
  cache.store("key", bytes("blob"));
  stdfs::path entry = only_entry();
  std::ifstream stream(entry, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(stream)), {});
  for (size_t i = 0; i < whole.size(); i++) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    std::ofstream(entry, std::ios::binary) << changed;
    EXPECT_EQ(cache.load("key"), std::nullopt) << "byte " << i;
    std::ofstream(entry, std::ios::binary) << whole.substr(0, i);
    EXPECT_EQ(cache.load("key"), std::nullopt) << "length " << i;
  }
  cache.store("key", bytes("blob"));
  EXPECT_EQ(cache.load("key"), bytes("blob"));
}

TEST_F(PreparedCacheTest, AFolderThatOthersMayWriteIsNotUsed) {
  {
    PreparedCache cache(folder_);
    cache.store("key", bytes("blob"));
  }
  chmod(folder_.c_str(), 0777);
  EXPECT_EQ(PreparedCache(folder_).load("key"), std::nullopt);
}

TEST_F(PreparedCacheTest, ASymlinkOrAPipeInTheFolderIsNotFollowed) {
  PreparedCache cache(folder_);
  cache.store("key", bytes("blob"));
  stdfs::path entry = only_entry();
  stdfs::rename(entry, parent_ + "/elsewhere");
  stdfs::create_symlink(parent_ + "/elsewhere", entry);
  EXPECT_EQ(cache.load("key"), std::nullopt);
  stdfs::remove(entry);
  ASSERT_EQ(mkfifo(entry.c_str(), 0600), 0);
  EXPECT_EQ(cache.load("key"), std::nullopt);
}

TEST_F(PreparedCacheTest, WritersAndReadersDoNotDisturbEachOther) {
  const PreparedCache cache(folder_);
  const std::vector<std::byte> blob(300'000, std::byte{7});
  cache.store("key", blob);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; i++) {
        if (t % 2 == 0) {
          cache.store("key", blob);
        } else if (cache.load("key") != blob) {
          wrong++;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  only_entry();
}

TEST_F(PreparedCacheTest, AFileThatJustChangedHasNoIdentity) {
  std::string path = parent_ + "/image";
  std::ofstream(path) << "new";
  int fd = open(path.c_str(), O_RDONLY);
  EXPECT_EQ(file_identity(fd), "");
  close(fd);
  fd = open("/proc/self/exe", O_RDONLY);
  struct stat status {};
  fstat(fd, &status);
  if (time(nullptr) - status.st_ctime > 3) {
    EXPECT_NE(file_identity(fd), "");
  }
  close(fd);
}

}  // namespace
}  // namespace teacup::host

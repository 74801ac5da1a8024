// A model test: the same random calls on the memory layer and on a directory of the host's (tmpfs where
// /dev/shm is one); results, errors and content must agree.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <set>

#include "tests/unit/fs/fs_machine.h"

namespace teacup {
namespace {

class ModelTest : public testing::TestWithParam<int> {
 protected:
  ModelTest() : random_(static_cast<unsigned>(GetParam())) {
    host_ = scratch_.path() + "/t";
    std::string make =
        "mkdir " + host_ + " && cd " + host_ +
        " && mkdir -p d0/d1 d2 && head -c 20000 /dev/urandom > d0/f0 && head -c 9000 /dev/urandom > f1"
        " && ln d0/f0 f2";
    if (system(make.c_str()) != 0) throw std::runtime_error(make);
    machine_.emplace(make_erofs(host_));
    if (!machine_->started) throw std::runtime_error("no machine");
  }

  std::string name() {
    static const char* kNames[] = {"f0", "f1", "f2", "f3", "d0", "d1", "d2", "d3"};
    return kNames[random_() % 8];
  }
  std::string path() {
    std::string path = "/" + name();
    while (random_() % 2 == 0 && path.size() < 14) path += "/" + name();
    return path;
  }
  static std::string of_host(int result) {
    return result >= 0 ? "OK" : errno_name(static_cast<Errno>(errno));
  }
  template <typename T>
  static std::string of_guest(const Result<T>& result) {
    return result.ok() ? "OK" : errno_name(result.error());
  }

  void one_call();
  void write_both(const std::string& path);
  void compare_trees(const std::string& path);

  std::mt19937 random_;
  HostDirectory scratch_;
  std::string host_;
  std::optional<FsMachine> machine_;
  std::string log_;
};

void ModelTest::write_both(const std::string& path) {
  u32 flags = abi::kO_RDWR | (random_() % 2 == 0 ? abi::kO_CREAT : 0) |
              (random_() % 8 == 0 ? abi::kO_TRUNC : 0) | (random_() % 4 == 0 ? abi::kO_APPEND : 0) |
              (random_() % 8 == 0 ? abi::kO_EXCL : 0);
  if ((flags & abi::kO_CREAT) == 0) flags &= ~static_cast<u32>(abi::kO_EXCL);
  int fd = ::open((host_ + path).c_str(), static_cast<int>(flags), 0644);
  std::string expected = of_host(fd);
  auto file = machine_->open(path, flags, 0644);
  ASSERT_EQ(expected, of_guest(file)) << log_;
  if (fd < 0) return;
  for (int i = 0; i < 3; i++) {
    u64 offset = random_() % 30000;
    switch (random_() % 4) {
      case 0:
      case 1: {
        std::string data(random_() % 10000, static_cast<char>('a' + random_() % 26));
        ssize_t wrote = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
        auto guest = write_all(*file.value(), offset, data);
        ASSERT_TRUE(guest.ok());
        EXPECT_EQ(static_cast<size_t>(wrote), guest.value());
        break;
      }
      case 2:
        ASSERT_EQ(of_host(::ftruncate(fd, static_cast<off_t>(offset))),
                  of_guest(file.value()->truncate(offset)));
        break;
      default: {
        constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        u64 length = 1 + random_() % 10000;
        int result = ::fallocate(fd, kPunch, static_cast<off_t>(offset), static_cast<off_t>(length));
        if (result < 0 && errno == EOPNOTSUPP) break;
        ASSERT_TRUE(file.value()->allocate(kPunch, offset, length).ok());
      }
    }
  }
  struct ::stat host;
  ASSERT_EQ(::fstat(fd, &host), 0);
  std::string content(static_cast<size_t>(host.st_size), '\0');
  ASSERT_EQ(::pread(fd, content.data(), content.size(), 0), host.st_size);
  ASSERT_EQ(content, read_all(*file.value(), 0, content.size() + 100)) << log_;
  ::close(fd);
}

void ModelTest::one_call() {
  std::string a = path();
  std::string b = path();
  auto caller = machine_->caller();
  std::string host_result, guest_result;
  unsigned call = random_() % 8;
  log_ += std::to_string(call) + " " + a + " " + b + "\n";
  switch (call) {
    case 0:
      host_result = of_host(::mkdir((host_ + a).c_str(), 0755));
      guest_result = of_guest(fs::make_directory(caller, nullptr, a, 0755));
      break;
    case 1:
      host_result = of_host(::unlink((host_ + a).c_str()));
      guest_result = of_guest(fs::remove_name(caller, nullptr, a));
      break;
    case 2:
      host_result = of_host(::rmdir((host_ + a).c_str()));
      guest_result = of_guest(fs::remove_directory(caller, nullptr, a));
      break;
    case 3: {
      unsigned flags = random_() % 6 == 0 ? RENAME_EXCHANGE : random_() % 6 == 0 ? RENAME_NOREPLACE : 0;
      host_result = of_host(::renameat2(AT_FDCWD, (host_ + a).c_str(), AT_FDCWD, (host_ + b).c_str(), flags));
      guest_result = of_guest(fs::rename_path(caller, nullptr, a, nullptr, b, flags));
      break;
    }
    case 4: {
      host_result = of_host(::link((host_ + a).c_str(), (host_ + b).c_str()));
      auto existing = fs::resolve(caller, nullptr, a, 0);
      guest_result = existing.ok() ? of_guest(fs::make_link(caller, existing.value(), nullptr, b))
                                   : errno_name(existing.error());
      break;
    }
    case 5:
      host_result = of_host(::symlink("d0", (host_ + a).c_str()));
      guest_result = of_guest(fs::make_symlink(caller, "d0", nullptr, a));
      break;
    default:
      write_both(a);
      return;
  }
  ASSERT_EQ(host_result, guest_result) << log_;
}

void ModelTest::compare_trees(const std::string& path) {
  std::set<std::string> expected;
  DIR* directory = ::opendir((host_ + path).c_str());
  ASSERT_NE(directory, nullptr);
  while (dirent* entry = ::readdir(directory)) {
    std::string found = entry->d_name;
    if (found != "." && found != "..") expected.insert(found);
  }
  ::closedir(directory);
  auto names = machine_->list(path.empty() ? "/" : path);
  ASSERT_TRUE(names.ok());
  std::set<std::string> actual(names.value().begin(), names.value().end());
  for (const char* own : {"tmp", "dev", "proc", "sys"}) {
    if (path.empty()) actual.erase(own);
  }
  ASSERT_EQ(expected, actual) << path << "\n" << log_;
  for (const std::string& found : expected) {
    std::string child = path + "/" + found;
    struct ::stat host;
    ASSERT_EQ(::lstat((host_ + child).c_str(), &host), 0);
    auto guest = machine_->stat(child, false);
    ASSERT_TRUE(guest.ok()) << child;
    EXPECT_EQ(host.st_mode, guest.value().mode) << child;
    if (!S_ISDIR(host.st_mode)) {
      EXPECT_EQ(host.st_size, guest.value().size) << child;
      EXPECT_EQ(host.st_nlink, guest.value().nlink) << child << "\n" << log_;
    }
    if (S_ISDIR(host.st_mode)) compare_trees(child);
  }
}

TEST_P(ModelTest, AgreesWithTheHost) {
  for (int i = 0; i < 400 && !HasFatalFailure(); i++) one_call();
  if (!HasFatalFailure()) compare_trees("");
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest, testing::Range(1, 25));

}  // namespace
}  // namespace teacup

// The tree as the guest sees it: an image under the memory layer.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include "fs/vfs_state.h"
#include "kernel/frame/pages.h"
#include "tests/unit/fs/fs_machine.h"

namespace teacup {
namespace {

using Names = std::vector<std::string>;

// The errno of something that must fail, as text.
template <typename T>
std::string error_of(const Result<T>& result) {
  return errno_name(result.error());
}

class TreeTest : public testing::Test {
 protected:
  static std::vector<char>& image() {
    static std::vector<char> bytes = [] {
      HostDirectory tree;
      std::string script =
          "cd " + tree.path() +
          " && chmod 755 . && mkdir -p etc usr/bin usr/lib deep/a/b/c many && ln -s usr/bin bin && echo "
          "hello > etc/motd"
          " && head -c 300000 /dev/zero | tr '\\0' x > usr/lib/big && ln etc/motd etc/motd2"
          " && ln -s /etc/motd link && mkfifo usr/lib/fifo && : > usr/lib/empty && ln -s loop2 loop1 && ln "
          "-s loop1 loop2 && printf data > deep/a/b/c/f"
          " && chmod 640 etc/motd && for i in $(seq 300); do echo $i > many/file$i; done";
      if (system(script.c_str()) != 0) throw std::runtime_error(script);
      return make_erofs(tree.path());
    }();
    return bytes;
  }
  TreeTest() : machine_(image()) {
    EXPECT_TRUE(machine_.started) << errno_name(machine_.start_result.error());
  }

  FsMachine machine_;
};

TEST_F(TreeTest, ReadsTheImage) {
  EXPECT_EQ(checked(machine_.read("/etc/motd")), "hello\n");
  EXPECT_EQ(checked(machine_.read("/link")), "hello\n");
  EXPECT_EQ(checked(machine_.read("/bin/../../etc/./motd2")), "hello\n");
  EXPECT_EQ(checked(machine_.read("/usr/lib/big")), std::string(300000, 'x'));
  auto stat = checked(machine_.stat("/etc/motd"));
  EXPECT_EQ(stat.mode, 0100640u);
  EXPECT_EQ(stat.size, 6);
  EXPECT_EQ(stat.nlink, 2u);
  EXPECT_EQ(stat.ino, checked(machine_.stat("/etc/motd2")).ino);
  EXPECT_EQ(checked(machine_.readlink("/bin")), "usr/bin");
  EXPECT_EQ(error_of(machine_.stat("/nope")), "ENOENT");
  EXPECT_EQ(error_of(machine_.stat("/etc/motd/x")), "ENOTDIR");
  EXPECT_EQ(error_of(machine_.stat("/etc/motd/")), "ENOTDIR");
  EXPECT_EQ(error_of(machine_.stat("/loop1")), "ELOOP");
  EXPECT_EQ(error_of(machine_.stat("")), "ENOENT");
  EXPECT_EQ(error_of(machine_.stat("/" + std::string(256, 'n'))), "ENAMETOOLONG");
}

TEST_F(TreeTest, ListsTheImageAndWhatCameToIt) {
  EXPECT_EQ(checked(machine_.list("/etc")), (Names{"motd", "motd2"}));
  EXPECT_EQ(checked(machine_.list("/many")).size(), 300u);
  ASSERT_TRUE(machine_.write("/etc/new", "n").ok());
  ASSERT_TRUE(fs::remove_name(machine_.caller(), nullptr, "/etc/motd").ok());
  EXPECT_EQ(checked(machine_.list("/etc")), (Names{"motd2", "new"}));
  EXPECT_EQ(checked(machine_.stat("/etc/motd2")).nlink, 1u);
  EXPECT_EQ(error_of(machine_.stat("/etc/motd")), "ENOENT");
  ASSERT_TRUE(machine_.write("/etc/motd", "again").ok());
  EXPECT_EQ(checked(machine_.list("/etc")), (Names{"motd", "motd2", "new"}));
  EXPECT_EQ(checked(machine_.read("/etc/motd")), "again");
  EXPECT_EQ(checked(machine_.read("/etc/motd2")), "hello\n");
}

TEST_F(TreeTest, WritesOverTheImage) {
  auto file = checked(machine_.open("/usr/lib/big", abi::kO_RDWR));
  u64 ino = checked(machine_.stat("/usr/lib/big")).ino;
  ASSERT_EQ(checked(write_all(*file, 5000, "MIDDLE")), 6u);
  ASSERT_EQ(checked(write_all(*file, 299998, "END")), 3u);
  std::string expected(300001, 'x');
  expected.replace(5000, 6, "MIDDLE");
  expected.replace(299998, 3, "END");
  EXPECT_EQ(checked(machine_.read("/usr/lib/big")), expected);
  EXPECT_EQ(checked(machine_.stat("/usr/lib/big")).ino, ino);
  ASSERT_TRUE(file->truncate(5003).ok());
  ASSERT_TRUE(file->truncate(300000).ok());
  expected = expected.substr(0, 5003) + std::string(300000 - 5003, '\0');
  EXPECT_EQ(checked(machine_.read("/usr/lib/big")), expected);
}

TEST_F(TreeTest, RenamesDirectoriesOfTheImage) {
  auto caller = machine_.caller();
  ASSERT_TRUE(fs::rename_path(caller, nullptr, "/deep/a", nullptr, "/moved", 0).ok());
  EXPECT_EQ(checked(machine_.read("/moved/b/c/f")), "data");
  EXPECT_EQ(error_of(machine_.stat("/deep/a")), "ENOENT");
  EXPECT_TRUE(checked(machine_.list("/deep")).empty());
  EXPECT_EQ(error_of(fs::rename_path(caller, nullptr, "/moved", nullptr, "/moved/b/x", 0)), "EINVAL");
  EXPECT_EQ(error_of(fs::rename_path(caller, nullptr, "/moved", nullptr, "/etc", 0)), "ENOTEMPTY");
  EXPECT_EQ(error_of(fs::rename_path(caller, nullptr, "/moved", nullptr, "/etc/motd", 0)), "ENOTDIR");
  EXPECT_EQ(error_of(fs::rename_path(caller, nullptr, "/etc/motd", nullptr, "/moved", 0)), "EISDIR");
  EXPECT_EQ(error_of(fs::remove_directory(caller, nullptr, "/moved")), "ENOTEMPTY");
  ASSERT_TRUE(fs::remove_directory(caller, nullptr, "/deep").ok());
  ASSERT_TRUE(fs::rename_path(caller, nullptr, "/etc", nullptr, "/moved", abi::kRENAME_EXCHANGE).ok());
  EXPECT_EQ(checked(machine_.read("/moved/motd")), "hello\n");
  EXPECT_EQ(checked(machine_.read("/etc/b/c/f")), "data");
}

TEST_F(TreeTest, ARemovedDirectoryIsNoPlace) {
  auto caller = machine_.caller();
  ASSERT_TRUE(fs::make_directory(caller, nullptr, "/gone", 0777).ok());
  machine_.context->set_working_directory(checked(fs::resolve(caller, nullptr, "/gone", 0)));
  ASSERT_TRUE(fs::remove_directory(caller, nullptr, "/gone").ok());
  EXPECT_EQ(error_of(machine_.write("x", "")), "ENOENT");
  EXPECT_EQ(error_of(machine_.stat("x")), "ENOENT");
  char text[100];
  TextBuffer buffer(text);
  ASSERT_TRUE(fs::path_text(machine_.context->working_directory(), machine_.context->root(), buffer).ok());
  EXPECT_EQ(buffer.text(), "/gone (deleted)");
}

TEST_F(TreeTest, KeepsAnUnlinkedFileWhileItIsOpen) {
  auto caller = machine_.caller();
  auto file = checked(machine_.open("/many/file7", abi::kO_RDWR));
  ASSERT_TRUE(fs::remove_name(caller, nullptr, "/many/file7").ok());
  EXPECT_EQ(read_all(*file, 0, 10), "7\n");
  ASSERT_TRUE(write_all(*file, 2, "more").ok());
  EXPECT_EQ(read_all(*file, 0, 10), "7\nmore");
  abi::Stat stat;
  ASSERT_TRUE(file->stat(stat).ok());
  EXPECT_EQ(stat.nlink, 0u);
  EXPECT_EQ(error_of(machine_.stat("/many/file7")), "ENOENT");
}

TEST_F(TreeTest, AppendsAndSparseFiles) {
  auto file = checked(machine_.open("/sparse", abi::kO_RDWR | abi::kO_CREAT));
  constexpr u64 kFar = u64{5} << 30;
  ASSERT_EQ(checked(write_all(*file, kFar, "far")), 3u);
  abi::Stat stat;
  ASSERT_TRUE(file->stat(stat).ok());
  EXPECT_EQ(stat.size, static_cast<s64>(kFar + 3));
  EXPECT_EQ(stat.blocks, 8);
  EXPECT_EQ(read_all(*file, kFar - 2, 5), std::string("\0\0far", 5));
  EXPECT_EQ(checked(file->seek(0, abi::kSEEK_DATA)), kFar);
  EXPECT_EQ(checked(file->seek(0, abi::kSEEK_HOLE)), 0u);
  EXPECT_EQ(checked(file->seek(static_cast<s64>(kFar), abi::kSEEK_HOLE)), kFar + 3);
  EXPECT_EQ(error_of(file->seek(static_cast<s64>(kFar + 3), abi::kSEEK_DATA)), "ENXIO");
  auto appending = checked(machine_.open("/sparse", abi::kO_WRONLY | abi::kO_APPEND));
  ASSERT_TRUE(write_all(*appending, 0, "ther").ok());
  EXPECT_EQ(read_all(*file, kFar, 100), "farther");
}

TEST_F(TreeTest, Permissions) {
  auto caller = machine_.caller();
  ASSERT_TRUE(fs::change_owner(caller, checked(fs::resolve(caller, nullptr, "/etc/motd", 0)), 5, 6).ok());
  machine_.credentials = {};
  machine_.credentials.uid = machine_.credentials.euid = machine_.credentials.fsuid = 1000;
  machine_.credentials.gid = machine_.credentials.egid = machine_.credentials.fsgid = 1000;
  EXPECT_EQ(error_of(machine_.read("/etc/motd")), "EACCES");
  EXPECT_EQ(error_of(machine_.write("/etc/x", "")), "EACCES");
  EXPECT_EQ(error_of(machine_.write("/usr/lib/big", "")), "EACCES");
  machine_.credentials.fsgid = 6;
  EXPECT_EQ(checked(machine_.read("/etc/motd")), "hello\n");
  machine_.credentials.fsuid = 5;
  EXPECT_TRUE(machine_.write("/etc/motd", "mine").ok());
  EXPECT_TRUE(machine_.write("/tmp/x", "mine").ok());
  machine_.credentials.fsuid = 7;
  EXPECT_EQ(error_of(fs::remove_name(caller, nullptr, "/tmp/x")), "EPERM");
}

TEST_F(TreeTest, OpenFlags) {
  EXPECT_EQ(error_of(machine_.open("/etc/motd", abi::kO_CREAT | abi::kO_EXCL)), "EEXIST");
  EXPECT_EQ(error_of(machine_.open("/link", abi::kO_RDONLY | abi::kO_NOFOLLOW)), "ELOOP");
  EXPECT_EQ(error_of(machine_.open("/etc", abi::kO_WRONLY)), "EISDIR");
  EXPECT_EQ(error_of(machine_.open("/etc/motd", abi::kO_DIRECTORY)), "ENOTDIR");
  EXPECT_EQ(error_of(machine_.open("/new/", abi::kO_CREAT | abi::kO_WRONLY)), "EISDIR");
  ASSERT_TRUE(fs::make_symlink(machine_.caller(), "/made-through-link", nullptr, "/dangling").ok());
  EXPECT_TRUE(machine_.write("/dangling", "x").ok());
  EXPECT_EQ(checked(machine_.read("/made-through-link")), "x");
  EXPECT_EQ(error_of(machine_.open("/dangling", abi::kO_CREAT | abi::kO_EXCL | abi::kO_WRONLY)), "EEXIST");
  auto unnamed = checked(machine_.open("/tmp", abi::kO_TMPFILE | abi::kO_RDWR));
  ASSERT_TRUE(write_all(*unnamed, 0, "anon").ok());
  ASSERT_TRUE(fs::make_link(machine_.caller(), *unnamed->path(), nullptr, "/tmp/named").ok());
  EXPECT_EQ(checked(machine_.read("/tmp/named")), "anon");
}

TEST_F(TreeTest, MapsTheImageInPlaceAndItsTailInMemory) {
  auto file = checked(machine_.open("/usr/lib/big", abi::kO_RDONLY));
  fs::MapPiece pieces[8];
  auto count = checked(file->map_pieces(0, 300 * KiB, false, pieces));
  ASSERT_EQ(count, 2u);
  EXPECT_EQ(pieces[0].fd, kFirstImageFd);
  EXPECT_EQ(pieces[0].length, page_down(300000));
  EXPECT_EQ(std::string(machine_.image_memory + pieces[0].host_offset, 5), "xxxxx");
  EXPECT_EQ(pieces[1].fd, kArenaFd);
  EXPECT_EQ(pieces[1].length, kPageSize);
  const char* tail = &arena_at<char>(pieces[1].host_offset);
  EXPECT_EQ(tail[300000 % kPageSize - 1], 'x');
  EXPECT_EQ(tail[300000 % kPageSize], '\0');
  auto writable = checked(machine_.open("/usr/lib/big", abi::kO_RDWR));
  count = checked(writable->map_pieces(0, 300 * KiB, true, pieces));
  ASSERT_GE(count, 1u);
  arena_at<char>(pieces[0].host_offset + 10) = 'M';
  EXPECT_EQ(read_all(*file, 9, 3), "xMx");
}

TEST_F(TreeTest, Mounts) {
  auto caller = machine_.caller();
  ASSERT_TRUE(fs::make_directory(caller, nullptr, "/mnt", 0755).ok());
  auto type = fs::find_file_system("tmpfs");
  ASSERT_NE(type, nullptr);
  auto where = checked(fs::resolve(caller, nullptr, "/mnt", 0));
  ASSERT_TRUE(fs::mount_file_system(checked(type->mount("none", "size=1m")), where, 0).ok());
  EXPECT_TRUE(machine_.write("/mnt/x", "on tmpfs").ok());
  EXPECT_EQ(checked(machine_.read("/etc/../mnt/../mnt/x")), "on tmpfs");
  EXPECT_EQ(error_of(machine_.write("/mnt/large", std::string(2 << 20, 'x'))), "OK");
  EXPECT_EQ(checked(machine_.stat("/mnt/large")).size, (1 << 20) - 4096);
  EXPECT_EQ(error_of(fs::rename_path(caller, nullptr, "/mnt/x", nullptr, "/x", 0)), "EXDEV");
  EXPECT_EQ(error_of(fs::remove_directory(caller, nullptr, "/mnt")), "EBUSY");
  {
    auto inside = checked(fs::resolve(caller, nullptr, "/mnt", 0));
    EXPECT_TRUE(fs::unmount(inside, 0).ok());
  }
  EXPECT_EQ(error_of(machine_.stat("/mnt/x")), "ENOENT");
  EXPECT_TRUE(fs::remove_directory(caller, nullptr, "/mnt").ok());
}

// What a file system held is free again when nothing mounts it any more: files, a tree deeper than a stack,
// names that were looked up.
TEST_F(TreeTest, AnUnmountedFileSystemIsFreed) {
  auto caller = machine_.caller();
  ASSERT_TRUE(fs::make_directory(caller, nullptr, "/mnt", 0755).ok());
  auto type = fs::find_file_system("tmpfs");
  u64 pages = 0, heap = 0;
  for (int round = 0; round < 5; round++) {
    {
      auto where = checked(fs::resolve(caller, nullptr, "/mnt", 0));
      ASSERT_TRUE(fs::mount_file_system(checked(type->mount("none", "")), where, 0).ok());
    }
    ASSERT_TRUE(machine_.write("/mnt/x", std::string(1 << 20, 'x')).ok());
    Ref<fs::File> at;
    std::string path = "/mnt";
    for (int depth = 0; depth < 1000; depth++) {
      path += "/d";
      ASSERT_TRUE(fs::make_directory(caller, nullptr, path, 0755).ok());
    }
    ASSERT_TRUE(machine_.write(path + "/y", "deep").ok());
    EXPECT_EQ(error_of(machine_.stat(path + "/z")), "ENOENT");
    {
      auto inside = checked(fs::resolve(caller, nullptr, "/mnt", 0));
      ASSERT_TRUE(fs::unmount(inside, 0).ok());
    }
    if (round == 1) pages = committed_pages(), heap = heap_in_use();
    if (round > 1) {
      EXPECT_EQ(committed_pages(), pages);
      EXPECT_LT(heap_in_use(), heap + 1024);
    }
  }
}

TEST_F(TreeTest, Xattrs) {
  auto file = checked(machine_.open("/etc/motd", abi::kO_RDWR));
  fs::Inode& inode = *file->inode();
  auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); };
  ASSERT_TRUE(inode.set_xattr("user.a", bytes("one"), 0).ok());
  EXPECT_EQ(error_of(inode.set_xattr("user.a", bytes("two"), abi::kXATTR_CREATE)), "EEXIST");
  EXPECT_EQ(error_of(inode.set_xattr("user.b", bytes("two"), abi::kXATTR_REPLACE)), "ENODATA");
  ASSERT_TRUE(inode.set_xattr("user.a", bytes("three"), abi::kXATTR_REPLACE).ok());
  std::byte value[16];
  EXPECT_EQ(checked(inode.get_xattr("user.a", value)), 5u);
  EXPECT_EQ(checked(inode.list_xattrs({})), 7u);
  ASSERT_TRUE(inode.remove_xattr("user.a").ok());
  EXPECT_EQ(error_of(inode.get_xattr("user.a", value)), "ENODATA");
}

// What nobody has looked at is told from the image.
TEST_F(TreeTest, TheFirstLooksAreAsTheNextOnes) {
  for (const char* path :
       {"/etc/motd", "/usr/lib/big", "/deep/a/b/c/f", "/usr/lib/fifo", "/link", "/bin", "/usr/lib/empty"}) {
    fs::FileStatus looks[6];
    for (fs::FileStatus& look : looks)
      ASSERT_TRUE(fs::stat_path(machine_.caller(), nullptr, path, 0, look).ok()) << path;
    for (int i = 1; i < 6; i++) {
      EXPECT_EQ(std::memcmp(&looks[0].stat, &looks[i].stat, sizeof(abi::Stat)), 0) << path;
      EXPECT_EQ(looks[0].birth.tv_sec, looks[i].birth.tv_sec) << path;
      EXPECT_EQ(looks[0].birth.tv_nsec, looks[i].birth.tv_nsec) << path;
      EXPECT_EQ(looks[0].mount, looks[i].mount) << path;
      EXPECT_EQ(looks[0].is_mount_root, looks[i].is_mount_root) << path;
    }
  }
}

TEST_F(TreeTest, TheFirstLooksTakeNoMemory) {
  auto look_at_all = [&] {
    for (int i = 1; i < 300; i++) ASSERT_TRUE(machine_.stat("/many/file" + std::to_string(i)).ok());
  };
  ASSERT_TRUE(machine_.list("/many").ok());
  const u64 heap = heap_in_use(), names = fs::dcache().count();
  for (int look = 1; look <= 3; look++) {
    look_at_all();
    EXPECT_EQ(heap_in_use(), heap);
    EXPECT_EQ(fs::dcache().count(), names);
  }
  look_at_all();
  EXPECT_GT(heap_in_use(), heap);
  EXPECT_EQ(fs::dcache().count(), names + 299);
}

TEST_F(TreeTest, TheFirstLookSeesWhatChanged) {
  auto path_of = [&](const char* path) { return checked(fs::resolve(machine_.caller(), nullptr, path, 0)); };
  const fs::Caller caller = machine_.caller();
  // By another name of the file.
  ASSERT_TRUE(fs::change_mode(caller, path_of("/etc/motd2"), 0600).ok());
  EXPECT_EQ(checked(machine_.stat("/etc/motd")).mode, 0100600u);
  ASSERT_TRUE(fs::remove_name(caller, nullptr, "/etc/motd2").ok());
  EXPECT_EQ(error_of(machine_.stat("/etc/motd2")), "ENOENT");
  EXPECT_EQ(checked(machine_.stat("/etc/motd")).nlink, 1u);
  // Names that mean something else by now.
  ASSERT_TRUE(fs::remove_name(caller, nullptr, "/many/file1").ok());
  EXPECT_EQ(error_of(machine_.stat("/many/file1")), "ENOENT");
  ASSERT_TRUE(machine_.write("/many/file2", "longer than it was").ok());
  EXPECT_EQ(checked(machine_.stat("/many/file2")).size, 18);
  ASSERT_TRUE(fs::rename_path(caller, nullptr, "/many/file30", nullptr, "/many/file4", 0).ok());
  EXPECT_EQ(checked(machine_.stat("/many/file4")).size, 3);
  EXPECT_EQ(error_of(machine_.stat("/many/file30")), "ENOENT");
  ASSERT_TRUE(machine_.write("/many/file30", "again").ok());
  EXPECT_EQ(checked(machine_.stat("/many/file30")).size, 5);
  ASSERT_TRUE(fs::rename_path(caller, nullptr, "/deep", nullptr, "/moved", 0).ok());
  EXPECT_EQ(checked(machine_.stat("/moved/a/b/c/f")).size, 4);
  EXPECT_EQ(error_of(machine_.stat("/deep/a/b/c/f")), "ENOENT");
}

// Each change is seen by who looks after it, whoever else looks at the same time.
TEST_F(TreeTest, FirstLooksBesideChanges) {
  enum State { kAsInTheImage, kChanged, kRemoved };
  constexpr int kFiles = 300;
  std::array<std::atomic<State>, kFiles + 1> states{};
  auto path_of = [](int i) { return "/many/file" + std::to_string(i); };
  auto last_of = [](int i) { return i % 2 == 0 ? kRemoved : kChanged; };
  std::thread looker([&] {
    for (int i = 1; i <= kFiles; i++) {
      State before;
      do {
        before = states[i].load();
        auto stat = machine_.stat(path_of(i));
        if (before == kRemoved) {
          EXPECT_EQ(error_of(stat), "ENOENT") << i;
        }
        if (before == kChanged && last_of(i) == kChanged) {
          EXPECT_TRUE(stat.ok()) << i;
        }
        if (before == kChanged && stat.ok()) {
          EXPECT_EQ(stat.value().mode, 0100600u) << i;
        }
      } while (before != last_of(i));
    }
  });
  for (int i = 1; i <= kFiles; i++) {
    auto path = fs::resolve(machine_.caller(), nullptr, path_of(i), 0);
    EXPECT_TRUE(path.ok() && fs::change_mode(machine_.caller(), path.value(), 0600).ok());
    states[i].store(kChanged);
    if (last_of(i) == kChanged) continue;
    EXPECT_TRUE(fs::remove_name(machine_.caller(), nullptr, path_of(i)).ok());
    states[i].store(kRemoved);
  }
  looker.join();
}

TEST_F(TreeTest, TheCacheShrinks) {
  for (int look = 0; look < 4; look++) {
    for (int i = 1; i <= 300; i++) ASSERT_TRUE(machine_.stat("/many/file" + std::to_string(i)).ok());
  }
  u64 before = fs::resolve(machine_.caller(), nullptr, "/many", 0).ok() ? heap_in_use() : 0;
  EXPECT_GT(before, 0u);
  ASSERT_TRUE(machine_.write("/many/file8", "changed").ok());
  for (int i = 1; i <= 300; i++) EXPECT_TRUE(machine_.stat("/many/file" + std::to_string(i)).ok());
  EXPECT_EQ(checked(machine_.read("/many/file8")), "changed");
}

}  // namespace
}  // namespace teacup

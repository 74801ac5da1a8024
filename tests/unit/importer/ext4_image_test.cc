#include "host/importer/ext4_image.h"

#include <sys/stat.h>

#include <random>

#include "images/ext4_writer.h"
#include "tests/unit/importer/ask.h"

namespace teacup::importer {
namespace {

// An image opened, and how to ask it.
class Opened {
 public:
  explicit Opened(const std::string& path) : fd_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    image_ = Ext4Image::open(fd_, error);
  }
  ~Opened() { ::close(fd_); }
  bool ok() const { return image_ != nullptr; }
  int fd() const { return fd_; }
  Server server() {
    return [this](const abi::ImporterRequest& r, std::string_view name, std::span<std::byte> response) {
      return image_->serve(r, name, response);
    };
  }
  std::string error;

 private:
  int fd_;
  std::unique_ptr<Ext4Image> image_;
};

class Format : public testing::TestWithParam<const char*> {};

TEST_P(Format, ReadsWhatMke2fsWrites) {
  if (!have("mke2fs") || !have("debugfs")) GTEST_SKIP() << "no e2fsprogs";
  const Scratch scratch;
  make_image(scratch, GetParam(), scratch / "image");
  if (HasFatalFailure()) return;
  Opened image(scratch / "image");
  ASSERT_TRUE(image.ok()) << image.error;
  const Server server = image.server();

  Answer info(server, request(abi::ImporterOp::kInfo));
  ASSERT_GT(info.result, 0);
  EXPECT_EQ(info.records<abi::ImporterInfo>()[0].root, 2u);

  const auto root = list(server, 2);
  for (const char* name : {".", "..", "dir", "big", "short", "long", "empty", "tiny", "numbers", "sparse",
                           "lost+found", "x1", "node"}) {
    EXPECT_TRUE(root.contains(name)) << name;
  }
  EXPECT_EQ(root.at("short").target, "dir/file");
  EXPECT_EQ(root.at("long").target, std::string(200, 'x'));
  EXPECT_EQ(root.at("node").inode.device_major, 5u);
  EXPECT_EQ(root.at("node").inode.device_minor, 1u);
  EXPECT_EQ(root.at("..").inode.number, 2u);

  const auto big = list(server, root.at("big").inode.number);
  EXPECT_EQ(big.size(), 802u);
  EXPECT_EQ(list(server, root.at("big").inode.number, 1000).size(), 802u);

  struct stat st;
  ASSERT_EQ(::stat((scratch / "src/dir/file").c_str(), &st), 0);
  const auto dir = list(server, root.at("dir").inode.number);
  const abi::ImporterInode& file = dir.at("file").inode;
  EXPECT_EQ(file.mode, st.st_mode);
  EXPECT_EQ(file.links, 2u);
  EXPECT_EQ(file.uid, st.st_uid);
  EXPECT_EQ(file.size, 6u);
  EXPECT_EQ(file.modified.seconds, st.st_mtime);
  EXPECT_EQ(file.number, dir.at("hard").inode.number);

  for (const char* name : {"dir/file", "empty", "tiny", "numbers", "sparse"}) {
    const u64 inode = find(server, name);
    ASSERT_NE(inode, 0u) << name;
    const std::string want = images::slurp(scratch / (std::string("src/") + name));
    EXPECT_TRUE(content(server, inode) == want) << name;
    Answer attributes(server, request(abi::ImporterOp::kInode, inode));
    const abi::ImporterInode& record = attributes.records<abi::ImporterInode>()[0];
    if ((record.flags & abi::kDataByRead) == 0) {
      EXPECT_TRUE(content_by_extents(server, inode, image.fd()) == want) << name;
    } else {
      EXPECT_EQ(Answer(server, request(abi::ImporterOp::kExtents, inode)).result, -EOPNOTSUPP);
    }
  }
  Answer part(server, request(abi::ImporterOp::kRead, find(server, "sparse"), 999'998, 5));
  EXPECT_EQ(part.text(), std::string("\0\0mid", 5));

  Answer link(server, request(abi::ImporterOp::kReadLink, find(server, "long")));
  EXPECT_EQ(link.text(), std::string(200, 'x'));

  Answer attributes(server, request(abi::ImporterOp::kXattrs, find(server, "tiny")));
  ASSERT_GT(attributes.result, 0);
  abi::ImporterRecords<abi::ImporterXattr> records(attributes.response());
  const abi::ImporterXattr* color = records.next();
  ASSERT_NE(color, nullptr);
  EXPECT_EQ(color->name(), "user.color");
  EXPECT_EQ(color->value(), "blue");
  EXPECT_EQ(records.next(), nullptr);
  EXPECT_NE(list(server, 2).at("tiny").inode.flags & abi::kImporterHasXattrs, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Mke2fs, Format,
    testing::Values("-t ext4", "-t ext4 -b 1024", "-t ext3", "-t ext2", "-t ext2 -b 1024 -I 128",
                    "-t ext4 -O inline_data", "-t ext4 -O ^metadata_csum,^64bit -b 2048",
                    "-t ext4 -O metadata_csum_seed,ea_inode,large_dir,bigalloc -C 16384 -N 2048"));

TEST(Ext4Image, WhatTheWriterMakes) {
  const Scratch scratch;
  images::Tree tree = images::tree_of_everything(std::make_shared<images::Spool>());
  write_ext4(tree, scratch / "image", {});
  Opened image(scratch / "image");
  ASSERT_TRUE(image.ok()) << image.error;
  const Server server = image.server();
  std::map<std::string, std::map<std::string, Listed>> directories;
  directories[""] = list(server, 2);
  tree.walk([&](const std::string& path, const std::shared_ptr<images::Node>& node) {
    const size_t slash = path.rfind('/');
    const auto& siblings = directories.at(path.substr(0, slash));
    ASSERT_TRUE(siblings.contains(path.substr(slash + 1))) << path;
    const Listed& listed = siblings.at(path.substr(slash + 1));
    EXPECT_EQ(listed.error, 0u) << path;
    EXPECT_EQ(listed.inode.mode, node->mode()) << path;
    EXPECT_EQ(listed.inode.uid, node->uid) << path;
    EXPECT_EQ(listed.inode.gid, node->gid) << path;
    EXPECT_EQ(listed.inode.modified.seconds, node->mtime) << path;
    EXPECT_EQ(listed.inode.modified.nanoseconds, node->mtime_nsec) << path;
    EXPECT_EQ(listed.inode.device_major, node->device_major) << path;
    EXPECT_EQ(listed.inode.device_minor, node->device_minor) << path;
    EXPECT_EQ(listed.target, node->target) << path;
    if (node->is_directory()) directories[path] = list(server, listed.inode.number);
    if (node->type == images::NodeType::kRegular) {
      EXPECT_EQ(listed.inode.size, node->content.size);
      EXPECT_NE(listed.inode.flags & abi::kExtentsComplete, 0u);
    }
    u32 attributes = 0;
    if ((listed.inode.flags & abi::kImporterHasXattrs) != 0) {
      Answer answer(server, request(abi::ImporterOp::kXattrs, listed.inode.number));
      abi::ImporterRecords<abi::ImporterXattr> records(answer.response());
      while (const abi::ImporterXattr* record = records.next()) {
        ++attributes;
        EXPECT_EQ(node->xattrs[std::string(record->name())], record->value());
      }
    }
    EXPECT_EQ(attributes, node->xattrs.size()) << path;
  });
  const abi::ImporterInode& huge = directories.at("/sparse").at("huge").inode;
  EXPECT_EQ(huge.extent_count, 1u);
  EXPECT_EQ(huge.extents[0].file_offset, 5 * GiB);
  EXPECT_EQ(huge.extents[0].length, 4096u);
  EXPECT_TRUE(is_aligned(huge.extents[0].image_offset, 4096));
}

TEST(Ext4Image, BadRequestsAreRefused) {
  if (!have("mke2fs")) GTEST_SKIP() << "no e2fsprogs";
  const Scratch scratch;
  make_image(scratch, "-t ext4", scratch / "image");
  Opened image(scratch / "image");
  ASSERT_TRUE(image.ok()) << image.error;
  const Server server = image.server();
  const u64 file = find(server, "numbers");
  using Op = abi::ImporterOp;
  EXPECT_EQ(Answer(server, request(Op::kReadDirectory, file)).result, -ENOTDIR);
  EXPECT_EQ(Answer(server, request(Op::kRead, 2, 0, 10)).result, -EINVAL);
  EXPECT_EQ(Answer(server, request(Op::kReadLink, file)).result, -EINVAL);
  EXPECT_EQ(Answer(server, request(static_cast<Op>(99), file)).result, -EINVAL);
  for (const u64 inode : {0ULL, 1ULL, 7ULL, 8ULL, 1ULL << 31, ~0ULL, (1ULL << 32) + 2}) {
    for (u32 op = 2; op <= 8; ++op) {
      EXPECT_EQ(Answer(server, request(static_cast<Op>(op), inode)).result, -ENOENT) << inode << " " << op;
    }
  }
  EXPECT_EQ(Answer(server, request(Op::kInode, file), {}, 0).result, -ERANGE);
  EXPECT_EQ(Answer(server, request(Op::kInode, file), {}, 100).result, -ERANGE);
  EXPECT_EQ(Answer(server, request(Op::kReadDirectory, 2), {}, 100).result, -ERANGE);
  EXPECT_EQ(Answer(server, request(Op::kExtents, file), {}, 20).result, -ERANGE);
  EXPECT_EQ(Answer(server, request(Op::kRead, file, ~u64{0}, ~u64{0})).text(), "");
  EXPECT_EQ(Answer(server, request(Op::kRead, file, 0, ~u64{0})).text().size(),
            abi::kImporterSufficientResponse - sizeof(abi::ImporterResponse));
}

TEST(Ext4Image, SaysWhyItRefusesAnImage) {
  if (!have("mke2fs")) GTEST_SKIP() << "no e2fsprogs";
  const Scratch scratch;
  make_image(scratch, "-t ext4", scratch / "image");
  const auto error_after = [&](const std::string& change) {
    run("cd " + scratch.path() + " && cp image changed && " + change);
    return Opened(scratch / "changed").error;
  };
  EXPECT_EQ(error_after("true"), "");
  EXPECT_NE(error_after("debugfs -w -R 'feature needs_recovery' changed").find("e2fsck -fy"),
            std::string::npos);
  EXPECT_NE(error_after("mke2fs -q -F -O casefold changed").find("casefold"), std::string::npos);
  EXPECT_NE(error_after("debugfs -w -R 'feature FEATURE_I24' changed").find("FEATURE_I24"),
            std::string::npos);
  EXPECT_NE(error_after("truncate -s 20M changed").find("truncated"), std::string::npos);
  EXPECT_NE(error_after("truncate -s 1500 changed").find("too short"), std::string::npos);
  EXPECT_NE(error_after("dd if=/dev/zero of=changed bs=1 seek=1080 count=2 conv=notrunc").find("not an ext2"),
            std::string::npos);
  EXPECT_NE(error_after("dd if=/dev/urandom of=changed bs=1 seek=1200 count=9 conv=notrunc").find("damaged"),
            std::string::npos);
}

// Reads everything an image offers; whatever it answers is fine, as long as it answers.
void read_everything(const Server& server) {
  std::vector<u64> todo{2};
  std::vector<u64> seen{2};
  for (size_t asked = 0; !todo.empty() && asked < 400; ++asked) {
    const u64 inode = todo.back();
    todo.pop_back();
    u64 cursor = 0;
    for (int round = 0; round < 50; ++round) {
      Answer answer(server, request(abi::ImporterOp::kReadDirectory, inode, cursor));
      abi::ImporterRecords<abi::ImporterEntry> records(answer.response());
      while (const abi::ImporterEntry* entry = records.next()) {
        if (std::find(seen.begin(), seen.end(), entry->inode.number) != seen.end() || seen.size() > 300)
          continue;
        seen.push_back(entry->inode.number);
        if ((entry->inode.mode & S_IFMT) == S_IFDIR) todo.push_back(entry->inode.number);
      }
      cursor = answer.result > 0 ? answer.header().next : 0;
      if (cursor == 0) break;
    }
  }
  for (const u64 inode : seen) {
    Answer(server, request(abi::ImporterOp::kInode, inode));
    Answer(server, request(abi::ImporterOp::kExtents, inode));
    Answer(server, request(abi::ImporterOp::kRead, inode, 0, 64 * KiB));
    Answer(server, request(abi::ImporterOp::kReadLink, inode));
    Answer(server, request(abi::ImporterOp::kXattrs, inode));
  }
}

// Smoke, not a campaign: bytes changed where metadata are, in images without checksums to catch it.
TEST(Ext4Image, MutationsNeitherCrashNorHang) {
  const Scratch scratch;
  images::Tree tree;
  auto spool = std::make_shared<images::Spool>();
  for (int i = 0; i < 40; ++i)
    tree.insert("d/f" + std::to_string(i), images::file_node(*spool, pattern(3000, 1)));
  auto node = images::file_node(*spool, "x");
  node->xattrs["user.a"] = pattern(2000, 2);
  tree.insert("a", node);
  tree.insert("l", images::make_symlink(std::string(100, 'l')));
  write_ext4(tree, scratch / "image", {});
  for (const char* options : {"", "-O ^metadata_csum,^extents -t ext3", "-O inline_data,^metadata_csum"}) {
    std::string image = scratch / "image";
    if (*options != '\0') {
      if (!have("mke2fs")) break;
      make_image(scratch, options, scratch / "made");
      image = scratch / "made";
    } else {
      run("tune2fs -O ^metadata_csum " + image);
    }
    const int fd = ::open(image.c_str(), O_RDWR | O_CLOEXEC);
    std::string sample(1 * MiB, '\0');
    const ssize_t length = ::pread(fd, sample.data(), sample.size(), 0);
    ASSERT_GT(length, 0);
    sample.resize(static_cast<size_t>(length));
    std::vector<size_t> used;  // changing zeros rarely leads anywhere
    for (size_t i = 1024; i < sample.size(); ++i) {
      if (sample[i] != 0) used.push_back(i);
    }
    std::mt19937 random(1);
    for (int round = 0; round < 120; ++round) {
      std::vector<size_t> places;
      for (int change = 0; change < 8; ++change) {
        places.push_back(used[random() % used.size()]);
        const char byte = random() % 4 == 0 ? '\xff' : static_cast<char>(random());
        ASSERT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(places.back())), 1);
      }
      {
        Opened opened(image);
        if (opened.ok()) read_everything(opened.server());
      }
      for (const size_t place : places) {
        ASSERT_EQ(::pwrite(fd, &sample[place], 1, static_cast<off_t>(place)), 1);
      }
    }
    ::close(fd);
  }
}

}  // namespace
}  // namespace teacup::importer

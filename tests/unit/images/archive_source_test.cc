#include "images/archive_source.h"

#include "images/error.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

std::string content_of(const Node& node) {
  std::string text(node.content.size, 1);
  if (!text.empty()) {
    node.content.read(*node.content.store->open(), 0, std::as_writable_bytes(std::span(text)));
  }
  return text;
}

// A directory with what tar can hold, made by the host's own tools.
void make_sample(const Scratch& scratch) {
  run("cd " + scratch.path() +
      " && mkdir -p s/d && cd s && echo hello > d/file && chmod 4711 d/file && "
      "ln d/file hard && ln -s d/file soft && mkfifo fifo && "
      "printf x > $(printf 'bad\\377name') && printf y > naïve && "
      "printf z > $(printf 'n%.0s' $(seq 200)) && "
      "truncate -s 5M sparse && printf end >> sparse");
}

class Tar : public testing::TestWithParam<const char*> {};

TEST_P(Tar, ReadsWhatTarWrites) {
  const Scratch scratch;
  make_sample(scratch);
  int status = 0;
  const std::string said = run("cd " + (scratch / "s") + " && tar " + GetParam() +
                                   " --sparse --owner=build:1234 --group=staff:50 -cf ../out.tar .",
                               &status);
  ASSERT_EQ(status, 0) << said;
  Tree tree;
  add_tar(tree, scratch / "out.tar", std::make_shared<Spool>());
  ASSERT_NE(tree.find("d/file"), nullptr);
  EXPECT_EQ(content_of(*tree.find("d/file")), "hello\n");
  EXPECT_EQ(tree.find("d/file")->permissions, 04711);
  EXPECT_EQ(tree.find("d/file")->uid, 1234u);
  EXPECT_EQ(tree.find("d/file")->gid, 50u);
  EXPECT_EQ(tree.find("hard"), tree.find("d/file"));
  EXPECT_EQ(tree.find("soft")->target, "d/file");
  EXPECT_EQ(tree.find("fifo")->type, NodeType::kFifo);
  EXPECT_NE(tree.find("bad\xffname"), nullptr);
  EXPECT_NE(tree.find("naïve"), nullptr);
  EXPECT_NE(tree.find(std::string(200, 'n')), nullptr);
  const std::shared_ptr<Node> sparse = tree.find("sparse");
  ASSERT_NE(sparse, nullptr);
  EXPECT_EQ(sparse->content.size, 5 * MiB + 3);
  ASSERT_EQ(sparse->content.pieces.size(), 1u);
  EXPECT_GE(sparse->content.pieces[0].offset, 5 * MiB - 4096);
  EXPECT_EQ(content_of(*sparse).substr(5 * MiB), "end");
}

INSTANTIATE_TEST_SUITE_P(Formats, Tar,
                         testing::Values("--format=gnu", "--format=posix", "--format=gnu -z",
                                         "--format=posix -J"));

TEST(Tar, SaysWhatIsWrong) {
  const Scratch scratch;
  Tree tree;
  EXPECT_THROW(add_tar(tree, scratch / "missing", std::make_shared<Spool>()), Error);
  run("head -c 5000 /dev/urandom > " + (scratch / "noise"));
  EXPECT_THROW(add_tar(tree, scratch / "noise", std::make_shared<Spool>()), Error);
  EXPECT_THROW(add_deb(tree, scratch / "noise", std::make_shared<Spool>()), Error);
  run("cd " + scratch.path() +
      " && head -c 300000 /dev/urandom > big && tar czf t.tar.gz big && "
      "head -c 100000 t.tar.gz > cut.tar.gz");
  EXPECT_THROW(add_tar(tree, scratch / "cut.tar.gz", std::make_shared<Spool>()), Error);
}

TEST(Deb, ReadsTheDataMember) {
  if (!have("dpkg-deb")) GTEST_SKIP() << "no dpkg-deb";
  const Scratch scratch;
  int status = 0;
  const std::string said = run(
      "cd " + scratch.path() +
          " && mkdir -p p/DEBIAN p/usr/bin p/bin && "
          "printf 'Package: x\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n' "
          "> p/DEBIAN/control && echo tool > p/bin/tool && for z in xz gzip zstd; do "
          "dpkg-deb --root-owner-group -Z$z -b p $z.deb; done",
      &status);
  ASSERT_EQ(status, 0) << said;
  for (const char* name : {"xz.deb", "gzip.deb", "zstd.deb"}) {
    Tree tree;
    tree.insert("usr/bin", make_directory());
    tree.insert("bin", make_symlink("usr/bin"));
    add_deb(tree, scratch / name, std::make_shared<Spool>());
    ASSERT_NE(tree.find("usr/bin/tool"), nullptr) << name;
    EXPECT_EQ(content_of(*tree.find("usr/bin/tool")), "tool\n");
    EXPECT_EQ(tree.find("usr/bin/tool")->uid, 0u);
  }
}

}  // namespace
}  // namespace teacup::images

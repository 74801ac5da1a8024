#include "images/image_source.h"

#include "images/erofs_writer.h"
#include "images/error.h"
#include "images/ext4_writer.h"
#include "images/pack.h"
#include "images/squashfs_writer.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

Tree tree_from(std::initializer_list<std::string> images) {
  Tree tree;
  auto spool = std::make_shared<Spool>();
  for (const std::string& image : images) add_image(tree, *ImageReader::open(image), spool);
  return tree;
}

// What every format can hold.
Tree tree_for_all() {
  Tree tree = tree_of_everything(std::make_shared<Spool>());
  tree.find("long")->target.resize(3000);
  return tree;
}

TEST(ImageSource, AnImageGivesTheTreeThatItWasMadeOf) {
  const Scratch scratch;
  const Tree tree = tree_for_all();
  write_erofs(tree, scratch / "direct.erofs", {});
  write_ext4(tree, scratch / "direct.ext4", {});
  write_erofs(tree_from({scratch / "direct.erofs"}), scratch / "a", {});
  write_erofs(tree_from({scratch / "direct.ext4"}), scratch / "b", {});
  const std::string direct = slurp(scratch / "direct.erofs");
  EXPECT_TRUE(slurp(scratch / "a") == direct);
  EXPECT_TRUE(slurp(scratch / "b") == direct);
}

TEST(ImageSource, WhatHasToBeDecodedKeepsContentAndHoles) {
  const Scratch scratch;
  Tree tree = tree_for_all();
  tree.find("owned")->mtime_nsec = 0;
  tree.remove("sparse/huge");
  write_squashfs(tree, scratch / "image", {});
  const Tree read = tree_from({scratch / "image"});
  size_t nodes = 0;
  tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
    nodes++;
    const auto found = read.find(path);
    ASSERT_NE(found, nullptr) << path;
    EXPECT_EQ(found->mode(), node->mode()) << path;
    EXPECT_EQ(found->mtime, node->mtime) << path;
    EXPECT_EQ(found->target, node->target) << path;
    EXPECT_TRUE(found->xattrs == node->xattrs) << path;
    ASSERT_EQ(found->content.size, node->content.size) << path;
    if (node->content.size > 20 * MiB || node->content.size == 0) return;
    std::vector<std::byte> got(node->content.size), want(node->content.size);
    if (node->content.store) node->content.read(*node->content.store->open(), 0, want);
    if (found->content.store) found->content.read(*found->content.store->open(), 0, got);
    EXPECT_TRUE(got == want) << path;
  });
  size_t found = 0;
  read.walk([&](const std::string&, const auto&) { found++; });
  EXPECT_EQ(found, nodes);
  EXPECT_EQ(read.find("links/a"), read.find("other/c"));
  EXPECT_TRUE(read.find("sparse/hole")->content.pieces.empty());
  EXPECT_EQ(read.find("sparse/tail")->content.pieces.size(), 1u);
}

TEST(ImageSource, LayersHideWhatIsBelow) {
  const Scratch scratch;
  auto spool = std::make_shared<Spool>();
  Tree base;
  for (const char* name : {"kept", "gone", "replaced", "opaque/old", "merged/old", "was-link/file"}) {
    base.insert(name, file_node(*spool, "base"));
  }
  base.insert("link", make_symlink("merged"));
  write_erofs(base, scratch / "base", {});
  Tree layer;
  const auto whiteout = std::make_shared<Node>();
  whiteout->type = NodeType::kCharDevice;
  layer.insert("gone", whiteout);
  layer.insert("replaced", file_node(*spool, "layer"));
  layer.insert("merged/new", file_node(*spool, "layer"));
  auto opaque = make_directory();
  opaque->xattrs["trusted.overlay.opaque"] = "y";
  opaque->xattrs["user.other"] = "y";
  layer.insert("opaque", opaque);
  layer.insert("opaque/new", file_node(*spool, "layer"));
  layer.insert("link/inside", file_node(*spool, "layer"));  // a directory now
  write_erofs(layer, scratch / "layer", {});

  const Tree both = tree_from({scratch / "base", scratch / "layer"});
  std::string names;
  both.walk([&](const std::string& path, const auto&) { names += path + " "; });
  EXPECT_EQ(
      names,
      "/kept /link /link/inside /merged /merged/new /merged/old /opaque /opaque/new /replaced /was-link "
      "/was-link/file ");
  EXPECT_EQ(both.find("replaced")->content.size, 5u);
  EXPECT_EQ(both.find("opaque")->xattrs.size(), 1u);
  // A layer alone stays one.
  const Tree alone = tree_from({scratch / "layer"});
  EXPECT_EQ(alone.find("gone")->type, NodeType::kCharDevice);
  EXPECT_EQ(alone.find("opaque")->xattrs.size(), 2u);
}

TEST(ImageSource, PackTakesPinnedImagesOnly) {
  const Scratch scratch;
  write_erofs(Tree(), scratch / "image", {});
  PackOptions options;
  options.output = scratch / "out";
  options.sources = {(scratch / "image") + "@sha256:" + std::string(64, '0')};
  ASSERT_EQ(setenv("XDG_CACHE_HOME", (scratch / "cache").c_str(), 1), 0);
  EXPECT_THROW(pack(options), Error);
}

}  // namespace
}  // namespace teacup::images

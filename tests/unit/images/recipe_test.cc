#include "images/recipe.h"

#include "images/erofs_writer.h"
#include "images/error.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

void write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

TEST(Recipe, IncludesOnceAndKeepsTheOrder) {
  const Scratch scratch;
  write(scratch / "a.recipe", "on-demand\npackage one two # three\nsymlink /x y\n");
  write(scratch / "b.recipe", "include a a\nwithout four five\npackage four\nfile /f 0600\nhi # there\n.\n");
  const Recipe recipe = load_recipe(scratch.path(), "b");
  EXPECT_EQ(recipe.packages, (std::vector<std::string>{"one", "two", "four"}));
  EXPECT_EQ(recipe.without, std::vector<std::string>{"five"});
  ASSERT_EQ(recipe.statements.size(), 2u);
  EXPECT_EQ(recipe.statements[1].text, "hi # there\n");
  EXPECT_EQ(recipe.files.size(), 2u);
}

TEST(Recipe, SaysWhereAMistakeIs) {
  const Scratch scratch;
  write(scratch / "a.recipe", "\nsymlnik /x y\n");
  s64 time = 0;
  try {
    build_tree(load_recipe(scratch.path(), "a"), {}, scratch.path(), time);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a.recipe:2: unknown statement symlnik"), std::string::npos);
  }
  EXPECT_THROW(load_recipe(scratch.path(), "none"), Error);
  EXPECT_THROW(load_lock(scratch.path(), "a"), Error);
}

TEST(Recipe, SamePackagesSameBytes) {
  if (!have("dpkg-deb")) GTEST_SKIP() << "no dpkg-deb";
  const Scratch scratch;
  run("cd " + scratch.path() +
      " && mkdir -p p/DEBIAN p/bin p/usr/share/doc && echo doc > p/usr/share/doc/x && "
      "printf 'Package: x\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n' "
      "> p/DEBIAN/control && echo tool > p/bin/tool && dpkg-deb --root-owner-group -b p x.deb");
  write(
      scratch / "r.recipe",
      "merged-usr\ndrop /usr/share/doc\nalternative /usr/bin/t /usr/bin/tool\ncopy /bin/tool /etc/tool 0600\n"
      "directory /tmp 1777\nlinks /bin/tool /bin l1 l2\nfile /etc/f 0640\ntext\n.\n");
  for (const char* name : {"one", "two"}) {
    WriteOptions options;
    const Tree tree = build_tree(load_recipe(scratch.path(), "r"), {{"x", "1", "all", 0, "", "x.deb"}},
                                 scratch.path(), options.time);
    EXPECT_GT(options.time, 0);
    EXPECT_EQ(tree.find("usr/share/doc"), nullptr);
    EXPECT_EQ(tree.find("etc/alternatives/t")->target, "/usr/bin/tool");
    EXPECT_EQ(tree.find("etc/tool")->permissions, 0600);
    EXPECT_EQ(tree.find("usr/bin/l2")->target, "/bin/tool");
    write_erofs(tree, scratch / name, options);
  }
  EXPECT_TRUE(slurp(scratch / "one") == slurp(scratch / "two"));
}

}  // namespace
}  // namespace teacup::images

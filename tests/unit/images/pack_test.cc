#include "images/pack.h"

#include "images/error.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

TEST(Pack, SameSourcesSameBytesInEachFormat) {
  const Scratch scratch;
  run("cd " + scratch.path() +
      " && mkdir -p a/d b/d && echo one > a/d/f && ln a/d/f a/hard && echo two > b/d/f && ln -s d/f b/link "
      "&& "
      "tar -C b -cf b.tar .");
  for (const Format format : {Format::kErofs, Format::kSquashfs, Format::kExt4}) {
    PackOptions options;
    options.sources = {scratch / "a", scratch / "b.tar"};
    options.format = format;
    for (const char* name : {"one", "two"}) {
      options.output = scratch / name;
      pack(options);
    }
    const std::string image = slurp(scratch / "one");
    EXPECT_TRUE(image == slurp(scratch / "two"));
    if (format == Format::kSquashfs) continue;  // where nothing can be seen
    EXPECT_NE(image.find("two\n"), image.npos);
    EXPECT_NE(image.find("one\n"), image.npos);  // under its other name
  }
}

TEST(Pack, LeavesNothingBehindWhenItFails) {
  const Scratch scratch;
  PackOptions options;
  options.sources = {scratch / "missing"};
  options.output = scratch / "image";
  EXPECT_THROW(pack(options), Error);
  options.sources = {scratch.path()};
  EXPECT_THROW(pack(options), Error);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace
}  // namespace teacup::images

#include "images/sha256.h"

#include "images/probe.h"
#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

std::string hex(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.finish();
}

TEST(Sha256Test, KnownDigests) {
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256Test, EveryLengthAsTheHostsTool) {
  if (!have("sha256sum")) GTEST_SKIP();
  const Scratch scratch;
  for (const size_t size : {1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 121, 128, 1000, 3000000}) {
    const std::string text = pattern(size, 5);
    std::ofstream(scratch / "file", std::ios::binary) << text;
    const std::string expected = run("sha256sum < " + (scratch / "file")).substr(0, 64);
    EXPECT_EQ(hex(text), expected) << size;
    EXPECT_EQ(sha256_of(File::open_read(scratch / "file"), "file"), expected) << size;
    // In pieces.
    Sha256 hash;
    for (size_t at = 0; at < size; at += 61) hash.update(std::string_view(text).substr(at, 61));
    EXPECT_EQ(hash.finish(), expected) << size;
  }
}

TEST(ProbeTest, Pins) {
  const std::string hex_digits(64, 'a');
  EXPECT_EQ(split_pin("dir/image@sha256:" + hex_digits).path, "dir/image");
  EXPECT_EQ(split_pin("dir/image@sha256:" + hex_digits).digest, hex_digits);
  for (const std::string& name :
       {std::string("image"), "image@sha256:" + hex_digits.substr(1), "image@sha256:" + hex_digits + "a",
        "image@sha256:" + std::string(64, 'A'), std::string("user@host")}) {
    EXPECT_EQ(split_pin(name).path, name);
    EXPECT_EQ(split_pin(name).digest, "");
  }
}

}  // namespace
}  // namespace teacup::images

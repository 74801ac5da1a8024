#include "images/file.h"

#include <random>

#include "tests/unit/images/support.h"

namespace teacup::images {
namespace {

// What GatheredWrites leaves, over writes that follow one another with and without gaps, go back, and cross
// the ends of its pieces.
TEST(GatheredWrites, LeaveWhatWasWritten) {
  const Scratch scratch;
  std::mt19937 random(7);
  for (int round = 0; round < 5; round++) {
    OutputFile output(scratch / "out");
    std::string expected(5 * GatheredWrites::kPiece, '\0');
    output.set_size(expected.size());
    GatheredWrites writes(output.file(), "out");
    u64 offset = 0;
    while (offset + 2 * GatheredWrites::kPiece < expected.size()) {
      const u64 most = random() % 50 == 0 ? GatheredWrites::kPiece * 3 / 2 : 9000;
      const std::string piece(random() % most + 1, static_cast<char>('a' + random() % 26));
      writes.write(std::as_bytes(std::span(piece)), offset);
      expected.replace(offset, piece.size(), piece);
      offset += piece.size();
      if (random() % 2 == 0) offset += random() % 3000;
      if (random() % 100 == 0) offset += 100000;
    }
    const std::string head = "at the start, last";
    writes.write(std::as_bytes(std::span(head)), 0);
    expected.replace(0, head.size(), head);
    writes.flush();
    output.commit();
    EXPECT_EQ(slurp(scratch / "out"), expected) << round;
  }
}

TEST(CopyRange, CopiesAnyRange) {
  const Scratch scratch;
  std::mt19937 random(8);
  std::string content(3 * GatheredWrites::kPiece + 17, '\0');
  for (char& byte : content) byte = static_cast<char>(random());
  std::ofstream(scratch / "in", std::ios::binary) << content;
  const File from = File::open_read(scratch / "in");
  const u64 lengths[] = {0, 1, 4096, 70000, GatheredWrites::kPiece, content.size() - 5000};
  for (const u64 length : lengths) {
    for (const u64 at : {u64{0}, u64{4096}, u64{4999}}) {
      OutputFile output(scratch / "out");
      copy_range(from, at, output.file(), 2 * at, length, "in", "out");
      output.commit();
      EXPECT_EQ(slurp(scratch / "out").substr(std::min<u64>(2 * at, slurp(scratch / "out").size())),
                content.substr(at, length))
          << at << " " << length;
    }
  }
}

}  // namespace
}  // namespace teacup::images

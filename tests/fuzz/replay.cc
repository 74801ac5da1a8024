// Runs a fuzzer's function over files: all of the directories named, each with so many small changes too.
//   NAME_replay DIRECTORY... [--changes=N]
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

using teacup::u8;

namespace {

void change(std::vector<u8>& bytes, std::mt19937& random) {
  for (unsigned n = 1 + random() % 8; n > 0 && !bytes.empty(); n--) {
    // Structures lie in front, mostly.
    const size_t reach = random() % 2 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 4096);
    u8& byte = bytes[random() % reach];
    switch (random() % 4) {
      case 0:
        byte = static_cast<u8>(random());
        break;
      case 1:
        byte = static_cast<u8>(byte ^ (1U << random() % 8));
        break;
      case 2:
        byte = random() % 2 == 0 ? 0 : 0xff;
        break;
      default:
        byte = static_cast<u8>(byte + (random() % 2 == 0 ? 1 : -1));
        break;
    }
  }
  if (random() % 16 == 0) bytes.resize(random() % (bytes.size() + 1));
}

}  // namespace

int main(int argc, char** argv) {
  unsigned changes = 0;
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; i++) {
    if (std::sscanf(argv[i], "--changes=%u", &changes) == 1) continue;
    if (!std::filesystem::is_directory(argv[i])) continue;  // nothing was found yet
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::mt19937 random(1);
  unsigned long runs = 0;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::vector<u8> seed{std::istreambuf_iterator<char>(in), {}};
    std::fprintf(stderr, "%s\n", file.c_str());
    for (unsigned n = 0; n <= changes; n++) {
      std::vector<u8> bytes = seed;
      if (n > 0) change(bytes, random);
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
      runs++;
    }
  }
  std::printf("%lu runs of %zu files\n", runs, files.size());
  return files.empty() ? 1 : 0;
}

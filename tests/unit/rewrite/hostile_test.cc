// Whatever the bytes of a file, prepare() returns something sound: patches inside the text, disjoint, in a
// blob that its reader accepts.
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>
#include <random>

#include "rewrite/elf_object.h"
#include "rewrite/prepare.h"
#include "tests/unit/rewrite/elf_builder.h"

namespace teacup::rewrite {
namespace {

// TEACUP_MUTATIONS and TEACUP_SEED make soak tests of these: see scripts/soak.
unsigned mutations(unsigned usual) {
  const char* wanted = std::getenv("TEACUP_MUTATIONS");
  return wanted ? static_cast<unsigned>(std::atoi(wanted)) : usual;
}
unsigned seed(unsigned usual) {
  const char* wanted = std::getenv("TEACUP_SEED");
  return wanted ? usual + 16 * static_cast<unsigned>(std::atoi(wanted)) : usual;
}

std::vector<std::byte> read_file(const char* name) {
  std::ifstream in(name, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
  auto view = std::as_bytes(std::span(bytes));
  return {view.begin(), view.end()};
}

void expect_sound(const Prepared& prepared, size_t file_size) {
  u64 last = 0;
  for (const TextPatch& patch : prepared.patches) {
    EXPECT_GE(patch.address, last);
    last = patch.address + patch.bytes.size();
    EXPECT_LE(patch.file_offset + patch.bytes.size(), file_size);
    bool inside = false;
    for (const TextSegment& segment : prepared.segments) {
      inside |= patch.address >= segment.vaddr && last <= segment.vaddr + segment.file_size;
    }
    EXPECT_TRUE(inside);
  }
  if (prepared.status == abi::kPreparedPatched) {
    EXPECT_GE(prepared.trampoline_address, prepared.base + prepared.object_size);
  }
  std::vector<std::byte> blob = prepared.serialise();
  EXPECT_TRUE(abi::PreparedView::create(blob));
}

test::ElfBuilder sample() {
  test::ElfBuilder elf;
  for (int i = 0; i < 8; i++) {
    u64 begin = elf.here();
    elf.add({0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73, 0x01, 0xc3, 0xc3});
    elf.frame(begin, elf.here(), i % 2 ? test::kText + kPageSize : 0);
    elf.pad(elf.text.size() + 7, 0x90);
  }
  elf.data = {0xff, 0xff, 0x01, 0x04, 0x00, 0x01, 0x05, 0x00};
  elf.relocation(test::kText + 40);
  elf.function("f", test::kText, test::kText + 17);
  return elf;
}

TEST(Hostile, TruncatedAnywhere) {
  std::vector<std::byte> file = sample().build();
  for (size_t size = 0; size < file.size(); size += size < 512 ? 1 : 7) {
    std::vector<std::byte> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    expect_sound(prepare(cut), size);
  }
}

TEST(Hostile, MutatedAnywhere) {
  std::vector<std::byte> file = sample().build();
  ASSERT_GE(prepare(file).patches.size(), 8u);
  std::mt19937 random(seed(5));
  for (unsigned i = 0; i < mutations(6000); i++) {
    std::vector<std::byte> mutated = file;
    for (unsigned n = 1 + random() % 4; n > 0; n--) {
      // Mostly where there is something: headers, text, tables.
      size_t at = random() % 3 == 0 ? random() % 256
                  : random() % 2    ? test::kText + random() % 200
                                    : 2 * test::kText + random() % (file.size() - 8192);
      constexpr u64 kInteresting[] = {0,      1,     0x7f,       0x80,       0xff,      0xfff,
                                      0x1000, ~0ull, 1ull << 63, 1ull << 47, 0x7fffffff};
      u64 value = random() % 2 ? kInteresting[random() % 11] : random();
      size_t width = size_t{1} << random() % 4;
      std::memcpy(mutated.data() + at, &value, std::min(width, mutated.size() - at));
    }
    expect_sound(
        prepare(mutated,
                {.patch_cpuid = true, .patch_rdtsc = true, .count_others = true, .name_functions = true}),
        mutated.size());
  }
}

TEST(Hostile, MutatedDynamicLinker) {
  std::vector<std::byte> file = read_file("/lib64/ld-linux-x86-64.so.2");
  if (file.empty()) GTEST_SKIP() << "no dynamic linker here";
  std::mt19937 random(seed(6));
  for (unsigned i = 0; i < mutations(6000) / 60; i++) {
    std::vector<std::byte> mutated = file;
    for (unsigned n = 1 + random() % 64; n > 0; n--)
      mutated[random() % mutated.size()] = static_cast<std::byte>(random());
    if (i % 4 == 0) mutated.resize(random() % mutated.size());
    expect_sound(prepare(mutated), mutated.size());
  }
}

// The tables that the finder follows, in a real file: ELF headers, unwind tables, symbols, relocations.
TEST(Hostile, MutatedTables) {
  std::vector<std::byte> file = read_file("/lib64/ld-linux-x86-64.so.2");
  if (file.empty()) GTEST_SKIP() << "no dynamic linker here";
  std::string message;
  abi::PreparedStatus status{};
  auto object =
      ElfObject::create(Bytes(reinterpret_cast<const u8*>(file.data()), file.size()), status, message);
  ASSERT_TRUE(object) << message;
  struct Part {
    size_t offset, size;
  };
  std::vector<Part> parts = {{0, 64}, {64, 12 * 56}, {file.size() - 64 * 30, 64 * 30}};
  for (const char* name : {".eh_frame_hdr", ".eh_frame", ".gcc_except_table", ".dynsym", ".symtab",
                           ".rela.dyn", ".dynamic", ".gnu.hash"}) {
    Bytes bytes = object->section(name);
    if (bytes.empty()) continue;
    parts.push_back(
        {static_cast<size_t>(bytes.data() - reinterpret_cast<const u8*>(file.data())), bytes.size()});
  }
  std::mt19937 random(seed(7));
  for (unsigned i = 0; i < mutations(6000) / 20; i++) {
    std::vector<std::byte> mutated = file;
    for (unsigned n = 1 + random() % 8; n > 0; n--) {
      const Part& part = parts[random() % parts.size()];
      size_t at = part.offset + random() % part.size;
      u64 value = random() % 2 ? random() : ~u64{0} >> random() % 64;
      std::memcpy(mutated.data() + at, &value, std::min(size_t{1} << random() % 4, mutated.size() - at));
    }
    expect_sound(
        prepare(mutated, {.patch_cpuid = true, .patch_rdtsc = i % 2 == 0, .count_others = i % 3 == 0}),
        mutated.size());
  }
}

TEST(RealFiles, EverySiteOfTheCLibrary) {
  for (const char* name : {"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}) {
    std::vector<std::byte> file = read_file(name);
    if (file.empty()) GTEST_SKIP() << "no " << name << " here";
    Prepared prepared = prepare(file);
    expect_sound(prepared, file.size());
    EXPECT_EQ(prepared.status, abi::kPreparedPatched);
    for (const Site& site : prepared.sites) {
      EXPECT_FALSE(site.left_to_net())
          << name << ' ' << std::hex << site.address << ' ' << reason_text(site.reason);
    }
    EXPECT_FALSE(isa::holds_site(prepared.trampolines));
  }
}

}  // namespace
}  // namespace teacup::rewrite

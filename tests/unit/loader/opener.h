// Programs by name, for tests of the loader.
#pragma once

#include <gtest/gtest.h>
#include <cstring>
#include <map>
#include <string>

#include "kernel/abi/elf.h"
#include "loader/program.h"
#include "tests/unit/support/machine.h"
#include "tests/unit/support/test_file.h"

namespace teacup {

class TestOpener final : public ProgramOpener {
 public:
  explicit TestOpener(TestFileSystem& file_system) : file_system_(file_system) {}
  void add(const std::string& path, std::span<const std::byte> content) {
    files_[path].assign(content.begin(), content.end());
  }
  void add(const std::string& path, std::string_view text) { add(path, std::as_bytes(std::span(text))); }
  Result<Ref<fs::File>> open(std::string_view path) override {
    auto found = files_.find(std::string(path));
    if (found == files_.end()) return Errno::NOENT;
    opened.push_back(found->first);
    return open_test_file(file_system_, found->second, abi::kO_RDONLY);
  }
  std::vector<std::string> opened;

 private:
  TestFileSystem& file_system_;
  std::map<std::string, std::vector<std::byte>> files_;
};

// A program of one segment, to be bent.
struct TinyElf {
  abi::ElfHeader header{};
  std::vector<abi::ElfProgramHeader> segments;
  size_t size = 2 * kPageSize;

  explicit TinyElf(u16 type = abi::kET_EXEC, u64 base = 0x400000) {
    header.magic = abi::kElfMagic;
    header.elf_class = abi::kELFCLASS64;
    header.data = abi::kELFDATA2LSB;
    header.ident_version = 1;
    header.type = type;
    header.machine = abi::kEM_X86_64;
    header.phoff = sizeof(header);
    header.phentsize = sizeof(abi::ElfProgramHeader);
    header.entry = base + 0x800;
    segments.push_back(
        {abi::kPT_LOAD, abi::kPF_R | abi::kPF_X, 0, base, base, kPageSize, kPageSize, kPageSize});
  }
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> out(size);
    abi::ElfHeader counted = header;
    if (counted.phnum == 0) counted.phnum = static_cast<u16>(segments.size());
    std::memcpy(out.data(), &counted, sizeof(counted));
    std::memcpy(out.data() + sizeof(counted), segments.data(), segments.size() * sizeof(segments[0]));
    return out;
  }
};

class LoaderTest : public testing::Test {
 protected:
  Result<Ref<ProgramRequest>> prepare(const std::string& path,
                                      std::vector<std::string_view> arguments = {"a"},
                                      std::vector<std::string_view> environment = {}) {
    ProgramArguments program;
    program.file = TRY(opener_.open(path));
    program.path = path;
    program.arguments = StringSource::kernel(arguments);
    program.environment = StringSource::kernel(environment);
    return prepare_program(program, opener_);
  }
  static std::vector<std::string> strings(std::string_view block) {
    std::vector<std::string> split;
    for (size_t at = 0; at < block.size(); at += split.back().size() + 1)
      split.emplace_back(block.data() + at);
    return split;
  }

  TestMachine machine_;
  TestFileSystem file_system_;
  TestOpener opener_{file_system_};
};

}  // namespace teacup

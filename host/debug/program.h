// What the broker knows of a guest process for people with debuggers: the executable files it has mapped, and
// where. Made of a kernel's report (kernel/abi/debug.h), which is copied and checked first.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernel/abi/debug.h"
#include "rewrite/functions.h"
#include "rewrite/prepare.h"

namespace teacup::host {

// An executable file of the guest's, as a copy.
class ProgramFile {
 public:
  ProgramFile(std::string path, std::vector<std::byte> bytes);

  const std::string& path() const { return path_; }  // the guest's
  std::span<const std::byte> bytes() const { return bytes_; }
  bool is_elf() const { return object_.has_value(); }
  const rewrite::ElfObject& object() const { return *object_; }
  const rewrite::FunctionTable& functions() const { return *functions_; }
  // "main+0x12", as people write it; empty where no symbol says that it covers the address. With `is_return`
  // it is the address behind a call, which may be the last instruction of its function.
  std::string name(u64 address, bool is_return = false) const;
  // How the machine patches it.
  const rewrite::Prepared& prepared(u32 prepare_flags) const;
  // The address of a byte of the text's, by its file offset.
  std::optional<u64> text_address(u64 file_offset) const;

 private:
  std::string path_;
  std::vector<std::byte> bytes_;
  std::optional<rewrite::ElfObject> object_;
  std::unique_ptr<rewrite::FunctionTable> functions_;
  mutable std::optional<rewrite::Prepared> prepared_;
};

std::string demangled(std::string_view name);

struct ProgramMapping {
  u64 start = 0, end = 0, offset = 0, object_base = 0;
  u32 prot = 0;
  bool is_shared = false;
  bool is_trampolines = false;
  std::string name;
  std::shared_ptr<const ProgramFile> file;  // of text, and of trampolines
  u64 bias = 0;                             // with a file: run-time minus file address

  bool holds(u64 address) const { return address >= start && address < end; }
  bool is_text() const { return file && !is_trampolines; }
};

struct Program {
  abi::DebugReport head{};
  std::string name;
  std::vector<ProgramMapping> mappings;  // by address
  std::vector<std::byte> stack;          // from head.stack_address on

  const ProgramMapping* at(u64 address) const;
  // "main+0x12 (/usr/bin/true+0x1234)" of a text address; "?" of any other.
  std::string where(u64 address, bool is_return = false) const;
};

// Reads the pieces of a file into a buffer of its size. False: they cannot be read.
using ReadPieces = std::function<bool(std::span<const abi::PreparePiece> pieces, std::span<std::byte> into)>;

// Keeps files from one report to the next.
class ProgramReader {
 public:
  explicit ProgramReader(ReadPieces read_pieces) : read_pieces_(std::move(read_pieces)) {}

  // Nothing for a report that contradicts itself.
  std::optional<Program> read(std::span<const std::byte> report);

 private:
  std::shared_ptr<const ProgramFile> file(u64 key, u64 size, const std::string& path,
                                          std::span<const abi::PreparePiece> pieces);

  ReadPieces read_pieces_;
  std::unordered_map<u64, std::shared_ptr<const ProgramFile>> files_;
};

}  // namespace teacup::host

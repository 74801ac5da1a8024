#include "host/debug/program.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace teacup::host {

namespace {

// The entries of a report's table; nothing if they are not all in it.
template <typename T>
std::optional<std::vector<T>> table(std::span<const std::byte> report, abi::DebugTable place) {
  u64 size = u64{place.count} * sizeof(T);
  if (place.offset > report.size() || report.size() - place.offset < size) return std::nullopt;
  std::vector<T> entries(place.count);
  if (size > 0) std::memcpy(entries.data(), report.data() + place.offset, size);
  return entries;
}

std::string text_at(const std::vector<char>& strings, u32 offset) {
  if (offset >= strings.size()) return {};
  return std::string(strings.data() + offset, strnlen(strings.data() + offset, strings.size() - offset));
}

}  // namespace

std::string demangled(std::string_view name) {
  std::string plain(name.substr(0, name.find('@')));
  int status = 0;
  char* text =
      plain.starts_with("_Z") ? ::abi::__cxa_demangle(plain.c_str(), nullptr, nullptr, &status) : nullptr;
  if (text == nullptr) return std::string(name);
  std::string result = text;
  std::free(text);
  return result;
}

ProgramFile::ProgramFile(std::string path, std::vector<std::byte> bytes)
    : path_(std::move(path)), bytes_(std::move(bytes)) {
  abi::PreparedStatus status{};
  std::string message;
  std::span<const u8> file(reinterpret_cast<const u8*>(bytes_.data()), bytes_.size());
  object_ = rewrite::ElfObject::create(file, status, message);
  if (object_) functions_ = std::make_unique<rewrite::FunctionTable>(*object_);
}

std::string ProgramFile::name(u64 address, bool is_return) const {
  std::string name = functions_->name(address - is_return);
  size_t plus = name.rfind('+');
  // The last symbol before, with a question mark: as likely as not the name of something else.
  size_t end = std::min(plus, name.size());
  if (end == 0 || name[end - 1] == '?') return {};
  unsigned long long offset = plus < name.size() ? std::strtoull(name.c_str() + plus + 1, nullptr, 16) : 0;
  offset += is_return ? 1 : 0;
  char text[32] = "";
  if (offset > 0) std::snprintf(text, sizeof text, "+%#llx", offset);
  return demangled(name.substr(0, end)) + text;
}

const rewrite::Prepared& ProgramFile::prepared(u32 prepare_flags) const {
  if (!prepared_) {
    rewrite::Options options;
    options.patch_cpuid = (prepare_flags & abi::kPrepareCpuid) != 0;
    options.patch_rdtsc = (prepare_flags & abi::kPrepareClock) != 0;
    prepared_ = rewrite::prepare(bytes_, options);
  }
  return *prepared_;
}

std::optional<u64> ProgramFile::text_address(u64 file_offset) const {
  for (const rewrite::Segment& segment : object_->segments()) {
    u64 low = page_down(segment.file_offset);
    if (!segment.executable || file_offset < low || file_offset >= segment.file_offset + segment.file_size)
      continue;
    return segment.vaddr + (file_offset - segment.file_offset);
  }
  return std::nullopt;
}

const ProgramMapping* Program::at(u64 address) const {
  for (const ProgramMapping& mapping : mappings) {
    if (mapping.holds(address)) return &mapping;
  }
  return nullptr;
}

std::string Program::where(u64 address, bool is_return) const {
  const ProgramMapping* mapping = at(address - is_return);
  if (mapping == nullptr || !mapping->is_text()) return mapping ? "? (" + mapping->name + ")" : "?";
  std::string name = mapping->file->name(address - mapping->bias, is_return);
  char offset[32];
  std::snprintf(offset, sizeof offset, "+%#llx)", static_cast<unsigned long long>(address - mapping->bias));
  return (name.empty() ? "?" : name) + " (" + mapping->file->path() + offset;
}

std::optional<Program> ProgramReader::read(std::span<const std::byte> report) {
  Program program;
  if (report.size() < sizeof program.head) return std::nullopt;
  std::memcpy(&program.head, report.data(), sizeof program.head);
  const abi::DebugReport& head = program.head;
  program.name.assign(head.name, strnlen(head.name, sizeof head.name));
  auto mappings = table<abi::DebugMapping>(report, head.mappings);
  auto files = table<abi::DebugFile>(report, head.files);
  auto pieces = table<abi::PreparePiece>(report, head.pieces);
  auto strings = table<char>(report, head.strings);
  auto stack = table<std::byte>(report, head.stack);
  if (!mappings || !files || !pieces || !strings || !stack) return std::nullopt;
  program.stack = std::move(*stack);

  std::vector<std::shared_ptr<const ProgramFile>> known;
  for (const abi::DebugFile& entry : *files) {
    if (entry.first_piece > pieces->size() || pieces->size() - entry.first_piece < entry.piece_count)
      return std::nullopt;
    known.push_back(file(entry.key, entry.size, text_at(*strings, entry.name),
                         std::span(*pieces).subspan(entry.first_piece, entry.piece_count)));
  }
  for (const abi::DebugMapping& entry : *mappings) {
    ProgramMapping mapping{.start = entry.start,
                           .end = entry.end,
                           .offset = entry.offset,
                           .object_base = entry.object_base,
                           .prot = entry.prot,
                           .is_shared = entry.is_shared != 0,
                           .is_trampolines = entry.is_trampolines != 0,
                           .name = text_at(*strings, entry.name),
                           .file = entry.file < known.size() ? known[entry.file] : nullptr};
    auto address = mapping.file ? mapping.file->text_address(mapping.offset) : std::nullopt;
    if (address) {
      mapping.bias = mapping.start - *address;
    } else {
      mapping.file = nullptr;
    }
    program.mappings.push_back(std::move(mapping));
  }
  // Trampolines are their object's.
  for (ProgramMapping& trampolines : program.mappings) {
    if (!trampolines.is_trampolines) continue;
    for (const ProgramMapping& text : program.mappings) {
      if (!text.is_text() || text.object_base != trampolines.object_base) continue;
      trampolines.file = text.file;
      trampolines.bias = text.bias;
      break;
    }
  }
  return program;
}

std::shared_ptr<const ProgramFile> ProgramReader::file(u64 key, u64 size, const std::string& path,
                                                       std::span<const abi::PreparePiece> pieces) {
  auto& slot = files_[key];
  if (slot && slot->bytes().size() == size) return slot->is_elf() ? slot : nullptr;
  if (size > abi::kMaxPreparedFile) return nullptr;
  std::vector<std::byte> bytes(size);
  if (!read_pieces_(pieces, bytes)) return nullptr;
  slot = std::make_shared<ProgramFile>(path, std::move(bytes));
  return slot->is_elf() ? slot : nullptr;
}

}  // namespace teacup::host

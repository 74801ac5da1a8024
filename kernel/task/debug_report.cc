// The report is laid out in a sparse run of the arena: a table each for mappings, files, their pieces and
// strings, sized for the most there can be, since room that is not written to costs nothing. What is more
// than that is left out.
#include "kernel/task/debug_report.h"

#include <algorithm>

#include "fs/inode.h"
#include "fs/path.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/debug.h"
#include "kernel/abi/mm.h"
#include "kernel/base/memory.h"
#include "kernel/frame/pages.h"
#include "kernel/sync/doorbell.h"
#include "kernel/task/process.h"
#include "kernel/uaccess/guest.h"

namespace teacup {

namespace {

constexpr u32 kMostMappings = 8192, kMostFiles = 1024, kMostPieces = 65536;
constexpr u32 kStringBytes = MiB, kStackBytes = MiB;
constexpr u64 kRedZone = 128;

constexpr u32 kMappingsAt = kPageSize;
constexpr u32 kFilesAt = kMappingsAt + kMostMappings * sizeof(abi::DebugMapping);
constexpr u32 kPiecesAt = kFilesAt + kMostFiles * sizeof(abi::DebugFile);
constexpr u32 kStringsAt = kPiecesAt + kMostPieces * sizeof(abi::PreparePiece);
constexpr u32 kStackAt = kStringsAt + kStringBytes;
constexpr u32 kReportBytes = kStackAt + kStackBytes;

class ReportMaker {
 public:
  ReportMaker(Task& task, PageRun run) : task_(task), run_(run) {}

  abi::DebugReport& head() { return *reinterpret_cast<abi::DebugReport*>(run_.address()); }

  void begin(abi::DebugReason reason) {
    abi::DebugReport& report = head();
    report.reason = reason;
    report.host_pid = task_.memory->host_pid.load(std::memory_order_relaxed);
    report.pid = task_.pid();
    report.tid = task_.tid;
    memcpy(report.name, task_.name, sizeof report.name);
    report.mappings = {kMappingsAt, 0};
    report.files = {kFilesAt, 0};
    report.pieces = {kPiecesAt, 0};
    report.strings = {kStringsAt, 1};  // the empty one
    report.stack = {kStackAt, 0};
  }

  void add_mappings(bool only_text) {
    u64 address = 0;
    while (head().mappings.count < kMostMappings) {
      auto next = task_.memory->next_mapping(address, true);
      if (!next.ok()) break;
      const mm::MappingInfo& info = next.value();
      address = info.end;
      bool is_text = (info.prot & abi::kPROT_EXEC) != 0 && (info.file || info.is_trampolines);
      if (is_text || (!only_text && !info.is_trampolines)) add_mapping(info);
    }
  }

  // The stack from the red zone on, as far as it can be read.
  void add_stack(u64 rsp) {
    u64 at = rsp - std::min(rsp, kRedZone);
    head().stack_address = at;
    u32& count = head().stack.count;
    auto* into = reinterpret_cast<u8*>(run_.address() + kStackAt);
    while (count < kStackBytes) {
      u64 piece = std::min<u64>(kPageSize - (at + count) % kPageSize, kStackBytes - count);
      if (!copy_from_guest(into + count, at + count, piece).ok()) break;
      count += static_cast<u32>(piece);
    }
  }

  void send() { (void)ring_call(abi::RingOp::kDebug, run_.offset, kReportBytes); }

 private:
  template <typename T>
  T& entry(u32 table, u32 index) {
    return *(reinterpret_cast<T*>(run_.address() + table) + index);
  }

  void add_mapping(const mm::MappingInfo& info) {
    bool is_text = info.file && (info.prot & abi::kPROT_EXEC) != 0;
    u32 name = info.name != nullptr ? add_text(info.name) : info.file ? add_path(*info.file) : 0;
    u32 file = is_text ? add_file(*info.file, name) : abi::kNoDebugFile;
    entry<abi::DebugMapping>(kMappingsAt, head().mappings.count++) = {
        info.start, info.end, info.offset,         info.object_base, file,
        info.prot,  name,     info.is_trampolines, info.shared,      0};
  }

  u32 add_text(std::string_view text) {
    u32 at = head().strings.count;
    if (kStringBytes - at <= text.size()) return 0;
    memcpy(&entry<char>(kStringsAt, at), text.data(), text.size());
    head().strings.count += static_cast<u32>(text.size()) + 1;
    return at;
  }

  u32 add_path(fs::File& file) {
    constexpr size_t kLongest = 4096 + 32;
    u32 at = head().strings.count;
    if (kStringBytes - at < kLongest) return 0;
    TextBuffer text({&entry<char>(kStringsAt, at), kLongest});
    const fs::Path* path = file.path();
    if (path == nullptr || !*path || !fs::path_text(*path, task_.fs->root(), text).ok()) file.describe(text);
    head().strings.count += static_cast<u32>(text.length()) + 1;
    return at;
  }

  u32 add_file(fs::File& file, u32 name) {
    fs::Inode* inode = file.inode();
    if (inode == nullptr || !inode->is_regular()) return abi::kNoDebugFile;
    u64 key = reinterpret_cast<u64>(inode) ^ inode->version.load(std::memory_order_acquire) << 48;
    u32 count = head().files.count;
    for (u32 i = 0; i < count; i++) {
      if (entry<abi::DebugFile>(kFilesAt, i).key == key) return i;
    }
    u64 size = inode->size.load(std::memory_order_relaxed);
    if (count == kMostFiles || size > abi::kMaxPreparedFile) return abi::kNoDebugFile;
    u32 first = head().pieces.count;
    if (!add_pieces(file, size)) {
      head().pieces.count = first;
      return abi::kNoDebugFile;
    }
    head().files.count++;
    entry<abi::DebugFile>(kFilesAt, count) = {key, size, name, first, head().pieces.count - first, 0};
    return count;
  }

  bool add_pieces(fs::File& file, u64 size) {
    for (u64 at = 0; at < size;) {
      fs::MapPiece some[16];
      auto count = file.map_pieces(at, page_up(size) - at, false, some);
      if (!count.ok() || count.value() == 0) return false;
      for (size_t i = 0; i < count.value(); i++) {
        u32& pieces = head().pieces.count;
        if (pieces == kMostPieces || some[i].fd < 0) return false;
        entry<abi::PreparePiece>(kPiecesAt, pieces++) = {some[i].fd, 0, some[i].host_offset, some[i].length};
        at += some[i].length;
      }
    }
    return true;
  }

  Task& task_;
  PageRun run_;
};

bool is_wanted(u32 flag) {
  return (abi::boot_config().debug & flag) != 0;
}

template <typename Fill>
void report(Task& task, abi::DebugReason reason, Fill fill) {
  auto run = allocate_run(page_up(kReportBytes) / kPageSize);
  if (!run.ok()) return;
  ReportMaker maker(task, run.value());
  maker.begin(reason);
  fill(maker);
  maker.send();
  release_run(run.value());
}

}  // namespace

void report_maps(Task& task) {
  if (!is_wanted(abi::kDebugMaps)) return;
  report(task, abi::DebugReason::kMaps, [](ReportMaker& maker) { maker.add_mappings(true); });
}

void report_crash(Task& task, const abi::SigInfo& info, const abi::SigContext& registers) {
  if (!is_wanted(abi::kDebugCrashes)) return;
  report(task, abi::DebugReason::kCrash, [&](ReportMaker& maker) {
    maker.head().info = info;
    maker.head().registers = registers;
    maker.add_mappings(false);
    maker.add_stack(registers.rsp);
  });
}

}  // namespace teacup

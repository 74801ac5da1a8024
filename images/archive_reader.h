// Archives as libarchive reads them, entry by entry. Which process it does so in: archive_process.h.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "images/tree.h"

namespace teacup::images {

struct ArchiveEntry {
  std::string name;
  bool is_link = false;  // a further name of `target`
  NodeType type = NodeType::kRegular;
  u16 permissions = 0;
  u32 uid = 0;
  u32 gid = 0;
  s64 mtime = 0;
  u32 mtime_nsec = 0;
  u32 device_major = 0;
  u32 device_minor = 0;
  u64 size = 0;        // of a regular file: its data come next, without its holes
  std::string target;  // of a symlink, or of a link
  std::map<std::string, std::string, std::less<>> xattrs;
};

// Who is told of what an archive holds.
class ArchiveEntries {
 public:
  virtual ~ArchiveEntries() = default;
  virtual void entry(ArchiveEntry entry) = 0;
  // Of the last entry, a regular file.
  virtual void data(u64 offset, std::span<const std::byte> bytes) = 0;
};

enum class ArchiveKind : u8 { kTar, kDebianPackage };

// The archive's next bytes, as many as there are room and input for; 0: its end.
using ArchiveInput = std::function<size_t(std::span<std::byte>)>;

// Error, which says of `name` what is wrong. Tar archives may be compressed, by a codec that libarchive has
// itself: it never starts a program. Of a package it reads the data member.
void read_archive(ArchiveKind kind, const ArchiveInput& input, const std::string& name,
                  ArchiveEntries& entries);

}  // namespace teacup::images

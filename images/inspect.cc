#include "images/inspect.h"

#include <ext2fs/ext2_fs.h>
#include <sqfs/super.h>
#include <sys/stat.h>

#include <cstring>

#include "images/error.h"
#include "images/file.h"
#include "images/image_cache.h"
#include "images/probe.h"
#include "kernel/abi/erofs.h"

namespace teacup::images {

namespace {

constexpr u64 kExtSuperOffset = 1024;

template <typename T>
T load(const File& file, u64 offset, const std::string& name) {
  T value;
  file.read_at(std::as_writable_bytes(std::span(&value, 1)), offset, name);
  return value;
}

std::string text_of(const u8* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), ::strnlen(reinterpret_cast<const char*>(bytes), size)};
}

std::string uuid_of(const u8 (&uuid)[16]) {
  std::string text;
  for (size_t i = 0; i < sizeof uuid; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += "0123456789abcdef"[uuid[i] >> 4];
    text += "0123456789abcdef"[uuid[i] & 15];
  }
  return text;
}

void look_at_erofs(const File& file, const std::string& name, ImageFacts& facts) {
  using namespace erofs;
  const auto super = load<SuperBlock>(file, kSuperOffset, name);
  facts.block_size = super.block_bits < 32 ? u64{1} << super.block_bits : 0;
  facts.inodes = super.inodes;
  facts.time = static_cast<s64>(super.build_time);
  facts.label = text_of(super.volume_name, sizeof super.volume_name);
  facts.uuid = uuid_of(super.uuid);
  // Without configurations the field is the size of LZ4's window, where there is a compressed file at all.
  static constexpr const char* kAlgorithms[] = {"lz4", "lzma", "deflate", "zstd"};
  if ((super.feature_incompat & kIncompatCompressionConfigs) != 0) {
    for (size_t i = 0; i < std::size(kAlgorithms); i++) {
      if ((super.compression_algorithms >> i & 1) != 0) {
        facts.compression += (facts.compression.empty() ? "" : ", ") + std::string(kAlgorithms[i]);
      }
    }
  } else if ((super.feature_incompat & kIncompatZeroPadding) != 0) {
    facts.compression = "lz4";
  }
  struct Feature {
    u32 bit;
    const char* name;
  };
  static constexpr Feature kFeatures[] = {
      {kIncompatZeroPadding, "zero-padding"},    {kIncompatCompressionConfigs, "big-pclusters"},
      {kIncompatChunkedFile, "chunks"},          {kIncompatDeviceTable, "device-table"},
      {kIncompatTailPacking, "tail-packing"},    {kIncompatFragments, "fragments"},
      {kIncompatXattrPrefixes, "xattr-prefixes"}};
  for (const Feature& feature : kFeatures) {
    if ((super.feature_incompat & feature.bit) != 0) facts.features.emplace_back(feature.name);
  }
}

void look_at_ext(const File& file, const std::string& name, ImageFacts& facts) {
  const auto super = load<ext2_super_block>(file, kExtSuperOffset, name);
  const bool is_ext4 =
      (super.s_feature_incompat &
       (EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG)) != 0;
  const bool has_journal = (super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) != 0;
  facts.format = is_ext4 ? "ext4" : has_journal ? "ext3" : "ext2";
  facts.block_size = super.s_log_block_size < 32 ? u64{1024} << super.s_log_block_size : 0;
  facts.inodes = super.s_inodes_count - super.s_free_inodes_count;
  facts.time = super.s_mkfs_time;
  facts.label = text_of(super.s_volume_name, sizeof super.s_volume_name);
  facts.uuid = uuid_of(super.s_uuid);
}

void look_at_squashfs(const File& file, const std::string& name, ImageFacts& facts) {
  const auto super = load<sqfs_super_t>(file, 0, name);
  facts.block_size = super.block_size;
  facts.inodes = super.inode_count;
  facts.time = super.modification_time;
  static constexpr const char* kCompressors[] = {"unknown", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"};
  facts.compression = kCompressors[super.compression_id < std::size(kCompressors) ? super.compression_id : 0];
}

// What says how to run it was a layout in an archive.
bool says_how_to_run(const RunConfig& config) {
  return !config.command.empty() || !config.entrypoint.empty() || !config.environment.empty();
}

}  // namespace

ImageFacts inspect(const std::string& image) {
  const PinnedName pinned = split_pin(image);
  struct stat status {};
  if (::stat(pinned.path.c_str(), &status) != 0) throw_errno("cannot open " + pinned.path);
  PreparedImage prepared = prepare_image(pinned.path, pinned.digest);
  ImageFacts facts;
  if (S_ISREG(status.st_mode)) facts.size = static_cast<u64>(status.st_size);
  facts.compression = "none";
  facts.config = std::move(prepared.config);
  const auto look = [&](const std::string& path, auto how) {
    facts.compression.clear();
    how(File::open_read(path), path, facts);
    if (facts.compression.empty()) facts.compression = "none";
  };
  switch (probe(pinned.path)) {
    case Kind::kErofs:
      facts.format = "erofs";
      look(pinned.path, look_at_erofs);
      break;
    case Kind::kExt:
      look(pinned.path, look_at_ext);
      break;
    case Kind::kSquashfs:
      facts.format = "squashfs";
      look(pinned.path, look_at_squashfs);
      break;
    case Kind::kDirectory:
      facts.format = "directory";
      break;
    case Kind::kOciLayout:
      facts.format = "oci";
      facts.converted = prepared.path;
      break;
    case Kind::kArchive:
      facts.format = says_how_to_run(facts.config) ? "oci" : "tar";
      facts.converted = prepared.path;
      break;
    case Kind::kOther:
      refuse_other(pinned.path);
  }
  return facts;
}

}  // namespace teacup::images

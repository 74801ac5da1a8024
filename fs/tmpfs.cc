// tmpfs(5): the memory layer over nothing.
#include "fs/tmpfs.h"

#include "fs/layer_fs.h"

namespace teacup::fs {

namespace {

// Decimal with K, M, G, or % of the machine's memory; octal for modes. EINVAL.
Result<u64> parse_number(std::string_view text, unsigned base) {
  u64 value = 0;
  size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && static_cast<unsigned>(text[i] - '0') < base; i++) {
    if (value > ~u64{0} / 16) return Errno::INVAL;
    value = value * base + static_cast<u64>(text[i] - '0');
  }
  if (i == 0) return Errno::INVAL;
  if (i == text.size()) return value;
  if (base != 10 || i + 1 != text.size()) return Errno::INVAL;
  switch (text[i]) {
    case 'k':
    case 'K':
      return value * KiB;
    case 'm':
    case 'M':
      return value * MiB;
    case 'g':
    case 'G':
      return value * GiB;
    case '%':
      return limit_pages() * kPageSize / 100 * value;
    default:
      return Errno::INVAL;
  }
}

Result<Ref<FileSystem>> mount_tmpfs(std::string_view, std::string_view data) {
  u64 size = ~u64{0};
  u64 mode = 01777;
  u64 uid = 0;
  u64 gid = 0;
  while (!data.empty()) {
    size_t comma = std::min(data.find(','), data.size());
    std::string_view option = data.substr(0, comma);
    data = data.substr(std::min(comma + 1, data.size()));
    size_t equals = option.find('=');
    if (equals == std::string_view::npos) {
      if (!option.empty() && option != "noswap" && option != "inode64" && option != "inode32")
        return Errno::INVAL;
      continue;
    }
    std::string_view key = option.substr(0, equals);
    std::string_view value = option.substr(equals + 1);
    if (key == "size") {
      size = page_up(TRY(parse_number(value, 10)));
    } else if (key == "nr_blocks") {
      size = TRY(parse_number(value, 10)) * kPageSize;
    } else if (key == "mode") {
      mode = TRY(parse_number(value, 8));
    } else if (key == "uid") {
      uid = TRY(parse_number(value, 10));
    } else if (key == "gid") {
      gid = TRY(parse_number(value, 10));
    } else if (key != "nr_inodes" && key != "huge" && key != "mpol") {
      return Errno::INVAL;
    }
  }
  auto layer =
      TRY(LayerFs::create("tmpfs", static_cast<u32>(abi::kTMPFS_MAGIC), nullptr, static_cast<u32>(mode)));
  if (size != ~u64{0} && size != 0) layer->budget().limit = size / kPageSize;
  Ref<Inode> root = TRY(layer->root());
  root->uid = static_cast<u32>(uid);
  root->gid = static_cast<u32>(gid);
  return Ref<FileSystem>(std::move(layer));
}

constexpr FileSystemType kTmpfs{"tmpfs", mount_tmpfs};
constexpr FileSystemType kRamfs{"ramfs", mount_tmpfs};

}  // namespace

void register_tmpfs() {
  register_file_system(kTmpfs);
  register_file_system(kRamfs);
}

}  // namespace teacup::fs

#include "images/tar_writer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <unordered_map>

#include "images/error.h"

namespace teacup::images {

namespace {

constexpr size_t kBlock = 512;
constexpr u64 kOctal11 = u64{1} << 33;  // what eleven octal digits hold is below it
constexpr u64 kOctal7 = u64{1} << 21;

struct Header {  // ustar, POSIX.1-1988
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char type;
  char target[100];
  char magic[6];
  char version[2];
  char user[32];
  char group[32];
  char major[8];
  char minor[8];
  char prefix[155];
  char pad[12];
};
static_assert(sizeof(Header) == kBlock);

void put_octal(char* field, size_t size, u64 value) {
  std::snprintf(field, size, "%0*llo", static_cast<int>(size - 1), static_cast<unsigned long long>(value));
}

class Writer {
 public:
  Writer(const File& file, std::string name) : file_(file), name_(std::move(name)) {}

  void write(const Tree& tree) {
    add("./", tree.root());
    tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
      add("." + path + (node->is_directory() ? "/" : ""), *node);
    });
    put(std::vector<char>(2 * kBlock));
  }

 private:
  void put(std::span<const char> bytes) {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::write(file_.fd(), bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) throw_errno("cannot write " + name_);
      done += static_cast<size_t>(count);
    }
  }
  void pad(u64 size) { put(std::vector<char>((kBlock - size % kBlock) % kBlock)); }

  // "LENGTH KEY=VALUE\n", where the length counts itself.
  static void add_record(std::string& records, const std::string& key, const std::string& value) {
    const size_t rest = key.size() + value.size() + 3;
    size_t length = rest + std::to_string(rest).size();
    length = rest + std::to_string(length).size();
    records += std::to_string(length) + " " + key + "=" + value + "\n";
  }

  void put_header(Header& header) {
    std::memcpy(header.magic, "ustar", 6);
    std::memcpy(header.version, "00", 2);
    std::memset(header.checksum, ' ', sizeof header.checksum);
    unsigned sum = 0;
    for (const char byte : std::span(reinterpret_cast<const char*>(&header), sizeof header)) {
      sum += static_cast<unsigned char>(byte);
    }
    std::snprintf(header.checksum, sizeof header.checksum, "%06o", sum);
    put({reinterpret_cast<const char*>(&header), sizeof header});
  }

  // What the old header has no room for.
  std::string extended(const std::string& path, const Node& node, const std::string& target, u64 size) const {
    std::string records;
    if (path.size() > sizeof Header::name) add_record(records, "path", path);
    if (target.size() > sizeof Header::target) add_record(records, "linkpath", target);
    if (size >= kOctal11) add_record(records, "size", std::to_string(size));
    if (node.uid >= kOctal7) add_record(records, "uid", std::to_string(node.uid));
    if (node.gid >= kOctal7) add_record(records, "gid", std::to_string(node.gid));
    if (node.mtime_nsec != 0 || node.mtime < 0 || static_cast<u64>(node.mtime) >= kOctal11) {
      char fraction[16] = "";
      if (node.mtime_nsec != 0) std::snprintf(fraction, sizeof fraction, ".%09u", node.mtime_nsec);
      add_record(records, "mtime", std::to_string(node.mtime) + fraction);
    }
    for (const auto& [name, value] : node.xattrs) add_record(records, "SCHILY.xattr." + name, value);
    return records;
  }

  void add(const std::string& path, const Node& node) {
    static const std::map<NodeType, char> kTypes = {
        {NodeType::kRegular, '0'},     {NodeType::kSymlink, '2'},   {NodeType::kCharDevice, '3'},
        {NodeType::kBlockDevice, '4'}, {NodeType::kDirectory, '5'}, {NodeType::kFifo, '6'}};
    const auto type = kTypes.find(node.type);
    if (type == kTypes.end()) return;
    const auto [first, fresh] = names_.try_emplace(&node, path);
    const bool is_link = !fresh && !node.is_directory();
    const std::string& target = is_link ? first->second : node.target;
    const u64 size = node.type == NodeType::kRegular && !is_link ? node.content.size : 0;
    if (const std::string records = extended(path, node, target, size); !records.empty()) {
      Header header{};
      std::memcpy(header.name, "./PaxHeaders", 12);
      put_octal(header.mode, sizeof header.mode, 0644);
      put_octal(header.size, sizeof header.size, records.size());
      header.type = 'x';
      put_header(header);
      put(records);
      pad(records.size());
    }
    Header header{};
    std::memcpy(header.name, path.data(), std::min(path.size(), sizeof header.name));
    std::memcpy(header.target, target.data(), std::min(target.size(), sizeof header.target));
    put_octal(header.mode, sizeof header.mode, node.permissions);
    put_octal(header.uid, sizeof header.uid, node.uid % kOctal7);
    put_octal(header.gid, sizeof header.gid, node.gid % kOctal7);
    put_octal(header.size, sizeof header.size, size % kOctal11);
    put_octal(header.mtime, sizeof header.mtime,
              node.mtime < 0 ? 0 : static_cast<u64>(node.mtime) % kOctal11);
    put_octal(header.major, sizeof header.major, node.device_major % kOctal7);
    put_octal(header.minor, sizeof header.minor, node.device_minor % kOctal7);
    header.type = is_link ? '1' : type->second;
    put_header(header);
    if (size > 0) put_content(node.content);
  }

  void put_content(const Content& content) {
    const std::shared_ptr<const File> store = content.store != nullptr ? content.store->open() : nullptr;
    std::vector<std::byte> buffer(std::min<u64>(content.size, 1 * MiB));
    for (u64 at = 0; at < content.size; at += buffer.size()) {
      const std::span<std::byte> part(buffer.data(), std::min<u64>(buffer.size(), content.size - at));
      std::fill(part.begin(), part.end(), std::byte{0});
      if (store != nullptr) content.read(*store, at, part);
      put({reinterpret_cast<const char*>(part.data()), part.size()});
    }
    pad(content.size);
  }

  const File& file_;
  std::string name_;
  std::unordered_map<const Node*, std::string> names_;
};

}  // namespace

void write_tar(const Tree& tree, const std::string& path) {
  if (path == "-") {
    const File out(::dup(STDOUT_FILENO));
    return Writer(out, "standard output").write(tree);
  }
  OutputFile out(path);
  Writer(out.file(), path).write(tree);
  out.commit();
}

}  // namespace teacup::images

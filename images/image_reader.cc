#include "images/image_reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "fs/filesystem.h"
#include "images/error.h"
#include "images/opened_image.h"
#include "kernel/frame/heap.h"

namespace teacup::images {

namespace {

constexpr u64 kMostBytes = u64{1} << 32;    // of a file read whole
constexpr size_t kMostPath = 65536;         // of what a walk goes into: a damaged image may have no end
constexpr size_t kMostEntries = 16u << 20;  // of a directory
constexpr int kMostLinks = 40;
constexpr u64 kFetched = 1 * MiB;  // at a time: what is compressed together is best decoded together

}  // namespace

ImageReader::ImageReader(std::string name, std::unique_ptr<OpenedImage> image)
    : name_(std::move(name)), image_(std::move(image)) {}
ImageReader::~ImageReader() = default;

std::unique_ptr<ImageReader> ImageReader::open(const std::string& image) {
  return std::unique_ptr<ImageReader>(new ImageReader(image, OpenedImage::open(image)));
}

const std::string& ImageReader::file() const {
  return image_->file();
}

void ImageReader::fail(int error, const std::string& what) const {
  std::string text = "cannot read " + what + " of " + name_ + ": ";
  if (error == EUCLEAN) throw Error(text + "the image is damaged there");
  throw Error(text + std::strerror(error));
}

u64 ImageReader::root() {
  const auto root = image_->image()->root();
  if (!root.ok()) fail(static_cast<int>(root.error()), "the root directory");
  return root.value().id;
}

ImageStat ImageReader::stat(u64 number) {
  const auto found = image_->image()->node(number);
  if (!found.ok()) fail(static_cast<int>(found.error()), "inode " + std::to_string(number));
  const fs::ImageNode& node = found.value();
  return {number,
          node.mode,
          node.uid,
          node.gid,
          node.nlink,
          fs::device_major(node.rdev),
          fs::device_minor(node.rdev),
          node.size,
          node.mtime.tv_sec,
          static_cast<u32>(node.mtime.tv_nsec)};
}

std::vector<ImageEntry> ImageReader::list(u64 directory) {
  struct Sink final : fs::ImageDirSink {
    bool add(std::string_view name, u64 id, u8, u64 next) override {
      taken++;
      last = next;
      entries.push_back({std::string(name), id});
      return entries.size() < kMostEntries;
    }
    u64 taken = 0;
    u64 last = 0;
    std::vector<ImageEntry> entries;
  } sink;
  for (u64 cursor = 0;;) {
    const u64 before = sink.taken;
    const auto read = image_->image()->read_directory(directory, sink, cursor);
    if (!read.ok()) fail(static_cast<int>(read.error()), "directory " + std::to_string(directory));
    if (sink.taken == before) break;
    if (sink.entries.size() >= kMostEntries) fail(EUCLEAN, "directory " + std::to_string(directory));
  }
  std::sort(sink.entries.begin(), sink.entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return std::move(sink.entries);
}

std::string ImageReader::link_target(u64 symlink) {
  char target[4096];
  const auto length = image_->image()->readlink(symlink, target);
  if (!length.ok()) fail(static_cast<int>(length.error()), "symlink " + std::to_string(symlink));
  return {target, length.value()};
}

std::map<std::string, std::string> ImageReader::xattrs(u64 node) {
  std::map<std::string, std::string> found;
  fs::Image& image = *image_->image();
  const auto unreadable = [&](Errno error) {
    fail(static_cast<int>(error), "attributes of " + std::to_string(node));
  };
  std::vector<char> names(64 * KiB);
  const auto length = image.list_xattrs(node, names);
  if (length.is(Errno::NOTSUP)) return found;
  if (!length.ok()) unreadable(length.error());
  const std::string_view all(names.data(), length.value());
  for (size_t at = 0; at < all.size();) {
    const std::string_view name = all.substr(at, all.find('\0', at) - at);
    at += name.size() + 1;
    std::string value(64 * KiB, '\0');
    const auto size = image.get_xattr(node, name, std::as_writable_bytes(std::span(value)));
    if (!size.ok()) unreadable(size.error());
    value.resize(size.value());
    found.emplace(name, std::move(value));
  }
  return found;
}

std::vector<ImagePiece> ImageReader::pieces(u64 file) {
  std::vector<ImagePiece> found;
  const u64 size = stat(file).size;
  for (u64 at = 0; at < size;) {
    const auto span = image_->image()->data(file, at);
    if (!span.ok()) fail(static_cast<int>(span.error()), "file " + std::to_string(file));
    const fs::ImageSpan& piece = span.value();
    const u64 length = std::min(piece.length, size - at);
    if (length == 0) fail(EUCLEAN, "file " + std::to_string(file));
    if (piece.kind == fs::ImageSpan::kMapped) found.push_back({at, length, piece.host_offset});
    if (piece.kind == fs::ImageSpan::kFetch) found.push_back({at, length, std::nullopt});
    at += length;
  }
  return found;
}

void ImageReader::read_at(u64 file, u64 offset, std::span<std::byte> bytes) {
  fs::Image& image = *image_->image();
  const auto unreadable = [&](Errno error) { fail(static_cast<int>(error), "file " + std::to_string(file)); };
  while (!bytes.empty()) {
    const auto span = image.data(file, offset);
    if (!span.ok()) unreadable(span.error());
    size_t length = std::min<u64>(span.value().length, bytes.size());
    switch (span.value().kind) {
      case fs::ImageSpan::kHole:
        std::memset(bytes.data(), 0, length);
        break;
      case fs::ImageSpan::kMapped:
        std::memcpy(bytes.data(), span.value().data, length);
        break;
      case fs::ImageSpan::kFetch: {
        // Whoever answers for a host directory reads straight into the arena.
        auto piece = HeapArray<std::byte>::create(std::min<u64>(length, kFetched));
        if (!piece.ok()) unreadable(piece.error());
        const auto got = image.fetch(file, offset, {piece.value().data(), piece.value().size()});
        if (!got.ok()) unreadable(got.error());
        length = std::min(got.value(), piece.value().size());
        std::memcpy(bytes.data(), piece.value().data(), length);
        break;
      }
    }
    if (length == 0) unreadable(Errno::UCLEAN);
    offset += length;
    bytes = bytes.subspan(length);
  }
}

u64 ImageReader::find(std::string_view path, bool follow) {
  const std::string asked(path);
  const auto refuse = [&](const std::string& why) {
    throw Error("'" + asked + "' in " + name_ + ": " + why);
  };
  std::vector<u64> above{root()};  // the directories from the root to where we are
  std::string rest(path);
  for (int links = 0; !rest.empty();) {
    const size_t slash = rest.find('/');
    const std::string name = rest.substr(0, slash);
    rest = slash == std::string::npos ? "" : rest.substr(slash + 1);
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      if (above.size() > 1) above.pop_back();
      continue;
    }
    if (!S_ISDIR(stat(above.back()).mode)) refuse("not a directory");
    const auto found = image_->image()->lookup(above.back(), name);
    if (found.is(Errno::NOENT)) refuse("no such file or directory");
    if (!found.ok()) fail(static_cast<int>(found.error()), "'" + name + "'");
    const ImageStat status = stat(found.value());
    if (!S_ISLNK(status.mode) || (!follow && rest.find_first_not_of('/') == std::string::npos)) {
      above.push_back(found.value());
      continue;
    }
    if (++links > kMostLinks) refuse("too many levels of symbolic links");
    const std::string target = link_target(found.value());
    if (target.starts_with('/')) above.resize(1);
    rest = target + "/" + rest;
  }
  if (asked.ends_with('/') && !S_ISDIR(stat(above.back()).mode)) refuse("not a directory");
  return above.back();
}

std::vector<ImageFile> ImageReader::files() {
  std::vector<ImageFile> found;
  std::set<u64> seen{root()};
  std::vector<std::pair<std::string, u64>> todo{{"", root()}};
  while (!todo.empty()) {
    const auto [path, directory] = std::move(todo.back());
    todo.pop_back();
    for (const ImageEntry& entry : list(directory)) {
      const ImageStat status = stat(entry.number);
      const std::string child = path + "/" + entry.name;
      if (S_ISDIR(status.mode)) {
        if (child.size() < kMostPath && seen.insert(entry.number).second)
          todo.emplace_back(child, entry.number);
      } else if (S_ISREG(status.mode) && seen.insert(entry.number).second) {
        found.push_back({child, entry.number, status.size});
      }
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return found;
}

std::vector<std::byte> ImageReader::read(const ImageFile& file, u64 size) {
  size = std::min(size, file.size);
  if (size > kMostBytes) throw Error(file.path + " of " + name_ + " is larger than 4 GiB");
  std::vector<std::byte> bytes(size);
  read_at(file.number, 0, bytes);
  return bytes;
}

}  // namespace teacup::images

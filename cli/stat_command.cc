// `teacup stat`: all that an image says of a file.
#include <sys/stat.h>

#include <cstdio>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/image_text.h"
#include "cli/parse.h"
#include "images/error.h"
#include "images/image_reader.h"

namespace teacup::cli {

namespace {

using images::ImageReader;
using images::ImageStat;
using Json = nlohmann::json;

// How much of a file is data, and how much of that lies in the image as it is: such pages are mapped, not
// copied.
struct Data {
  u64 bytes = 0;
  u64 mapped = 0;
};

Data data_of(ImageReader& reader, const ImageStat& status) {
  Data data;
  if (!S_ISREG(status.mode)) return data;
  for (const images::ImagePiece& piece : reader.pieces(status.number)) {
    data.bytes += piece.length;
    if (piece.image_offset) data.mapped += piece.length;
  }
  return data;
}

std::string printable(const std::string& value) {
  std::string text;
  for (const char c : value) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
    if (c < 32 || c == 127 || c == '\\') {
      text += escaped;
    } else {
      text += c;
    }
  }
  return text;
}

void print(ImageReader& reader, const Owners& owners, const std::string& path, const ImageStat& status,
           const std::string& target) {
  std::printf("  File: %s", path.c_str());
  if (S_ISLNK(status.mode)) std::printf(" -> %s", target.c_str());
  std::printf("\n  Size: %-15llu %s\n", static_cast<unsigned long long>(status.size),
              type_text(status.mode).c_str());
  std::printf(" Inode: %-15llu Links: %u", static_cast<unsigned long long>(status.number), status.links);
  if (S_ISCHR(status.mode) || S_ISBLK(status.mode)) {
    std::printf("     Device type: %u,%u", status.device_major, status.device_minor);
  }
  std::printf("\nAccess: (%04o/%s)  Uid: (%5u/%8s)   Gid: (%5u/%8s)\n", status.mode & 07777,
              mode_text(status.mode).c_str(), status.uid, owners.user(status.uid).c_str(), status.gid,
              owners.group(status.gid).c_str());
  std::printf("Modify: %s\n", time_text(status.mtime, status.mtime_nsec, true).c_str());
  if (S_ISREG(status.mode) && status.size > 0) {
    const Data data = data_of(reader, status);
    const u64 decoded = data.bytes - data.mapped;
    std::printf("  Data: %llu bytes mapped from the image, %llu decoded, %llu in holes\n",
                static_cast<unsigned long long>(data.mapped), static_cast<unsigned long long>(decoded),
                static_cast<unsigned long long>(status.size - data.bytes));
  }
  for (const auto& [name, value] : reader.xattrs(status.number)) {
    std::printf(" Xattr: %s=%s\n", printable(name).c_str(), printable(value).c_str());
  }
}

Json as_json(ImageReader& reader, const std::string& path, const ImageStat& status,
             const std::string& target) {
  Json json = stat_json(path, status, target);
  if (S_ISREG(status.mode)) {
    const Data data = data_of(reader, status);
    json["data"] = {
        {"mapped", data.mapped}, {"decoded", data.bytes - data.mapped}, {"holes", status.size - data.bytes}};
  }
  json["xattrs"] = Json::object();
  for (const auto& [name, value] : reader.xattrs(status.number))
    json["xattrs"][printable(name)] = printable(value);
  return json;
}

}  // namespace

int stat_command(const Arguments& arguments) {
  std::string image;
  std::vector<std::string> paths;
  bool follow = false, want_json = false;
  CommandLine line("stat",
                   "Shows what an image says of files: attributes, how they are stored, extended attributes.",
                   "teacup stat [OPTIONS] IMAGE [PATH...]",
                   "PATH is / if none is given. Exits with 1 if a path is not "
                   "in the image or cannot be read, 125 if the\nimage "
                   "cannot be used.");
  line.argument("IMAGE", image);
  line.arguments("PATH", paths);
  line.flag("-L,--dereference", follow, "follow a symbolic link, inside the image");
  line.flag("--json", want_json, "print JSON instead of text");
  if (const auto status = line.parse(arguments)) return *status;
  if (paths.empty()) paths.emplace_back("/");
  try {
    const auto reader = ImageReader::open(image);
    const Owners owners(*reader);
    Json all = Json::array();
    int result = 0;
    for (const std::string& path : paths) {
      try {
        const ImageStat status = reader->stat(reader->find(path, follow));
        const std::string target = S_ISLNK(status.mode) ? reader->link_target(status.number) : "";
        if (want_json) {
          all.push_back(as_json(*reader, path, status, target));
        } else {
          print(*reader, owners, path, status, target);
        }
      } catch (const images::Error& error) {
        fail("stat", {error.what()});
        result = 1;
      }
    }
    if (want_json) std::printf("%s\n", all.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return result;
  } catch (const images::Error& error) {
    return fail("stat", {error.what()});
  }
}

}  // namespace teacup::cli

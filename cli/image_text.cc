#include "cli/image_text.h"

#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <sstream>

#include "cli/colour.h"
#include "images/error.h"

namespace teacup::cli {

namespace {

using images::ImageReader;
using images::ImageStat;
using Json = nlohmann::json;

// The file, if it is there and of a size such files have.
std::string small_file(ImageReader& reader, const char* path) {
  constexpr u64 kMost = 1 * MiB;
  try {
    const u64 number = reader.find(path, true);
    const ImageStat status = reader.stat(number);
    if (!S_ISREG(status.mode) || status.size > kMost) return "";
    std::string text(status.size, '\0');
    reader.read_at(number, 0, std::as_writable_bytes(std::span(text)));
    return text;
  } catch (const images::Error&) {
    return "";
  }
}

// passwd(5), group(5): NAME:x:ID:…
std::map<u32, std::string> read_names(const std::string& text) {
  std::map<u32, std::string> names;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name, password, number;
    if (!std::getline(fields, name, ':') || !std::getline(fields, password, ':') ||
        !std::getline(fields, number, ':')) {
      continue;
    }
    char* end = nullptr;
    const unsigned long id = std::strtoul(number.c_str(), &end, 10);
    if (!name.empty() && end != number.c_str() && *end == '\0') names.emplace(static_cast<u32>(id), name);
  }
  return names;
}

std::string json_text(const std::string& text) {
  const std::string quoted = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(quoted).get<std::string>();
}

std::string hex(const std::string& text) {
  std::string digits;
  for (const unsigned char byte : text) {
    digits += "0123456789abcdef"[byte >> 4];
    digits += "0123456789abcdef"[byte & 15];
  }
  return digits;
}

}  // namespace

std::string mode_text(u32 mode) {
  std::string text = "?rwxrwxrwx";
  const std::map<u32, char> types = {{S_IFREG, '-'}, {S_IFDIR, 'd'}, {S_IFLNK, 'l'}, {S_IFCHR, 'c'},
                                     {S_IFBLK, 'b'}, {S_IFIFO, 'p'}, {S_IFSOCK, 's'}};
  if (const auto type = types.find(mode & S_IFMT); type != types.end()) text[0] = type->second;
  for (u32 bit = 0; bit < 9; bit++) {
    if ((mode >> bit & 1) == 0) text[9 - bit] = '-';
  }
  const auto special = [&](u32 bit, size_t at, char with, char without) {
    if ((mode & bit) != 0) text[at] = text[at] == 'x' ? with : without;
  };
  special(S_ISUID, 3, 's', 'S');
  special(S_ISGID, 6, 's', 'S');
  special(S_ISVTX, 9, 't', 'T');
  return text;
}

std::string type_text(u32 mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "regular file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symbolic link";
    case S_IFCHR:
      return "character device";
    case S_IFBLK:
      return "block device";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    default:
      return "unknown";
  }
}

std::string time_text(s64 seconds, u32 nanoseconds, bool full) {
  const time_t time = seconds;
  struct tm local {};
  if (::localtime_r(&time, &local) == nullptr) return std::to_string(seconds);
  char text[64];
  std::strftime(text, sizeof text, full ? "%Y-%m-%d %H:%M:%S" : "%Y-%m-%d %H:%M", &local);
  if (!full) return text;
  char zone[16], rest[32];
  std::strftime(zone, sizeof zone, "%z", &local);
  std::snprintf(rest, sizeof rest, ".%09u %s", nanoseconds, zone);
  return std::string(text) + rest;
}

std::string name_text(const std::string& name, u32 mode) {
  std::string text = name;
  if (::isatty(STDOUT_FILENO) == 1) {
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
    }
  }
  if (S_ISDIR(mode)) return paint(STDOUT_FILENO, Colour::BLUE, text);
  if (S_ISLNK(mode)) return paint(STDOUT_FILENO, Colour::CYAN, text);
  if (S_ISREG(mode) && (mode & 0111) != 0) return paint(STDOUT_FILENO, Colour::GREEN, text);
  return text;
}

Json stat_json(const std::string& path, const ImageStat& status, const std::string& target) {
  char permissions[8];
  std::snprintf(permissions, sizeof permissions, "%04o", status.mode & 07777);
  Json json = {{"name", json_text(path)}, {"type", type_text(status.mode)},
               {"mode", permissions},     {"uid", status.uid},
               {"gid", status.gid},       {"size", status.size},
               {"links", status.links},   {"inode", status.number},
               {"mtime", status.mtime},   {"mtime_nsec", status.mtime_nsec}};
  if (json["name"] != path) json["name_hex"] = hex(path);
  if (S_ISLNK(status.mode)) {
    json["target"] = json_text(target);
    if (json["target"] != target) json["target_hex"] = hex(target);
  }
  if (S_ISCHR(status.mode) || S_ISBLK(status.mode))
    json["device"] = {status.device_major, status.device_minor};
  return json;
}

Owners::Owners(ImageReader& reader)
    : users_(read_names(small_file(reader, "etc/passwd"))),
      groups_(read_names(small_file(reader, "etc/group"))) {}

std::string Owners::name_of(const Names& names, u32 id) {
  const auto found = names.find(id);
  return found == names.end() ? std::to_string(id) : found->second;
}

}  // namespace teacup::cli

// Files of images as text: what `teacup ls` and `teacup stat` print, as ls(1) and stat(1) would, and as JSON.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "images/image_reader.h"

namespace teacup::cli {

// "drwxr-xr-x".
std::string mode_text(u32 mode);
// "regular file", "directory", …
std::string type_text(u32 mode);
// In local time: "2026-01-02 03:04", with `full` "2026-01-02 03:04:05.123456789 +0000".
std::string time_text(s64 seconds, u32 nanoseconds, bool full);
// In colour where standard output takes it; on terminals control characters become '?'.
std::string name_text(const std::string& name, u32 mode);
// An object; `target` of a symlink. Bytes that are no UTF-8 become U+FFFD; the whole name is then in
// "name_hex".
nlohmann::json stat_json(const std::string& path, const images::ImageStat& status, const std::string& target);

// Names of users and groups, as the image's own passwd and group files have them.
class Owners {
 public:
  explicit Owners(images::ImageReader& reader);
  // The number where there is no name.
  std::string user(u32 id) const { return name_of(users_, id); }
  std::string group(u32 id) const { return name_of(groups_, id); }

 private:
  using Names = std::map<u32, std::string>;
  static std::string name_of(const Names& names, u32 id);
  Names users_, groups_;
};

}  // namespace teacup::cli

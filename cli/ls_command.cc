// `teacup ls`: lists what is in an image.
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/image_text.h"
#include "cli/parse.h"
#include "images/error.h"
#include "images/image_reader.h"

namespace teacup::cli {

namespace {

using images::ImageEntry;
using images::ImageReader;
using images::ImageStat;
using Json = nlohmann::json;

struct LsOptions {
  std::string image;
  std::vector<std::string> paths;
  bool names_only = false;
  bool recursive = false;
  bool directory = false;
  bool numeric = false;
  bool is_long = false;  // which it is anyway
  bool json = false;
};

class Lister {
 public:
  Lister(ImageReader& reader, const LsOptions& options) : reader_(reader), options_(options) {
    if (!options.numeric && !options.names_only && !options.json) owners_.emplace(reader);
  }

  // 0, or 1 if something could not be listed.
  int run() {
    std::vector<std::string> paths = options_.paths;
    if (paths.empty()) paths.emplace_back("/");
    headed_ = paths.size() > 1 || options_.recursive;
    int status = 0;
    for (const std::string& path : paths) {
      try {
        list(path);
      } catch (const images::Error& error) {
        fail("ls", {error.what()});
        status = 1;
      }
    }
    if (options_.json) std::printf("%s\n", all_.dump(2).c_str());
    return status;
  }

 private:
  struct Row {
    std::string name;
    ImageStat status;
    std::string target;
  };

  Row row(std::string name, u64 number) {
    Row row{std::move(name), reader_.stat(number), ""};
    if (S_ISLNK(row.status.mode)) row.target = reader_.link_target(number);
    return row;
  }

  void list(const std::string& path) {
    // As ls(1): a link on the command line is shown itself, unless it ends in a slash.
    const u64 number = reader_.find(path, path.ends_with('/'));
    const ImageStat status = reader_.stat(number);
    if (!S_ISDIR(status.mode) || options_.directory) {
      show({row(path, number)}, "");
      return;
    }
    std::vector<std::pair<std::string, u64>> todo{{path, number}};
    std::set<u64> seen{number};
    while (!todo.empty()) {
      const auto [name, directory] = std::move(todo.back());
      todo.pop_back();
      std::vector<Row> rows;
      for (const ImageEntry& entry : reader_.list(directory)) rows.push_back(row(entry.name, entry.number));
      show(rows, name);
      if (!options_.recursive) return;
      for (auto child = rows.rbegin(); child != rows.rend(); ++child) {
        if (!S_ISDIR(child->status.mode) || !seen.insert(child->status.number).second) continue;
        todo.emplace_back(name + (name.ends_with('/') ? "" : "/") + child->name, child->status.number);
      }
    }
  }

  // `directory` is what the rows lie in, empty for one named itself.
  void show(const std::vector<Row>& rows, const std::string& directory) {
    if (options_.json) {
      for (const Row& row : rows) {
        const std::string between = directory.empty() || directory.ends_with('/') ? "" : "/";
        all_.push_back(stat_json(directory + between + row.name, row.status, row.target));
      }
      return;
    }
    if (headed_ && !directory.empty()) {
      std::printf("%s%s:\n", shown_ ? "\n" : "", directory.c_str());
    }
    shown_ = true;
    if (options_.names_only) {
      for (const Row& row : rows) std::printf("%s\n", name_text(row.name, row.status.mode).c_str());
      return;
    }
    print_table(rows);
  }

  std::vector<std::string> columns(const Row& row) const {
    const ImageStat& status = row.status;
    const bool device = S_ISCHR(status.mode) || S_ISBLK(status.mode);
    return {std::to_string(status.links), owners_ ? owners_->user(status.uid) : std::to_string(status.uid),
            owners_ ? owners_->group(status.gid) : std::to_string(status.gid),
            device ? std::to_string(status.device_major) + ", " + std::to_string(status.device_minor)
                   : std::to_string(status.size)};
  }

  void print_table(const std::vector<Row>& rows) const {
    std::vector<std::vector<std::string>> table;
    std::vector<size_t> widths(4);
    for (const Row& row : rows) {
      table.push_back(columns(row));
      for (size_t i = 0; i < widths.size(); i++) widths[i] = std::max(widths[i], table.back()[i].size());
    }
    for (size_t i = 0; i < rows.size(); i++) {
      const Row& row = rows[i];
      const auto& cell = table[i];
      const auto width = [&](size_t column) { return static_cast<int>(widths[column]); };
      std::printf("%s %*s %-*s %-*s %*s %s %s", mode_text(row.status.mode).c_str(), width(0), cell[0].c_str(),
                  width(1), cell[1].c_str(), width(2), cell[2].c_str(), width(3), cell[3].c_str(),
                  time_text(row.status.mtime, row.status.mtime_nsec, false).c_str(),
                  name_text(row.name, row.status.mode).c_str());
      if (S_ISLNK(row.status.mode)) std::printf(" -> %s", name_text(row.target, S_IFREG).c_str());
      std::printf("\n");
    }
  }

  ImageReader& reader_;
  const LsOptions& options_;
  std::optional<Owners> owners_;
  Json all_ = Json::array();
  bool headed_ = false;
  bool shown_ = false;
};

}  // namespace

int ls_command(const Arguments& arguments) {
  LsOptions options;
  CommandLine line("ls",
                   "Lists files of an image, of any format that 'teacup run' takes, without running it.",
                   "teacup ls [OPTIONS] IMAGE [PATH...]",
                   "PATH is / if none is given. Exits with 1 if a path is not "
                   "in the image or cannot be read, 125 if the\nimage "
                   "cannot be used.");
  line.argument("IMAGE", options.image);
  line.arguments("PATH", options.paths);
  line.flag("-l,--long", options.is_long, "accepted: the list is long unless -1 is given");
  line.flag("-1,--names", options.names_only, "only names, one a line");
  line.flag("-R,--recursive", options.recursive, "directories below, too");
  line.flag("-d,--directory", options.directory, "directories themselves, not what is in them");
  line.flag("-n,--numeric", options.numeric, "numbers of users and groups, not the image's names for them");
  line.flag("--json", options.json, "print JSON instead of text");
  if (const auto status = line.parse(arguments)) return *status;
  try {
    const auto reader = ImageReader::open(options.image);
    return Lister(*reader, options).run();
  } catch (const images::Error& error) {
    return fail("ls", {error.what()});
  }
}

}  // namespace teacup::cli

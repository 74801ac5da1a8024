#include "images/pack.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "images/archive_source.h"
#include "images/directory_source.h"
#include "images/erofs_writer.h"
#include "images/error.h"
#include "images/ext4_writer.h"
#include "images/progress.h"

namespace teacup::images {

namespace {

bool is_debian_package(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char head[8] = {};
  in.read(head, sizeof(head));
  return std::string_view(head, sizeof(head)) == "!<arch>\n";
}

// The half-written image would be packed into itself.
void check_output_is_outside(const std::string& source, const std::string& output) {
  std::error_code error;
  const auto top = std::filesystem::weakly_canonical(source, error);
  const auto file = std::filesystem::weakly_canonical(output, error);
  if (std::mismatch(top.begin(), top.end(), file.begin(), file.end()).first == top.end()) {
    throw Error("the image " + output + " would lie inside " + source +
                ", which is packed into it; write it somewhere else");
  }
}

void add_source(Tree& tree, const std::string& source, const PackOptions& options,
                const std::shared_ptr<Spool>& spool) {
  if (source == "-") return add_tar(tree, "", spool);
  struct stat status;
  if (::stat(source.c_str(), &status) != 0) throw_errno("cannot read " + source);
  if (S_ISDIR(status.st_mode)) {
    check_output_is_outside(source, options.output);
    add_directory(tree, source, {.root_owned = options.root_owned});
  } else if (is_debian_package(source)) {
    add_deb(tree, source, spool);
  } else {
    add_tar(tree, source, spool);
  }
}

void for_each_node(Tree& tree, const auto& use) {
  use(tree.root());
  tree.walk([&](const std::string&, const std::shared_ptr<Node>& node) { use(*node); });
}

}  // namespace

void pack(const PackOptions& options) {
  Progress progress(options.progress);
  Tree tree;
  auto spool = std::make_shared<Spool>();
  spool->on_append = [&progress](u64 bytes) { progress.update("reading", bytes); };
  for (const std::string& source : options.sources) add_source(tree, source, options, spool);
  if (options.root_owned) for_each_node(tree, [](Node& node) { node.uid = node.gid = 0; });

  WriteOptions write;
  write.label = options.label;
  write.progress = [&progress](u64 done, u64 total) { progress.update("writing", done, total); };
  if (options.latest_time) {
    tree.clamp_times(*options.latest_time);
    write.time = *options.latest_time;
  } else {
    for_each_node(tree, [&write](Node& node) { write.time = std::max(write.time, node.mtime); });
  }
  if (options.format == Format::kErofs) {
    write_erofs(tree, options.output, write);
  } else {
    write_ext4(tree, options.output, write);
  }
}

}  // namespace teacup::images

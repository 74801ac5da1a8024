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
#include "images/image_reader.h"
#include "images/image_source.h"
#include "images/oci.h"
#include "images/probe.h"
#include "images/progress.h"
#include "images/slim.h"
#include "images/squashfs_writer.h"

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

// A tar archive may hold an OCI layout: then its layers are what is meant.
void add_archive(Tree& tree, const std::string& source, const std::shared_ptr<Spool>& spool) {
  const bool is_first = tree.root().children.empty();
  const bool had_layout = is_layout(*layout_in_tree(tree));
  add_tar(tree, source == "-" ? "" : source, spool);
  if (had_layout) return;
  Tree archive = tree;
  const auto files = layout_in_tree(archive);
  if (!is_layout(*files)) return;
  if (!is_first) throw Error(source + " is an OCI layout: give it first, or unpack it into a directory");
  tree = Tree();
  OciImage(*files, source, "").add_to(tree, spool);
}

void add_source(Tree& tree, const std::string& source, const PackOptions& options,
                const std::shared_ptr<Spool>& spool) {
  if (source == "-") return add_archive(tree, source, spool);
  const PinnedName pinned = split_pin(source);
  struct stat status;
  if (::stat(pinned.path.c_str(), &status) != 0) throw_errno("cannot read " + pinned.path);
  // What comes once, as <(COMMAND) in a shell, is not looked at first.
  if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)) return add_archive(tree, source, spool);
  switch (probe(pinned.path)) {
    case Kind::kErofs:
    case Kind::kExt:
    case Kind::kSquashfs:
    case Kind::kOciLayout:
      return add_image(tree, *ImageReader::open(source), spool);
    case Kind::kDirectory:
      check_output_is_outside(source, options.output);
      return add_directory(tree, source, {.root_owned = options.root_owned});
    default:
      break;
  }
  if (!pinned.digest.empty()) return add_image(tree, *ImageReader::open(source), spool);
  if (is_debian_package(source)) return add_deb(tree, source, spool);
  add_archive(tree, source, spool);
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
  if (!options.used.empty()) slim(tree, read_used_paths(options.used));
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
  switch (options.format) {
    case Format::kErofs:
      return write_erofs(tree, options.output, write);
    case Format::kSquashfs:
      return write_squashfs(tree, options.output, write,
                            options.compression.empty() ? kDefaultCompression : options.compression);
    case Format::kExt4:
      return write_ext4(tree, options.output, write);
  }
}

}  // namespace teacup::images

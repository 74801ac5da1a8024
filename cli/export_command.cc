// `teacup export`: a tree, or a part of it, as a tar archive or a directory.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/parse.h"
#include "images/directory_writer.h"
#include "images/error.h"
#include "images/file.h"
#include "images/image_reader.h"
#include "images/image_source.h"
#include "images/tar_writer.h"
#include "images/upper_source.h"

namespace teacup::cli {

namespace {

// Just what is at `path`: a directory becomes the root, anything else the only thing in it, whose name is
// given.
std::string keep_only(images::Tree& tree, const std::string& path) {
  const auto node = tree.find(path);
  if (node == nullptr) throw images::Error("there is no '" + path + "'");
  images::Tree part;
  std::string single;
  if (node->is_directory()) {
    part.insert("/", std::make_shared<images::Node>(*node));
    part.root().children = node->children;
  } else {
    single = std::filesystem::path(path).filename().string();
    part.insert(single, node);
  }
  tree = std::move(part);
  return single;
}

// Under another name beside it, and renamed when it is complete. `single`: the one file in the tree, which
// `path` becomes; a file that is there is replaced, a directory never.
void write_directory(const images::Tree& tree, const std::string& path, const std::string& single) {
  struct stat status;
  if (::lstat(path.c_str(), &status) == 0 && (single.empty() || S_ISDIR(status.st_mode)))
    throw images::Error(path + " is there already; name a directory that is not");
  images::check_replaceable(path);
  std::string name = path;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  std::string temporary = name + ".XXXXXX";
  if (::mkdtemp(temporary.data()) == nullptr) images::throw_errno("cannot make a directory beside " + path);
  try {
    images::write_directory(tree, temporary, {.owners = ::geteuid() == 0});
    if (!single.empty()) {
      if (::rename((temporary + "/" + single).c_str(), name.c_str()) != 0)
        images::throw_errno("cannot write " + name);
      ::rmdir(temporary.c_str());
    } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, name.c_str(), RENAME_NOREPLACE) != 0) {
      images::throw_errno("cannot give " + temporary + " the name " + name);
    }
  } catch (const images::Error&) {
    std::error_code ignored;
    std::filesystem::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace

int export_command(const Arguments& arguments) {
  std::vector<std::string> words;
  std::string upper;
  std::string path = "/";
  bool directory = false;
  CommandLine line("export", "Writes a tree, or a part of it, as a tar archive or a directory.",
                   "teacup export [OPTIONS] [IMAGE...] OUT",
                   "The tree is that of the images, the lowest first, and of "
                   "--upper's changes over them; with --upper, IMAGE... may "
                   "be\nleft out. OUT is a tar archive if its name ends in .tar "
                   "or is '-', for standard output; else a directory, "
                   "which\nmust not be there yet. Either appears complete, or "
                   "not at all. Owners, devices and trusted attributes are in "
                   "the\narchive; of a directory only root can set them.");
  line.arguments("OUT", words, {.required = true});
  line.option("--upper", upper, "UPPER", "with the changes of this file");
  line.option("--path", path, "PATH", "just this directory or file of the tree");
  line.flag("--directory", directory, "write a directory, or the file that PATH is, whatever OUT's name");
  if (const auto status = line.parse(arguments)) return *status;
  const std::string output = words.back();
  words.pop_back();
  if (upper.empty() && words.empty()) {
    return fail("export", {"there is nothing to export", "Name an image, or a file with --upper."});
  }
  try {
    images::Tree tree;
    auto spool = std::make_shared<images::Spool>();
    std::unique_ptr<images::UpperSource> source;
    if (!upper.empty()) {
      source = images::UpperSource::open(upper, words);
      if (!source->dropped().empty()) std::fprintf(stderr, "teacup export: %s\n", source->dropped().c_str());
      source->add_all(tree, spool);
    } else {
      for (const std::string& image : words)
        images::add_image(tree, *images::ImageReader::open(image), spool);
    }
    const std::string single = path != "/" ? keep_only(tree, path) : "";
    if (!directory && (output == "-" || output.ends_with(".tar"))) {
      images::write_tar(tree, output);
    } else {
      write_directory(tree, output, single);
    }
    return 0;
  } catch (const images::Error& error) {
    return fail("export", {error.what()});
  }
}

}  // namespace teacup::cli

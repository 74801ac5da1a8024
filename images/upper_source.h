// What --upper's file holds, read without running anything: by fs/, over the images it was made over.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "images/tree.h"

namespace teacup::images {

// As docker has them: 'A'dded, 'C'hanged, 'D'eleted.
struct UpperChange {
  char kind;
  std::string path;  // absolute
};

class UpperSource {
 public:
  // `images`: the lowest first, in place of those that the file names (they may have moved); they must be the
  // same. Error: what is wrong with the file or with them.
  static std::unique_ptr<UpperSource> open(const std::string& path, std::vector<std::string> images = {});
  virtual ~UpperSource() = default;

  // What of the file does not count, for the user; empty: nothing.
  virtual const std::string& dropped() const = 0;
  virtual const std::vector<std::string>& images() const = 0;
  // In byte order of paths, a directory before what is in it. A directory is changed if anything in it is.
  // What machines make themselves at their start (/etc/hosts, /proc) is left out, here and below.
  virtual std::vector<UpperChange> changes() = 0;
  // The changes alone, as a layer: whiteouts and opaque directories as overlayfs has them. Content goes to
  // `spool`.
  virtual void add_changes(Tree& tree, const std::shared_ptr<Spool>& spool) = 0;
  // The images and the changes over them: the tree as the next run would see it.
  virtual void add_all(Tree& tree, const std::shared_ptr<Spool>& spool) = 0;
};

}  // namespace teacup::images

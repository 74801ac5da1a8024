// Trees out of tar archives and Debian packages, read through libarchive. Owners come from the archive's
// metadata.
#pragma once

#include <memory>
#include <string>

#include "images/tree.h"

namespace teacup::images {

// Adds what a tar archive holds (plain or compressed; pax and GNU extensions; sparse files keep their holes).
// An empty path is standard input.
void add_tar(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool);

// Adds the files of a Debian binary package (deb(5)): its data member. Maintainer scripts are not run.
void add_deb(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool);

}  // namespace teacup::images

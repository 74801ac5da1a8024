// Leaves of a tree what runs of its program used.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "images/tree.h"

namespace teacup::images {

using UsedPaths = std::set<std::string, std::less<>>;

// What `teacup run --trace-files=FILE` wrote, of several runs together. Error: not to be read, or no such
// file.
UsedPaths read_used_paths(const std::vector<std::string>& files);

// Removes all that is not among `used`, or a directory on the way to it; the root stays. Paths that the tree
// does not have are what the run made itself. Error when none is in the tree: the run was of another image.
void slim(Tree& tree, const UsedPaths& used);

}  // namespace teacup::images

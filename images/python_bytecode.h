// Compiles a tree's Python modules as the package's own installation script would (py3compile).
#pragma once

#include <string>
#include <vector>

#include "images/tree.h"

namespace teacup::images {

// Runs `interpreter` (a path in the tree) on this host, out of a temporary copy of the tree and with the
// tree's own dynamic loader and libraries, and adds the __pycache__ directories it makes below each of
// `directories`; their times are `time`. Without this, every machine would compile the standard library again
// into its memory layer.
void add_python_bytecode(Tree& tree, const std::string& interpreter,
                         const std::vector<std::string>& directories, s64 time);

}  // namespace teacup::images

#include "images/slim.h"

#include <fstream>

#include "images/error.h"

namespace teacup::images {

namespace {

// Backslashes and control characters stand as three octal digits.
std::string unescaped(const std::string& line) {
  std::string text;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 3 < line.size()) {
      text += static_cast<char>((line[i + 1] - '0') << 6 | (line[i + 2] - '0') << 3 | (line[i + 3] - '0'));
      i += 3;
    } else {
      text += line[i];
    }
  }
  return text;
}

// Whether anything of it stays.
bool keep(Node& directory, const std::string& path, const UsedPaths& used) {
  for (auto at = directory.children.begin(); at != directory.children.end();) {
    const std::string child = path + "/" + at->first;
    const bool below = at->second->is_directory() && keep(*at->second, child, used);
    at = below || used.contains(child) ? std::next(at) : directory.children.erase(at);
  }
  return !directory.children.empty();
}

}  // namespace

UsedPaths read_used_paths(const std::vector<std::string>& files) {
  UsedPaths used;
  for (const std::string& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw_errno("cannot read " + file);
    for (std::string line; std::getline(in, line);) {
      if (!line.starts_with('/')) {
        throw Error(file + " is no list of files: make it with 'teacup run --trace-files=" + file +
                    " IMAGE CMD'");
      }
      used.insert(unescaped(line));
    }
  }
  return used;
}

void slim(Tree& tree, const UsedPaths& used) {
  if (!keep(tree.root(), "", used)) {
    throw Error("nothing of the image was used in the traced run: was that a run of another image?");
  }
}

}  // namespace teacup::images

// Recipes: how a sample image is made from Debian packages, as data. A recipe is a text file, NAME.recipe,
// one statement a line; '#' starts a comment. Maintainer scripts are never run: what they would have done and
// an image needs is said by statements.
//
//   include NAME…             take all of another recipe first
//   package NAME…             packages wanted; the resolver adds what they depend on
//   without NAME…             packages the resolver is not to add though something depends on them; until
//                             a later `package` wants one after all
//   on-demand                 scripts/images makes this image only when it is named
//   merged-usr                /bin, /sbin, /lib and /lib64 are symlinks into /usr
//   drop GLOB…                leave out paths (fnmatch(3), '*' crosses '/'), with what is below them
//   directory PATH MODE [UID GID]
//   symlink PATH TARGET
//   links TARGET DIRECTORY NAME…   symlinks of these names in the directory
//   alternative PATH TARGET   as update-alternatives: PATH → /etc/alternatives/NAME → TARGET
//   copy FROM PATH [MODE]     a file of the image, once more
//   file PATH MODE            the lines up to one that is a single '.' are its content
//   python-bytecode INTERPRETER DIRECTORY…
//                             compile the modules below each directory, by the image's own interpreter
//
// NAME.lock, written by `scripts/images --lock`, lists the packages exactly: one a line, `name version
// architecture size sha256 file`, in the order in which they are unpacked.
#pragma once

#include <string>
#include <vector>

#include "images/tree.h"

namespace teacup::images {

struct Recipe {
  struct Statement {
    std::string word;
    std::vector<std::string> arguments;
    std::string text;   // of `file`
    std::string where;  // file:line, for messages
  };
  std::string name;
  std::vector<std::string> packages;
  std::vector<std::string> without;
  std::vector<Statement> statements;  // the others, those of included recipes first
  std::vector<std::string> files;     // the recipe files read
};

struct LockedPackage {
  std::string name;
  std::string version;
  std::string architecture;
  u64 size;
  std::string sha256;
  std::string file;  // its name in the package cache
};

Recipe load_recipe(const std::string& directory, const std::string& name);
std::vector<LockedPackage> load_lock(const std::string& directory, const std::string& name);

// Makes the tree of a recipe from the .deb files in `packages_directory`, whose digests the caller has
// checked. `time` receives the newest time of any packaged file, which is also that of the files the recipe
// makes.
Tree build_tree(const Recipe& recipe, const std::vector<LockedPackage>& packages,
                const std::string& packages_directory, s64& time);

}  // namespace teacup::images

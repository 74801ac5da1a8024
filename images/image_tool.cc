// teacup-image: makes the sample images of images/recipes. scripts/images fetches the packages and calls it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "images/directory_writer.h"
#include "images/erofs_writer.h"
#include "images/error.h"
#include "images/ext4_writer.h"
#include "images/recipe.h"

namespace teacup::images {
namespace {

constexpr const char* kUsage =
    "usage: teacup-image build NAME --recipes DIR --packages DIR [--erofs FILE] [--ext4 FILE] [--tree DIR]\n"
    "       teacup-image packages NAME --recipes DIR     the packages wanted; those not wanted with a '-' "
    "before\n"
    "       teacup-image inputs NAME --recipes DIR       the files that make up the recipe\n";

struct Arguments {
  std::string verb, name, recipes, packages, erofs, ext4, tree;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  if (argc < 3) throw Error(kUsage);
  arguments.verb = argv[1];
  arguments.name = argv[2];
  for (int i = 3; i < argc; i += 2) {
    const std::string option = argv[i];
    if (i + 1 == argc) throw Error(kUsage);
    const std::string value = argv[i + 1];
    if (option == "--recipes") {
      arguments.recipes = value;
    } else if (option == "--packages") {
      arguments.packages = value;
    } else if (option == "--erofs") {
      arguments.erofs = value;
    } else if (option == "--ext4") {
      arguments.ext4 = value;
    } else if (option == "--tree") {
      arguments.tree = value;
    } else {
      throw Error(kUsage);
    }
  }
  return arguments;
}

void build(const Arguments& arguments, const Recipe& recipe) {
  WriteOptions options;
  const Tree tree =
      build_tree(recipe, load_lock(arguments.recipes, arguments.name), arguments.packages, options.time);
  options.label = recipe.name;
  if (!arguments.erofs.empty()) write_erofs(tree, arguments.erofs, options);
  if (!arguments.ext4.empty()) write_ext4(tree, arguments.ext4, options);
  if (!arguments.tree.empty()) write_directory(tree, arguments.tree, {.owners = true});
}

int run(int argc, char** argv) {
  const Arguments arguments = parse(argc, argv);
  const Recipe recipe = load_recipe(arguments.recipes, arguments.name);
  if (arguments.verb == "packages") {
    for (const std::string& name : recipe.packages) std::printf("%s\n", name.c_str());
    for (const std::string& name : recipe.without) std::printf("-%s\n", name.c_str());
  } else if (arguments.verb == "inputs") {
    for (const std::string& file : recipe.files) std::printf("%s\n", file.c_str());
  } else if (arguments.verb == "build") {
    build(arguments, recipe);
  } else {
    throw Error(kUsage);
  }
  return 0;
}

}  // namespace
}  // namespace teacup::images

int main(int argc, char** argv) {
  try {
    return teacup::images::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "teacup-image: %s\n", error.what());
    return 1;
  }
}

#include "images/recipe.h"

#include <fnmatch.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "images/archive_source.h"
#include "images/error.h"
#include "images/python_bytecode.h"

namespace teacup::images {

namespace {

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line.substr(0, line.find('#')));
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

void load_into(Recipe& recipe, const std::string& directory, const std::string& name) {
  const std::string path = directory + "/" + name + ".recipe";
  if (std::find(recipe.files.begin(), recipe.files.end(), path) != recipe.files.end()) return;
  std::ifstream in(path);
  if (!in) throw Error("there is no recipe " + name + " (" + path + ")");
  recipe.files.push_back(path);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::vector<std::string> words = words_of(line);
    if (words.empty()) continue;
    Recipe::Statement statement;
    statement.word = words[0];
    statement.where = path + ":" + std::to_string(number);
    words.erase(words.begin());
    if (statement.word == "include") {
      for (const std::string& included : words) load_into(recipe, directory, included);
    } else if (statement.word == "on-demand" && words.empty()) {
      continue;  // scripts/images looks for it
    } else if (statement.word == "package") {
      recipe.packages.insert(recipe.packages.end(), words.begin(), words.end());
      for (const std::string& package : words) std::erase(recipe.without, package);
    } else if (statement.word == "without") {
      recipe.without.insert(recipe.without.end(), words.begin(), words.end());
    } else {
      if (statement.word == "file") {
        for (++number; std::getline(in, line) && line != "."; ++number) statement.text += line + "\n";
      }
      statement.arguments = std::move(words);
      recipe.statements.push_back(std::move(statement));
    }
  }
}

class Builder {
 public:
  explicit Builder(const Recipe& recipe) : recipe_(recipe) {}

  Tree build(const std::vector<LockedPackage>& packages, const std::string& directory, s64& time);

 private:
  using Statement = Recipe::Statement;

  void merge_usr();
  void apply(const Statement& statement);
  void drop(const std::vector<std::string>& globs);
  void make_file(const std::string& path, const std::string& mode, const std::string& text);
  void copy(const Statement& statement);
  std::shared_ptr<Node> timed(std::shared_ptr<Node> node) const;
  static u16 parse_mode(const std::string& text) {
    return static_cast<u16>(std::stoul(text, nullptr, 8) & 07777);
  }

  const Recipe& recipe_;
  Tree tree_;
  std::shared_ptr<Spool> spool_ = std::make_shared<Spool>();
  s64 time_ = 0;
};

std::shared_ptr<Node> Builder::timed(std::shared_ptr<Node> node) const {
  node->mtime = time_;
  return node;
}

void Builder::merge_usr() {
  for (const char* name : {"bin", "sbin", "lib", "lib64"}) {
    const std::string target = std::string("usr/") + name;
    tree_.insert(target, make_directory());
    tree_.insert(name, make_symlink(target));
  }
}

void Builder::drop(const std::vector<std::string>& globs) {
  std::vector<std::string> doomed;
  tree_.walk([&](const std::string& path, const std::shared_ptr<Node>&) {
    for (const std::string& glob : globs) {
      if (::fnmatch(glob.c_str(), path.c_str(), 0) == 0) {
        doomed.push_back(path);
        break;
      }
    }
  });
  for (const std::string& path : doomed) tree_.remove(path);
}

void Builder::make_file(const std::string& path, const std::string& mode, const std::string& text) {
  auto node = std::make_shared<Node>();
  node->permissions = parse_mode(mode);
  spool_->append(node->content, 0, std::as_bytes(std::span(text)));
  tree_.insert(path, timed(std::move(node)));
}

void Builder::copy(const Statement& statement) {
  const std::shared_ptr<Node> from = tree_.find(statement.arguments[0]);
  if (from == nullptr || from->type != NodeType::kRegular) {
    throw Error(statement.where + ": the packages hold no file " + statement.arguments[0]);
  }
  auto node = std::make_shared<Node>(*from);
  if (statement.arguments.size() > 2) node->permissions = parse_mode(statement.arguments[2]);
  tree_.insert(statement.arguments[1], std::move(node));
}

void Builder::apply(const Statement& statement) {
  const std::vector<std::string>& arguments = statement.arguments;
  const auto need = [&](size_t least, size_t most) {
    if (arguments.size() < least || arguments.size() > most) {
      throw Error(statement.where + ": wrong number of arguments to " + statement.word);
    }
  };
  if (statement.word == "merged-usr") {
    need(0, 0);  // done before the packages
  } else if (statement.word == "drop") {
    drop(arguments);
  } else if (statement.word == "directory") {
    need(2, 4);
    auto node = timed(make_directory(parse_mode(arguments[1])));
    if (arguments.size() > 2) node->uid = static_cast<u32>(std::stoul(arguments[2]));
    if (arguments.size() > 3) node->gid = static_cast<u32>(std::stoul(arguments[3]));
    tree_.insert(arguments[0], std::move(node));
  } else if (statement.word == "symlink") {
    need(2, 2);
    tree_.insert(arguments[0], timed(make_symlink(arguments[1])));
  } else if (statement.word == "links") {
    need(2, 1000);
    for (size_t i = 2; i < arguments.size(); ++i) {
      tree_.insert(arguments[1] + "/" + arguments[i], timed(make_symlink(arguments[0])));
    }
  } else if (statement.word == "alternative") {
    need(2, 2);
    const std::string name = "/etc/alternatives/" + arguments[0].substr(arguments[0].rfind('/') + 1);
    tree_.insert(name, timed(make_symlink(arguments[1])));
    tree_.insert(arguments[0], timed(make_symlink(name)));
  } else if (statement.word == "copy") {
    need(2, 3);
    copy(statement);
  } else if (statement.word == "file") {
    need(2, 2);
    make_file(arguments[0], arguments[1], statement.text);
  } else if (statement.word == "python-bytecode") {
    need(2, 100);
    add_python_bytecode(tree_, arguments[0], {arguments.begin() + 1, arguments.end()}, time_);
  } else {
    throw Error(statement.where + ": unknown statement " + statement.word);
  }
}

Tree Builder::build(const std::vector<LockedPackage>& packages, const std::string& directory, s64& time) {
  for (const Statement& statement : recipe_.statements) {
    if (statement.word == "merged-usr") merge_usr();
  }
  for (const LockedPackage& package : packages) {
    // A package's files may be hard links of one another, so each goes into a tree as a whole.
    add_deb(tree_, directory + "/" + package.file, spool_);
  }
  tree_.walk(
      [&](const std::string&, const std::shared_ptr<Node>& node) { time_ = std::max(time_, node->mtime); });
  for (const Statement& statement : recipe_.statements) apply(statement);
  // Directories nobody packaged, and the root, have no time yet.
  const auto settle = [&](Node& node) {
    if (node.mtime == 0) node.mtime = time_;
  };
  settle(tree_.root());
  tree_.walk([&](const std::string&, const std::shared_ptr<Node>& node) { settle(*node); });
  time = time_;
  return std::move(tree_);
}

}  // namespace

Recipe load_recipe(const std::string& directory, const std::string& name) {
  Recipe recipe;
  recipe.name = name;
  load_into(recipe, directory, name);
  return recipe;
}

std::vector<LockedPackage> load_lock(const std::string& directory, const std::string& name) {
  const std::string path = directory + "/" + name + ".lock";
  std::ifstream in(path);
  if (!in)
    throw Error("recipe " + name + " has no " + path + "; make it with: scripts/images --lock " + name);
  std::vector<LockedPackage> packages;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    LockedPackage package;
    if (!(fields >> package.name >> package.version >> package.architecture >> package.size >>
          package.sha256 >> package.file)) {
      throw Error(path + ": cannot read the line: " + line);
    }
    packages.push_back(std::move(package));
  }
  return packages;
}

Tree build_tree(const Recipe& recipe, const std::vector<LockedPackage>& packages,
                const std::string& packages_directory, s64& time) {
  return Builder(recipe).build(packages, packages_directory, time);
}

}  // namespace teacup::images

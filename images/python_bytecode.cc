#include "images/python_bytecode.h"

#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "images/directory_source.h"
#include "images/directory_writer.h"
#include "images/error.h"

namespace teacup::images {

namespace {

// A directory that goes away with all below it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    path_ = (std::filesystem::temp_directory_path() / "teacup-tree.XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) throw_errno("cannot make a directory " + path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void run(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  const auto pointers = [](const std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
  };
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, command[0].c_str(), nullptr, nullptr, pointers(command).data(),
                                  pointers(environment).data());
  if (error != 0) throw Error("cannot run " + command[0] + ": " + std::strerror(error));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) throw Error("compiling Python modules failed (" + command[0] + ")");
}

// A module that is a link to /etc (sitecustomize.py) is one below `top`, not the host's.
void keep_links_below(const std::string& top, const Tree& tree, const std::vector<std::string>& directories) {
  tree.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
    const auto is_above = [&](const std::string& directory) { return path.starts_with(directory + "/"); };
    if (node->type != NodeType::kSymlink || !node->target.starts_with('/') || !path.ends_with(".py") ||
        std::none_of(directories.begin(), directories.end(), is_above)) {
      return;
    }
    std::filesystem::remove(top + path);
    std::filesystem::create_symlink(top + node->target, top + path);
  });
}

}  // namespace

void add_python_bytecode(Tree& tree, const std::string& interpreter,
                         const std::vector<std::string>& directories, s64 time) {
  const TemporaryDirectory temporary;
  const std::string& top = temporary.path();
  write_directory(tree, top, {.owners = false});
  keep_links_below(top, tree, directories);
  // One process and a fixed order of files and hashes: the marshalled bytes depend on what was interned
  // before. -B: what compileall itself imports is not to be cached, with temporary paths in it. -s and -p:
  // the bytecode names the module where the image has it.
  std::vector<std::string> command = {top + "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
                                      "--library-path",
                                      top + "/usr/lib/x86_64-linux-gnu:" + top + "/lib/x86_64-linux-gnu",
                                      top + interpreter,
                                      "-S",
                                      "-B",
                                      "-m",
                                      "compileall",
                                      "-q",
                                      "-x",
                                      "/lib2to3/tests/data|/test/bad",
                                      "-s",
                                      top,
                                      "-p",
                                      "/"};
  for (const std::string& directory : directories) command.push_back(top + directory);
  run(command, {"PYTHONHOME=" + top + "/usr", "PYTHONHASHSEED=0", "LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin"});

  auto compiled = std::make_shared<Spool>();
  for (const std::string& directory : directories) {
    Tree made;
    add_directory(made, top + directory, {.root_owned = true});
    made.walk([&](const std::string& path, const std::shared_ptr<Node>& node) {
      if (path.find("/__pycache__") == std::string::npos) return;
      const std::string target = directory + path;
      if (tree.find(target) != nullptr) return;
      node->mtime = time;
      node->mtime_nsec = 0;
      node->permissions = node->is_directory() ? 0755 : 0644;
      auto copy = std::make_shared<Node>(*node);
      copy->children.clear();
      if (node->type == NodeType::kRegular) {  // the temporary tree goes away: keep the bytes
        std::vector<std::byte> bytes(node->content.size);
        if (!bytes.empty()) node->content.read(*node->content.store->open(), 0, bytes);
        copy->content = {};
        compiled->append(copy->content, 0, bytes);
      }
      tree.insert(target, std::move(copy));
    });
  }
}

}  // namespace teacup::images

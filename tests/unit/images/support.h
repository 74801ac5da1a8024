// What the tests of images/ share: a scratch directory, host commands, and a tree with one of everything.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "images/tree.h"

namespace teacup::images {

class Scratch {
 public:
  Scratch() {
    path_ = (std::filesystem::temp_directory_path() / "images_test.XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// The command's output, both streams; `status` receives its exit status.
inline std::string run(const std::string& command, int* status = nullptr) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::string output;
  char buffer[4096];
  while (const size_t got = std::fread(buffer, 1, sizeof(buffer), pipe)) output.append(buffer, got);
  const int result = ::pclose(pipe);
  if (status != nullptr) *status = result;
  return output;
}

inline bool have(const std::string& command) {
  int status = 0;
  run("command -v " + command, &status);
  return status == 0;
}

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::shared_ptr<Node> file_node(Spool& spool, std::string_view text, u16 permissions = 0644) {
  auto node = std::make_shared<Node>();
  node->permissions = permissions;
  spool.append(node->content, 0, std::as_bytes(std::span(text)));
  return node;
}

inline std::string pattern(size_t size, unsigned seed) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>((seed = seed * 1103515245 + 12345) >> 16);
  return text;
}

inline void add_piece(Spool& spool, Node& node, u64 offset, const std::string& text) {
  spool.append(node.content, offset, std::as_bytes(std::span(text)));
}

// Every file type, sizes around the block, holes, hard links, attributes, owners, hard names, a big
// directory.
inline Tree tree_of_everything(const std::shared_ptr<Spool>& spool) {
  Tree tree;
  for (const size_t size : {0, 1, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 100000}) {
    tree.insert("sizes/" + std::to_string(size),
                file_node(*spool, pattern(size, static_cast<unsigned>(size))));
  }
  tree.insert("sizes/program", file_node(*spool, "#!/bin/sh\n", 0755));
  tree.insert("sizes/object", file_node(*spool, std::string("\x7f"
                                                            "ELF") +
                                                    pattern(100, 7)));
  tree.insert("links/a", file_node(*spool, "linked"));
  tree.link("links/b", "links/a");
  tree.link("other/c", "links/a");
  tree.insert("links/deeper/still/d", file_node(*spool, "deep"));
  tree.link("links/deeper/still/a", "links/a");  // a file with a name above the directory
  tree.insert("symlink", make_symlink("sizes/1"));
  tree.insert("long", make_symlink(std::string(4000, 'x')));
  tree.insert(std::string(255, 'n'), file_node(*spool, "long name"));
  tree.insert("not\xff\xfeutf8", file_node(*spool, "bytes"));
  for (int i = 0; i < 5000; ++i) {
    tree.insert("big/entry-" + std::to_string(i), file_node(*spool, i % 100 == 0 ? std::to_string(i) : ""));
  }
  for (const char* name : {"!", "+x", "-y", ".hidden", "...", "a", "Z", "~"}) {
    tree.insert(std::string("order/") + name, file_node(*spool, name));
  }

  auto owned = file_node(*spool, "owned", 06755);
  owned->uid = 70000;
  owned->gid = 12;
  owned->mtime = 1'000'000'000;
  owned->mtime_nsec = 123'456'789;
  tree.insert("owned", owned);
  auto sticky = make_directory(01777);
  sticky->mtime = 5;
  tree.insert("tmp", sticky);
  auto attributes = file_node(*spool, "attributes");
  attributes->xattrs["user.name"] = "value";
  attributes->xattrs["user.empty"] = "";
  attributes->xattrs["user.large"] = pattern(3000, 3);
  attributes->xattrs["security.capability"] =
      std::string("\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  tree.insert("attributes", attributes);

  struct Special {
    const char* name;
    NodeType type;
    u32 major, minor;
  };
  for (const Special& special :
       {Special{"null", NodeType::kCharDevice, 1, 3}, Special{"disk", NodeType::kBlockDevice, 259, 70000},
        Special{"fifo", NodeType::kFifo, 0, 0}, Special{"socket", NodeType::kSocket, 0, 0}}) {
    auto node = std::make_shared<Node>();
    node->type = special.type;
    node->device_major = special.major;
    node->device_minor = special.minor;
    tree.insert(std::string("special/") + special.name, node);
  }

  auto ends = std::make_shared<Node>();  // data, hole, data; the hole is not block aligned
  add_piece(*spool, *ends, 0, pattern(5000, 1));
  add_piece(*spool, *ends, 1'000'000, pattern(10, 2));
  tree.insert("sparse/ends", ends);
  auto tail = std::make_shared<Node>();  // a hole at the end
  add_piece(*spool, *tail, 64 * KiB, pattern(64 * KiB, 3));
  tail->content.size = 10 * MiB + 17;
  tree.insert("sparse/tail", tail);
  auto empty = std::make_shared<Node>();
  empty->content.size = 3 * MiB;
  tree.insert("sparse/hole", empty);
  auto huge = std::make_shared<Node>();
  add_piece(*spool, *huge, 5 * GiB, pattern(4096, 4));
  huge->content.size = 8 * GiB;
  tree.insert("sparse/huge", huge);
  return tree;
}

}  // namespace teacup::images

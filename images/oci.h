// OCI image layouts (opencontainers/image-spec 1.1), and what `docker save` writes: trees out of layers, and
// what the image says of how to run it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "images/tree.h"

namespace teacup::images {

// How an image wants to be run; what it does not say is empty.
struct RunConfig {
  std::vector<std::string> environment;  // "K=V"
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::string working_directory;
  std::string user;  // USER[:GROUP], numbers or names
};

// The files of a layout, wherever they lie.
class LayoutFiles {
 public:
  virtual ~LayoutFiles() = default;
  // The file's size; nullopt when there is none of that name.
  virtual std::optional<u64> size(const std::string& name) = 0;
  virtual void read(const std::string& name, u64 offset, std::span<std::byte> bytes) = 0;
};
std::unique_ptr<LayoutFiles> layout_in_directory(const std::string& path);
// `tree` holds the layout itself, as an archive had it, and must live as long.
std::unique_ptr<LayoutFiles> layout_in_tree(const Tree& tree);
bool is_layout(LayoutFiles& files);

class OciImage {
 public:
  // Finds the image for linux/amd64, or, where `digest` is given, the one whose manifest (or index) has it.
  // `name` is for messages. Error: none, several, damaged, digests that do not match.
  OciImage(LayoutFiles& files, std::string name, const std::string& digest);

  // Of the manifest, which names all else by digest: what the image is known by.
  const std::string& digest() const { return digest_; }
  const RunConfig& config() const { return config_; }
  // The layers, one over the other. Each blob's digest is checked.
  void add_to(Tree& tree, const std::shared_ptr<Spool>& spool) const;

 private:
  struct Blob {
    std::string file;
    std::string digest;  // empty: not known
  };
  std::string text(const Blob& blob) const;
  void check(const Blob& blob) const;
  void find(const std::string& index, const std::string& digest);
  void use_manifest(const Blob& blob);
  void use_docker_manifest();
  void use_config(const Blob& blob);

  LayoutFiles& files_;
  std::string name_;
  std::string digest_;
  std::vector<Blob> layers_;
  RunConfig config_;
};

}  // namespace teacup::images

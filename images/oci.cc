#include "images/oci.h"

#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "images/archive_source.h"
#include "images/error.h"
#include "images/file.h"
#include "images/sha256.h"

namespace teacup::images {

namespace {

using Json = nlohmann::json;
constexpr u64 kMaxJson = 16 * MiB;
constexpr int kMaxNesting = 4;  // indexes in indexes

class Directory final : public LayoutFiles {
 public:
  explicit Directory(std::string path) : path_(std::move(path)) {}
  std::optional<u64> size(const std::string& name) override {
    struct stat status;
    if (::stat((path_ + "/" + name).c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    return static_cast<u64>(status.st_size);
  }
  void read(const std::string& name, u64 offset, std::span<std::byte> bytes) override {
    if (name != open_name_) open_ = File::open_read(path_ + "/" + name);
    open_name_ = name;
    open_.read_at(bytes, offset, path_ + "/" + name);
  }

 private:
  std::string path_;
  std::string open_name_;
  File open_;
};

class InTree final : public LayoutFiles {
 public:
  explicit InTree(const Tree& tree) : tree_(tree) {}
  std::optional<u64> size(const std::string& name) override {
    const auto node = tree_.find(name);
    if (node == nullptr || node->type != NodeType::kRegular) return std::nullopt;
    return node->content.size;
  }
  void read(const std::string& name, u64 offset, std::span<std::byte> bytes) override {
    const Content& content = tree_.find(name)->content;
    if (content.store == nullptr) {
      std::ranges::fill(bytes, std::byte{0});
    } else {
      content.read(*content.store->open(), offset, bytes);
    }
  }

 private:
  const Tree& tree_;
};

std::vector<std::string> strings(const Json& object, const char* key) {
  std::vector<std::string> result;
  if (const auto found = object.find(key); found != object.end() && found->is_array()) {
    for (const Json& item : *found) result.push_back(item.get<std::string>());
  }
  return result;
}

std::string string(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// "sha256:HEX" of a descriptor → HEX. It becomes part of a path: nothing else may pass.
std::string digest_of(const Json& descriptor, const std::string& name) {
  const std::string digest = string(descriptor, "digest");
  if (!digest.starts_with("sha256:") || !is_sha256(std::string_view(digest).substr(7))) {
    throw Error(name + ": the OCI layout names a blob by '" + digest + "'; teacup reads sha256 digests");
  }
  return digest.substr(7);
}

bool is_for_us(const Json& descriptor) {
  const auto platform = descriptor.find("platform");
  return platform == descriptor.end() ||
         (string(*platform, "os") == "linux" && string(*platform, "architecture") == "amd64");
}

bool is_index(const Json& descriptor) {
  const std::string type = string(descriptor, "mediaType");
  return type.find("image.index") != type.npos || type.find("manifest.list") != type.npos;
}

}  // namespace

std::unique_ptr<LayoutFiles> layout_in_directory(const std::string& path) {
  return std::make_unique<Directory>(path);
}

std::unique_ptr<LayoutFiles> layout_in_tree(const Tree& tree) {
  return std::make_unique<InTree>(tree);
}

bool is_layout(LayoutFiles& files) {
  return files.size("index.json").has_value() ? files.size("oci-layout").has_value()
                                              : files.size("manifest.json") && files.size("repositories");
}

OciImage::OciImage(LayoutFiles& files, std::string name, const std::string& digest)
    : files_(files), name_(std::move(name)) {
  try {
    if (files_.size("index.json")) {
      find(text({"index.json", ""}), digest);
    } else {
      use_docker_manifest();
      if (!digest.empty() && digest != digest_) throw Error(name_ + " has no image sha256:" + digest);
    }
  } catch (const Json::exception& error) {
    throw Error(name_ + ": its OCI layout is damaged: " + error.what());
  }
}

void OciImage::check(const Blob& blob) const {
  const auto size = files_.size(blob.file);
  if (!size) throw Error(name_ + ": the OCI layout has no " + blob.file + "; copy the image anew");
  if (blob.digest.empty()) return;
  Sha256 hash;
  std::vector<std::byte> buffer(1 * MiB);
  for (u64 at = 0; at < *size; at += buffer.size()) {
    const std::span<std::byte> part(buffer.data(), std::min<u64>(buffer.size(), *size - at));
    files_.read(blob.file, at, part);
    hash.update(part);
  }
  if (hash.finish() != blob.digest) {
    throw Error(name_ + ": " + blob.file + " does not have the digest it is named by; copy the image anew");
  }
}

std::string OciImage::text(const Blob& blob) const {
  const u64 size = files_.size(blob.file).value_or(0);
  if (size > kMaxJson) throw Error(name_ + ": " + blob.file + " is too large for what it should be");
  check(blob);
  std::string text(size, '\0');
  files_.read(blob.file, 0, std::as_writable_bytes(std::span(text)));
  return text;
}

void OciImage::find(const std::string& top, const std::string& wanted) {
  std::vector<Blob> found;
  std::vector<std::pair<Json, int>> indexes{{Json::parse(top), 0}};
  while (!indexes.empty()) {
    const auto [index, depth] = std::move(indexes.back());
    indexes.pop_back();
    for (const Json& descriptor : index.at("manifests")) {
      const std::string digest = digest_of(descriptor, name_);
      const Blob blob{"blobs/sha256/" + digest, digest};
      const bool inside_wanted = digest == wanted;
      if (is_index(descriptor)) {
        if (depth == kMaxNesting) throw Error(name_ + ": the OCI layout's indexes are nested too deep");
        if (!wanted.empty() && !inside_wanted) {
          indexes.emplace_back(Json::parse(text(blob)), depth + 1);
        } else {
          Json inner = Json::parse(text(blob));
          if (inside_wanted) return find(inner.dump(), "");
          indexes.emplace_back(std::move(inner), depth + 1);
        }
      } else if (wanted.empty() ? is_for_us(descriptor) : inside_wanted) {
        const auto same = [&](const Blob& other) { return other.digest == digest; };
        if (std::ranges::none_of(found, same)) found.push_back(blob);
      }
    }
  }
  if (found.empty() && !wanted.empty()) throw Error(name_ + " has no image sha256:" + wanted);
  if (found.empty()) throw Error(name_ + " has no image for linux/amd64");
  if (found.size() > 1) {
    std::string choices;
    for (const Blob& blob : found) choices += "\n  " + name_ + "@sha256:" + blob.digest;
    throw Error(name_ + " has several images; say which:" + choices);
  }
  use_manifest(found[0]);
}

void OciImage::use_manifest(const Blob& blob) {
  const Json manifest = Json::parse(text(blob));
  digest_ = blob.digest;
  for (const Json& layer : manifest.at("layers")) {
    const std::string digest = digest_of(layer, name_);
    layers_.push_back({"blobs/sha256/" + digest, digest});
  }
  const std::string config = digest_of(manifest.at("config"), name_);
  use_config({"blobs/sha256/" + config, config});
}

// What `docker save` wrote before it wrote OCI layouts too.
void OciImage::use_docker_manifest() {
  const std::string all = text({"manifest.json", ""});
  const Json manifests = Json::parse(all);
  if (manifests.size() != 1) throw Error(name_ + " has several images; save the one that is to run");
  Sha256 hash;
  hash.update(all);
  digest_ = hash.finish();
  for (const std::string& layer : strings(manifests[0], "Layers")) layers_.push_back({layer, ""});
  use_config({string(manifests[0], "Config"), ""});
}

void OciImage::use_config(const Blob& blob) {
  const Json all = Json::parse(text(blob));
  const auto config = all.find("config");
  if (config == all.end() || !config->is_object()) return;
  config_.environment = strings(*config, "Env");
  config_.entrypoint = strings(*config, "Entrypoint");
  config_.command = strings(*config, "Cmd");
  config_.working_directory = string(*config, "WorkingDir");
  config_.user = string(*config, "User");
}

void OciImage::add_to(Tree& tree, const std::shared_ptr<Spool>& spool) const {
  for (const Blob& layer : layers_) {
    check(layer);
    const u64 size = *files_.size(layer.file);
    add_layer(
        tree, size, [&](u64 offset, std::span<std::byte> bytes) { files_.read(layer.file, offset, bytes); },
        name_ + ": " + layer.file, spool);
  }
}

}  // namespace teacup::images

// Archives as they are converted: the first byte says what the others are: a tar archive, perhaps an OCI
// layout in one; a layer over a small tree; or the index, manifest or configuration of a layout whose other
// files are right.
#include <map>
#include <memory>
#include <string>

#include "images/archive_source.h"
#include "images/erofs_writer.h"
#include "images/error.h"
#include "images/oci.h"
#include "images/sha256.h"
#include "tests/fuzz/fuzz.h"

namespace teacup::fuzz {
namespace {

using namespace images;

class Files final : public LayoutFiles {
 public:
  std::optional<u64> size(const std::string& name) override {
    const auto found = files.find(name);
    return found == files.end() ? std::nullopt : std::optional<u64>(found->second.size());
  }
  void read(const std::string& name, u64 offset, std::span<std::byte> bytes) override {
    const std::string& text = files.at(name);
    if (offset > text.size() || bytes.size() > text.size() - offset) throw Error("read behind the end");
    std::copy_n(reinterpret_cast<const std::byte*>(text.data()) + offset, bytes.size(), bytes.begin());
  }
  // Its digest, as a descriptor.
  std::string add_blob(const std::string& text) {
    Sha256 sum;
    sum.update(text);
    const std::string digest = sum.finish();
    files["blobs/sha256/" + digest] = text;
    return R"("digest":"sha256:)" + digest + R"(","size":)" + std::to_string(text.size());
  }

  std::map<std::string, std::string> files;
};

void convert(Tree& tree) {
  write_erofs(tree, "/dev/shm/teacup-fuzz-" + std::to_string(::getpid()), {});
}

void use_layout(LayoutFiles& files) {
  const OciImage image(files, "input", "");
  Tree tree;
  image.add_to(tree, std::make_shared<Spool>());
  convert(tree);
}

// One layer, an empty archive.
void layout(u8 kind, const std::string& text) {
  const std::string layer(1024, '\0');
  Files files;
  files.files["oci-layout"] = R"({"imageLayoutVersion":"1.0.0"})";
  std::string manifest = text;
  if (kind != 3) {
    const std::string config =
        kind == 4 ? text : R"({"architecture":"amd64","os":"linux","config":{"Cmd":["x"]}})";
    manifest = R"({"schemaVersion":2,"config":{)" + files.add_blob(config) +
               R"(},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar",)" +
               files.add_blob(layer) + "}]}";
  } else {
    files.add_blob(layer);
    files.add_blob("{}");
  }
  files.files["index.json"] =
      kind == 2
          ? text
          : R"({"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",)" +
                files.add_blob(manifest) + "}]}";
  if (kind == 2) files.add_blob(manifest);
  use_layout(files);
}

void archive(std::span<const u8> data) {
  static InputFile file;
  Tree tree;
  add_tar(tree, "/proc/self/fd/" + std::to_string(file.put(data)), std::make_shared<Spool>(),
          ReadArchives::kHere);
  if (const auto files = layout_in_tree(tree); is_layout(*files)) return use_layout(*files);
  convert(tree);
}

void layer(std::span<const u8> data) {
  Tree tree;
  const auto spool = std::make_shared<Spool>();
  for (const char* name : {"dir/below", "dir/sub/file", "file"}) tree.insert(name, std::make_shared<Node>());
  tree.insert("link", make_symlink("dir"));
  const auto read = [&](u64 offset, std::span<std::byte> bytes) {
    std::copy_n(reinterpret_cast<const std::byte*>(data.data()) + offset, bytes.size(), bytes.begin());
  };
  add_layer(tree, data.size(), read, "input", spool, ReadArchives::kHere);
  convert(tree);
}

}  // namespace
}  // namespace teacup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const teacup::u8* data, size_t size) {
  using namespace teacup;
  [[maybe_unused]] static const int once = ::setenv("TMPDIR", "/dev/shm", 1);
  if (size < 1) return 0;
  const std::span<const u8> rest(data + 1, size - 1);
  try {
    switch (data[0] & 7) {
      case 1:
        fuzz::layer(rest);
        break;
      case 2:
      case 3:
      case 4:
        fuzz::layout(data[0] & 7, {reinterpret_cast<const char*>(rest.data()), rest.size()});
        break;
      default:
        fuzz::archive(rest);
        break;
    }
  } catch (const images::Error&) {
  }
  return 0;
}

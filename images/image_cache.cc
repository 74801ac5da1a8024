// Problem: a tar archive or an OCI layout cannot be run from as it lies there; converting it takes seconds;
// and the same one is run again and again, by several machines at once, by whoever may kill them at any
// point.
//
// Choice: what is converted is kept by the digest of what it was made of, in ~/.cache/teacup/images:
//
//   DIGEST-V.erofs   the image. It appears by rename, complete.
//   DIGEST-V.json    how to run it; the image's size and sha256; and its inode number, mtime and ctime.
//   DIGEST-V.lock    held while somebody converts; whoever comes meanwhile waits, and finds the result.
//   files/KEY        the digest of a file, by its device, inode number, size, mtime and ctime, as git does
//   it:
//                    an archive of gigabytes is read once, not at each start.
//
// An image is used as it is while its inode, size, mtime and ctime are those noted: whoever cuts it off or
// writes to it changes its ctime, which no program can set. If they differ (it was copied, or tampered with),
// its digest is compared, and it is made anew if that differs too. The directory has to be the caller's own
// and nobody else's to write: whoever can write there runs programs as the caller already.
//
// V is the version of the conversion: another teacup that converts differently does not find it.
#include "images/image_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "images/archive_source.h"
#include "images/erofs_writer.h"
#include "images/error.h"
#include "images/file.h"
#include "images/probe.h"
#include "images/progress.h"
#include "images/sha256.h"

namespace teacup::images {

namespace {

using Json = nlohmann::json;
constexpr const char* kVersion = "1";

std::string cache_directory() {
  std::string top;
  if (const char* caches = std::getenv("XDG_CACHE_HOME"); caches != nullptr && *caches == '/') {
    top = std::string(caches) + "/teacup";
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    top = std::string(home) + "/.cache/teacup";
  } else {
    throw Error("there is no place for converted images: neither XDG_CACHE_HOME nor HOME is set");
  }
  std::string directory = top + "/images";
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!error) std::filesystem::create_directories(directory + "/files", error);
  if (error) {
    throw Error("cannot make " + directory + " for converted images: " + error.message() +
                "\n  Set XDG_CACHE_HOME to a directory that can be written.");
  }
  struct stat status;
  if (::stat(directory.c_str(), &status) != 0) throw_errno("cannot use " + directory);
  if (status.st_uid != ::geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    if (status.st_uid != ::geteuid() || ::chmod(directory.c_str(), 0700) != 0) {
      throw Error("the cache " + directory + " can be written by others; images of theirs would run as you" +
                  "\n  Set XDG_CACHE_HOME to a directory of your own.");
    }
  }
  return directory;
}

// What tells whether a file is still the one that was looked at.
std::string identity(const struct stat& status) {
  std::ostringstream text;
  text << status.st_dev << ':' << status.st_ino << ':' << status.st_size << ':' << status.st_mtim.tv_sec
       << '.' << status.st_mtim.tv_nsec << ':' << status.st_ctim.tv_sec << '.' << status.st_ctim.tv_nsec;
  return text.str();
}

struct stat status_of(const File& file, const std::string& name) {
  struct stat status;
  if (::fstat(file.fd(), &status) != 0) throw_errno("cannot read " + name);
  return status;
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void spill(const std::string& path, const std::string& text) {
  OutputFile out(path);
  out.file().write_at(std::as_bytes(std::span(text)), 0, path);
  out.commit();
}

// A digest noted for a file that changed less than this ago is not believed: it may change again within the
// same tick of its clock.
constexpr s64 kRacySeconds = 2;

std::string digest_of(const std::string& path, const std::string& cache) {
  const File file = File::open_read(path);
  const struct stat status = status_of(file, path);
  Sha256 key;
  key.update(identity(status));
  const std::string note = cache + "/files/" + key.finish();
  if (std::string digest = slurp(note); is_sha256(digest)) return digest;
  std::string digest = sha256_of(file, path);
  const bool settled =
      ::time(nullptr) - std::max(status.st_mtim.tv_sec, status.st_ctim.tv_sec) >= kRacySeconds;
  if (settled && identity(status_of(file, path)) == identity(status)) spill(note, digest);
  return digest;
}

// Held as long as the object lives.
class Lock {
 public:
  explicit Lock(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    if (!file_) throw_errno("cannot make " + path);
    while (::flock(file_.fd(), LOCK_EX) != 0) {
      if (errno != EINTR) throw_errno("cannot lock " + path);
    }
  }

 private:
  File file_;
};

class Entry {
 public:
  Entry(const std::string& cache, const std::string& digest) : base_(cache + "/" + digest + "-" + kVersion) {}

  std::string image() const { return base_ + ".erofs"; }
  std::string lock() const { return base_ + ".lock"; }

  // Whether there is one, and it is what was made.
  bool load(RunConfig& config) const {
    const Json note = Json::parse(slurp(base_ + ".json"), nullptr, false);
    const File file(::open(image().c_str(), O_RDONLY | O_CLOEXEC));
    if (!note.is_object() || !file) return false;
    try {
      config.environment = note.at("environment").get<std::vector<std::string>>();
      config.entrypoint = note.at("entrypoint").get<std::vector<std::string>>();
      config.command = note.at("command").get<std::vector<std::string>>();
      config.working_directory = note.at("working_directory").get<std::string>();
      config.user = note.at("user").get<std::string>();
      const struct stat status = status_of(file, image());
      if (note.at("identity").get<std::string>() == identity(status)) return true;
      const std::string sum = note.at("sha256").get<std::string>();
      if (sha256_of(file, image()) != sum) return false;
      save(config, identity(status), sum);
      return true;
    } catch (const Json::exception&) {
      return false;
    }
  }

  void save(const RunConfig& config) const {
    const File file = File::open_read(image());
    const std::string sum = sha256_of(file, image());
    save(config, identity(status_of(file, image())), sum);
  }

 private:
  void save(const RunConfig& config, const std::string& file_identity, const std::string& sum) const {
    const Json note = {{"environment", config.environment},
                       {"entrypoint", config.entrypoint},
                       {"command", config.command},
                       {"working_directory", config.working_directory},
                       {"user", config.user},
                       {"identity", file_identity},
                       {"sha256", sum}};
    spill(base_ + ".json", note.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  }

  std::string base_;
};

// The tree of an archive or a layout, into `image`; how to run it.
RunConfig convert(const std::string& source, Kind kind, const std::string& digest, const std::string& image,
                  bool layer) {
  Progress progress(true);
  auto spool = std::make_shared<Spool>();
  spool->on_append = [&progress](u64 bytes) { progress.update("reading", bytes); };
  Tree tree;
  RunConfig config;
  const auto use_layout = [&](LayoutFiles& files, const std::string& wanted) {
    const OciImage oci(files, source, wanted);
    Tree layers;
    oci.add_to(layers, spool);
    config = oci.config();
    return layers;
  };
  if (kind == Kind::kOciLayout) {
    const auto files = layout_in_directory(source);
    tree = use_layout(*files, digest);
  } else {
    add_tar(tree, source, spool);
    if (const auto files = layout_in_tree(tree); is_layout(*files)) {
      tree = use_layout(*files, "");
    } else if (layer) {
      mark_whiteouts(tree);
    }
  }
  WriteOptions options;
  options.progress = [&progress](u64 done, u64 total) { progress.update("writing", done, total); };
  options.time = tree.root().mtime;
  tree.walk([&](const std::string&, const std::shared_ptr<Node>& node) {
    options.time = std::max(options.time, node->mtime);
  });
  write_erofs(tree, image, options);
  return config;
}

PreparedImage converted(const std::string& source, Kind kind, const std::string& cache,
                        const std::string& digest, bool layer) {
  const Entry entry(cache, layer ? digest + "-layer" : digest);
  PreparedImage prepared{entry.image(), {}};
  if (entry.load(prepared.config)) return prepared;
  const Lock lock(entry.lock());
  if (entry.load(prepared.config)) return prepared;
  prepared.config = convert(source, kind, digest, entry.image(), layer);
  entry.save(prepared.config);
  return prepared;
}

}  // namespace

namespace {

PreparedImage prepare(const std::string& image, const std::string& digest, bool layer) {
  const Kind kind = probe(image);
  if (kind == Kind::kOciLayout) {
    const auto files = layout_in_directory(image);
    return converted(image, kind, cache_directory(), OciImage(*files, image, digest).digest(), false);
  }
  if (kind == Kind::kDirectory && !digest.empty()) {
    throw Error(image + " is a directory, which has no digest\n  Make an image of it first: teacup pack " +
                image + " image.erofs");
  }
  if (kind != Kind::kArchive && digest.empty()) return {image, {}};
  const std::string cache = cache_directory();
  const std::string found = digest_of(image, cache);
  if (!digest.empty() && found != digest) {
    throw Error(image + " is not the image that was asked for: it has sha256:" + found);
  }
  if (kind != Kind::kArchive) return {image, {}};
  return converted(image, kind, cache, found, layer);
}

}  // namespace

std::string file_digest(const std::string& path) {
  if (probe(path) == Kind::kDirectory) {
    throw Error(
        path +
        " is a directory, which may change: what --upper and --export keep would mean nothing over it" +
        "\n  Make an image of it first: teacup pack " + path + " image.erofs");
  }
  return digest_of(path, cache_directory());
}

PreparedImage prepare_image(const std::string& image, const std::string& digest) {
  return prepare(image, digest, false);
}

std::string prepare_layer(const std::string& image, const std::string& digest) {
  return prepare(image, digest, true).path;
}

}  // namespace teacup::images

// HostedKernel: what fs/ needs of a machine, in the command's own process: an arena where machines have
// theirs, image files mapped as theirs are, the importer (a filtered process) for formats that libraries
// parse, and the host file service for directories. So `teacup ls`, `pack`, `rewrite --image` and `mount`
// read images by the code that machines read them with.
//
// There is one, as the arena has one address; it lives as long as the process. Images are opened from the
// main thread: the importer's processes die with the thread that started them.
#pragma once

#include <array>
#include <memory>
#include <stdexcept>
#include <string>

#include "fs/image.h"
#include "host/broker/host_files.h"
#include "host/broker/upper_file.h"
#include "host/importer/importer.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/ring.h"
#include "kernel/base/layout.h"

namespace teacup::host {

// What cannot be used, and why.
class HostedError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class HostedKernel;

// An image that is open. fs::Image references taken from it end before it does.
class HostedImage {
 public:
  ~HostedImage();
  HostedImage(const HostedImage&) = delete;
  HostedImage& operator=(const HostedImage&) = delete;
  const Ref<fs::Image>& image() const { return image_; }

 private:
  friend class HostedKernel;
  HostedImage(HostedKernel& kernel, u32 slot) : kernel_(kernel), slot_(slot) {}

  HostedKernel& kernel_;
  u32 slot_;
  Ref<fs::Image> image_;
};

class HostedKernel {
 public:
  // Starts it at the first call. HostedError: the host's limits are too low for an arena.
  static HostedKernel& get();

  // The image file or directory at `path`; `kind` is what it is. HostedError.
  std::unique_ptr<HostedImage> open(const std::string& path, abi::ImageKind kind);
  // Whose file a memory layer's keep_upper() reads. It must outlive that.
  void set_upper(UpperFile* upper) { upper_ = upper; }
  // Bytes that files written to a memory layer may take; as much as the host has by default.
  void set_memory_limit(u64 bytes);

 private:
  friend class HostedImage;
  HostedKernel();
  void map(u32 slot, int fd, const std::string& path, abi::ImageKind kind);
  void close(u32 slot);
  s64 answer(abi::RingOp op, const u64 (&args)[6]);

  std::array<bool, kMaxImages> used_{};
  std::array<std::unique_ptr<importer::Importer>, kMaxImages> importers_;
  HostFiles host_files_;
  UpperFile* upper_ = nullptr;
};

}  // namespace teacup::host

// An image that a library parses, whatever its format. Runs in the importer process, and in its tests.
//
// To add a format: a class of this kind, a row in imported_image.cc, and its magic in host/launch/image.cc.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kernel/abi/importer.h"

namespace teacup::importer {

class Crew;
class ResponseWriter;

class ImportedImage {
 public:
  // Probed by content. `fd` is an image file, read with pread(2) only and not closed. Null, with the reason
  // and what to do in `error`, when it is of no known format or one that cannot be read.
  // `crew`, which outlives the image, helps with what can be done at the same time.
  static std::unique_ptr<ImportedImage> open(int fd, std::string& error, Crew* crew = nullptr);
  // Loads the library that the image needs, if it is not linked in; to be called before open(), while files
  // may still be opened. False, with the reason, where it cannot be had.
  static bool load_library(int fd, std::string& error);
  // Whether a crew would be of use to it.
  static bool wants_crew(int fd);

  virtual ~ImportedImage() = default;

  // Answers a request (abi/importer.h): the length of the response, or -errno.
  s64 serve(const abi::ImporterRequest& request, std::string_view name, std::span<std::byte> response);

 protected:
  ImportedImage() = default;
  ImportedImage(const ImportedImage&) = delete;

  // One for each operation; 0 < the length of the response, or -errno.
  virtual s64 info(ResponseWriter& out) = 0;
  virtual s64 read_directory(const abi::ImporterRequest& request, ResponseWriter& out) = 0;
  virtual s64 lookup(const abi::ImporterRequest& request, std::string_view name, ResponseWriter& out) = 0;
  virtual s64 inode(const abi::ImporterRequest& request, ResponseWriter& out) = 0;
  virtual s64 extents(const abi::ImporterRequest& request, ResponseWriter& out) = 0;
  virtual s64 read(const abi::ImporterRequest& request, ResponseWriter& out) = 0;
  virtual s64 read_link(const abi::ImporterRequest& request, ResponseWriter& out) = 0;
  virtual s64 xattrs(const abi::ImporterRequest& request, ResponseWriter& out) = 0;
};

// By reading, not fstat(2): the importer's filter has only pread(2).
u64 file_size(int fd);

}  // namespace teacup::importer

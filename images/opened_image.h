// An image of any format, open for fs/ in this process. For code that is built with fs/ (host/hosted); others
// use ImageReader.
#pragma once

#include <memory>
#include <string>

#include "host/hosted/hosted_kernel.h"

namespace teacup::images {

class OpenedImage {
 public:
  // `image` as on a command line: a path, perhaps with @sha256:DIGEST behind it. Error: what it is instead,
  // or why it cannot be used.
  static std::unique_ptr<OpenedImage> open(const std::string& image);
  // The same for an image that is laid over others (prepare_layer()).
  static std::unique_ptr<OpenedImage> open_layer(const std::string& image);

  const Ref<fs::Image>& image() const { return hosted_->image(); }
  // What is read: the image itself, or what it was converted into.
  const std::string& file() const { return file_; }

 private:
  static std::unique_ptr<OpenedImage> open_prepared(const std::string& path);
  OpenedImage(std::string file, std::unique_ptr<host::HostedImage> hosted)
      : file_(std::move(file)), hosted_(std::move(hosted)) {}

  std::string file_;
  std::unique_ptr<host::HostedImage> hosted_;
};

}  // namespace teacup::images

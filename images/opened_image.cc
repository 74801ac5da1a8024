#include "images/opened_image.h"

#include "images/error.h"
#include "images/image_cache.h"
#include "images/probe.h"

namespace teacup::images {

namespace {

abi::ImageKind kind_of(const std::string& path) {
  switch (probe(path)) {
    case Kind::kErofs:
      return abi::ImageKind::kErofs;
    case Kind::kExt:
    case Kind::kSquashfs:
      return abi::ImageKind::kImporter;
    case Kind::kDirectory:
    case Kind::kOciLayout:
      return abi::ImageKind::kHostDirectory;
    default:
      break;
  }
  refuse_other(path);
}

}  // namespace

std::unique_ptr<OpenedImage> OpenedImage::open(const std::string& image) {
  const PinnedName pinned = split_pin(image);
  return open_prepared(prepare_image(pinned.path, pinned.digest).path);
}

std::unique_ptr<OpenedImage> OpenedImage::open_layer(const std::string& image) {
  const PinnedName pinned = split_pin(image);
  return open_prepared(prepare_layer(pinned.path, pinned.digest));
}

std::unique_ptr<OpenedImage> OpenedImage::open_prepared(const std::string& path) {
  try {
    auto hosted = host::HostedKernel::get().open(path, kind_of(path));
    return std::unique_ptr<OpenedImage>(new OpenedImage(path, std::move(hosted)));
  } catch (const host::HostedError& error) {
    throw Error(error.what());
  }
}

}  // namespace teacup::images

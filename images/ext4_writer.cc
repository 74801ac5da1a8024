#include "images/ext4_writer.h"
#include "images/error.h"
namespace teacup::images {
void write_ext4(const Tree&, const std::string&, const WriteOptions&) {
  throw Error("no ext4 yet");
}
}  // namespace teacup::images

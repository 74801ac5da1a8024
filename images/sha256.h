// SHA-256 (FIPS 180-4), for what is known by its content: image digests, blobs of OCI layouts, cache entries.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "images/file.h"

namespace teacup::images {

class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  // The digest in lower-case hex. The object is used up.
  std::string finish();

 private:
  void block(const std::byte* bytes);

  std::array<u32, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_;
  u64 length_ = 0;
};

// Of a whole file.
std::string sha256_of(const File& file, const std::string& name);

// 64 lower-case hex digits.
bool is_sha256(std::string_view text);

}  // namespace teacup::images

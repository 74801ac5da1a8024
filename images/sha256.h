// SHA-256, by libmd, for what is known by its content: image digests, blobs of OCI layouts, cache entries.
#pragma once

#include <sha2.h>

#include <span>
#include <string>
#include <string_view>

#include "images/file.h"

namespace teacup::images {

class Sha256 {
 public:
  Sha256() { ::SHA256Init(&context_); }
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  // The digest in lower-case hex. The object is used up.
  std::string finish();

 private:
  SHA2_CTX context_;
};

// Of a whole file.
std::string sha256_of(const File& file, const std::string& name);

// 64 lower-case hex digits.
bool is_sha256(std::string_view text);

}  // namespace teacup::images

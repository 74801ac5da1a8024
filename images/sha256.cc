#include "images/sha256.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <vector>

#include "images/error.h"

namespace teacup::images {

void Sha256::update(std::span<const std::byte> bytes) {
  ::SHA256Update(&context_, reinterpret_cast<const u8*>(bytes.data()), bytes.size());
}

std::string Sha256::finish() {
  std::array<u8, SHA256_DIGEST_LENGTH> digest;
  ::SHA256Final(digest.data(), &context_);
  std::string hex;
  for (const u8 byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

std::string sha256_of(const File& file, const std::string& name) {
  struct stat status;
  if (::fstat(file.fd(), &status) != 0) throw_errno("cannot read " + name);
  const auto size = static_cast<u64>(status.st_size);
  std::vector<std::byte> buffer(1 * MiB);
  Sha256 hash;
  for (u64 at = 0; at < size; at += buffer.size()) {
    const std::span<std::byte> part(buffer.data(), std::min<u64>(buffer.size(), size - at));
    file.read_at(part, at, name);
    hash.update(part);
  }
  return hash.finish();
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

}  // namespace teacup::images

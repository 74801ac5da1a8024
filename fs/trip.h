// Trip: one question to the importer or the host file service, through the broker; both speak the importer's
// records. Or a job for the decoder (decoder.h). Internal to fs/. No lock may be held: the asker sleeps until
// the answer is there.
#pragma once

#include <string_view>

#include "fs/decoder.h"
#include "fs/image.h"
#include "kernel/abi/host_file.h"
#include "kernel/abi/ring.h"

namespace teacup::fs {

class Trip {
 public:
  static constexpr size_t kSmall = 12 * KiB;   // a record with its text; a link's target
  static constexpr size_t kLarge = 124 * KiB;  // many entries of a directory

  // Sends; true errors are the answer's errno. The response, if it is one, is checked for its head.
  Result<s64> ask_importer(const abi::ImporterRequest& request, std::string_view name, size_t room);
  // As ask_importer(), not waited for: finish() does that, once. What the request names must stay until then.
  // False: it cannot be sent now, or not from here.
  bool start_importer(const abi::ImporterRequest& request);
  bool start_host(const abi::HostFileRequest& request);
  // As start_importer(), for image.fetch(); `image` must stay, too.
  bool start_decoding(Image& image, u64 inode, u64 offset, std::span<std::byte> into);
  Result<s64> finish();
  // Instead of finish(): what was asked for is not wanted any more. It may have come nevertheless.
  void give_up();
  Result<s64> ask_host(const abi::HostFileRequest& request, std::string_view name, std::string_view name2,
                       size_t room);

  // What came: its head, its records, the first record, or the bytes behind the head.
  u64 next() const;
  abi::ImporterRecords<abi::ImporterEntry> entries() const {
    return abi::ImporterRecords<abi::ImporterEntry>(response_);
  }
  abi::ImporterRecords<abi::ImporterXattr> xattrs() const {
    return abi::ImporterRecords<abi::ImporterXattr>(response_);
  }
  // Fixed-size structures: UCLEAN if the response is too short for the `index`th.
  template <typename T>
  Result<T> structure(size_t index = 0) const {
    size_t at = sizeof(abi::ImporterResponse) + index * sizeof(T);
    if (at + sizeof(T) > response_.size()) return Errno::UCLEAN;
    T value;
    __builtin_memcpy(&value, response_.data() + at, sizeof value);
    return value;
  }
  u32 count() const;
  // Attributes that came along with another result (kWrite and its like). NODATA: none.
  Result<abi::ImporterInode> attributes() const;
  std::span<const std::byte> bytes() const;

 private:
  static Result<s64> result_of(s64 result);
  template <typename Request>
  bool start(abi::RingOp op, const Request& request);
  Result<s64> send(abi::RingOp op, size_t request_size, size_t room);

  DecodeJob& job() { return *reinterpret_cast<DecodeJob*>(buffer_.data()); }

  HeapArray<std::byte> buffer_;
  bool is_decoding_ = false;
  std::span<const std::byte> response_;
  std::span<const std::byte> room_;  // all that may have been written
};

// An inode's attributes as a node of an image; what the user owns on the host is shown as `uid` and `gid`'s.
// UCLEAN for what cannot be.
Result<ImageNode> node_of(const abi::ImporterInode& inode, u32 uid, u32 gid);

}  // namespace teacup::fs

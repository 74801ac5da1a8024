// Patched text of the executables of images, kept for later machines: ~/.cache/teacup/text, one file, which
// every machine maps.
//
// A machine that lays patches itself copies the pages around them into its arena: libc's are 342, which took
// 0.9 of the 4.8 ms that a run of /bin/true takes, and 1.4 MB of each of a hundred machines. In the store the
// copies are made once, and are page cache that all machines share.
//
// What may be trusted: a plan and a copy decide what a guest executes. The broker makes both itself, of bytes
// that it read from the image; a guest side has a read-only descriptor of the file, and maps it privately.
// The folder must be the caller's and nobody else's to write, as of host/broker/prepared_cache.h, whose
// entries (under the plan's key and the store's name) say where in the store a text is. The file has no
// checksums, for to verify a text would cost as much as to copy it; so a store is of one boot of the host, in
// which what was written to the page cache is what is read, whatever a crash left on the disk.
//
// Texts are only ever appended, under a lock of the file. One that is over kMaxSize is not written to any
// more, and the next machine begins another; machines that have it mapped keep it. Where the folder's file
// system forbids execution there is no store.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "host/broker/prepared_cache.h"
#include "kernel/base/types.h"

namespace teacup::host {

class TextStore {
 public:
  // The caller's own, below the folder of the caches; null where there can be none. `places` outlives it.
  static std::unique_ptr<TextStore> open(const std::string& folder, const PreparedCache& places);
  ~TextStore();
  TextStore(const TextStore&) = delete;
  TextStore& operator=(const TextStore&) = delete;

  // For the guest side: read-only.
  int fd() const { return readable_; }
  // No other store has the same.
  const std::string& name() const { return name_; }

  // Any thread. Where the text lies that was added under this key.
  std::optional<u64> find(const std::string& key) const;
  // Lays the plan over the file's bytes and keeps what comes of it. Nothing: the plan lays nothing, or there
  // is no room; the machine does it itself then.
  std::optional<u64> add(const std::string& key, std::span<const std::byte> file,
                         std::span<const std::byte> plan);

 private:
  TextStore(int readable, int writable, std::string name, const PreparedCache& places)
      : readable_(readable), writable_(writable), name_(std::move(name)), places_(places) {}

  std::string place_key(const std::string& key) const { return "text " + name_ + "|" + key; }

  int readable_;
  int writable_;
  std::string name_;
  const PreparedCache& places_;
  std::mutex appending_;  // flock(2) keeps other processes out, not this one's threads
};

// The contents of a StoredText, which begins at a page: the header and all behind it. Empty if the plan lays
// nothing.
std::vector<std::byte> lay_text(std::span<const std::byte> file, std::span<const std::byte> plan);

}  // namespace teacup::host

// What a machine will have prepared, foreseen: the answers that the last machine got which ran the same
// command of the same images, put into the arena before the guest side starts (abi::ForeseenText).
//
// To ask the broker for a plan takes 70 to 110 us, most of it two threads that wake each other; /bin/true
// asks three times, `python3 -c 'import json,asyncio,ssl'` 13 times, a compiler 17. The list is one small
// file to read instead.
//
// It is an entry of the cache of plans, and trusted as those are (prepared_cache.h): its key says of what its
// answers are a function, the images' identities and the store's name among it. Foreseen is what lies in the
// store of texts, which holds whole pages, and plans that lay nothing; never a plan that the guest side lays
// over what it reads. What is not foreseen, or differs in anything, is asked for.
#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "host/broker/prepared_cache.h"
#include "kernel/abi/prepare.h"

namespace teacup::host {

class Foreseen {
 public:
  // An empty key: nothing is foreseen or kept. `cache` outlives it.
  Foreseen(const PreparedCache& cache, std::string key);

  // abi::ForeseenText records, for the arena before the template starts.
  std::span<const std::byte> records() const { return list_; }
  // Any thread: the guest side has asked for this and got an answer: `input.stored`, or a plan that lays
  // nothing. `tail`: the bytes of the pieces that lie in the arena.
  void note(const abi::PrepareInput& input, std::span<const abi::PreparePiece> pieces,
            std::span<const std::byte> tail, std::span<const std::byte> plan);
  // Any thread, at the end: for the next machine, if something was asked for.
  void keep();

 private:
  const PreparedCache& cache_;
  const std::string key_;
  std::vector<std::byte> list_;
  std::mutex mutex_;
  std::vector<std::byte> news_;  // records of what was asked for in this machine
};

}  // namespace teacup::host

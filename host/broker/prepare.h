// Preparing executables for the guest side: RingOp::kPrepare (kernel/abi/prepare.h).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "host/broker/foreseen.h"
#include "host/broker/text_store.h"
#include "host/launch/image.h"
#include "kernel/abi/prepare.h"
#include "kernel/base/types.h"

namespace teacup::host {

// What is kept for later machines; the caller's own, by the environment.
const PreparedCache& prepared_cache();
std::unique_ptr<TextStore> open_text_store();

// What a machine that runs `command` of these images will ask for.
std::unique_ptr<Foreseen> foresee(std::span<const Image> images, const TextStore* texts,
                                  const std::string& command);

// Serves one request, on any thread. `images` are the machine's images[], `texts` the store that it maps or
// null; `foreseen` is told. Nothing in the request or in the arena is trusted: it is copied out before it is
// looked at. Returns the size of the blob, which has been written to the asker's buffer if it fits, or is in
// the store, or -errno.
s64 serve_prepare(std::span<const Image> images, TextStore* texts, Foreseen& foreseen, const u64 (&args)[6]);
// The same of what is kept alone, in microseconds; 0 if it is not there.
s64 serve_prepared(std::span<const Image> images, const TextStore* texts, Foreseen& foreseen,
                   const u64 (&args)[6]);

// Reads a file of the guest's by its pieces. 0, EINVAL for pieces that are not of the arena or the image, or
// EIO.
s64 read_pieces(std::span<const Image> images, std::span<const abi::PreparePiece> pieces,
                std::span<std::byte> into);

}  // namespace teacup::host

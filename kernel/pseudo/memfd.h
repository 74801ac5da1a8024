// memfd_create(2): a file without a name, with seals.
#pragma once

#include "fs/file.h"

namespace teacup::pseudo {

// `name` as /proc/PID/fd shows it, with its "memfd:". Without `sealable` it has F_SEAL_SEAL from the start.
Result<Ref<fs::File>> make_memfd(std::string_view name, bool sealable);

}  // namespace teacup::pseudo

// --stats: what the machine did, as JSON.
#pragma once

#include <string>

#include "kernel/base/types.h"

namespace teacup::host {

// `started_at`: ns, CLOCK_MONOTONIC, when `teacup run` began.
std::string stats_json(u64 started_at);

}  // namespace teacup::host

// The decoder (fs/decoder.h): a host process that never runs guest code, made when first asked for.
#pragma once

namespace teacup {

// For the template. Where the host gives no more processes there is none, and readers do without.
void spawn_decoder();

}  // namespace teacup

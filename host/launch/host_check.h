// What the host must have.
#pragma once

namespace teacup::host {

// Throws LaunchError naming what is missing: Linux >= 5.10 on x86-64, seccomp filters, memfd.
void check_host();

}  // namespace teacup::host

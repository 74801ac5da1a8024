// What the host must have.
#pragma once

#include "kernel/abi/cpu_model.h"

namespace teacup::host {

// Throws LaunchError naming what is missing: Linux >= 5.10 on x86-64, seccomp filters, memfd.
void check_host();

// Throws LaunchError if the host's processor lacks something that the model has.
void check_cpu(abi::CpuModel model);

}  // namespace teacup::host

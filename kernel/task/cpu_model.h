// The answers of a processor model (kernel/abi/cpu_model.h).
#pragma once

#include "kernel/abi/cpu_model.h"
#include "kernel/task/processor.h"

namespace teacup {

// What `model`, which is not kHost, answers. `host` is the host's answer to the same question: of use only
// where a program must know what this processor's instructions do.
CpuidResult model_cpuid(abi::CpuModel model, u32 leaf, u32 subleaf, const CpuidResult& host);

}  // namespace teacup

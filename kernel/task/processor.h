// The processor as the machine's programs see it: what cpuid answers. The instruction traps to the hypervisor
// in any virtual machine (5-6 us each), and a program of glibc's executes 43 of them before main(). So each
// question is asked of the processor once in a machine's life, and answered from a table from then on: the
// same for all processes, on all cores. (Asking everything at the start would take longer than a machine
// does.) Where there is a store of texts, the table begins with what it has (abi::StoreHeader).
//
// Only APIC ids differ from core to core (leaves 1, 0xb, 0x1f and AMD's 0x8000001e and 0x80000026). A
// thread's is the lowest processor of its affinity, as /proc/cpuinfo numbers them: a thread that may run
// anywhere sees 0, and programs that pin a thread to each processor in turn to learn the topology see them
// all.
#pragma once

#include "kernel/abi/cpu_model.h"
#include "kernel/base/types.h"

namespace teacup {

struct CpuidResult {
  u32 eax, ebx, ecx, edx;
};

// By the template, once.
void processor_start(abi::CpuModel model = abi::CpuModel::kHost);

// What a thread sees whose APIC id is `apic_id`. A subleaf matters only where the leaf has any. No locks.
CpuidResult cpuid(u32 leaf, u32 subleaf = 0, u32 apic_id = 0);

}  // namespace teacup

// Patched instructions that are no system calls: what the processor would have done.
#include "kernel/abi/stats.h"
#include "kernel/task/frame.h"
#include "kernel/task/processor.h"
#include "kernel/task/task.h"

namespace teacup {

extern "C" {

void kernel_cpuid(Frame& frame) {
  abi::machine_stats().cpuids.fetch_add(1, std::memory_order_relaxed);
  u32 apic_id = static_cast<u32>(__builtin_ctzll(current_task().affinity));
  CpuidResult result = cpuid(static_cast<u32>(frame.rax), static_cast<u32>(frame.rcx), apic_id);
  frame.rax = result.eax;
  frame.rbx = result.ebx;
  frame.rcx = result.ecx;
  frame.rdx = result.edx;
}

void kernel_rdtsc(Frame& frame) {
  u32 low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  frame.rax = low;
  frame.rdx = high;
}

void kernel_rdtscp(Frame& frame) {
  u32 low, high, processor;
  asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(processor));
  frame.rax = low;
  frame.rdx = high;
  frame.rcx = processor;
}
}

}  // namespace teacup

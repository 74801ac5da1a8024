// A table with open addresses that only ever grows. A slot is claimed, filled, then published; whoever meets
// one that is being filled, or a full table (a program that asks for leaf after leaf), asks the processor
// itself.
#include "kernel/task/processor.h"

#include <algorithm>
#include <atomic>
#include <span>

#include "kernel/abi/stored_text.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/panic.h"
#include "kernel/frame/heap.h"
#include "kernel/task/cpu_model.h"

namespace teacup {

namespace {

enum SlotState : u32 { kEmpty, kFilling, kReady };

struct Slot {
  std::atomic<u32> state{kEmpty};
  u32 leaf = 0;
  u32 subleaf = 0;
  CpuidResult result{};
};

constexpr u32 kSlots = 256;
constexpr u32 kProbes = 16;

struct Processor {
  abi::CpuModel model = abi::CpuModel::kHost;
  Slot slots[kSlots];
};

CpuidResult ask(u32 leaf, u32 subleaf) {
  CpuidResult r{};
  asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
  return r;
}

CpuidResult seen_as(abi::CpuModel model, u32 leaf, u32 subleaf, const CpuidResult& host) {
  return model == abi::CpuModel::kHost ? host : model_cpuid(model, leaf, subleaf, host);
}

CpuidResult answer(abi::CpuModel model, u32 leaf, u32 subleaf) {
  return seen_as(model, leaf, subleaf, ask(leaf, subleaf));
}

u32 hash_of(u32 leaf, u32 subleaf) {
  return (leaf ^ leaf >> 24 ^ subleaf << 5) * 0x9e3779b1u >> 24;
}

// Leaves whose answer does not depend on ecx, among those that programs ask for: they often leave it as it
// is.
bool ignores_subleaf(u32 leaf) {
  if (leaf >= 0x80000000 && leaf <= 0x8000001f) return leaf != 0x8000001d;
  if (leaf > 0x1c) return false;
  constexpr u32 kWithSubleaves = 1 << 4 | 1 << 7 | 1 << 0xb | 1 << 0xd | 1 << 0xf | 1 << 0x10 | 1 << 0x12 |
                                 1 << 0x14 | 1 << 0x17 | 1 << 0x18 | 1 << 0x1a | 1 << 0x1b;
  return (kWithSubleaves >> leaf & 1) == 0;
}

CpuidResult look_up(u32 leaf, u32 subleaf) {
  auto* processor = root<Processor>(Root::kProcessor);
  if (processor == nullptr) return ask(leaf, subleaf);
  u32 hash = hash_of(leaf, subleaf);
  for (u32 probe = 0; probe < kProbes; probe++) {
    Slot& slot = processor->slots[(hash + probe) % kSlots];
    u32 state = slot.state.load(std::memory_order_acquire);
    if (state == kReady && slot.leaf == leaf && slot.subleaf == subleaf) return slot.result;
    if (state == kFilling) break;
    if (state != kEmpty || !slot.state.compare_exchange_strong(state, kFilling)) continue;
    slot.leaf = leaf;
    slot.subleaf = subleaf;
    slot.result = answer(processor->model, leaf, subleaf);
    slot.state.store(kReady, std::memory_order_release);
    return slot.result;
  }
  return answer(processor->model, leaf, subleaf);
}

// What an earlier machine's broker was told. A host that was moved to another processor says so in leaf 1,
// which the template has asked.
void use_stored_answers(Processor& processor) {
  if (arena().text_store_fd == 0) return;
  const auto& header = *reinterpret_cast<const abi::StoreHeader*>(kTextStoreBase);
  std::span answers(header.cpuid, std::min(header.cpuid_count, abi::kMaxStoredCpuid));
  const u32(&now)[3] = arena().processor;
  bool same = std::any_of(answers.begin(), answers.end(), [&now](const abi::CpuidEntry& one) {
    return one.leaf == 1 && one.eax == now[0] && one.ecx == now[1] && one.edx == now[2];
  });
  if (!same) return;
  for (const abi::CpuidEntry& one : answers) {
    CpuidResult host{one.eax, one.ebx, one.ecx, one.edx};
    u32 hash = hash_of(one.leaf, one.subleaf);
    for (u32 probe = 0; probe < kProbes; probe++) {
      Slot& slot = processor.slots[(hash + probe) % kSlots];
      if (slot.state.load(std::memory_order_relaxed) != kEmpty) continue;
      slot.leaf = one.leaf;
      slot.subleaf = one.subleaf;
      slot.result = seen_as(processor.model, one.leaf, one.subleaf, host);
      slot.state.store(kReady, std::memory_order_relaxed);
      break;
    }
  }
}

void put_apic_id(CpuidResult& r, u32 leaf, u32 apic_id) {
  switch (leaf) {
    case 1:
      r.ebx = (r.ebx & 0x00ffffff) | apic_id << 24;
      break;
    case 0xb:
    case 0x1f:
      // Beyond the highest leaf Intel answers the highest one's question: that has no such number.
      if (look_up(0, 0).eax >= leaf) r.edx = apic_id;
      break;
    case 0x80000026:
      r.edx = apic_id;
      break;
    case 0x8000001e: {
      // The core's id, and the node's: one.
      u32 threads = (r.ebx >> 8 & 0xff) + 1;
      r.eax = apic_id;
      r.ebx = (r.ebx & ~u32{0xff}) | (apic_id / threads & 0xff);
      r.ecx &= ~u32{0xff};
      break;
    }
    default:
      break;
  }
}

}  // namespace

void processor_start(abi::CpuModel model) {
  auto* processor = make<Processor>().value_or(nullptr);
  if (processor == nullptr) panic("no memory for the processor's description");
  processor->model = model;
  use_stored_answers(*processor);
  set_root(Root::kProcessor, processor);
}

CpuidResult cpuid(u32 leaf, u32 subleaf, u32 apic_id) {
  if (ignores_subleaf(leaf)) subleaf = 0;
  CpuidResult result = look_up(leaf, subleaf);
  put_apic_id(result, leaf, apic_id);
  return result;
}

}  // namespace teacup

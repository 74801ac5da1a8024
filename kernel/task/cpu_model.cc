// A processor that is the same on every host: a made-up one of Intel's, so that programs which look at the
// vendor take their usual way, of a family and model that no table knows, with the features of its level and
// nothing more, caches of usual sizes, no topology, and the level as its name.
//
// One thing is the host's: the state that XSAVE saves (leaf 0xd, seen from x86-64-v3 on). The instruction
// saves what the host has enabled, whatever cpuid says, and a program that asks how large that is must hear
// the truth. What a level does not name may still be executed; it is hidden, not forbidden.
#include "kernel/task/cpu_model.h"

#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"

namespace teacup {

namespace {

constexpr u32 kXsaveLeaf = 0xd;
constexpr u32 kSignature = 0xf06f0;  // family 6, model 255, stepping 0

struct Cache {
  u32 type;  // 1 data, 2 instructions, 3 both
  u32 level;
  u32 ways;
  u32 sets;
};
// 32 KiB of each of the first level, 1 MiB, 16 MiB; lines of 64 bytes.
constexpr Cache kCaches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 16, 1024}, {3, 3, 16, 16384}};
constexpr u32 kLine = 64;

CpuidResult describe_cache(u32 index) {
  if (index >= sizeof kCaches / sizeof kCaches[0]) return {};
  const Cache& cache = kCaches[index];
  return {cache.type | cache.level << 5 | 1u << 8, (kLine - 1) | (cache.ways - 1) << 22, cache.sets - 1, 0};
}

CpuidResult describe_name(abi::CpuModel model, u32 part) {
  char name[48] = {};
  std::string_view text = abi::cpu_model_name(model);
  memcpy(name, text.data(), text.size());
  CpuidResult result;
  memcpy(&result, name + part * sizeof result, sizeof result);
  return result;
}

}  // namespace

CpuidResult model_cpuid(abi::CpuModel model, u32 leaf, u32 subleaf, const CpuidResult& host) {
  const abi::CpuFeatures features = abi::features_of(model);
  bool has_xsave = model >= abi::CpuModel::kV3;
  switch (leaf) {
    case 0:
      return {has_xsave ? kXsaveLeaf : 7, 0x756e6547, 0x6c65746e, 0x49656e69};  // GenuineIntel
    case 1:
      return {kSignature, (kLine / 8) << 8 | (arena().cpu_count & 0xff) << 16, features.leaf1_ecx,
              features.leaf1_edx};
    case 2:
      return {0x0000ff01, 0, 0, 0};  // caches: see leaf 4
    case 4:
      return describe_cache(subleaf);
    case 7:
      return {0, subleaf == 0 ? features.leaf7_ebx : 0, 0, 0};
    case kXsaveLeaf:
      return has_xsave ? host : CpuidResult{};
    case 0x80000000:
      return {0x80000008, 0, 0, 0};
    case 0x80000001:
      return {0, 0, features.extended_ecx, features.extended_edx};
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
      return describe_name(model, leaf - 0x80000002);
    case 0x80000008:
      return {48u << 8 | 46u, 0, 0, 0};  // bits of addresses
    default:
      return {};
  }
}

}  // namespace teacup

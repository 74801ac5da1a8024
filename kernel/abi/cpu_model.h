// Processor models (--cpu): what cpuid answers instead of the host's processor. The names and what they
// promise are the levels of the x86-64 psABI, which compilers (-march=), glibc (glibc-hwcaps) and qemu use
// too.
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

enum class CpuModel : u32 { kHost = 0, kV1, kV2, kV3, kV4 };

// Feature bits by the leaf and register that have them.
struct CpuFeatures {
  u32 leaf1_edx, leaf1_ecx;
  u32 leaf7_ebx;
  u32 extended_edx, extended_ecx;  // leaf 0x80000001
};

// All that a model has. None for kHost.
constexpr CpuFeatures features_of(CpuModel model) {
  CpuFeatures features{};
  if (model >= CpuModel::kV1) {
    // What every x86-64 has, of it MMX, SSE and SSE2; syscall, nx, lm.
    features.leaf1_edx = 0x078bfbff;
    features.extended_edx = 1u << 11 | 1u << 20 | 1u << 29;
  }
  if (model >= CpuModel::kV2) {
    // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF.
    features.leaf1_ecx |= 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23;
    features.extended_ecx |= 1u << 0;
  }
  if (model >= CpuModel::kV3) {
    // FMA, MOVBE, XSAVE, OSXSAVE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT.
    features.leaf1_ecx |= 1u << 12 | 1u << 22 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29;
    features.leaf7_ebx |= 1u << 3 | 1u << 5 | 1u << 8;
    features.extended_ecx |= 1u << 5;
  }
  if (model >= CpuModel::kV4) {
    // AVX512F, DQ, CD, BW, VL.
    features.leaf7_ebx |= 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
  }
  return features;
}

constexpr const char* cpu_model_name(CpuModel model) {
  constexpr const char* kNames[] = {"host", "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"};
  return kNames[static_cast<u32>(model)];
}

}  // namespace teacup::abi

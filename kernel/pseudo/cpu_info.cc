// From cpuid, as Linux names the bits (arch/x86/include/asm/cpufeatures.h).
#include "kernel/pseudo/cpu_info.h"

#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"
#include "kernel/task/processor.h"

namespace teacup::pseudo {

namespace {

// One name per bit from 0 up; "" is not shown.
constexpr const char* kLeaf1Edx[32] = {"fpu",  "vme",   "de",   "pse",     "tsc",  "msr", "pae",  "mce",
                                       "cx8",  "apic",  "",     "sep",     "mtrr", "pge", "mca",  "cmov",
                                       "pat",  "pse36", "pn",   "clflush", "",     "dts", "acpi", "mmx",
                                       "fxsr", "sse",   "sse2", "ss",      "ht",   "tm",  "ia64", "pbe"};
constexpr const char* kLeaf1Ecx[32] = {"pni",    "pclmulqdq", "dtes64", "monitor", "ds_cpl",
                                       "vmx",    "smx",       "est",    "tm2",     "ssse3",
                                       "cid",    "sdbg",      "fma",    "cx16",    "xtpr",
                                       "pdcm",   "",          "pcid",   "dca",     "sse4_1",
                                       "sse4_2", "x2apic",    "movbe",  "popcnt",  "tsc_deadline_timer",
                                       "aes",    "xsave",     "",       "avx",     "f16c",
                                       "rdrand", "hypervisor"};
constexpr const char* kLeaf7Ebx[32] = {
    "fsgsbase", "tsc_adjust", "",         "bmi1",     "hle",      "avx2",       "",         "smep",
    "bmi2",     "erms",       "invpcid",  "rtm",      "",         "",           "mpx",      "",
    "avx512f",  "avx512dq",   "rdseed",   "adx",      "smap",     "avx512ifma", "",         "clflushopt",
    "clwb",     "intel_pt",   "avx512pf", "avx512er", "avx512cd", "sha_ni",     "avx512bw", "avx512vl"};
constexpr const char* kLeaf7Ecx[32] = {"",
                                       "avx512vbmi",
                                       "umip",
                                       "pku",
                                       "ospke",
                                       "waitpkg",
                                       "avx512_vbmi2",
                                       "",
                                       "gfni",
                                       "vaes",
                                       "vpclmulqdq",
                                       "avx512_vnni",
                                       "avx512_bitalg",
                                       "",
                                       "avx512_vpopcntdq",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "rdpid",
                                       "",
                                       "",
                                       "cldemote",
                                       "",
                                       "movdiri",
                                       "movdir64b",
                                       "",
                                       "",
                                       ""};
constexpr const char* kLeaf7Edx[32] = {
    "",         "",         "",          "", "fsrm",     "",
    "",         "",         "",          "", "md_clear", "",
    "",         "",         "serialize", "", "tsxldtrk", "",
    "",         "",         "",          "", "amx_bf16", "avx512_fp16",
    "amx_tile", "amx_int8", "",          "", "",         "arch_capabilities",
    "",         ""};
constexpr const char* kExtendedEdx[32] = {
    "",        "", "", "",         "",        "",       "", "",   "",         "",     "",
    "syscall", "", "", "",         "",        "",       "", "",   "",         "nx",   "",
    "mmxext",  "", "", "fxsr_opt", "pdpe1gb", "rdtscp", "", "lm", "3dnowext", "3dnow"};
constexpr const char* kExtendedEcx[32] = {"lahf_lm",
                                          "cmp_legacy",
                                          "svm",
                                          "extapic",
                                          "cr8_legacy",
                                          "abm",
                                          "sse4a",
                                          "misalignsse",
                                          "3dnowprefetch",
                                          "osvw",
                                          "ibs",
                                          "xop",
                                          "skinit",
                                          "wdt",
                                          "",
                                          "lwp",
                                          "fma4",
                                          "tce",
                                          "",
                                          "",
                                          "",
                                          "tbm",
                                          "topoext",
                                          "perfctr_core",
                                          "",
                                          "",
                                          "",
                                          "",
                                          "",
                                          "",
                                          "",
                                          ""};

void add_flags(TextBuffer& out, u32 bits, const char* const (&names)[32]) {
  for (u32 i = 0; i < 32; i++) {
    if ((bits >> i & 1) != 0 && names[i][0] != '\0') out.add(' ').add(names[i]);
  }
}

void add_model_name(TextBuffer& out) {
  char name[48];
  for (u32 i = 0; i < 3; i++) {
    CpuidResult part = cpuid(0x80000002 + i);
    memcpy(name + i * 16, &part, sizeof part);
  }
  std::string_view text(name, sizeof name);
  text = text.substr(0, text.find('\0'));
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  out.add(text);
}

}  // namespace

Result<void> show_cpuinfo(TextBuffer& out, const Subject&) {
  CpuidResult leaf0 = cpuid(0), leaf1 = cpuid(1), leaf7 = cpuid(7), extended = cpuid(0x80000001);
  CpuidResult sizes = cpuid(0x80000008), frequency = leaf0.eax >= 0x16 ? cpuid(0x16) : CpuidResult{};
  char vendor[12];
  memcpy(vendor, &leaf0.ebx, 4);
  memcpy(vendor + 4, &leaf0.edx, 4);
  memcpy(vendor + 8, &leaf0.ecx, 4);
  u32 family = leaf1.eax >> 8 & 0xf, model = leaf1.eax >> 4 & 0xf;
  if (family == 0xf) family += leaf1.eax >> 20 & 0xff;
  if (family >= 6) model |= (leaf1.eax >> 16 & 0xf) << 4;
  char model_storage[64];
  TextBuffer model_name(model_storage);
  add_model_name(model_name);
  u32 mhz = (frequency.eax & 0xffff) != 0 ? frequency.eax & 0xffff : 2000;
  u32 cpus = arena().cpu_count;
  for (u32 i = 0; i < cpus; i++) {
    out.add("processor\t: ").udec(i).add("\nvendor_id\t: ").add({vendor, sizeof vendor});
    out.add("\ncpu family\t: ").udec(family).add("\nmodel\t\t: ").udec(model);
    out.add("\nmodel name\t: ").add(model_name.text()).add("\nstepping\t: ").udec(leaf1.eax & 0xf);
    out.add("\ncpu MHz\t\t: ").udec(mhz).add(".000\ncache size\t: 1024 KB\nphysical id\t: 0\nsiblings\t: ");
    out.udec(cpus)
        .add("\ncore id\t\t: ")
        .udec(i)
        .add("\ncpu cores\t: ")
        .udec(cpus)
        .add("\napicid\t\t: ")
        .udec(i);
    out.add("\ninitial apicid\t: ").udec(i).add("\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: ");
    out.udec(leaf0.eax).add("\nwp\t\t: yes\nflags\t\t:");
    add_flags(out, leaf1.edx, kLeaf1Edx);
    add_flags(out, extended.edx, kExtendedEdx);
    add_flags(out, leaf1.ecx, kLeaf1Ecx);
    add_flags(out, extended.ecx, kExtendedEcx);
    add_flags(out, leaf7.ebx, kLeaf7Ebx);
    add_flags(out, leaf7.ecx, kLeaf7Ecx);
    add_flags(out, leaf7.edx, kLeaf7Edx);
    out.add("\nbugs\t\t:\nbogomips\t: ").udec(mhz * 2).add(".00\nclflush size\t: ");
    out.udec((leaf1.ebx >> 8 & 0xff) * 8).add("\ncache_alignment\t: 64\naddress sizes\t: ");
    out.udec(sizes.eax & 0xff).add(" bits physical, ").udec(sizes.eax >> 8 & 0xff).add(" bits virtual\n");
    out.add("power management:\n\n");
  }
  return {};
}

}  // namespace teacup::pseudo

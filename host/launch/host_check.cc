#include "host/launch/host_check.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "host/launch/error.h"

namespace teacup::host {

void check_host() {
  utsname name{};
  uname(&name);
  int major = 0, minor = 0;
  if (sscanf(name.release, "%d.%d", &major, &minor) == 2 && (major < 5 || (major == 5 && minor < 10))) {
    throw LaunchError("this host runs Linux " + std::string(name.release) + "; teacup needs 5.10 or later");
  }
  unsigned action = SECCOMP_RET_TRAP;
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
    throw LaunchError(
        "this host has no seccomp filters (" + errno_text(errno) +
        "): its kernel needs CONFIG_SECCOMP_FILTER, or whatever confines this process must allow seccomp(2)");
  }
}

void check_cpu(abi::CpuModel model) {
  if (model == abi::CpuModel::kHost) return;
  const abi::CpuFeatures wanted = abi::features_of(model);
  abi::CpuFeatures has{};
  unsigned unused = 0, leaf7_ecx = 0, leaf7_edx = 0;
  __get_cpuid(1, &unused, &unused, &has.leaf1_ecx, &has.leaf1_edx);
  __get_cpuid_count(7, 0, &unused, &has.leaf7_ebx, &leaf7_ecx, &leaf7_edx);
  __get_cpuid(0x80000001, &unused, &unused, &has.extended_ecx, &has.extended_edx);
  // Of the first level only what the psABI promises: a hypervisor may hide some of what every processor has.
  constexpr u32 kLevelOne = 1u << 0 | 1u << 8 | 1u << 15 | 1u << 23 | 1u << 24 | 1u << 25 | 1u << 26;
  bool good = (wanted.leaf1_edx & kLevelOne & ~has.leaf1_edx) == 0 &&
              (wanted.leaf1_ecx & ~has.leaf1_ecx) == 0 && (wanted.leaf7_ebx & ~has.leaf7_ebx) == 0 &&
              (wanted.extended_ecx & ~has.extended_ecx) == 0;
  if (!good) {
    throw LaunchError(std::string("this host's processor is no ") + abi::cpu_model_name(model) +
                      "; give --cpu a lower level");
  }
}

}  // namespace teacup::host

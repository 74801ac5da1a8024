// An address space in the test's own process, and what tests say about it.
#pragma once

#include <gtest/gtest.h>

#include <csetjmp>
#include <csignal>

#include "kernel/abi/mm.h"
#include "kernel/mm/address_space.h"
#include "tests/unit/support/machine.h"
#include "tests/unit/support/test_file.h"

namespace teacup::mm {

inline constexpr int kRead = abi::kPROT_READ;
inline constexpr int kReadWrite = abi::kPROT_READ | abi::kPROT_WRITE;
inline constexpr int kPrivate = abi::kMAP_PRIVATE;
inline constexpr int kAnonymous = abi::kMAP_PRIVATE | abi::kMAP_ANONYMOUS;
inline constexpr int kFixed = abi::kMAP_FIXED;
inline constexpr u64 kPage = kPageSize;
// Below where the host keeps the test's own libraries.
inline constexpr u64 kTop = 0x7500'0000'0000;

class SpaceTest : public testing::Test {
 protected:
  SpaceTest() : space_(AddressSpace::create().value()) { space_->set_map_top(kTop); }
  ~SpaceTest() override { static_cast<void>(space_->unmap(kGuestHighStart, kTop - kGuestHighStart)); }

  u64 map(u64 length, int prot = kReadWrite, u64 hint = 0, int more_flags = 0) {
    auto mapped = space_->map(hint, length, prot, kAnonymous | more_flags, nullptr, 0);
    EXPECT_EQ(mapped.error(), Errno::OK);
    return mapped.value_or(0);
  }
  static volatile u8& byte(u64 address) { return *reinterpret_cast<volatile u8*>(address); }
  // "7..000-7..000 rw-p" of each mapping, relative to `base` in pages: "0-2 rw-p, 3-4 r--s".
  std::string shape(u64 base) {
    std::string text;
    u64 at = 0;
    for (;;) {
      auto found = space_->next_mapping(at);
      if (!found.ok()) return text;
      const MappingInfo& info = found.value();
      if (!text.empty()) text += ", ";
      text += std::to_string(static_cast<s64>(info.start - base) / static_cast<s64>(kPage)) + "-" +
              std::to_string(static_cast<s64>(info.end - base) / static_cast<s64>(kPage)) + " ";
      text += (info.prot & abi::kPROT_READ) != 0 ? 'r' : '-';
      text += (info.prot & abi::kPROT_WRITE) != 0 ? 'w' : '-';
      text += (info.prot & abi::kPROT_EXEC) != 0 ? 'x' : '-';
      text += info.shared ? 's' : 'p';
      at = info.end;
    }
  }

  TestMachine machine_;
  TestFileSystem file_system_;
  Ref<AddressSpace> space_;
};

inline sigjmp_buf probe_return;
inline void on_probe_fault(int) {
  siglongjmp(probe_return, 1);
}

// Whether the host lets us read (or write) there.
inline bool can_access(u64 address, bool write = false) {
  struct sigaction action {};
  action.sa_handler = on_probe_fault;
  struct sigaction old_segv, old_bus;
  sigaction(SIGSEGV, &action, &old_segv);
  sigaction(SIGBUS, &action, &old_bus);
  volatile bool accessed = false;  // not to be set before the access, nor lost by the jump
  if (sigsetjmp(probe_return, 1) == 0) {
    auto& there = *reinterpret_cast<volatile u8*>(address);
    u8 value = there;
    if (write) there = value;
    accessed = true;
  }
  sigaction(SIGSEGV, &old_segv, nullptr);
  sigaction(SIGBUS, &old_bus, nullptr);
  return accessed;
}

inline std::vector<std::byte> pattern(size_t pages) {
  std::vector<std::byte> bytes(pages * kPage);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<std::byte>(i / kPage + 1);
  return bytes;
}

}  // namespace teacup::mm

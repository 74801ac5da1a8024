// Memory: constants of mmap(2), mprotect(2), mremap(2), madvise(2), memfd_create(2) (linux/mman.h).
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr int kMADV_NORMAL = 0;
inline constexpr int kMAP_FILE = 0;
inline constexpr int kPROT_NONE = 0;
inline constexpr int kMADV_RANDOM = 1;
inline constexpr int kMAP_SHARED = 1;
inline constexpr int kMCL_CURRENT = 1;
inline constexpr int kMFD_CLOEXEC = 1;
inline constexpr int kMREMAP_MAYMOVE = 1;
inline constexpr int kMS_ASYNC = 1;
inline constexpr int kPROT_READ = 1;
inline constexpr int kMADV_SEQUENTIAL = 2;
inline constexpr int kMAP_PRIVATE = 2;
inline constexpr int kMCL_FUTURE = 2;
inline constexpr int kMFD_ALLOW_SEALING = 2;
inline constexpr int kMREMAP_FIXED = 2;
inline constexpr int kMS_INVALIDATE = 2;
inline constexpr int kPROT_WRITE = 2;
inline constexpr int kMADV_WILLNEED = 3;
inline constexpr int kMAP_SHARED_VALIDATE = 3;
inline constexpr int kMADV_DONTNEED = 4;
inline constexpr int kMCL_ONFAULT = 4;
inline constexpr int kMFD_HUGETLB = 4;
inline constexpr int kMREMAP_DONTUNMAP = 4;
inline constexpr int kMS_SYNC = 4;
inline constexpr int kPROT_EXEC = 4;
inline constexpr int kMADV_FREE = 8;
inline constexpr int kPROT_SEM = 8;
inline constexpr int kMADV_REMOVE = 9;
inline constexpr int kMADV_DONTFORK = 10;
inline constexpr int kMADV_DOFORK = 11;
inline constexpr int kMADV_MERGEABLE = 12;
inline constexpr int kMADV_UNMERGEABLE = 13;
inline constexpr int kMADV_HUGEPAGE = 14;
inline constexpr int kMADV_NOHUGEPAGE = 15;
inline constexpr int kMAP_TYPE = 15;
inline constexpr int kMADV_DONTDUMP = 16;
inline constexpr int kMAP_FIXED = 0x10;
inline constexpr int kMADV_DODUMP = 17;
inline constexpr int kMADV_WIPEONFORK = 18;
inline constexpr int kMADV_KEEPONFORK = 19;
inline constexpr int kMADV_COLD = 20;
inline constexpr int kMADV_PAGEOUT = 21;
inline constexpr int kMADV_POPULATE_READ = 22;
inline constexpr int kMADV_POPULATE_WRITE = 23;
inline constexpr int kMADV_DONTNEED_LOCKED = 24;
inline constexpr int kMADV_COLLAPSE = 25;
inline constexpr int kMAP_ANONYMOUS = 0x20;
inline constexpr int kMAP_32BIT = 0x40;
inline constexpr int kMADV_HWPOISON = 100;
inline constexpr int kMADV_SOFT_OFFLINE = 101;
inline constexpr int kMAP_GROWSDOWN = 0x100;
inline constexpr int kMAP_DENYWRITE = 0x800;
inline constexpr int kMAP_EXECUTABLE = 0x1000;
inline constexpr int kMAP_LOCKED = 0x2000;
inline constexpr int kMAP_NORESERVE = 0x4000;
inline constexpr int kMAP_POPULATE = 0x8000;
inline constexpr int kMAP_NONBLOCK = 0x10000;
inline constexpr int kMAP_STACK = 0x20000;
inline constexpr int kMAP_HUGETLB = 0x40000;
inline constexpr int kMAP_SYNC = 0x80000;
inline constexpr int kMAP_FIXED_NOREPLACE = 0x100000;
inline constexpr int kPROT_GROWSDOWN = 16777216;
inline constexpr int kPROT_GROWSUP = 33554432;
inline constexpr int kMAP_UNINITIALIZED = 0x4000000;

}  // namespace teacup::abi

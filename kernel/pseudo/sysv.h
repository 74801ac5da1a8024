// System V IPC (sysvipc(7)): tables of objects that are known by key and by identifier, for as long as the
// machine runs or until they are removed. The three kinds derive from IpcObject (kernel/syscall/*_calls.cc
// has what they do).
//
// Locks: a table's (kSocketNames); an object's own (kPipe), with no table's.
#pragma once

#include "fs/credentials.h"
#include "kernel/abi/ipc.h"
#include "kernel/base/arena_header.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/wait.h"

namespace teacup::pseudo {

class IpcObject : public RefCounted<IpcObject> {
 public:
  virtual ~IpcObject() = default;
  static void destroy(IpcObject* object) { delete object; }
  static void operator delete(void* block) { heap_free(block); }

  s32 id = 0;
  abi::IpcPerm perm{};
  std::atomic<bool> removed{false};
  Mutex lock{LockRank::kPipe};
  WaitQueue queue;  // woken when somebody's turn may have come, and on removal
};

// `wanted`: permission bits as in a mode's lowest digit (4, 2). EACCES.
Result<void> check_ipc_access(const IpcObject& object, const Credentials& credentials, u32 wanted);
// May `credentials` change or remove it: EPERM.
Result<void> check_ipc_owner(const IpcObject& object, const Credentials& credentials);

class IpcTable {
 public:
  static constexpr u32 kMost = 4096;

  // EINVAL: no such identifier; EIDRM: it was removed.
  Result<Ref<IpcObject>> find(s32 id);
  Result<Ref<IpcObject>> at(u32 index);  // EINVAL
  // *get(2)'s way: what `key` names, after `check`, or a new one by `make` when flags have IPC_CREAT.
  // ENOENT, EEXIST, EACCES, ENOSPC.
  template <typename Make, typename Check>
  Result<s32> get(s32 key, u32 flags, const Credentials& credentials, Make make, Check check) {
    if (key != abi::kIPC_PRIVATE) {
      Ref<IpcObject> found = find_key(key);
      if (found) {
        if ((flags & abi::kIPC_CREAT) != 0 && (flags & abi::kIPC_EXCL) != 0) return Errno::EXIST;
        TRY(check_ipc_access(*found, credentials, (flags | flags >> 3 | flags >> 6) & 6));
        TRY(check(*found));
        return found->id;
      }
      if ((flags & abi::kIPC_CREAT) == 0) return Errno::NOENT;
    }
    Ref<IpcObject> made = TRY(make());
    return insert(std::move(made), key, flags, credentials);
  }
  void remove(IpcObject& object);
  // Its key is free again, but the identifier stays valid (shared memory that is still attached).
  void forget_key(IpcObject& object);
  u32 count();
  u32 highest();

 private:
  Ref<IpcObject> find_key(s32 key);
  Result<s32> insert(Ref<IpcObject> object, s32 key, u32 flags, const Credentials& credentials);

  Mutex lock_{LockRank::kSocketNames};
  HeapArray<IpcObject*> slots_;  // counted
  u32 sequence_ = 0;
  u32 count_ = 0;
};

struct SysvState {
  IpcTable memory, semaphores, messages;
};
inline SysvState& sysv() {
  return *root<SysvState>(Root::kIpc);
}
void sysv_start();

// Seconds, for the times of these objects.
s64 ipc_time();

}  // namespace teacup::pseudo

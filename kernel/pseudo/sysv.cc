#include "kernel/pseudo/sysv.h"

#include "kernel/abi/process.h"

namespace teacup::pseudo {

namespace {
constexpr s32 kIndexBits = 15;
}

void sysv_start() {
  auto created = make<SysvState>();
  KERNEL_ASSERT(created.ok());
  set_root(Root::kIpc, created.value());
}

s64 ipc_time() {
  return static_cast<s64>(gate::realtime_now() / 1'000'000'000);
}

Result<void> check_ipc_access(const IpcObject& object, const Credentials& credentials, u32 wanted) {
  const abi::IpcPerm& perm = object.perm;
  u32 granted = perm.mode;
  if (credentials.euid == perm.cuid || credentials.euid == perm.uid) {
    granted >>= 6;
  } else if (credentials.in_group(perm.cgid) || credentials.in_group(perm.gid)) {
    granted >>= 3;
  }
  if ((wanted & ~granted & 7) == 0 || credentials.has(abi::kCAP_IPC_OWNER)) return {};
  return Errno::ACCES;
}

Result<void> check_ipc_owner(const IpcObject& object, const Credentials& credentials) {
  if (credentials.euid == object.perm.cuid || credentials.euid == object.perm.uid) return {};
  // CAP_SYS_ADMIN on Linux, which the machine's root does not have: its CAP_IPC_OWNER says the same here.
  if (credentials.has(abi::kCAP_SYS_ADMIN) || credentials.has(abi::kCAP_IPC_OWNER)) return {};
  return Errno::PERM;
}

Result<Ref<IpcObject>> IpcTable::find(s32 id) {
  if (id < 0) return Errno::INVAL;
  u32 index = static_cast<u32>(id) & ((1U << kIndexBits) - 1);
  LockGuard guard(lock_);
  if (index >= slots_.size() || slots_[index] == nullptr) return Errno::INVAL;
  if (slots_[index]->id != id) return Errno::IDRM;
  return Ref<IpcObject>::share(slots_[index]);
}

Result<Ref<IpcObject>> IpcTable::at(u32 index) {
  LockGuard guard(lock_);
  if (index >= slots_.size() || slots_[index] == nullptr) return Errno::INVAL;
  return Ref<IpcObject>::share(slots_[index]);
}

Ref<IpcObject> IpcTable::find_key(s32 key) {
  LockGuard guard(lock_);
  for (IpcObject* object : slots_) {
    if (object != nullptr && object->perm.key == key) return Ref<IpcObject>::share(object);
  }
  return {};
}

Result<s32> IpcTable::insert(Ref<IpcObject> object, s32 key, u32 flags, const Credentials& credentials) {
  object->perm.key = key;
  object->perm.uid = object->perm.cuid = credentials.euid;
  object->perm.gid = object->perm.cgid = credentials.egid;
  object->perm.mode = flags & 0777;
  LockGuard guard(lock_);
  u32 index = 0;
  while (index < slots_.size() && slots_[index] != nullptr) index++;
  if (index == kMost) return Errno::NOSPC;
  if (index == slots_.size()) {
    auto larger = TRY(HeapArray<IpcObject*>::create(slots_.size() == 0 ? 16 : slots_.size() * 2));
    for (size_t i = 0; i < slots_.size(); i++) larger[i] = slots_[i];
    slots_ = std::move(larger);
  }
  sequence_ = (sequence_ + 1) & 0x7fff;
  object->perm.sequence = static_cast<u16>(sequence_);
  object->id = static_cast<s32>(sequence_ << kIndexBits | index);
  s32 id = object->id;
  slots_[index] = object.leak();
  count_++;
  return id;
}

void IpcTable::remove(IpcObject& object) {
  {
    LockGuard guard(lock_);
    u32 index = static_cast<u32>(object.id) & ((1U << kIndexBits) - 1);
    if (index >= slots_.size() || slots_[index] != &object) return;
    slots_[index] = nullptr;
    count_--;
  }
  object.removed.store(true, std::memory_order_seq_cst);
  object.queue.wake_all();
  object.unref();
}

void IpcTable::forget_key(IpcObject& object) {
  LockGuard guard(lock_);
  object.perm.key = abi::kIPC_PRIVATE;
}

u32 IpcTable::count() {
  LockGuard guard(lock_);
  return count_;
}

u32 IpcTable::highest() {
  LockGuard guard(lock_);
  u32 highest = 0;
  for (u32 i = 0; i < slots_.size(); i++) {
    if (slots_[i] != nullptr) highest = i;
  }
  return highest;
}

}  // namespace teacup::pseudo

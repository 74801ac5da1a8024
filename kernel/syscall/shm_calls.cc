// System V shared memory (shmget(2), shmop(2), shmctl(2)). A segment is a file of the mm's shared memory; who
// has it attached holds references to that file through mappings, which is how attachments are counted.
#include "kernel/abi/mm.h"
#include "kernel/mm/shared_memory.h"
#include "kernel/pseudo/sysv.h"
#include "kernel/syscall/ipc_calls.h"
#include "kernel/task/process.h"
#include "kernel/task/task.h"

namespace teacup {

namespace {

using pseudo::IpcObject;
using pseudo::sysv;

class Segment final : public IpcObject {
 public:
  Segment(Ref<fs::File> file, u64 size) : file(std::move(file)), size(size) {}
  const Ref<fs::File> file;
  const u64 size;
  s64 atime = 0, dtime = 0, ctime = 0;
  s32 creator = 0, last = 0;

  // Mappings of it, `held` references of the caller's own apart.
  u64 attachments(u32 held = 0) const {
    u32 references = file->ref_count();
    return references > 1 + held ? references - 1 - held : 0;
  }
};

Segment& segment_of(const Ref<IpcObject>& object) {
  return static_cast<Segment&>(*object);
}

// Segments that were removed while attached go when nobody has them any more.
void drop_unused() {
  for (u32 i = 0; i <= sysv().memory.highest(); i++) {
    auto object = sysv().memory.at(i);
    if (!object.ok()) continue;
    Segment& segment = segment_of(object.value());
    if ((segment.perm.mode & abi::kSHM_DEST) != 0 && segment.attachments() == 0)
      sysv().memory.remove(segment);
  }
}

}  // namespace

Result<s32> sys_shmget(Task& task, IpcKey key, size_t size, IpcFlags flags) {
  drop_unused();
  return sysv().memory.get(
      key, flags, task.credentials,
      [&]() -> Result<Ref<IpcObject>> {
        if (size == 0 || size > kKernelStart) return Errno::INVAL;
        Ref<fs::File> file = TRY(mm::SharedMemory::create(page_up(size), true));
        auto segment = TRY(make_ref<Segment>(std::move(file), size));
        segment->creator = task.pid();
        segment->ctime = pseudo::ipc_time();
        return Ref<IpcObject>(std::move(segment));
      },
      [&](IpcObject& found) -> Result<void> {
        if (size > static_cast<Segment&>(found).size) return Errno::INVAL;
        return {};
      });
}

Result<GuestAddress> sys_shmat(Task& task, s32 id, GuestAddress address, u32 flags) {
  Ref<IpcObject> object = TRY(sysv().memory.find(id));
  Segment& segment = segment_of(object);
  bool read_only = (flags & abi::kSHM_RDONLY) != 0;
  TRY(pseudo::check_ipc_access(segment, task.credentials, read_only ? 4 : 6));
  u64 at = address.value;
  if ((flags & abi::kSHM_RND) != 0) at = page_down(at);
  if (!is_aligned(at, kPageSize) || (at == 0 && (flags & abi::kSHM_REMAP) != 0)) return Errno::INVAL;
  int prot = abi::kPROT_READ | (read_only ? 0 : abi::kPROT_WRITE) |
             ((flags & abi::kSHM_EXEC) != 0 ? abi::kPROT_EXEC : 0);
  int how = abi::kMAP_SHARED;
  if (at != 0) how |= (flags & abi::kSHM_REMAP) != 0 ? abi::kMAP_FIXED : abi::kMAP_FIXED_NOREPLACE;
  auto mapped = task.memory->map(at, page_up(segment.size), prot, how, segment.file, 0);
  if (mapped.is(Errno::EXIST)) return Errno::INVAL;
  u64 where = TRY(std::move(mapped));
  LockGuard guard(segment.lock);
  segment.atime = pseudo::ipc_time();
  segment.last = task.pid();
  return GuestAddress{where};
}

Result<void> sys_shmdt(Task& task, GuestAddress address) {
  auto found = task.memory->next_mapping(address.value);
  if (!found.ok() || found.value().start != address.value || !found.value().file) return Errno::INVAL;
  Ref<fs::File> file = found.value().file;
  for (u32 i = 0; i <= sysv().memory.highest(); i++) {
    auto object = sysv().memory.at(i);
    if (!object.ok()) continue;
    Segment& segment = segment_of(object.value());
    if (segment.file.get() != file.get()) continue;
    TRY(task.memory->unmap(address.value, page_up(segment.size)));
    {
      LockGuard guard(segment.lock);
      segment.dtime = pseudo::ipc_time();
      segment.last = task.pid();
    }
    file = nullptr;
    found.value().file = nullptr;
    drop_unused();
    return {};
  }
  return Errno::INVAL;
}

namespace {

abi::ShmidDs describe(Segment& segment) {
  abi::ShmidDs out{};
  LockGuard guard(segment.lock);
  out.perm = segment.perm;
  out.size = segment.size;
  out.atime = segment.atime;
  out.dtime = segment.dtime;
  out.ctime = segment.ctime;
  out.cpid = segment.creator;
  out.lpid = segment.last;
  out.attaches = segment.attachments();
  return out;
}

struct ShmInfo {  // struct shminfo64
  u64 shmmax, shmmin, shmmni, shmseg, shmall;
  u64 unused_[4];
};
struct ShmUsage {  // struct shm_info
  s32 used_ids;
  s32 pad_;
  u64 total, resident, swapped;
  u64 swap_attempts, swap_successes;
};

}  // namespace

Result<s32> sys_shmctl(Task& task, s32 id, IpcCommand command, GuestInOut<abi::ShmidDs> data) {
  drop_unused();
  if (command == abi::kIPC_INFO) {
    ShmInfo info{18446744073692774399ULL, 1, pseudo::IpcTable::kMost, pseudo::IpcTable::kMost,
                 18446744073692774399ULL, {}};
    TRY(GuestOut<ShmInfo>(data.address()).write(info));
    return static_cast<s32>(sysv().memory.highest());
  }
  if (command == abi::kSHM_INFO) {
    ShmUsage usage{};
    usage.used_ids = static_cast<s32>(sysv().memory.count());
    TRY(GuestOut<ShmUsage>(data.address()).write(usage));
    return static_cast<s32>(sysv().memory.highest());
  }
  bool by_index = command == abi::kSHM_STAT || command == abi::kSHM_STAT_ANY;
  Ref<IpcObject> object =
      by_index ? TRY(sysv().memory.at(static_cast<u32>(id))) : TRY(sysv().memory.find(id));
  Segment& segment = segment_of(object);
  switch (command) {
    case abi::kIPC_STAT:
    case abi::kSHM_STAT:
      TRY(pseudo::check_ipc_access(segment, task.credentials, 4));
      [[fallthrough]];
    case abi::kSHM_STAT_ANY:
      TRY(data.write(describe(segment)));
      return by_index ? segment.id : 0;
    case abi::kIPC_SET: {
      TRY(pseudo::check_ipc_owner(segment, task.credentials));
      abi::ShmidDs wanted = TRY(data.read());
      LockGuard guard(segment.lock);
      segment.perm.uid = wanted.perm.uid;
      segment.perm.gid = wanted.perm.gid;
      segment.perm.mode = (segment.perm.mode & ~0777U) | (wanted.perm.mode & 0777);
      segment.ctime = pseudo::ipc_time();
      return 0;
    }
    case abi::kIPC_RMID:
      TRY(pseudo::check_ipc_owner(segment, task.credentials));
      {
        LockGuard guard(segment.lock);
        segment.perm.mode |= abi::kSHM_DEST;
      }
      sysv().memory.forget_key(segment);
      drop_unused();
      return 0;
    case abi::kSHM_LOCK:
    case abi::kSHM_UNLOCK:
      return 0;
  }
  return Errno::INVAL;
}

}  // namespace teacup

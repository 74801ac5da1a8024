// System V semaphores (semget(2), semop(2), semctl(2)).
//
// SEM_UNDO: what a process's operations are to be undone by when it ends is kept with the set, one record for
// each process that asked for it: SETVAL and SETALL clear all of a semaphore's adjustments, and a set that
// goes takes its records along. A process's end looks through all sets, if it ever used the flag. Differs
// from Linux: adjustments are a process's, with or without CLONE_SYSVSEM.
//
// Locks: a set's (kPipe); the table's before it, not with it.
#include <algorithm>

#include "kernel/pseudo/sysv.h"
#include "kernel/syscall/ipc_calls.h"
#include "kernel/task/process.h"
#include "kernel/task/task.h"

namespace teacup {

namespace {

using pseudo::IpcObject;
using pseudo::sysv;

constexpr s32 kMostSemaphores = 32000;  // SEMMSL
constexpr size_t kMostOperations = 500;
constexpr s32 kHighest = 32767;

struct Semaphore {
  s32 value;
  s32 pid;  // of the last operation
  u32 waiting_for_more;
  u32 waiting_for_zero;
};

// What the end of `owner` adds to the semaphores.
struct Undo {
  ListNode node;
  const Process* owner = nullptr;
  HeapArray<s32> adjustments;
};

class SemaphoreSet final : public IpcObject {
 public:
  HeapArray<Semaphore> semaphores;  // under lock, as all of it
  List<Undo, &Undo::node> undos;
  s64 otime = 0, ctime = 0;

  ~SemaphoreSet() override {
    while (Undo* undo = undos.pop_front()) destroy_undo(undo);
  }

  // All operations or none. EAGAIN: the one at *blocked cannot be done now. `undo`: where adjustments go, if
  // any of them has SEM_UNDO.
  Result<void> try_operations(std::span<const abi::SemBuf> operations, s32 pid, Undo* undo, size_t* blocked) {
    if (removed.load(std::memory_order_seq_cst)) return Errno::IDRM;
    Errno error = Errno::OK;
    size_t done = 0;
    {
      LockGuard guard(lock);
      for (; done < operations.size(); done++) {
        const abi::SemBuf& operation = operations[done];
        s32& value = semaphores[operation.number].value;
        if (operation.op == 0 ? value != 0 : value + operation.op < 0) error = Errno::AGAIN;
        if (value + operation.op > kHighest) error = Errno::RANGE;
        if (s32* adjustment = adjustment_of(undo, operation); adjustment != nullptr && error == Errno::OK) {
          s32 adjusted = *adjustment - operation.op;
          if (adjusted < -kHighest - 1 || adjusted > kHighest) error = Errno::RANGE;
          if (error == Errno::OK) *adjustment = adjusted;
        }
        if (error != Errno::OK) break;
        value += operation.op;
      }
      if (error == Errno::OK) {
        for (const abi::SemBuf& operation : operations) semaphores[operation.number].pid = pid;
        otime = pseudo::ipc_time();
      } else {
        *blocked = done;
        while (done-- > 0) {
          const abi::SemBuf& operation = operations[done];
          semaphores[operation.number].value -= operation.op;
          if (s32* adjustment = adjustment_of(undo, operation)) *adjustment += operation.op;
        }
      }
    }
    if (error != Errno::OK) return error;
    queue.wake_all();
    return {};
  }

  void count_waiter(const abi::SemBuf& operation, u32 change) {
    LockGuard guard(lock);
    Semaphore& semaphore = semaphores[operation.number];
    (operation.op == 0 ? semaphore.waiting_for_zero : semaphore.waiting_for_more) += change;
  }

  // The process's record, which stays until its end. ENOMEM.
  Result<Undo*> undo_of(const Process& owner) {
    {
      LockGuard guard(lock);
      if (Undo* there = find_undo_locked(owner)) return there;
    }
    auto adjustments = TRY(HeapArray<s32>::create(semaphores.size()));
    Undo* fresh = TRY(make<Undo>());
    fresh->owner = &owner;
    fresh->adjustments = std::move(adjustments);
    LockGuard guard(lock);
    Undo* there = find_undo_locked(owner);
    if (there == nullptr) undos.push_back(*fresh);
    guard.unlock();
    if (there == nullptr) return fresh;
    destroy_undo(fresh);  // another thread's was first
    return there;
  }

  void forget_undo_locked(size_t number) {
    for (Undo& undo : undos) undo.adjustments[number] = 0;
  }

  // `owner` ends.
  void undo(const Process& owner, s32 pid) {
    Undo* undo;
    {
      LockGuard guard(lock);
      undo = find_undo_locked(owner);
      if (undo == nullptr) return;
      undos.remove(*undo);
      for (size_t i = 0; i < semaphores.size(); i++) {
        if (undo->adjustments[i] == 0) continue;
        semaphores[i].value = std::clamp(semaphores[i].value + undo->adjustments[i], 0, kHighest);
        semaphores[i].pid = pid;
      }
      otime = pseudo::ipc_time();
    }
    destroy_undo(undo);
    queue.wake_all();
  }

 private:
  static void destroy_undo(Undo* undo) { teacup::destroy(undo); }
  static s32* adjustment_of(Undo* undo, const abi::SemBuf& operation) {
    bool wanted = undo != nullptr && (operation.flags & abi::kSEM_UNDO) != 0;
    return wanted ? &undo->adjustments[operation.number] : nullptr;
  }
  Undo* find_undo_locked(const Process& owner) {
    for (Undo& undo : undos) {
      if (undo.owner == &owner) return &undo;
    }
    return nullptr;
  }
};

SemaphoreSet& set_of(const Ref<IpcObject>& object) {
  return static_cast<SemaphoreSet&>(*object);
}

void undo_semaphores(Process& process) {
  u32 end = sysv().semaphores.highest() + 1;
  for (u32 index = 0; index < end; index++) {
    if (auto object = sysv().semaphores.at(index); object.ok())
      set_of(object.value()).undo(process, process.pid);
  }
}

Result<void> operate(Task& task, s32 id, GuestIn<abi::SemBuf> guest, size_t count, u64 deadline) {
  if (count == 0) return Errno::INVAL;
  if (count > kMostOperations) return Errno::TOO_BIG;
  auto operations = TRY(HeapArray<abi::SemBuf>::create(count));
  TRY(guest.read_all({operations.data(), count}));
  Ref<IpcObject> object = TRY(sysv().semaphores.find(id));
  SemaphoreSet& set = set_of(object);
  bool alters = false, undoes = false;
  for (const abi::SemBuf& operation : operations) {
    if (operation.number >= set.semaphores.size()) return Errno::FBIG;
    alters = alters || operation.op != 0;
    undoes = undoes || (operation.flags & abi::kSEM_UNDO) != 0;
  }
  TRY(pseudo::check_ipc_access(set, task.credentials, alters ? 2 : 4));
  Undo* undo = nullptr;
  if (undoes) {
    undo = TRY(set.undo_of(*task.process));
    task.process->undo_semaphores.store(&undo_semaphores, std::memory_order_relaxed);
  }
  std::span<const abi::SemBuf> all(operations.data(), count);
  size_t blocked = 0;
  auto attempt = [&] { return set.try_operations(all, task.pid(), undo, &blocked); };
  auto first = attempt();
  if (!first.is(Errno::AGAIN) || (all[blocked].flags & abi::kIPC_NOWAIT) != 0) return first;
  const abi::SemBuf waited = all[blocked];
  set.count_waiter(waited, 1);
  auto result = block_on(set.queue, ~u32{0}, "semop", attempt, deadline);
  set.count_waiter(waited, ~u32{0});
  // Not restarted after a handler (signal(7)).
  if (result.is(Errno::RESTARTSYS)) return Errno::INTR;
  return result;
}

}  // namespace

Result<s32> sys_semget(Task& task, IpcKey key, s32 count, IpcFlags flags) {
  if (count < 0 || count > kMostSemaphores) return Errno::INVAL;
  return sysv().semaphores.get(
      key, flags, task.credentials,
      [&]() -> Result<Ref<IpcObject>> {
        if (count == 0) return Errno::INVAL;
        auto set = TRY(make_ref<SemaphoreSet>());
        static_cast<SemaphoreSet&>(*set).semaphores =
            TRY(HeapArray<Semaphore>::create(static_cast<size_t>(count)));
        static_cast<SemaphoreSet&>(*set).ctime = pseudo::ipc_time();
        return Ref<IpcObject>(std::move(set));
      },
      [&](IpcObject& found) -> Result<void> {
        if (static_cast<size_t>(count) > static_cast<SemaphoreSet&>(found).semaphores.size())
          return Errno::INVAL;
        return {};
      });
}

Result<void> sys_semop(Task& task, s32 id, GuestIn<abi::SemBuf> operations, size_t count) {
  return operate(task, id, operations, count, kNoDeadline);
}

Result<void> sys_semtimedop(Task& task, s32 id, GuestIn<abi::SemBuf> operations, size_t count,
                            GuestIn<abi::Timespec> timeout) {
  u64 deadline = kNoDeadline;
  if (timeout) {
    abi::Timespec time = TRY(timeout.read());
    if (time.tv_sec < 0 || time.tv_nsec < 0 || time.tv_nsec >= 1'000'000'000) return Errno::INVAL;
    deadline = gate::monotonic_now() + static_cast<u64>(time.tv_sec * 1'000'000'000 + time.tv_nsec);
  }
  return operate(task, id, operations, count, deadline);
}

namespace {

struct SemInfo {  // struct seminfo
  s32 map, sets, total, undos, per_set, operations, undo_entries, usage, highest, adjust;
};

Result<s32> semaphore_info(int command, u64 argument) {
  s32 used = command == abi::kSEM_INFO ? static_cast<s32>(sysv().semaphores.count()) : 0;
  SemInfo info{1024000000,      pseudo::IpcTable::kMost, 1024000000, 1024000000, kMostSemaphores,
               kMostOperations, kMostOperations,         used,       kHighest,   kHighest};
  TRY(GuestOut<SemInfo>(argument).write(info));
  return static_cast<s32>(sysv().semaphores.highest());
}

Result<void> get_all(SemaphoreSet& set, u64 argument) {
  auto values = TRY(HeapArray<u16>::create(set.semaphores.size()));
  {
    LockGuard guard(set.lock);
    for (size_t i = 0; i < values.size(); i++) values[i] = static_cast<u16>(set.semaphores[i].value);
  }
  return copy_to_guest(argument, values.data(), values.size() * sizeof(u16));
}

Result<void> set_all(SemaphoreSet& set, u64 argument, s32 pid) {
  auto values = TRY(HeapArray<u16>::create(set.semaphores.size()));
  TRY(copy_from_guest(values.data(), argument, values.size() * sizeof(u16)));
  for (u16 value : values) {
    if (value > kHighest) return Errno::RANGE;
  }
  {
    LockGuard guard(set.lock);
    for (size_t i = 0; i < values.size(); i++) {
      set.semaphores[i].value = values[i];
      set.semaphores[i].pid = pid;
      set.forget_undo_locked(i);
    }
    set.ctime = pseudo::ipc_time();
  }
  set.queue.wake_all();
  return {};
}

Result<s32> one_semaphore(Task& task, SemaphoreSet& set, s32 number, int command, u64 argument) {
  if (number < 0 || static_cast<size_t>(number) >= set.semaphores.size()) return Errno::INVAL;
  TRY(pseudo::check_ipc_access(set, task.credentials, command == abi::kSETVAL ? 2 : 4));
  Semaphore& semaphore = set.semaphores[static_cast<size_t>(number)];
  {
    LockGuard guard(set.lock);
    if (command == abi::kGETVAL) return semaphore.value;
    if (command == abi::kGETPID) return semaphore.pid;
    if (command == abi::kGETNCNT) return static_cast<s32>(semaphore.waiting_for_more);
    if (command == abi::kGETZCNT) return static_cast<s32>(semaphore.waiting_for_zero);
    s32 value = static_cast<s32>(argument);
    if (value < 0 || value > kHighest) return Errno::RANGE;
    semaphore.value = value;
    semaphore.pid = task.pid();
    set.forget_undo_locked(static_cast<size_t>(number));
    set.ctime = pseudo::ipc_time();
  }
  set.queue.wake_all();
  return 0;
}

}  // namespace

Result<s32> sys_semctl(Task& task, s32 id, s32 number, IpcCommand command, u64 argument) {
  if (command == abi::kIPC_INFO || command == abi::kSEM_INFO) return semaphore_info(command, argument);
  bool by_index = command == abi::kSEM_STAT || command == abi::kSEM_STAT_ANY;
  Ref<IpcObject> object =
      by_index ? TRY(sysv().semaphores.at(static_cast<u32>(id))) : TRY(sysv().semaphores.find(id));
  SemaphoreSet& set = set_of(object);
  switch (command) {
    case abi::kGETVAL:
    case abi::kSETVAL:
    case abi::kGETPID:
    case abi::kGETNCNT:
    case abi::kGETZCNT:
      return one_semaphore(task, set, number, command, argument);
    case abi::kGETALL:
      TRY(pseudo::check_ipc_access(set, task.credentials, 4));
      TRY(get_all(set, argument));
      return 0;
    case abi::kSETALL:
      TRY(pseudo::check_ipc_access(set, task.credentials, 2));
      TRY(set_all(set, argument, task.pid()));
      return 0;
    case abi::kIPC_STAT:
    case abi::kSEM_STAT:
      TRY(pseudo::check_ipc_access(set, task.credentials, 4));
      [[fallthrough]];
    case abi::kSEM_STAT_ANY: {
      abi::SemidDs out{};
      {
        LockGuard guard(set.lock);
        out.perm = set.perm;
        out.otime = set.otime;
        out.ctime = set.ctime;
        out.count = set.semaphores.size();
      }
      TRY(GuestOut<abi::SemidDs>(argument).write(out));
      return by_index ? set.id : 0;
    }
    case abi::kIPC_SET: {
      TRY(pseudo::check_ipc_owner(set, task.credentials));
      abi::SemidDs wanted = TRY(GuestIn<abi::SemidDs>(argument).read());
      LockGuard guard(set.lock);
      set.perm.uid = wanted.perm.uid;
      set.perm.gid = wanted.perm.gid;
      set.perm.mode = wanted.perm.mode & 0777;
      set.ctime = pseudo::ipc_time();
      return 0;
    }
    case abi::kIPC_RMID:
      TRY(pseudo::check_ipc_owner(set, task.credentials));
      sysv().semaphores.remove(set);
      return 0;
  }
  return Errno::INVAL;
}

}  // namespace teacup

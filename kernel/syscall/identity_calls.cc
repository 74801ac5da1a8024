// Users, groups and capabilities: credentials(7), capabilities(7).
//
// Locks: a change of credentials is made under the process's lock (kSignal), because others read them.
#include "kernel/syscall/process_calls.h"
#include "kernel/task/processes.h"

namespace teacup {

namespace {

constexpr int kCapSetgid = 6, kCapSetuid = 7, kCapSetpcap = 8;
constexpr u32 kKeep = ~u32{0};
constexpr u32 kSecureNoRootFixup = 4, kSecureKeepCaps = 16;

void commit(Task& task, const Credentials& next) {
  LockGuard guard(task.process->lock);
  task.credentials = next;
}

// What happens to capabilities when user ids change (capabilities(7), "Effect of user ID changes").
void fix_capabilities(Credentials& next, const Credentials& old) {
  if ((next.securebits & kSecureNoRootFixup) != 0) return;
  bool had_root = old.uid == 0 || old.euid == 0 || old.suid == 0;
  bool has_root = next.uid == 0 || next.euid == 0 || next.suid == 0;
  if (had_root && !has_root && (next.securebits & kSecureKeepCaps) == 0) {
    next.permitted = next.effective = 0;
    next.ambient = 0;
  }
  if (old.euid == 0 && next.euid != 0) next.effective = 0;
  if (old.euid != 0 && next.euid == 0) next.effective = next.permitted;
}

bool one_of(u32 id, u32 a, u32 b, u32 c) {
  return id == a || id == b || id == c;
}

}  // namespace

Result<u32> sys_getuid(Task& task) {
  return task.credentials.uid;
}
Result<u32> sys_geteuid(Task& task) {
  return task.credentials.euid;
}
Result<u32> sys_getgid(Task& task) {
  return task.credentials.gid;
}
Result<u32> sys_getegid(Task& task) {
  return task.credentials.egid;
}

// getresuid(2).
Result<void> sys_getresuid(Task& task, NumberOut real, NumberOut effective, NumberOut saved) {
  TRY(real.write(task.credentials.uid));
  TRY(effective.write(task.credentials.euid));
  return saved.write(task.credentials.suid);
}
Result<void> sys_getresgid(Task& task, NumberOut real, NumberOut effective, NumberOut saved) {
  TRY(real.write(task.credentials.gid));
  TRY(effective.write(task.credentials.egid));
  return saved.write(task.credentials.sgid);
}

// setuid(2), setgid(2).
Result<void> sys_setuid(Task& task, u32 id) {
  if (id == kKeep) return Errno::INVAL;
  Credentials old = task.credentials, next = old;
  if (old.has(kCapSetuid)) {
    next.uid = next.suid = id;
  } else if (id != old.uid && id != old.suid) {
    return Errno::PERM;
  }
  next.euid = next.fsuid = id;
  fix_capabilities(next, old);
  commit(task, next);
  return {};
}

Result<void> sys_setgid(Task& task, u32 id) {
  if (id == kKeep) return Errno::INVAL;
  Credentials next = task.credentials;
  if (next.has(kCapSetgid)) {
    next.gid = next.sgid = id;
  } else if (id != next.gid && id != next.sgid) {
    return Errno::PERM;
  }
  next.egid = next.fsgid = id;
  commit(task, next);
  return {};
}

// setreuid(2), setregid(2).
Result<void> sys_setreuid(Task& task, UserId real, UserId effective) {
  Credentials old = task.credentials, next = old;
  bool capable = old.has(kCapSetuid);
  if (real != kKeep) {
    if (!capable && real != old.uid && real != old.euid) return Errno::PERM;
    next.uid = real;
  }
  if (effective != kKeep) {
    if (!capable && !one_of(effective, old.uid, old.euid, old.suid)) return Errno::PERM;
    next.euid = effective;
  }
  if (real != kKeep || (effective != kKeep && effective != old.uid)) next.suid = next.euid;
  next.fsuid = next.euid;
  fix_capabilities(next, old);
  commit(task, next);
  return {};
}

Result<void> sys_setregid(Task& task, UserId real, UserId effective) {
  Credentials old = task.credentials, next = old;
  bool capable = old.has(kCapSetgid);
  if (real != kKeep) {
    if (!capable && real != old.gid && real != old.egid) return Errno::PERM;
    next.gid = real;
  }
  if (effective != kKeep) {
    if (!capable && !one_of(effective, old.gid, old.egid, old.sgid)) return Errno::PERM;
    next.egid = effective;
  }
  if (real != kKeep || (effective != kKeep && effective != old.gid)) next.sgid = next.egid;
  next.fsgid = next.egid;
  commit(task, next);
  return {};
}

// setresuid(2), setresgid(2).
Result<void> sys_setresuid(Task& task, UserId real, UserId effective, UserId saved) {
  Credentials old = task.credentials, next = old;
  if (!old.has(kCapSetuid)) {
    for (u32 id : {real, effective, saved}) {
      if (id != kKeep && !one_of(id, old.uid, old.euid, old.suid)) return Errno::PERM;
    }
  }
  if (real != kKeep) next.uid = real;
  if (effective != kKeep) next.euid = effective;
  if (saved != kKeep) next.suid = saved;
  next.fsuid = next.euid;
  fix_capabilities(next, old);
  commit(task, next);
  return {};
}

Result<void> sys_setresgid(Task& task, UserId real, UserId effective, UserId saved) {
  Credentials old = task.credentials, next = old;
  if (!old.has(kCapSetgid)) {
    for (u32 id : {real, effective, saved}) {
      if (id != kKeep && !one_of(id, old.gid, old.egid, old.sgid)) return Errno::PERM;
    }
  }
  if (real != kKeep) next.gid = real;
  if (effective != kKeep) next.egid = effective;
  if (saved != kKeep) next.sgid = saved;
  next.fsgid = next.egid;
  commit(task, next);
  return {};
}

// setfsuid(2): returns the old one, whether or not it was changed.
Result<u32> sys_setfsuid(Task& task, u32 id) {
  Credentials next = task.credentials;
  u32 old = next.fsuid;
  bool allowed = next.has(kCapSetuid) || id == old || one_of(id, next.uid, next.euid, next.suid);
  if (id == kKeep || !allowed) return old;
  next.fsuid = id;
  commit(task, next);
  return old;
}

Result<u32> sys_setfsgid(Task& task, u32 id) {
  Credentials next = task.credentials;
  u32 old = next.fsgid;
  bool allowed = next.has(kCapSetgid) || id == old || one_of(id, next.gid, next.egid, next.sgid);
  if (id == kKeep || !allowed) return old;
  next.fsgid = id;
  commit(task, next);
  return old;
}

// getgroups(2), setgroups(2). Differs from Linux: at most 32.
Result<u32> sys_getgroups(Task& task, s32 size, GuestOut<u32> groups) {
  const Credentials& credentials = task.credentials;
  if (size < 0) return Errno::INVAL;
  if (size == 0) return credentials.group_count;
  if (static_cast<u32>(size) < credentials.group_count) return Errno::INVAL;
  for (u32 i = 0; i < credentials.group_count; i++) TRY(groups.write_at(i, credentials.groups[i]));
  return credentials.group_count;
}

Result<void> sys_setgroups(Task& task, s32 count, GuestIn<u32> groups) {
  Credentials next = task.credentials;
  if (!next.has(kCapSetgid)) return Errno::PERM;
  if (count < 0 || static_cast<size_t>(count) > next.groups.size()) return Errno::INVAL;
  next.group_count = static_cast<u32>(count);
  for (u32 i = 0; i < next.group_count; i++) next.groups[i] = TRY(groups.at(i));
  commit(task, next);
  return {};
}

namespace {

constexpr u32 kCapVersion1 = 0x19980330, kCapVersion2 = 0x20071026, kCapVersion3 = 0x20080522;

// Number of data elements; on an unknown version the kernel's own is written back.
Result<u32> cap_elements(GuestInOut<abi::CapHeader> header, s32* pid) {
  abi::CapHeader given = TRY(header.read());
  *pid = given.pid;
  switch (given.version) {
    case kCapVersion1:
      return 1;
    case kCapVersion2:
    case kCapVersion3:
      return 2;
    default:
      given.version = kCapVersion3;
      TRY(header.write(given));
      return Errno::INVAL;
  }
}

}  // namespace

// capget(2), capset(2).
Result<void> sys_capget(Task& task, GuestInOut<abi::CapHeader> header, GuestOut<abi::CapData> data) {
  s32 pid = 0;
  auto elements = cap_elements(header, &pid);
  if (!elements.ok()) {
    // A null data pointer only asks for the version.
    if (elements.is(Errno::INVAL) && !data) return {};
    return elements.error();
  }
  if (pid < 0) return Errno::INVAL;
  Credentials credentials = task.credentials;
  if (pid != 0 && pid != task.tid) {
    Ref<Task> other = processes().find_task(pid);
    if (!other) return Errno::SRCH;
    credentials = credentials_of(*other);
  }
  if (!data) return {};
  for (u32 i = 0; i < elements.value(); i++) {
    auto part = [i](u64 set) { return static_cast<u32>(set >> (32 * i)); };
    TRY(data.write_at(i, abi::CapData{part(credentials.effective), part(credentials.permitted),
                                      part(credentials.inheritable)}));
  }
  return {};
}

Result<void> sys_capset(Task& task, GuestInOut<abi::CapHeader> header, GuestIn<abi::CapData> data) {
  s32 pid = 0;
  u32 elements = TRY(cap_elements(header, &pid));
  if (pid != 0 && pid != task.tid) return Errno::PERM;
  Credentials old = task.credentials, next = old;
  u64 effective = 0, permitted = 0, inheritable = 0;
  for (u32 i = 0; i < elements; i++) {
    abi::CapData part = TRY(data.at(i));
    effective |= u64{part.effective} << (32 * i);
    permitted |= u64{part.permitted} << (32 * i);
    inheritable |= u64{part.inheritable} << (32 * i);
  }
  if ((permitted & ~old.permitted) != 0 || (effective & ~permitted) != 0) return Errno::PERM;
  u64 may_inherit = old.inheritable | (old.has(kCapSetpcap) ? old.bounding : old.permitted);
  if ((inheritable & ~may_inherit) != 0) return Errno::PERM;
  next.effective = effective;
  next.permitted = permitted;
  next.inheritable = inheritable;
  next.ambient &= permitted & inheritable;
  commit(task, next);
  return {};
}

}  // namespace teacup

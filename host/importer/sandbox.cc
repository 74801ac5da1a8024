#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <vector>

#include "host/importer/worker.h"

namespace teacup::importer {

namespace {

constexpr u64 kMaxMemory = 1 * GiB;  // more, that a malformed image can ask for

class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    load(offsetof(seccomp_data, nr));
  }

  void allow(u32 nr) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }

  // Only with this value in the low half of an argument (descriptors are int).
  void allow_with(u32 nr, u32 argument, u32 value) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4));
    load(argument_offset(argument));
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  }

  // Only without PROT_EXEC in argument 2, and, when `anonymous`, with MAP_ANONYMOUS in argument 3.
  void allow_memory(u32 nr, bool anonymous) {
    const u8 more = anonymous ? 2 : 0;  // instructions for MAP_ANONYMOUS
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, static_cast<u8>(4 + more)));
    load(argument_offset(2));
    add(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, static_cast<u8>(1 + more), 0));
    if (anonymous) {
      load(argument_offset(3));
      add(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1));
    }
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  }

  bool install() {
    add(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    const sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    // For the crew's threads too.
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
  }

 private:
  static u32 argument_offset(u32 argument) {
    return static_cast<u32>(offsetof(seccomp_data, args) + argument * sizeof(u64));
  }
  void load(u32 offset) { add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
  void add(sock_filter instruction) { code_.push_back(instruction); }

  std::vector<sock_filter> code_;
};

// Of memory of its own; what it was forked with is not its doing.
u64 bytes_of_data() {
  std::ifstream status("/proc/self/statm");
  u64 size = 0, resident = 0, shared = 0, text = 0, library = 0, data = 0;
  status >> size >> resident >> shared >> text >> library >> data;
  return data * static_cast<u64>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

bool enter_sandbox(int socket) {
  const u64 limit = bytes_of_data() + kMaxMemory;
  const rlimit memory{limit, limit};
  ::setrlimit(RLIMIT_DATA, &memory);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::setrlimit(RLIMIT_FSIZE, &none);

  Filter filter;
  filter.allow(SYS_pread64);
  filter.allow_with(SYS_read, 0, static_cast<u32>(socket));   // calls
  filter.allow_with(SYS_write, 0, static_cast<u32>(socket));  // replies
  filter.allow(SYS_alarm);                                    // the time a call may take
  filter.allow_memory(SYS_mmap, true);
  filter.allow(SYS_munmap);
  filter.allow(SYS_mremap);
  filter.allow(SYS_brk);
  filter.allow(SYS_madvise);
  filter.allow_memory(SYS_mprotect, false);
  filter.allow(SYS_futex);
  filter.allow(SYS_restart_syscall);  // stopped and continued in read(2)
  filter.allow(SYS_rt_sigreturn);
  filter.allow(SYS_exit);
  filter.allow(SYS_exit_group);
  return filter.install();
}

}  // namespace teacup::importer

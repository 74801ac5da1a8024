// Runs a command as CI runners run it: as an unprivileged user, with no way to user namespaces, ptrace, KVM
// or FUSE. What teacup then does, it does without any of them.
//
//   unprivileged COMMAND [ARG…]
//
// Exit status: the command's; 99 with a message when the confinement itself does not hold.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

namespace {

constexpr uid_t kNobody = 65534;

[[noreturn]] void give_up(const char* what) {
  fprintf(stderr, "unprivileged: %s: %s\n", what, strerror(errno));
  _exit(99);
}

constexpr unsigned kRefuse = SECCOMP_RET_ERRNO | EPERM;

// Refuses unshare, setns, ptrace, mount, and clone with any namespace; clone3 does not exist, so libc falls
// back to clone.
std::vector<sock_filter> make_filter() {
  constexpr unsigned kNamespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                                   CLONE_NEWUTS | CLONE_NEWCGROUP;
  std::vector<sock_filter> code;
  code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  auto refuse = [&](long number, unsigned action) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  };
  for (long number : {SYS_unshare, SYS_setns, SYS_ptrace, SYS_mount, SYS_process_vm_writev})
    refuse(number, kRefuse);
  refuse(SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
  code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)));
  code.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kNamespaces, 0, 1));
  code.push_back(BPF_STMT(BPF_RET | BPF_K, kRefuse));
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return code;
}

void confine() {
  if (geteuid() == 0) {
    gid_t group = kNobody;
    if (setgroups(1, &group) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
        setresuid(kNobody, kNobody, kNobody) != 0) {
      give_up("cannot become nobody");
    }
  }
  auto code = make_filter();
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    give_up("cannot install the filter");
  }
}

// A confinement that does not confine would make the test worthless.
void prove() {
  if (geteuid() == 0) give_up("still root");
  if (unshare(CLONE_NEWUSER) == 0) give_up("user namespaces are still to be had");
  if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0) give_up("ptrace is still to be had");
  if (open("/dev/kvm", O_RDWR) >= 0) give_up("/dev/kvm can be opened");
  if (open("/dev/fuse", O_RDWR) >= 0) give_up("/dev/fuse can be opened");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: unprivileged COMMAND [ARG...]\n");
    return 99;
  }
  confine();
  prove();
  execvp(argv[1], argv + 1);
  give_up(argv[1]);
}

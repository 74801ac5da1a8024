#include "host/launch/host_check.h"

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

}  // namespace teacup::host

/* Loads the plugin beside it, uses it, unloads it, a few times. */
#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char path[4096], self[4096];
  (void)argc;
  strncpy(self, argv[0], sizeof self - 1);
  self[sizeof self - 1] = 0;
  snprintf(path, sizeof path, "%s/plugin.so", dirname(self));
  for (int i = 0; i < 5; i++) {
    void *library = dlopen(path, i % 2 ? RTLD_NOW : RTLD_LAZY);
    if (!library) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    int *state = dlsym(library, "plugin_state");
    long (*plugin_getpid)(void) = (long (*)(void))dlsym(library, "plugin_getpid");
    void (*report)(int) = (void (*)(int))dlsym(library, "plugin_report_to");
    if (!state || !plugin_getpid || !report) return 2;
    if (*state != 7) return 3;
    for (int j = 0; j < 100; j++)
      if (plugin_getpid() != getpid()) return 4;
    int fds[2];
    char c = 0;
    if (pipe(fds)) return 5;
    report(fds[1]);
    if (dlclose(library)) return 6;
    if (read(fds[0], &c, 1) != 1 || c != 'd') return 7;
    close(fds[0]);
    close(fds[1]);
  }
  return 0;
}

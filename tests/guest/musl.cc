// Programs of another libc, musl: static, and dynamic (started by its own loader, so that no image need have
// it). They lie in ../forms, beside this program's folder.
#include "tests/guest/check.h"

extern char** environ;

namespace {

std::string form(const char* name) {
  std::string self = check::self;
  return self.substr(0, self.rfind('/')) + "/../forms/" + name;
}

// Its exit status is 0 if all was well; what it printed is shown.
void runs(std::initializer_list<const char*> words) {
  int status = check::in_child([&] {
    std::string paths[4];
    const char* argv[5] = {};
    int n = 0;
    for (const char* word : words) {
      paths[n] = form(word);
      argv[n] = paths[n].c_str();
      n++;
    }
    execve(argv[0], const_cast<char**>(argv), environ);
    _exit(100 + errno);
  });
  CHECK_EXIT(status, 0);
}

}  // namespace

TEST(static_cancellation) {
  runs({"musl_cancellation_static"});
}
TEST(dynamic_cancellation) {
  runs({"musl_libc.so", "musl_cancellation_dynamic"});
}

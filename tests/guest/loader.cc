// Executables of every form: static or dynamic, position independent or not, at odd addresses, with an
// executable stack, loading libraries while they run. The forms lie in ../forms, beside this program's
// folder.
#include <elf.h>
#include <libgen.h>
#include <sys/personality.h>

#include "tests/guest/check.h"

extern char** environ;

namespace {

std::string form(const char* name) {
  std::string self = check::self;
  return self.substr(0, self.rfind('/')) + "/../forms/" + name;
}

int run(const char* name, std::initializer_list<const char*> more) {
  std::string path = form(name);
  const char* argv[5] = {path.c_str()};
  size_t n = 1;
  for (const char* m : more) argv[n++] = m;
  return check::in_child([&] {
    execve(path.c_str(), const_cast<char**>(argv), environ);
    _exit(100 + errno);
  });
}

int runs(const char* name) {
  return run(name, {"an", "argument"});
}

}  // namespace

TEST(static_no_pie) {
  CHECK_EXIT(runs("static_no_pie"), 0);
}
TEST(static_pie) {
  CHECK_EXIT(runs("static_pie"), 0);
}
TEST(dynamic_pie) {
  CHECK_EXIT(runs("dynamic_pie"), 0);
}
TEST(dynamic_no_pie) {
  CHECK_EXIT(runs("dynamic_no_pie"), 0);
}
TEST(bound_at_start) {
  CHECK_EXIT(runs("bind_now"), 0);
}
TEST(other_address) {
  CHECK_EXIT(runs("other_address"), 0);
}
TEST(one_segment_for_text_and_data) {
  CHECK_EXIT(runs("not_separate"), 0);
}
TEST(executable_stack) {
  CHECK_EXIT(runs("exec_stack"), 0);
  CHECK_EXIT(run("exec_stack", {"stack"}), 0);
}
TEST(stack_is_not_executable) {
  CHECK_KILLED(run("dynamic_pie", {"stack"}), SIGSEGV);
}
TEST(dlopen) {
  CHECK_EXIT(run("dlopen", {}), 0);
}

TEST(interpreter_run_as_a_program) {
  const char* interpreter = "/lib64/ld-linux-x86-64.so.2";
  std::string path = form("dynamic_pie");
  CHECK_EXIT(check::in_child([&] {
               execl(interpreter, interpreter, path.c_str(), "an", "argument", nullptr);
               _exit(100 + errno);
             }),
             0);
}

TEST(randomised_addresses_differ_or_not) {
  // Two starts may lie at the same or at different addresses; both must work, with randomisation asked for or
  // not.
  CHECK_EXIT(check::in_child([] {
               personality(ADDR_NO_RANDOMIZE);
               CHECK_EXIT(runs("static_pie"), 0);
               CHECK_EXIT(runs("dynamic_pie"), 0);
             }),
             0);
}

TEST(all_forms_in_turn_from_one_process) {
  for (int i = 0; i < 3; i++) {
    for (const char* name : {"static_no_pie", "dynamic_pie", "static_pie", "dynamic_no_pie"})
      CHECK_EXIT(runs(name), 0);
  }
}

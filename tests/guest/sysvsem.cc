// System V semaphores: operations on several at once, waiting, and what a process's end undoes.
#include <sys/sem.h>

#include "tests/guest/check.h"

namespace {

union Argument {
  int value;
  semid_ds* stat;
  unsigned short* values;
};

// A set that goes with the test.
struct Set {
  int id;
  explicit Set(int count) : id(NEED_OK(semget(IPC_PRIVATE, count, 0600))) {}
  ~Set() { semctl(id, 0, IPC_RMID); }

  int value(int n) { return semctl(id, n, GETVAL); }
  void set(int n, int value) {
    Argument a;
    a.value = value;
    CHECK_OK(semctl(id, n, SETVAL, a));
  }
  int op(unsigned short n, short op, short flags = 0) {
    sembuf buffer{n, op, flags};
    return semop(id, &buffer, 1);
  }
};

int status_of(pid_t p) {
  int status = -1;
  while (waitpid(p, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

TEST(all_or_nothing) {
  Set s(3);
  s.set(0, 1);
  s.set(1, 2);
  sembuf ops[] = {{0, -1, IPC_NOWAIT}, {1, -3, IPC_NOWAIT}};
  CHECK_ERR(semop(s.id, ops, 2), EAGAIN);
  CHECK_EQ(s.value(0), 1);
  ops[1].sem_op = -2;
  CHECK_OK(semop(s.id, ops, 2));
  CHECK_EQ(s.value(0), 0);
  CHECK_EQ(s.value(1), 0);
  CHECK_ERR(s.op(3, 1), EFBIG);
  CHECK_ERR(s.op(0, 32767, 0) == 0 ? s.op(0, 1) : 0, ERANGE);
}

TEST(waits_and_wakes) {
  Set s(2);
  pid_t taker = fork();
  if (taker == 0) _exit(s.op(0, -2) == 0 ? 0 : 1);
  pid_t zero = fork();
  s.set(1, 1);
  if (zero == 0) _exit(s.op(1, 0) == 0 ? 0 : 1);
  NEED(check::until_asleep(taker));
  NEED(check::until_asleep(zero));
  CHECK_EQ(semctl(s.id, 0, GETNCNT), 1);
  CHECK_EQ(semctl(s.id, 1, GETZCNT), 1);
  CHECK_OK(s.op(0, 1));
  CHECK_OK(s.op(1, -1));
  CHECK_EXIT(status_of(zero), 0);
  CHECK_EQ(check::task_state(taker), 'S');
  CHECK_OK(s.op(0, 1));
  CHECK_EXIT(status_of(taker), 0);
  CHECK_EQ(semctl(s.id, 0, GETPID), taker);
}

TEST(removal_wakes) {
  int id = NEED_OK(semget(IPC_PRIVATE, 1, 0600));
  pid_t child = fork();
  if (child == 0) {
    sembuf take{0, -1, 0};
    _exit(semop(id, &take, 1) < 0 && errno == EIDRM ? 0 : 1);
  }
  NEED(check::until_asleep(child));
  CHECK_OK(semctl(id, 0, IPC_RMID));
  CHECK_EXIT(status_of(child), 0);
}

TEST(undo_at_exit) {
  Set s(2);
  s.set(0, 5);
  CHECK_EXIT(check::in_child([&] {
               CHECK_OK(s.op(0, -3, SEM_UNDO));
               CHECK_OK(s.op(0, 1, SEM_UNDO));
               CHECK_OK(s.op(1, 4, SEM_UNDO));
               CHECK_OK(s.op(1, 1));  // stays
               CHECK_EQ(s.value(0), 3);
             }),
             0);
  CHECK_EQ(s.value(0), 5);
  CHECK_EQ(s.value(1), 1);
}

TEST(undo_when_killed_wakes_others) {
  Set s(1);
  s.set(0, 1);
  int ready[2];
  NEED_OK(pipe(ready));
  pid_t holder = fork();
  if (holder == 0) {
    if (s.op(0, -1, SEM_UNDO) < 0 || write(ready[1], "r", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char c;
  CHECK_EQ(read(ready[0], &c, 1), 1);
  pid_t waiter = fork();
  if (waiter == 0) _exit(s.op(0, -1) == 0 ? 0 : 1);
  NEED(check::until_asleep(waiter));
  kill(holder, SIGKILL);
  CHECK_KILLED(status_of(holder), SIGKILL);
  CHECK_EXIT(status_of(waiter), 0);
  CHECK_EQ(s.value(0), 0);
}

TEST(undo_stops_at_zero) {
  Set s(1);
  CHECK_EXIT(check::in_child([&] {
               CHECK_OK(s.op(0, 4, SEM_UNDO));
               CHECK_EXIT(check::in_child([&] { CHECK_OK(s.op(0, -3)); }), 0);
             }),
             0);
  CHECK_EQ(s.value(0), 0);
}

TEST(undo_is_forgotten_by_setval_and_setall) {
  Set s(2);
  s.set(0, 5);
  s.set(1, 5);
  int go[2], ready[2];
  NEED_OK(pipe(go));
  NEED_OK(pipe(ready));
  pid_t child = fork();
  if (child == 0) {
    char c;
    if (s.op(0, -2, SEM_UNDO) < 0 || s.op(1, -2, SEM_UNDO) < 0) _exit(1);
    if (write(ready[1], "r", 1) != 1 || read(go[0], &c, 1) != 1) _exit(2);
    _exit(0);
  }
  char c;
  CHECK_EQ(read(ready[0], &c, 1), 1);
  s.set(0, 9);
  CHECK_EQ(write(go[1], "g", 1), 1);
  CHECK_EXIT(status_of(child), 0);
  CHECK_EQ(s.value(0), 9);
  CHECK_EQ(s.value(1), 5);
  CHECK_EXIT(check::in_child([&] {
               CHECK_OK(s.op(0, -2, SEM_UNDO));
               unsigned short values[] = {3, 4};
               Argument a;
               a.values = values;
               CHECK_OK(semctl(s.id, 0, SETALL, a));
             }),
             0);
  CHECK_EQ(s.value(0), 3);
  CHECK_EQ(s.value(1), 4);
}

// A fork starts without; an exec keeps.
HELPER(hold_nothing) {
  return 0;
}

TEST(undo_over_fork_and_exec) {
  Set s(1);
  s.set(0, 5);
  CHECK_EXIT(check::in_child([&] {
               CHECK_OK(s.op(0, -1, SEM_UNDO));
               CHECK_EXIT(check::in_child([] {}), 0);
               CHECK_EQ(s.value(0), 4);
               execl(check::self, check::self, "@hold_nothing", nullptr);
             }),
             0);
  CHECK_EQ(s.value(0), 5);
  // A failed operation leaves no adjustment.
  CHECK_EXIT(check::in_child([&] {
               sembuf ops[] = {{0, 3, SEM_UNDO}, {0, -20, short(SEM_UNDO | IPC_NOWAIT)}};
               CHECK_ERR(semop(s.id, ops, 2), EAGAIN);
             }),
             0);
  CHECK_EQ(s.value(0), 5);
}

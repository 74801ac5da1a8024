// Several processes that make, move and remove the same names at once. Each call happens as if at one moment:
// it may come before or after the others', and fails only as it would then. So a rename onto a name always
// succeeds, whoever removes that name meanwhile; open(O_CREAT) always opens something.
#include "check.h"

#include <atomic>
#include <functional>
#include <vector>

namespace {

constexpr int kRounds = 400;

// Runs each in a process of its own, all at once; those behind the first until that one is done.
void together(std::initializer_list<std::function<void(int)>> bodies) {
  int gate[2];
  NEED_OK(pipe(gate));
  auto* done = static_cast<volatile int*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::vector<pid_t> children;
  for (const auto& body : bodies) {
    bool first = children.empty();
    pid_t pid = NEED_OK(fork());
    if (pid == 0) {
      check::failures = 0;
      close(gate[1]);
      char byte;
      if (read(gate[0], &byte, 1) != 0) _exit(2);
      for (int i = 0; (first ? i < kRounds : !*done) && check::failures == 0; i++) body(i);
      if (first) *done = 1;
      _exit(check::failures ? 1 : 0);
    }
    children.push_back(pid);
  }
  close(gate[0]);
  close(gate[1]);
  for (pid_t pid : children) {
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK_EXIT(status, 0);
    *done = 1;
  }
}

// Right if the call succeeded or failed with one of these.
bool one_of(long result, std::initializer_list<int> errors) {
  if (result != -1) return true;
  for (int error : errors) {
    if (errno == error) return true;
  }
  return false;
}

int touch(const char* path, int flags = 0) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  if (fd >= 0) close(fd);
  return fd < 0 ? -1 : 0;
}

size_t entries(const char* path) {
  size_t count = 0;
  DIR* directory = opendir(path);
  while (directory != nullptr && readdir(directory) != nullptr) count++;
  if (directory != nullptr) closedir(directory);
  return count;
}

}  // namespace

TEST(rename_onto_a_name_being_removed) {
  together({[](int) {
              CHECK_OK(touch("mine"));
              CHECK_OK(rename("mine", "target"));
            },
            [](int) { CHECK(one_of(unlink("target"), {ENOENT})); }});
}

TEST(renames_onto_one_name) {
  auto mover = [](const char* name) {
    return [name](int) {
      CHECK_OK(touch(name));
      CHECK_OK(rename(name, "target"));
      struct stat status;
      CHECK_ERR(lstat(name, &status), ENOENT);
      CHECK_OK(lstat("target", &status));
    };
  };
  together({mover("a"), mover("b"), mover("c")});
  CHECK_EQ(entries("."), 3);
}

TEST(rename_away_while_others_do) {
  // Exactly one of those that move a file away succeeds.
  auto* moved = static_cast<std::atomic<int>*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  auto taker = [moved](const char* name) {
    return [name, moved](int) {
      int result = rename("common", name);
      CHECK(one_of(result, {ENOENT}));
      if (result == 0) moved->fetch_add(1);
    };
  };
  int made = 0;
  auto maker = [&made](int) {
    if (touch("common", O_EXCL) == 0) made++;
    CHECK(made > 0);
  };
  together({[&](int i) {
              maker(i);
              if (i == kRounds - 1) {
                int fd = open("made", O_WRONLY | O_CREAT, 0644);
                dprintf(fd, "%d", made);
                close(fd);
              }
            },
            taker("x"), taker("y")});
  struct stat status;
  int left = stat("common", &status) == 0 ? 1 : 0;
  CHECK_EQ(moved->load() + left, atoi(check::read_file("made").c_str()));
}

TEST(create_opens_something) {
  together({[](int) { CHECK_OK(touch("name")); }, [](int) { CHECK_OK(touch("name", O_TRUNC)); },
            [](int) { CHECK(one_of(unlink("name"), {ENOENT})); }});
}

TEST(exclusive_create_has_one_winner) {
  auto* held = static_cast<std::atomic<int>*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  auto contender = [held](int) {
    int result = touch("lock", O_EXCL);
    CHECK(one_of(result, {EEXIST}));
    if (result != 0) return;
    CHECK_EQ(held->fetch_add(1), 0);
    CHECK_EQ(held->fetch_sub(1), 1);
    CHECK_OK(unlink("lock"));
  };
  together({contender, contender, contender});
}

TEST(what_exists_is_seen) {
  // Who is told that a name exists, finds it; nobody takes it away here.
  together({[](int i) {
              char name[32];
              snprintf(name, sizeof name, "d%d", i);
              CHECK(one_of(mkdir(name, 0755), {EEXIST}));
              struct stat status;
              CHECK_OK(stat(name, &status));
            },
            [](int i) {
              char name[32];
              snprintf(name, sizeof name, "d%d", i % kRounds);
              struct stat status;
              if (stat(name, &status) == -1) CHECK_EQ(errno, ENOENT);
              CHECK(one_of(mkdir(name, 0755), {EEXIST}));
              CHECK_OK(stat(name, &status));
            }});
}

TEST(mkdir_and_rmdir) {
  auto worker = [](int) {
    CHECK(one_of(mkdir("d", 0755), {EEXIST}));
    CHECK(one_of(touch("d/f"), {ENOENT}));
    CHECK(one_of(unlink("d/f"), {ENOENT}));
    CHECK(one_of(rmdir("d"), {ENOENT, ENOTEMPTY}));
  };
  together({worker, worker, worker});
  // Two are there when nobody uses them: "." and ".."; the directory itself counts right.
  rmdir("d");
  struct stat status;
  CHECK_OK(stat(".", &status));
  CHECK_EQ(entries("."), 2);
}

TEST(rename_of_directories) {
  auto worker = [](const char* name) {
    return [name](int) {
      CHECK_OK(mkdir(name, 0755));
      // Onto a directory that others fill, empty and remove.
      if (rename(name, "common") == -1) {
        CHECK(errno == ENOTEMPTY || errno == EEXIST);
        CHECK_OK(rmdir(name));
      }
      CHECK(one_of(touch("common/f"), {ENOENT}));
      CHECK(one_of(unlink("common/f"), {ENOENT}));
      CHECK(one_of(rmdir("common"), {ENOENT, ENOTEMPTY}));
    };
  };
  together({worker("a"), worker("b"), worker("c")});
  struct stat status;
  if (stat("common", &status) == 0) rmdir("common");
  CHECK_EQ(entries("."), 2);
}

TEST(links_and_unlinks) {
  CHECK_OK(touch("file"));
  auto worker = [](const char* name) {
    return [name](int) {
      CHECK(one_of(link("file", "other"), {EEXIST}));
      CHECK_OK(link("file", name));
      CHECK(one_of(unlink("other"), {ENOENT}));
      CHECK_OK(unlink(name));
    };
  };
  together({worker("a"), worker("b"), worker("c")});
  unlink("other");
  struct stat status;
  CHECK_OK(stat("file", &status));
  CHECK_EQ(status.st_nlink, 1);
}

TEST(exchange_while_looking) {
  CHECK(check::write_file("a", "1"));
  CHECK(check::write_file("b", "2"));
  together(
      {[](int) { CHECK_OK(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", 2 /* RENAME_EXCHANGE */)); },
       [](int) {
         std::string content = check::read_file("a");
         CHECK(content == "1" || content == "2");
       },
       [](int) {
         std::string content = check::read_file("b");
         CHECK(content == "1" || content == "2");
       }});
}

TEST(symlinks_come_and_go) {
  CHECK(check::write_file("file", "x"));
  together({[](int) {
              CHECK(one_of(unlink("link"), {ENOENT}));
              CHECK(one_of(symlink("file", "link"), {EEXIST}));
            },
            [](int) { CHECK_OK(touch("link")); }, [](int) { CHECK(one_of(unlink("link"), {ENOENT})); }});
}

// What --trace makes of arguments. Expectations are strace's words for the same values.
#include "kernel/syscall/show.h"

#include <gtest/gtest.h>

#include "kernel/syscall/argument_types.h"
#include "kernel/syscall/show_structures.h"

namespace teacup {
namespace {

class ShowTest : public testing::Test {
 protected:
  // One argument of a call that has these registers and has returned `result`.
  std::string argument(const Printer& printer, u32 index, std::array<u64, 6> registers, s64 result = 0) {
    TextBuffer text(storage_);
    CallText call{text, registers};
    call.result = result;
    call.returned = true;
    printer.print(call, index, printer);
    return std::string(text.text());
  }
  std::string flags(const Printer& printer, u64 value) {
    return argument(printer, 0, {value, 0, 0, 0, 0, 0});
  }

  template <typename Show>
  std::string shown(Show show) {
    TextBuffer text(storage_);
    show(text);
    return std::string(text.text());
  }
  template <typename T>
  std::string structure(const T& value) {
    return shown([&](TextBuffer& text) { show::structure(text, value); });
  }

  char storage_[4096];
};

u64 address_of(const void* pointer) {
  return reinterpret_cast<u64>(pointer);
}

TEST_F(ShowTest, FlagsOfOpen) {
  EXPECT_EQ(flags(show::open_flags, 0), "O_RDONLY");
  EXPECT_EQ(flags(show::open_flags, 0x80000), "O_RDONLY|O_CLOEXEC");
  EXPECT_EQ(flags(show::open_flags, 01101), "O_WRONLY|O_CREAT|O_TRUNC");
  EXPECT_EQ(flags(show::open_flags, 0x8000000), "O_RDONLY|0x8000000");
  EXPECT_EQ(flags(show::open_flags, 3), "O_ACCMODE");
  EXPECT_EQ(flags(show::open_flags, 020200002), "O_RDWR|O_TMPFILE");
  EXPECT_EQ(flags(show::open_flags, 04010000), "O_RDONLY|O_SYNC");
  EXPECT_EQ(flags(show::open_flags, 010000), "O_RDONLY|O_DSYNC");
}

TEST_F(ShowTest, ModeOfOpenCountsWhenItMakesAFile) {
  EXPECT_EQ(argument(show::open_mode, 2, {0, 0100, 0640, 0, 0, 0}), "0640");
  EXPECT_EQ(argument(show::open_mode, 2, {0, 020200000, 0, 0, 0, 0}), "000");
  EXPECT_EQ(argument(show::open_mode, 2, {0, 0, 0640, 0, 0, 0}), "");
}

TEST_F(ShowTest, ZeroAndUnknown) {
  EXPECT_EQ(flags(show::at_flags, 0), "0");
  EXPECT_EQ(flags(show::at_flags, 1), "0x1 /* AT_??? */");
  EXPECT_EQ(flags(show::access_mode, 0), "F_OK");
  EXPECT_EQ(flags(show::access_mode, 6), "R_OK|W_OK");
  EXPECT_EQ(flags(show::protection, 0), "PROT_NONE");
  EXPECT_EQ(flags(show::protection, 5), "PROT_READ|PROT_EXEC");
  EXPECT_EQ(flags(show::map_flags, 0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
  EXPECT_EQ(flags(show::map_flags, 0x812), "MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE");
  EXPECT_EQ(flags(show::clock_id, 95), "0x5f /* CLOCK_??? */");
  EXPECT_EQ(flags(show::whence, 2), "SEEK_END");
}

TEST_F(ShowTest, ClonesInTheOrderOfStrace) {
  EXPECT_EQ(argument(show::clone_flags, 0, {0x1200011, 0, 0, 0, 0, 0}),
            "child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD");
  EXPECT_EQ(argument(show::clone_child_tid, 3, {0x80000, 0, 0, 0, 0x1000, 0}), "tls=0x1000");
}

TEST_F(ShowTest, Futexes) {
  EXPECT_EQ(argument(show::futex_operation, 1, {0, 128, 0, 0, 0, 0}), "FUTEX_WAIT_PRIVATE");
  EXPECT_EQ(argument(show::futex_operation, 1, {0, 9 | 256, 0, 0, 0, 0}),
            "FUTEX_WAIT_BITSET|FUTEX_CLOCK_REALTIME");
  EXPECT_EQ(argument(show::futex_timeout, 3, {0, 129, 1, 0, 0, 0}), "");
  EXPECT_EQ(argument(show::futex_timeout, 3, {0, 128, 1, 0, 0, 0}), "NULL");
  EXPECT_EQ(argument(show::futex_operation, 1, {0, 99, 0, 0, 0, 0}), "0x63 /* FUTEX_??? */");
}

TEST_F(ShowTest, StringsAreEscapedAndCut) {
  auto bytes = [&](std::string_view data) {
    return shown([&](TextBuffer& text) { show::bytes(text, address_of(data.data()), data.size()); });
  };
  EXPECT_EQ(bytes("a\"\\\n\t"), R"("a\"\\\n\t")");
  EXPECT_EQ(bytes(std::string_view("\1\0012\0x\377", 6)), R"("\1\0012\0x\377")");
  EXPECT_EQ(bytes("12345678901234567890123456789012"), "\"12345678901234567890123456789012\"");
  EXPECT_EQ(bytes("123456789012345678901234567890123"), "\"12345678901234567890123456789012\"...");
  EXPECT_EQ(bytes(""), "\"\"");
}

TEST_F(ShowTest, WhatCannotBeReadIsThePointer) {
  std::array<u64, 6> registers{0, 16, 8, 0, 0, 0};
  for (const Printer* printer : {&show::bytes_in, &show::bytes_out, &show::iovecs_in, &show::string_array,
                                 &show::path_string, &show::signal_set_in, &show::socket_address,
                                 &show::poll_files, &show::descriptor_pair, &show::file_times}) {
    EXPECT_EQ(argument(*printer, 1, registers, 4), "0x10");
  }
  registers[1] = 0;
  EXPECT_EQ(argument(show::path_string, 1, registers), "NULL");
  EXPECT_EQ(argument(show::bytes_in, 1, registers), "NULL");
}

TEST_F(ShowTest, WhatAFailedCallDidNotFillInIsThePointer) {
  s32 pair[2] = {3, 4};
  EXPECT_EQ(argument(show::descriptor_pair, 0, {address_of(pair), 0, 0, 0, 0, 0}), "[3, 4]");
  EXPECT_EQ(argument(show::descriptor_pair, 0, {16, 0, 0, 0, 0, 0}, -24), "0x10");
}

TEST_F(ShowTest, Signals) {
  auto set = [&](u64 bits) { return shown([&](TextBuffer& text) { show::signal_set(text, bits); }); };
  EXPECT_EQ(set(0), "[]");
  EXPECT_EQ(set(1 << 1 | 1 << 16), "[INT CHLD]");
  EXPECT_EQ(set(~u64{0}), "~[]");
  EXPECT_EQ(set(~u64{0x40100}), "~[KILL STOP]");
  EXPECT_EQ(set(u64{3} << 31), "[RTMIN RT_1]");
  abi::SigAction action{abi::kSIG_IGN, abi::kSA_RESTART | abi::kSA_RESTORER, 0x1000, 2};
  EXPECT_EQ(structure(action),
            "{sa_handler=SIG_IGN, sa_mask=[INT], sa_flags=SA_RESTORER|SA_RESTART, sa_restorer=0x1000}");
  abi::SigInfo info{};
  info.signo = abi::kSIGCHLD;
  info.code = abi::kCLD_KILLED;
  info.child = {2, 0, abi::kSIGTERM, 0, 0, 0};
  EXPECT_EQ(structure(info),
            "{si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=2, si_uid=0, si_status=SIGTERM, si_utime=0, "
            "si_stime=0}");
}

TEST_F(ShowTest, WaitStatus) {
  auto status = [&](u32 value) { return shown([&](TextBuffer& text) { show::wait_status(text, value); }); };
  EXPECT_EQ(status(0x300), "{WIFEXITED(s) && WEXITSTATUS(s) == 3}");
  EXPECT_EQ(status(0x8b), "{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}");
  EXPECT_EQ(status(0x147f), "{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTSTP}");
  EXPECT_EQ(status(0xffff), "{WIFCONTINUED(s)}");
}

TEST_F(ShowTest, Limits) {
  EXPECT_EQ(structure(abi::Rlimit{8 << 20, ~u64{0}}), "{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}");
  EXPECT_EQ(structure(abi::Rlimit{1024, 0}), "{rlim_cur=1024, rlim_max=0}");
}

TEST_F(ShowTest, Addresses) {
  u8 inet[16] = {2, 0, 0, 80, 127, 0, 0, 1};
  EXPECT_EQ(argument(show::socket_address, 1, {3, address_of(inet), 16, 0, 0, 0}),
            "{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.1\")}");
  u8 inet6[28] = {10, 0, 0, 80};
  inet6[23] = 1;
  EXPECT_EQ(argument(show::socket_address, 1, {3, address_of(inet6), 28, 0, 0, 0}),
            "{sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, \"::1\", "
            "&sin6_addr), sin6_scope_id=0}");
  u8 abstract[6] = {1, 0, 0, 'a', 'b', 'c'};
  EXPECT_EQ(argument(show::socket_address, 1, {3, address_of(abstract), 6, 0, 0, 0}),
            "{sa_family=AF_UNIX, sun_path=@\"abc\"}");
}

}  // namespace
}  // namespace teacup

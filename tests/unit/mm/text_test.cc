// Patched text, with the real rewriter behind the ring.
#include <unistd.h>
#include <atomic>
#include <cstring>
#include <thread>

#include "host/broker/arena_bounds.h"
#include "host/broker/prepare.h"
#include "kernel/abi/elf.h"
#include "kernel/abi/ring.h"
#include "kernel/mm/text.h"
#include "tests/unit/mm/space.h"

namespace teacup::mm {

namespace {

// Answers kPrepare until it is destroyed, and counts.
class Broker {
 public:
  Broker() {
    host::remember_arena();
    thread_ = std::thread([this] { serve(); });
  }
  ~Broker() {
    stop_ = true;
    thread_.join();
  }
  std::atomic<int> answered{0};

 private:
  void serve() {
    while (!stop_) {
      for (abi::RingSlot& slot : abi::ring().slots) {
        if (slot.state != abi::kSlotSubmitted) continue;
        slot.result = host::serve_prepare({}, nullptr, nothing_foreseen_, slot.args);
        answered++;
        slot.state = abi::kSlotDone;
        gate::futex_wake(slot.state, 1);
      }
      usleep(200);
    }
  }
  std::atomic<bool> stop_{false};
  host::Foreseen nothing_foreseen_{host::prepared_cache(), ""};
  std::thread thread_;
};

struct Segment {
  u64 offset;
  u64 length;
};

// A shared object with system calls, and what ld.so does with it.
class TextTest : public SpaceTest {
 protected:
  TextTest() {
    EXPECT_TRUE(text_cache_start(true, 0).ok());
    content_ = host_bytes(kLibrary);
    if (content_.empty()) return;
    file_ = open_test_file(file_system_, content_, abi::kO_RDONLY);
    std::memcpy(&header_, content_.data(), sizeof(header_));
    for (u16 i = 0; i < header_.phnum; i++) {
      abi::ElfProgramHeader entry;
      std::memcpy(&entry, content_.data() + header_.phoff + i * sizeof(entry), sizeof(entry));
      if (entry.type != abi::kPT_LOAD) continue;
      span_ = page_up(entry.vaddr + entry.memsz);
      if ((entry.flags & abi::kPF_X) != 0) text_segment_ = entry;
    }
  }
  void SetUp() override {
    if (content_.empty()) GTEST_SKIP() << kLibrary << " is not here";
  }

  u64 map_whole() { return space_->map(0, span_, kRead, kPrivate, file_, 0).value_or(0); }
  Result<u64> map_text(u64 base) {
    u64 start = page_down(text_segment_.vaddr);
    return space_->map(base + start, text_segment_.vaddr + text_segment_.filesz - start, kReadExecute,
                       kPrivate | kFixed, file_, page_down(text_segment_.offset));
  }
  // Whether the text at the first site differs from the file's.
  bool is_patched(u64 base) {
    const abi::PreparedPatch& patch = text_of(*file_)->view().patches().front();
    return std::memcmp(reinterpret_cast<void*>(base + patch.offset), content_.data() + patch.file_offset,
                       patch.length) != 0;
  }

  static constexpr const char* kLibrary = "/lib/x86_64-linux-gnu/libc.so.6";
  static constexpr int kReadExecute = abi::kPROT_READ | abi::kPROT_EXEC;
  Broker broker_;
  std::vector<std::byte> content_;
  Ref<fs::File> file_;
  abi::ElfHeader header_;
  abi::ElfProgramHeader text_segment_{};
  u64 span_ = 0;
};

TEST_F(TextTest, RoomIsLeftAndTextIsPatched) {
  u64 base = map_whole();
  Ref<Text> text = text_of(*file_);
  ASSERT_TRUE(text);
  EXPECT_GE(kTop - base, text->trampoline_offset() + text->trampoline_length());
  ASSERT_TRUE(map_text(base).ok());
  EXPECT_TRUE(is_patched(base));
  auto trampolines = text->view().trampolines();
  EXPECT_EQ(std::memcmp(reinterpret_cast<void*>(base + text->trampoline_offset()), trampolines.data(),
                        trampolines.size()),
            0);
  // Neither the list of mappings nor mprotect knows of them.
  EXPECT_EQ(space_->next_mapping(base + text->trampoline_offset()).error(), Errno::NOENT);
  EXPECT_EQ(space_->protect(base + text->trampoline_offset(), kPage, kRead).error(), Errno::NOMEM);
  EXPECT_EQ(broker_.answered, 1);
}

// A plan that lays nothing, foreseen for this file: of other bytes, flags, or more pieces, another file.
class ForeseenTextTest : public TextTest {
 protected:
  ForeseenTextTest() : run_(allocate_run(page_up(content_.size() + MiB) / kPage).value()) {}
  ~ForeseenTextTest() override {
    arena().foreseen_size = 0;
    release_run(run_);
  }
  // As the text maker describes it: of one piece, all of it in the arena.
  void foresee() {
    auto& known = *reinterpret_cast<abi::ForeseenText*>(run_.address());
    known.input = {content_.size(), 0, 1, 0};
    known.tail_size = page_up(content_.size());
    known.plan_size = sizeof(abi::PreparedHeader);
    known.size = known.needed();
    auto* record = reinterpret_cast<std::byte*>(&known);
    *reinterpret_cast<abi::PreparePiece*>(record + known.pieces()) = {kArenaFd, 0, 12345, known.tail_size};
    std::memcpy(record + known.tail(), content_.data(), content_.size());
    abi::PreparedHeader plan{};
    plan.magic = abi::kPreparedMagic;
    plan.version = abi::kPreparedVersion;
    plan.size = sizeof plan;
    plan.status = abi::kPreparedNoSites;
    std::memcpy(record + known.plan(), &plan, sizeof plan);
    arena().foreseen_offset = run_.offset;
    arena().foreseen_size = known.size;
  }
  abi::ForeseenText& known() { return *reinterpret_cast<abi::ForeseenText*>(run_.address()); }
  std::byte* record() { return reinterpret_cast<std::byte*>(run_.address()); }

  PageRun run_;
};

TEST_F(ForeseenTextTest, TheBrokerIsNotAsked) {
  foresee();
  EXPECT_FALSE(text_of(*file_));
  EXPECT_EQ(broker_.answered, 0);
}

TEST_F(ForeseenTextTest, AnotherByteIsAnotherFile) {
  foresee();
  record()[known().tail() + content_.size() - 1] ^= std::byte{1};
  EXPECT_TRUE(text_of(*file_));
  EXPECT_EQ(broker_.answered, 1);
}

TEST_F(ForeseenTextTest, OtherOptionsAreAnotherRequest) {
  foresee();
  known().input.flags = abi::kPrepareCpuid;
  EXPECT_TRUE(text_of(*file_));
  EXPECT_EQ(broker_.answered, 1);
}

TEST_F(ForeseenTextTest, WhatIsNoRecordIsNotReadOn) {
  foresee();
  for (u64 size : {u64{0}, u64{8}, known().size - 8, known().size + 8, ~u64{0}}) {
    known().size = size;
    EXPECT_TRUE(text_of(*open_test_file(file_system_, content_, abi::kO_RDONLY))) << size;
  }
  EXPECT_EQ(broker_.answered, 5);
}

TEST_F(TextTest, ProgramCountersAreTranslated) {
  u64 base = map_whole();
  ASSERT_TRUE(map_text(base).ok());
  Ref<Text> text = text_of(*file_);
  for (const abi::PreparedPc& pc : text->view().to_actual()) {
    u64 actual = space_->kernel_pc(base + pc.guest);
    EXPECT_EQ(actual, base + pc.actual);
    EXPECT_EQ(space_->guest_pc(actual), base + pc.guest);
    EXPECT_TRUE(space_->in_trampoline(actual));
  }
  u64 plain = base + page_down(text_segment_.vaddr);
  EXPECT_EQ(space_->guest_pc(plain), plain);
  EXPECT_EQ(space_->kernel_pc(kTop + kPage), kTop + kPage);
}

TEST_F(TextTest, TrampolinesGoWithTheirText) {
  u64 base = map_whole();
  ASSERT_TRUE(map_text(base).ok());
  Ref<Text> text = text_of(*file_);
  u64 trampolines = base + text->trampoline_offset();
  ASSERT_TRUE(space_->unmap(base, span_).ok());
  EXPECT_TRUE(space_->is_free(trampolines, text->trampoline_length()));
}

TEST_F(TextTest, AGuestThatWantsTheTrampolinesGetsThem) {
  u64 base = map_whole();
  ASSERT_TRUE(map_text(base).ok());
  u64 trampolines = base + text_of(*file_)->trampoline_offset();
  EXPECT_EQ(map(kPage, kReadWrite, trampolines, kFixed), trampolines);
  EXPECT_FALSE(is_patched(base));
  byte(trampolines) = 1;
}

TEST_F(TextTest, WithoutRoomTextStaysAsItIs) {
  u64 base = map_whole();
  map(kPage, kRead, base + text_of(*file_)->trampoline_offset(), kFixed);
  ASSERT_TRUE(map_text(base).ok());
  EXPECT_FALSE(is_patched(base));
}

TEST_F(TextTest, ACopyAfterForkHasItsTrampolines) {
  u64 base = map_whole();
  ASSERT_TRUE(map_text(base).ok());
  space_->lock_for_fork();
  auto copy = space_->fork_copy_locked(0);
  space_->unlock_for_fork();
  const abi::PreparedPc& pc = text_of(*file_)->view().to_actual().front();
  EXPECT_EQ(copy.value()->kernel_pc(base + pc.guest), base + pc.actual);
  EXPECT_EQ(copy.value()->totals().size, space_->totals().size);
}

TEST_F(TextTest, AWrittenFileIsPreparedAnew) {
  Ref<Text> first = text_of(*file_);
  EXPECT_TRUE(first == text_of(*file_));
  static_cast<TestInode*>(file_->inode())->touch();
  EXPECT_FALSE(first == text_of(*file_));
  EXPECT_EQ(broker_.answered, 2);
}

TEST_F(TextTest, OneOfTwoPreparesAndTheOtherWaits) {
  Ref<Text> mine, theirs;
  std::thread other([&] { theirs = text_of(*file_); });
  mine = text_of(*file_);
  other.join();
  EXPECT_TRUE(mine && mine == theirs);
  EXPECT_EQ(broker_.answered, 1);
}

TEST_F(TextTest, ReadersOfTheFileDoNotCauseWork) {
  ASSERT_TRUE(space_->map(0, content_.size(), kRead, kPrivate, file_, 0).ok());
  EXPECT_EQ(broker_.answered, 0);
  auto other = open_test_file(file_system_, pattern(2));
  EXPECT_TRUE(space_->map(0, kPage, kReadExecute, kPrivate, other, 0).ok());
  EXPECT_EQ(broker_.answered, 0);
}

// Between patches that lie far apart the file's own pages stay.
TEST_F(TextTest, DistantPatchesAreCopiedApart) {
  constexpr u64 kText = 8 * MiB, kFirst = 2 * MiB, kSecond = 6 * MiB;
  std::vector<std::byte> content(kText, std::byte{0x90});
  abi::ElfHeader header{};
  header.magic = abi::kElfMagic;
  header.elf_class = abi::kELFCLASS64;
  header.data = abi::kELFDATA2LSB;
  header.ident_version = 1;
  header.type = abi::kET_DYN;
  header.machine = abi::kEM_X86_64;
  header.version = 1;
  header.phoff = header.ehsize = sizeof(header);
  header.phentsize = sizeof(abi::ElfProgramHeader);
  header.phnum = 1;
  abi::ElfProgramHeader load{abi::kPT_LOAD, abi::kPF_R | abi::kPF_X, 0, 0, 0, kText, kText, kPage};
  std::memcpy(content.data(), &header, sizeof(header));
  std::memcpy(content.data() + sizeof(header), &load, sizeof(load));
  const u8 getpid[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3};
  for (u64 at : {kFirst, kSecond}) std::memcpy(content.data() + at, getpid, sizeof(getpid));
  auto file = open_test_file(file_system_, content, abi::kO_RDONLY);
  Ref<Text> text = text_of(*file);
  ASSERT_TRUE(text);
  ASSERT_EQ(text->view().patches().size(), 2U);
  EXPECT_EQ(text->patched_from(0)->low, kFirst);
  EXPECT_EQ(text->patched_from(kFirst + kPage)->low, kSecond);
  EXPECT_EQ(text->patched_from(kSecond + kPage), nullptr);
  u64 base = space_->map(0, kText, kReadExecute, kPrivate, file, 0).value();
  EXPECT_NE(std::memcmp(reinterpret_cast<void*>(base + kFirst), getpid, sizeof(getpid)), 0);
  EXPECT_NE(std::memcmp(reinterpret_cast<void*>(base + kSecond), getpid, sizeof(getpid)), 0);
  EXPECT_EQ(byte(base + 4 * MiB), 0x90);
  EXPECT_EQ(shape(base), "0-2048 r-xp");
}

TEST_F(TextTest, TrapModePatchesNothing) {
  ASSERT_TRUE(text_cache_start(false, 0).ok());
  EXPECT_FALSE(text_of(*file_));
}

}  // namespace

}  // namespace teacup::mm

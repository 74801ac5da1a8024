#include "host/broker/text_store.h"

#include <cpuid.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "kernel/abi/stored_text.h"
#include "kernel/base/layout.h"
#include "rewrite/prepare.h"
#include "tests/unit/host/scratch_folder.h"

namespace teacup::host {
namespace {

namespace stdfs = std::filesystem;

using Bytes = std::vector<std::byte>;

class TextStoreTest : public ScratchFolderTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(ScratchFolderTest::SetUp());
    folder_ = parent_ + "/teacup/text";
    places_.emplace(parent_ + "/teacup/prepared");
    std::ifstream library("/lib/x86_64-linux-gnu/libc.so.6", std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(library)), {});
    file_.resize(text.size());
    std::memcpy(file_.data(), text.data(), text.size());
    if (file_.empty()) GTEST_SKIP() << "no libc.so.6 where Debian has it";
    plan_ = rewrite::prepare(file_, {}).serialise();
  }

  std::unique_ptr<TextStore> open() const { return TextStore::open(folder_, *places_); }
  stdfs::path file() const { return stdfs::directory_iterator(folder_)->path(); }

  std::string folder_;
  std::optional<PreparedCache> places_;
  Bytes file_, plan_;
};

// A text as the machines see it.
class Mapped {
 public:
  Mapped(const TextStore& store, u64 place) {
    struct stat status {};
    fstat(store.fd(), &status);
    size_ = static_cast<std::size_t>(status.st_size);
    base_ = static_cast<const std::byte*>(mmap(nullptr, size_, PROT_READ, MAP_SHARED, store.fd(), 0));
    text_ = base_ + place;
    std::memcpy(&head_, text_, sizeof head_);
  }
  ~Mapped() { munmap(const_cast<std::byte*>(base_), size_); }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;

  const abi::StoredText& head() const { return head_; }
  const std::byte* at(u64 offset) const { return text_ + offset; }

 private:
  const std::byte* base_ = nullptr;
  const std::byte* text_ = nullptr;
  std::size_t size_ = 0;
  abi::StoredText head_{};
};

TEST_F(TextStoreTest, LaterMachinesFindWhatWasAdded) {
  auto place = open()->add("key", file_, plan_);
  ASSERT_TRUE(place);
  EXPECT_EQ(*place % kPageSize, 0U);
  EXPECT_EQ(open()->find("key"), place);
  EXPECT_EQ(open()->find("other"), std::nullopt);
  EXPECT_EQ(open()->find(""), std::nullopt);
}

TEST_F(TextStoreTest, ATextIsTheFileWithItsPatches) {
  auto store = open();
  Mapped text(*store, store->add("key", file_, plan_).value());
  const abi::StoredText& head = text.head();
  ASSERT_EQ(head.magic, abi::kStoredTextMagic);
  ASSERT_EQ(Bytes(text.at(head.blob), text.at(head.blob + head.blob_size)), plan_);
  auto view = abi::PreparedView::create(plan_);
  ASSERT_GE(head.range_count, 1U);
  for (u32 i = 0; i < head.range_count; i++) {
    const abi::TextRange& range = head.ranges[i];
    Bytes restored(text.at(head.text[i]), text.at(head.text[i] + range.high - range.low));
    u32 patches = 0;
    for (const abi::PreparedPatch& patch : view->patches()) {
      if (!abi::holds(range, patch)) continue;
      std::byte* at = restored.data() + (patch.file_offset - range.low);
      EXPECT_EQ(std::memcmp(at, view->bytes_of(patch).data(), patch.length), 0);
      std::memcpy(at, text.at(head.originals + patch.bytes), patch.length);
      patches++;
    }
    EXPECT_GT(patches, 100U);
    EXPECT_EQ(std::memcmp(restored.data(), file_.data() + range.low, restored.size()), 0);
  }
  EXPECT_EQ(std::memcmp(text.at(head.trampolines), view->trampolines().data(), view->trampolines().size()),
            0);
}

TEST_F(TextStoreTest, WhatWasAddedLaterShowsInAnOlderMapping) {
  auto store = open();
  void* reserved = mmap(nullptr, kTextStoreSize, PROT_READ, MAP_SHARED, store->fd(), 0);
  ASSERT_NE(reserved, MAP_FAILED);
  u64 place = open()->add("key", file_, plan_).value();
  u64 magic = 0;
  std::memcpy(&magic, static_cast<std::byte*>(reserved) + place, sizeof magic);
  EXPECT_EQ(magic, abi::kStoredTextMagic);
  munmap(reserved, kTextStoreSize);
}

TEST_F(TextStoreTest, TheGuestSidesDescriptorCannotWrite) {
  auto store = open();
  char byte = 0;
  EXPECT_EQ(pwrite(store->fd(), &byte, 1, 0), -1);
  EXPECT_EQ(mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, store->fd(), 0), MAP_FAILED);
}

TEST_F(TextStoreTest, MachinesThatAddTheSameAtOnceAddItOnce) {
  std::optional<u64> places[4];
  std::vector<std::thread> machines;
  for (auto& place : places) {
    machines.emplace_back([this, &place] { place = open()->add("key", file_, plan_); });
  }
  for (std::thread& machine : machines) machine.join();
  for (auto& place : places) EXPECT_EQ(place, places[0]);
  EXPECT_LT(stdfs::file_size(file()), 2 * file_.size());
}

TEST_F(TextStoreTest, PlacesOfAnotherStoreAreNotUsed) {
  open()->add("key", file_, plan_);
  stdfs::remove(file());
  EXPECT_EQ(open()->find("key"), std::nullopt);
}

TEST_F(TextStoreTest, AFullOneIsReplaced) {
  auto old = open();
  old->add("key", file_, plan_);
  stdfs::resize_file(file(), kTextStoreSize - 1);
  EXPECT_EQ(old->add("another", file_, plan_), std::nullopt);  // no room
  auto fresh = open();
  ASSERT_NE(fresh, nullptr);
  EXPECT_LT(stdfs::file_size(file()), 2 * kPageSize);
  EXPECT_TRUE(fresh->add("key", file_, plan_));
  EXPECT_TRUE(old->find("key"));  // whoever has it mapped keeps it
}

TEST_F(TextStoreTest, ItsFirstPageHasTheProcessorsAnswers) {
  auto store = open();
  abi::StoreHeader header{};
  ASSERT_EQ(pread(store->fd(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
  ASSERT_GT(header.cpuid_count, 4U);
  for (u32 i = 0; i < header.cpuid_count; i++) {
    const abi::CpuidEntry& entry = header.cpuid[i];
    abi::CpuidEntry now{entry.leaf, entry.subleaf, 0, 0, 0, 0};
    __cpuid_count(entry.leaf, entry.subleaf, now.eax, now.ebx, now.ecx, now.edx);
    // Each core has its own number in these.
    if (entry.leaf == 0x8000001e) continue;
    if (entry.leaf == 1) now.ebx = (now.ebx & 0xffffff) | (entry.ebx & 0xff000000);
    if (entry.leaf == 0xb || entry.leaf == 0x1f || entry.leaf == 0x80000026) now.edx = entry.edx;
    EXPECT_EQ(std::memcmp(&now, &entry, sizeof now), 0) << std::hex << entry.leaf << ' ' << entry.subleaf;
  }
}

TEST_F(TextStoreTest, OnlyAFolderOfOnesOwnIsUsed) {
  stdfs::create_directories(folder_);
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  EXPECT_EQ(open(), nullptr);
  EXPECT_EQ(TextStore::open("", *places_), nullptr);
}

TEST_F(TextStoreTest, AFileThatOthersMayWriteIsReplaced) {
  open()->add("key", file_, plan_);
  ASSERT_EQ(chmod(file().c_str(), 0622), 0);
  auto store = open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->find("key"), std::nullopt);
  EXPECT_EQ(stdfs::status(file()).permissions(), stdfs::perms(0600));
}

TEST_F(TextStoreTest, APlanThatLaysNothingIsNotKept) {
  Bytes empty = rewrite::prepare(Bytes(100), {}).serialise();
  EXPECT_TRUE(lay_text(Bytes(100), empty).empty());
  EXPECT_EQ(open()->add("key", Bytes(100), empty), std::nullopt);
}

}  // namespace
}  // namespace teacup::host

// Asking an Ext4Image or an Importer, and images made by mke2fs to ask about.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernel/abi/importer.h"
#include "tests/unit/images/support.h"

namespace teacup::importer {

using images::have;
using images::pattern;
using images::run;
using images::Scratch;

using Server = std::function<s64(const abi::ImporterRequest&, std::string_view, std::span<std::byte>)>;

// A request's answer: `result` as the slot would have it, and typed views of the response.
class Answer {
 public:
  Answer(const Server& server, const abi::ImporterRequest& request, std::string_view name = {},
         size_t buffer = abi::kImporterSufficientResponse)
      : bytes_(buffer / 8 + 1) {
    result = server(request, name, span().subspan(0, buffer));
  }
  std::span<std::byte> span() { return std::as_writable_bytes(std::span(bytes_)); }
  std::span<const std::byte> response() {
    return span().subspan(0, result > 0 ? static_cast<size_t>(result) : 0);
  }
  const abi::ImporterResponse& header() {
    return *reinterpret_cast<const abi::ImporterResponse*>(bytes_.data());
  }
  template <typename Record>
  std::span<const Record> records() {
    if (result < 0) return {};
    return {reinterpret_cast<const Record*>(span().data() + sizeof(abi::ImporterResponse)), header().count};
  }
  std::string text() {
    if (result < 0) return {};
    return {reinterpret_cast<const char*>(span().data()) + sizeof(abi::ImporterResponse), header().count};
  }

  s64 result;

 private:
  std::vector<u64> bytes_;
};

inline abi::ImporterRequest request(abi::ImporterOp op, u64 inode = 0, u64 cursor = 0, u64 length = 0) {
  abi::ImporterRequest r{};
  r.op = op;
  r.inode = inode;
  r.cursor = cursor;
  r.length = length;
  return r;
}

struct Listed {
  abi::ImporterInode inode;
  std::string target;
  u32 error;
  u64 cursor;
};

// A whole directory, in responses of `buffer` bytes.
inline std::map<std::string, Listed> list(const Server& server, u64 directory,
                                          size_t buffer = abi::kImporterSufficientResponse) {
  std::map<std::string, Listed> result;
  u64 cursor = 0;
  do {
    Answer answer(server, request(abi::ImporterOp::kReadDirectory, directory, cursor), {}, buffer);
    EXPECT_GE(answer.result, 0);
    if (answer.result < 0) break;
    abi::ImporterRecords<abi::ImporterEntry> records(answer.response());
    u32 count = 0;
    while (const abi::ImporterEntry* entry = records.next()) {
      const auto [at, added] = result.emplace(
          entry->name(), Listed{entry->inode, std::string(entry->target()), entry->error, entry->cursor});
      EXPECT_TRUE(added) << "twice: " << at->first;
      ++count;
    }
    EXPECT_EQ(count, answer.header().count);
    cursor = answer.header().next;
  } while (cursor != 0);
  return result;
}

// The inode number at a path of the image, 0 when there is none.
inline u64 find(const Server& server, const std::string& path) {
  u64 inode = 2;
  std::istringstream names(path);
  for (std::string name; std::getline(names, name, '/');) {
    if (name.empty()) continue;
    auto r = request(abi::ImporterOp::kLookup, inode);
    r.name_length = static_cast<u32>(name.size());
    Answer answer(server, r, name);
    if (answer.result < 0) return 0;
    inode = answer.records<abi::ImporterEntry>()[0].inode.number;
  }
  return inode;
}

// A whole file through kRead.
inline std::string content(const Server& server, u64 inode) {
  std::string text;
  for (;;) {
    Answer answer(server, request(abi::ImporterOp::kRead, inode, text.size(), 64 * KiB));
    EXPECT_GE(answer.result, 0);
    if (answer.result < 0 || answer.header().count == 0) return text;
    text += answer.text();
  }
}

// The same through kExtents and the image file itself.
inline std::string content_by_extents(const Server& server, u64 inode, int fd) {
  Answer attributes(server, request(abi::ImporterOp::kInode, inode));
  EXPECT_GE(attributes.result, 0);
  const u64 size = attributes.records<abi::ImporterInode>()[0].size;
  std::string text(size, '\0');
  u64 cursor = 0;
  do {
    Answer answer(server, request(abi::ImporterOp::kExtents, inode, cursor), {}, 200);
    EXPECT_GE(answer.result, 0);
    if (answer.result < 0) break;
    for (const auto& extent : answer.records<abi::ImporterExtent>()) {
      if (extent.file_offset >= size) continue;
      const u64 length = std::min(extent.length, size - extent.file_offset);
      EXPECT_EQ(
          ::pread(fd, text.data() + extent.file_offset, length, static_cast<off_t>(extent.image_offset)),
          static_cast<ssize_t>(length));
    }
    cursor = answer.header().next;
  } while (cursor != 0);
  return text;
}

// Makes `image` by mke2fs from a tree with a bit of everything below `scratch`.
inline void make_image(const Scratch& scratch, const std::string& options, const std::string& image) {
  int status = 0;
  const std::string said = run(
      "cd " + scratch.path() +
          " && mkdir -p src/dir/sub src/big && cd src && echo hello > dir/file && chmod 4711 dir/file && "
          "ln -f dir/file dir/hard && ln -sf dir/file short && ln -sf $(printf 'x%.0s' $(seq 200)) long && "
          "touch empty && printf tiny > tiny && seq 100000 > numbers && "
          "touch -d '2100-01-02 03:04:05.123456789 UTC' dir/sub && "
          "truncate -s 3M sparse && echo middle | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none && "
          "printf end >> sparse && "
          "(cd big && seq -f 'entry-with-a-name-of-some-length-%g' 800 | xargs touch) && cd .. && "
          "rm -f " +
          image + " && mke2fs -q -F " + options + " -d src " + image +
          " 24M && "
          "rm -f script && for i in 1 2 3 4 5 6; do echo \"write /dev/null x$i\" >> script; done && "
          "debugfs -w -f script " +
          image +
          " && "
          "debugfs -w -R 'ea_set tiny user.color blue' " +
          image +
          " && "
          "debugfs -w -R 'mknod node c 5 1' " +
          image,
      &status);
  ASSERT_EQ(status, 0) << said;
}

}  // namespace teacup::importer

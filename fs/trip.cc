#include "fs/trip.h"

#include "fs/filesystem.h"
#include "host/gate/gate.h"
#include "kernel/base/memory.h"
#include "kernel/sync/doorbell.h"

namespace teacup::fs {

Result<s64> Trip::result_of(s64 result) {
  if (result >= 0) return result;
  // Only what the guest may see.
  return result < -133 ? Errno::IO : static_cast<Errno>(-result);
}

// In the buffer: where the result lands, the request, the head of the response.
template <typename Request>
bool Trip::start(abi::RingOp op, const Request& request) {
#ifdef TEACUP_HOSTED
  static_cast<void>(op);
  static_cast<void>(request);
  return false;  // nobody serves while the caller goes on
#else
  struct Flight {
    abi::RingLanding landing;
    Request request;
    abi::ImporterResponse response;
  };
  auto buffer = HeapArray<std::byte>::create(sizeof(Flight));
  if (!buffer.ok()) return false;
  buffer_ = std::move(buffer).value();
  auto* flight = new (buffer_.data()) Flight{};
  flight->request = request;
  u64 at = reinterpret_cast<u64>(flight) - kArenaBase;
  room_ = {reinterpret_cast<const std::byte*>(&flight->response), sizeof flight->response};
  return ring_post(op, at + offsetof(Flight, request), sizeof flight->request,
                   at + offsetof(Flight, response), sizeof flight->response, at + offsetof(Flight, landing))
      .ok();
#endif
}

bool Trip::start_importer(const abi::ImporterRequest& request) {
  return start(abi::RingOp::kImporter, request);
}
bool Trip::start_host(const abi::HostFileRequest& request) {
  return start(abi::RingOp::kHostFile, request);
}

bool Trip::start_decoding(Image& image, u64 inode, u64 offset, std::span<std::byte> into) {
  auto buffer = HeapArray<std::byte>::create(sizeof(DecodeJob));
  if (!buffer.ok()) return false;
  buffer_ = std::move(buffer).value();
  is_decoding_ = true;
  auto* job = new (buffer_.data()) DecodeJob;
  job->image = &image;
  job->inode = inode;
  job->offset = offset;
  job->into = into;
  decoder()->post(*job);
  return true;
}

void Trip::give_up() {
  if (is_decoding_) {
    decoder()->give_up(job());
  } else {
    static_cast<void>(finish());
  }
}

Result<s64> Trip::finish() {
  if (is_decoding_) {
    TRY(decoder()->finish(job()));
    return s64{0};
  }
  auto& landing = *reinterpret_cast<abi::RingLanding*>(buffer_.data());
  while (landing.done.load(std::memory_order_seq_cst) == 0)
    gate::futex_wait(landing.done, 0, gate::kNoDeadline);
  response_ = room_;
  return result_of(landing.result);
}

Result<s64> Trip::send(abi::RingOp op, size_t request_size, size_t room) {
  u64 request = reinterpret_cast<u64>(buffer_.data()) - kArenaBase;
  u64 response = align_up(request + request_size, 8);
  room_ = {reinterpret_cast<const std::byte*>(kArenaBase + response), room};
  s64 result = ring_call(op, request, request_size, response, room);
  TRY(result_of(result));
  u64 length = static_cast<u64>(result) < room ? static_cast<u64>(result) : room;
  response_ = {reinterpret_cast<const std::byte*>(kArenaBase + response), length};
  return result;
}

Result<s64> Trip::ask_importer(const abi::ImporterRequest& request, std::string_view name, size_t room) {
  size_t size = sizeof request + name.size();
  buffer_ = TRY(HeapArray<std::byte>::create(size + 8 + room));
  abi::ImporterRequest copy = request;
  copy.name_length = static_cast<u32>(name.size());
  memcpy(buffer_.data(), &copy, sizeof copy);
  memcpy(buffer_.data() + sizeof copy, name.data(), name.size());
  return send(abi::RingOp::kImporter, size, room);
}

Result<s64> Trip::ask_host(const abi::HostFileRequest& request, std::string_view name, std::string_view name2,
                           size_t room) {
  size_t size = sizeof request + name.size() + name2.size();
  buffer_ = TRY(HeapArray<std::byte>::create(size + 8 + room));
  abi::HostFileRequest copy = request;
  copy.name_length = static_cast<u32>(name.size());
  copy.name2_length = static_cast<u32>(name2.size());
  memcpy(buffer_.data(), &copy, sizeof copy);
  memcpy(buffer_.data() + sizeof copy, name.data(), name.size());
  memcpy(buffer_.data() + sizeof copy + name.size(), name2.data(), name2.size());
  return send(abi::RingOp::kHostFile, size, room);
}

Result<abi::ImporterInode> Trip::attributes() const {
  struct Response {
    abi::ImporterResponse head;
    abi::ImporterInode inode;
  } response{};
  if (room_.size() < sizeof response) return Errno::NODATA;
  memcpy(&response.head, room_.data(), sizeof response.head);
  memcpy(&response.inode, room_.data() + sizeof response.head, sizeof response.inode);
  if (response.head.count != 1) return Errno::NODATA;
  return response.inode;
}

u64 Trip::next() const {
  abi::ImporterResponse head{};
  if (response_.size() >= sizeof head) memcpy(&head, response_.data(), sizeof head);
  return head.next;
}

u32 Trip::count() const {
  abi::ImporterResponse head{};
  if (response_.size() >= sizeof head) memcpy(&head, response_.data(), sizeof head);
  return head.count;
}

std::span<const std::byte> Trip::bytes() const {
  if (response_.size() < sizeof(abi::ImporterResponse)) return {};
  auto rest = response_.subspan(sizeof(abi::ImporterResponse));
  return rest.subspan(0, std::min<size_t>(rest.size(), count()));
}

Result<ImageNode> node_of(const abi::ImporterInode& inode, u32 uid, u32 gid) {
  ImageNode node;
  node.id = inode.number;
  node.mode = inode.mode & (abi::kS_IFMT | 07777);
  node.nlink = inode.links == 0 ? 1 : inode.links;
  node.size = inode.size;
  if (node.size > u64{1} << 60) return Errno::UCLEAN;
  node.rdev = make_device(inode.device_major, inode.device_minor);
  node.mtime = {inode.modified.seconds, std::min<u32>(inode.modified.nanoseconds, 999'999'999)};
  node.uid = inode.uid;
  node.gid = inode.gid;
  if ((inode.flags & abi::kOwnedByCaller) != 0) {
    node.uid = uid;
    node.gid = gid;
  }
  switch (node.mode & abi::kS_IFMT) {
    case abi::kS_IFREG:
    case abi::kS_IFDIR:
    case abi::kS_IFLNK:
    case abi::kS_IFCHR:
    case abi::kS_IFBLK:
    case abi::kS_IFIFO:
    case abi::kS_IFSOCK:
      return node;
    default:
      return Errno::UCLEAN;
  }
}

}  // namespace teacup::fs

#include "host/importer/importer.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "host/importer/channel.h"
#include "host/importer/worker.h"

namespace teacup::importer {

std::unique_ptr<Importer> Importer::start(std::span<const int> images, std::string& error) {
  const auto failed = [&error](const char* what) {
    error = std::string("cannot start the importer: ") + what + ": " + std::strerror(errno);
    return nullptr;
  };
  void* memory = ::mmap(nullptr, sizeof(Channel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return failed("mmap");
  auto* channel = new (memory) Channel;
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
    ::munmap(memory, sizeof(Channel));
    return failed("socketpair");
  }
  const std::vector<int> descriptors(images.begin(), images.end());
  const pid_t broker = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    ::close(sockets[0]);
    ::close(sockets[1]);
    ::munmap(memory, sizeof(Channel));
    return failed("fork");
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != broker) ::_exit(0);
    supervise(sockets[1], channel, descriptors);
  }
  ::close(sockets[1]);
  return std::unique_ptr<Importer>(new Importer(pid, sockets[0], channel, images.size()));
}

Importer::~Importer() {
  ::close(socket_);
  ::kill(pid_, SIGKILL);
  ::munmap(channel_, sizeof(Channel));
}

s64 Importer::call(const abi::ImporterRequest& request, std::string_view name, std::span<std::byte> response,
                   Put put) {
  const bool elsewhere = put != nullptr && request.op == abi::ImporterOp::kRead && request.data_offset != 0;
  constexpr u64 kHead = sizeof(abi::ImporterResponse);
  if (elsewhere && response.size() < kHead) return -ERANGE;
  const std::lock_guard lock(mutex_);
  Call call{};
  call.sequence = ++sequence_;
  call.capacity = elsewhere ? kHead + std::min(request.length, abi::kImporterMaxRead)
                            : std::min<u64>(response.size(), abi::kImporterMaxResponse);
  call.request = request;
  std::memcpy(call.name, name.data(), name.size());
  // Answers to calls that were given up, and news of deaths that concern no call.
  Reply reply;
  while (::recv(socket_, &reply, sizeof(reply), MSG_DONTWAIT) > 0) {
  }
  const size_t length = offsetof(Call, name) + name.size();
  ssize_t sent;
  do {
    sent = ::send(socket_, &call, length, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return -EIO;
  for (;;) {
    const ssize_t got = ::read(socket_, &reply, sizeof(reply));
    if (got < 0 && errno == EINTR) continue;
    if (got != sizeof(reply)) return -EIO;
    // Whether the worker died before it took the call, over it or after it is not to be known. If the next
    // worker answers it after all, nobody listens.
    if (reply.sequence == kWorkerDied) return -EIO;
    if (reply.sequence != call.sequence) continue;
    if (reply.result < -4095 || reply.result > static_cast<s64>(call.capacity)) return -EIO;
    if (reply.result <= 0) return reply.result;
    const auto length = static_cast<u64>(reply.result);
    if (!elsewhere) {
      std::memcpy(response.data(), channel_->response, length);
      return reply.result;
    }
    if (length < kHead) return -EIO;
    put(request.data_offset, {channel_->response + kHead, length - kHead});
    const abi::ImporterResponse head{static_cast<u32>(length - kHead), 0, 0};
    std::memcpy(response.data(), &head, sizeof(head));
    return kHead;
  }
}

s64 Importer::serve(std::span<const std::byte> bytes, std::span<std::byte> response, Put put) {
  abi::ImporterRequest request;
  if (bytes.size() < sizeof(request)) return -EINVAL;
  std::memcpy(&request, bytes.data(), sizeof(request));
  const std::span<const std::byte> rest = bytes.subspan(sizeof(request));
  if (request.name_length > sizeof(Call::name) || request.name_length > rest.size()) return -EINVAL;
  if (request.op == kProblem) return -EINVAL;
  if (request.image >= images_) return -ENOENT;
  return call(request, {reinterpret_cast<const char*>(rest.data()), request.name_length}, response, put);
}

std::string Importer::problem(u32 image) {
  abi::ImporterRequest request{};
  request.op = kProblem;
  request.image = image;
  std::string text(4096, '\0');
  const s64 length = call(request, {}, std::as_writable_bytes(std::span(text)));
  if (length < 0) return "reading it killed the importer; it is damaged";
  text.resize(static_cast<size_t>(length));
  return text;
}

}  // namespace teacup::importer

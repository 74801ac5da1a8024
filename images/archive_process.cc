// Problem: archives come from anywhere, and libarchive with its codecs is large: what an archive could make
// of it, it could do with all that the user may. Alternatives: the importer's worker, which lives as long as
// its images and answers requests about places in them (a stream has none), or writing the whole conversion
// as a process of its own, which would need files. Choice: a child for each archive, under the importer
// worker's filter (host/importer/sandbox.cc): one socket and memory of its own are all it has. It asks for
// input over the socket and tells what it finds; the parent reads the file, and makes the tree of what it is
// told.
//
// What comes over the socket may be anything, as the archive decides it: a length is checked before it is
// believed, and what is said goes through the same checks as names and data always did (Tree, Spool).
//
// Messages: one byte of type, four of length, then so many bytes. Those to the parent are gathered until it
// is asked for something.
#include "images/archive_process.h"

#include <fcntl.h>
#include <iconv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include "host/importer/worker.h"
#include "images/error.h"
#include "images/libarchive.h"

namespace teacup::images {

namespace {

enum class Message : u8 {
  kInput = 1,  // to the parent: bytes are wanted. To the child: here they are; none: the end
  kEntry,
  kData,    // u64 offset, bytes
  kFailed,  // why
  kDone,
};

constexpr u32 kMaxMessage = 16 * MiB;    // of any, attributes and all
constexpr size_t kMaxInput = 256 * KiB;  // at once
constexpr size_t kGathered = 256 * KiB;  // sent at the latest
constexpr size_t kHead = 1 + sizeof(u32);

bool send_all(int socket, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = ::write(socket, at, size);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    size -= static_cast<size_t>(sent);
  }
  return true;
}

bool receive_all(int socket, void* data, size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = ::read(socket, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

void put_head(std::string& out, Message type, size_t length) {
  const u32 size = static_cast<u32>(length);
  out.push_back(static_cast<char>(type));
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put(std::string& out, const std::string& text) {
  put(out, static_cast<u32>(text.size()));
  out += text;
}

// --- The child.

class Teller final : public ArchiveEntries {
 public:
  Teller(int socket, const std::string& name) : socket_(socket), name_(name) {}

  void entry(ArchiveEntry entry) override {
    std::string body;
    put(body, entry.name);
    put(body, static_cast<u8>(entry.is_link));
    put(body, static_cast<u8>(entry.type));
    put(body, entry.permissions);
    put(body, entry.uid);
    put(body, entry.gid);
    put(body, entry.mtime);
    put(body, entry.mtime_nsec);
    put(body, entry.device_major);
    put(body, entry.device_minor);
    put(body, entry.size);
    put(body, entry.target);
    for (const auto& [key, value] : entry.xattrs) {
      put(body, key);
      put(body, value);
    }
    if (body.size() > kMaxMessage) throw Error(name_ + ": entry " + entry.name + " has too many attributes");
    tell(Message::kEntry, body);
  }

  void data(u64 offset, std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const std::span<const std::byte> part = bytes.first(std::min(bytes.size(), kMaxInput));
      put_head(out_, Message::kData, sizeof offset + part.size());
      put(out_, offset);
      out_.append(reinterpret_cast<const char*>(part.data()), part.size());
      offset += part.size();
      bytes = bytes.subspan(part.size());
      if (out_.size() >= kGathered) flush();
    }
  }

  void tell(Message type, const std::string& body) {
    put_head(out_, type, body.size());
    out_ += body;
    if (out_.size() >= kGathered) flush();
  }

  void flush() {
    if (!send_all(socket_, out_.data(), out_.size())) ::_exit(1);
    out_.clear();
  }

  size_t input(std::span<std::byte> into) {
    tell(Message::kInput, {});
    flush();
    u32 length = 0;
    if (!receive_all(socket_, &length, sizeof length) || length > into.size() ||
        !receive_all(socket_, into.data(), length)) {
      ::_exit(1);
    }
    return length;
  }

 private:
  int socket_;
  const std::string& name_;
  std::string out_;
};

// What libraries read of the host when they are first used, they read before they may not any more: glibc's
// table of character sets, which libarchive asks for one.
void use_libraries() {
  for (const char* from : {"UTF-8", "ANSI_X3.4-1968"}) {
    iconv_t converter = ::iconv_open(from, from);
    if (converter != reinterpret_cast<iconv_t>(-1)) ::iconv_close(converter);
  }
}

[[noreturn]] void serve(int socket, pid_t parent, ArchiveKind kind, const std::string& name) {
  ::prctl(PR_SET_NAME, "teacup-archive");
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; fd++) ::dup2(null, fd);
  ::dup2(socket, 3);
  ::close_range(4, ~0U, 0);
  Teller teller(3, name);
  try {
    use_libraries();
    if (!importer::enter_sandbox(3)) throw Error("the host does not let a process be filtered (seccomp)");
    read_archive(
        kind, [&teller](std::span<std::byte> into) { return teller.input(into); }, name, teller);
    teller.tell(Message::kDone, {});
  } catch (const std::exception& error) {
    teller.tell(Message::kFailed, error.what());
  }
  teller.flush();
  ::_exit(0);
}

// --- The parent.

// Takes values out of a message; Error if it has none left.
class Unpacker {
 public:
  Unpacker(std::span<const char> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  template <typename T>
  T take() {
    T value;
    std::memcpy(&value, take_bytes(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() {
    const auto bytes = take_bytes(take<u32>());
    return {bytes.data(), bytes.size()};
  }
  std::span<const char> take_bytes(size_t size) {
    if (size > bytes_.size()) nonsense(name_);
    const auto taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  std::span<const char> rest() const { return bytes_; }

  [[noreturn]] static void nonsense(const std::string& name) {
    throw Error(name + ": what reads it says what makes no sense; the archive is damaged, or hostile");
  }

 private:
  std::span<const char> bytes_;
  const std::string& name_;
};

// A name is a C string for all who come after.
std::string checked_name(std::string text, const std::string& name) {
  if (text.find('\0') != text.npos) Unpacker::nonsense(name);
  return text;
}

ArchiveEntry unpack_entry(Unpacker message, const std::string& name) {
  ArchiveEntry entry;
  entry.name = checked_name(message.text(), name);
  entry.is_link = message.take<u8>() != 0;
  const u8 type = message.take<u8>();
  if (type > static_cast<u8>(NodeType::kSocket)) Unpacker::nonsense(name);
  entry.type = static_cast<NodeType>(type);
  entry.permissions = message.take<u16>() & 07777;
  entry.uid = message.take<u32>();
  entry.gid = message.take<u32>();
  entry.mtime = message.take<s64>();
  entry.mtime_nsec = message.take<u32>() % 1'000'000'000;
  entry.device_major = message.take<u32>();
  entry.device_minor = message.take<u32>();
  entry.size = message.take<u64>();
  entry.target = checked_name(message.text(), name);
  while (!message.rest().empty()) {
    std::string key = checked_name(message.text(), name);
    entry.xattrs[std::move(key)] = message.text();
  }
  return entry;
}

class ArchiveProcess {
 public:
  ArchiveProcess(ArchiveKind kind, const std::string& name) : name_(name) {
    load_libarchive();
    int sockets[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
      throw_errno("cannot make a socket");
    const pid_t parent = ::getpid();
    child_ = ::fork();
    if (child_ == 0) serve(sockets[1], parent, kind, name);
    ::close(sockets[1]);
    socket_ = sockets[0];
    if (child_ < 0) {
      ::close(socket_);
      throw_errno("cannot start a process that reads " + name);
    }
  }
  ~ArchiveProcess() {
    ::close(socket_);
    if (child_ > 0) end(true);
  }
  ArchiveProcess(const ArchiveProcess&) = delete;

  void run(const ArchiveInput& input, ArchiveEntries& entries) {
    bool has_data = false;
    for (;;) {
      const Message type = receive();
      switch (type) {
        case Message::kInput:
          give(input);
          break;
        case Message::kEntry: {
          ArchiveEntry entry = unpack_entry({message_, name_}, name_);
          has_data = !entry.is_link && entry.type == NodeType::kRegular;
          entries.entry(std::move(entry));
          break;
        }
        case Message::kData: {
          Unpacker data(message_, name_);
          const u64 offset = data.take<u64>();
          if (!has_data || data.rest().size() > ~offset) Unpacker::nonsense(name_);
          entries.data(offset, std::as_bytes(data.rest()));
          break;
        }
        case Message::kFailed:
          throw Error({message_.data(), message_.size()});
        case Message::kDone:
          return;
        default:
          Unpacker::nonsense(name_);
      }
    }
  }

 private:
  Message receive() {
    char head[kHead];
    u32 length = 0;
    if (!receive_all(socket_, head, sizeof head)) died();
    std::memcpy(&length, head + 1, sizeof length);
    if (length > kMaxMessage) Unpacker::nonsense(name_);
    message_.resize(length);
    if (!receive_all(socket_, message_.data(), length)) died();
    return static_cast<Message>(head[0]);
  }

  void give(const ArchiveInput& input) {
    std::vector<std::byte>& buffer = input_;
    buffer.resize(kMaxInput);
    const u32 length = static_cast<u32>(input(buffer));
    // Not a signal: the command that reads archives may have its own idea of SIGPIPE.
    const auto send = [this](const void* data, size_t size) {
      const char* at = static_cast<const char*>(data);
      while (size > 0) {
        const ssize_t sent = ::send(socket_, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) died();
        at += sent;
        size -= static_cast<size_t>(sent);
      }
    };
    send(&length, sizeof length);
    send(buffer.data(), length);
  }

  [[noreturn]] void died() {
    const int status = end(false);
    throw Error(name_ + ": reading it killed the process that reads archives" +
                (WIFSIGNALED(status) ? " (" + std::string(::strsignal(WTERMSIG(status))) + ")" : "") +
                "; it is damaged, hostile, or needs more than 1 GiB of memory");
  }

  int end(bool kill) {
    if (kill) ::kill(child_, SIGKILL);
    int status = 0;
    while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
    }
    child_ = -1;
    return status;
  }

  const std::string& name_;
  pid_t child_ = -1;
  int socket_ = -1;
  std::vector<char> message_;
  std::vector<std::byte> input_;
};

}  // namespace

void read_archive_apart(ArchiveKind kind, const ArchiveInput& input, const std::string& name,
                        ArchiveEntries& entries) {
  ArchiveProcess process(kind, name);
  process.run(input, entries);
}

}  // namespace teacup::images

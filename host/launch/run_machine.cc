#include "host/launch/run_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "host/broker/broker.h"
#include "host/broker/gateway.h"
#include "host/broker/host_files.h"
#include "host/broker/prepare.h"
#include "host/importer/importer.h"
#include "host/launch/arena.h"
#include "host/launch/error.h"
#include "host/launch/host_check.h"
#include "host/launch/image.h"
#include "host/launch/template.h"
#include "kernel/abi/debug.h"
#include "kernel/abi/events.h"
#include "kernel/abi/prepare.h"
#include "kernel/abi/stats.h"
#include "kernel/abi/stream.h"

namespace teacup::host {

namespace {

// A descriptor that the caller closed is held by an O_PATH one (cli/main.cc).
abi::StreamKind stream_kind(int fd) {
  struct stat status {};
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0 || fstat(fd, &status) != 0) return abi::StreamKind::kClosed;
  if (isatty(fd)) return abi::StreamKind::kTerminal;
  if (S_ISREG(status.st_mode)) return abi::StreamKind::kFile;
  if (S_ISCHR(status.st_mode)) return abi::StreamKind::kCharDevice;
  return abi::StreamKind::kPipe;
}

// Whether they share one offset, as after 2>&1. Where the host has no kcmp(2), the same file is taken for it.
bool same_description(int a, int b) {
  long order = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b);
  if (order >= 0) return order == 0;
  struct stat left {
  }, right{};
  if (fstat(a, &left) != 0 || fstat(b, &right) != 0) return false;
  return left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

void describe_streams(abi::BootConfig& config) {
  for (int fd = 0; fd < 3; fd++) {
    abi::BootStream& stream = config.streams[fd];
    stream.kind = stream_kind(fd);
    stream.same_as = static_cast<u32>(fd);
    int flags = fcntl(fd, F_GETFL);
    if (stream.kind == abi::StreamKind::kClosed || flags < 0) continue;
    stream.readable = (flags & O_ACCMODE) != O_WRONLY;
    stream.writable = (flags & O_ACCMODE) != O_RDONLY;
    for (int other = 0; other < fd; other++) {
      if (same_description(fd, other)) {
        stream.same_as = static_cast<u32>(other);
        break;
      }
    }
  }
  winsize size{};
  for (int fd = 0; fd < 3; fd++) {
    if (isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0) break;
  }
  config.window_rows = size.ws_row;
  config.window_columns = size.ws_col;
}

// Of `all` cores, those that this process may run on (taskset, cpusets).
u32 usable_cpus(u32 all) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return all;  // more than it has room for
  return std::min(all, static_cast<u32>(CPU_COUNT(&set)));
}

u64 host_memory() {
  struct sysinfo info {};
  sysinfo(&info);
  return static_cast<u64>(info.totalram) * info.mem_unit;
}

template <typename T>
abi::BootStrings put_array(Arena& arena, const std::vector<T>& items) {
  u64 offset = arena.reserve(items.size() * sizeof(T));
  for (std::size_t i = 0; i < items.size(); i++) arena_at<T>(offset + i * sizeof(T)) = items[i];
  return {offset, items.size()};
}

// IMAGE and what is laid over it.
struct Stack {
  std::vector<abi::BootLayer> layers;  // the lowest first
  std::vector<Image> files;            // those that are files: images[] of the machine, and the broker's
  std::vector<int> imported;           // descriptors of those that the importer reads, in its order
  std::vector<std::string> imported_names;
};

Stack open_stack(const MachineOptions& options, HostFiles& host_files) {
  Stack stack;
  if (options.images.size() > static_cast<std::size_t>(kMaxImages)) {
    throw LaunchError("there are more than " + std::to_string(kMaxImages) +
                      " layers; pack some of them into one: teacup pack LAYER... IMAGE");
  }
  for (const std::string& path : options.images) {
    Image image = open_image(path);
    abi::BootLayer layer{static_cast<u32>(image.kind), static_cast<u32>(stack.files.size()), 0, 0};
    if (image.kind == abi::ImageKind::kHostDirectory) {
      layer.number = host_files.add_root(path, false);
      close(image.fd);
    } else {
      stack.files.push_back(image);
    }
    if (image.kind == abi::ImageKind::kImporter) {
      layer.number = static_cast<u32>(stack.imported.size());
      stack.imported.push_back(image.fd);
      stack.imported_names.push_back(path);
    }
    stack.layers.push_back(layer);
  }
  return stack;
}

void put_mounts(Arena& arena, const MachineOptions& options, HostFiles& host_files, abi::BootConfig& config) {
  std::vector<abi::BootVolume> volumes;
  for (const MachineVolume& volume : options.volumes) {
    struct stat status {};
    if (stat(volume.host.c_str(), &status) != 0)
      throw LaunchError("cannot use " + volume.host + ": " + errno_text(errno));
    u32 root = host_files.add_root(volume.host, volume.mode == abi::VolumeMode::kWritable);
    volumes.push_back({arena.put(volume.guest), root, volume.mode, S_ISDIR(status.st_mode) ? 1U : 0U, 0});
  }
  config.volumes = put_array(arena, volumes);
  std::vector<abi::BootTmpfs> tmpfs;
  for (const MachineTmpfs& one : options.tmpfs) {
    tmpfs.push_back({arena.put(one.guest), arena.put(one.data), one.flags, 0});
  }
  config.tmpfs = put_array(arena, tmpfs);
}

// The boot configuration, into the arena. Host directories become roots of the broker's host file service.
void write_config(Arena& arena, const MachineOptions& options, const Stack& stack, HostFiles& host_files,
                  const Gateway& gateway) {
  ArenaHeader& header = teacup::arena();
  u64 offset = 0;
  abi::BootConfig& config = arena.reserve_object<abi::BootConfig>(offset);
  header.config_offset = offset;
  header.config_size = sizeof config;
  config.arguments = arena.put(options.command);
  config.environment = arena.put(options.environment);
  config.working_directory = arena.put(options.working_directory);
  config.user = arena.put(options.user);
  config.hostname = arena.put(options.hostname.empty() ? "teacup" : options.hostname);
  describe_streams(config);
  config.mode = options.trap ? abi::InterceptMode::kTrap : abi::InterceptMode::kRewrite;
  config.prepare_flags = (options.patch_cpuid ? u32{abi::kPrepareCpuid} : 0) |
                         (options.patch_rdtsc ? u32{abi::kPrepareClock} : 0);
  config.trace = options.trace.has_value();
  config.trace_files = options.trace_files.has_value();
  config.stats = options.stats.has_value();
  config.cpu_model = static_cast<u32>(options.cpu);
  config.debug = (options.gdb_folder || options.perf_map ? u32{abi::kDebugMaps} : 0) |
                 (options.perf_map ? u32{abi::kDebugAnonymousText} : 0) |
                 (options.crash_report ? u32{abi::kDebugCrashes} : 0);
  config.network = options.network.has_loopback ? abi::NetworkMode::kLoopback : abi::NetworkMode::kNone;
  config.gateway = gateway.flags();
  config.hosts = arena.put(gateway.hosts_text());
  config.upper = !options.upper.empty();
  config.read_only = options.read_only;
  if (getrandom(config.random_seed, sizeof config.random_seed, 0) != sizeof config.random_seed) {
    throw LaunchError("no random bytes from the host (getrandom)");
  }
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  config.boot_realtime = static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
  config.layers = put_array(arena, stack.layers);
  put_mounts(arena, options, host_files, config);
}

void put_foreseen(Arena& arena, const Foreseen& foreseen) {
  const std::span<const std::byte> records = foreseen.records();
  if (records.empty()) return;
  ArenaHeader& header = teacup::arena();
  header.foreseen_offset = arena.reserve(records.size());
  header.foreseen_size = records.size();
  std::memcpy(&arena_at<std::byte>(header.foreseen_offset), records.data(), records.size());
}

// One behind the other, with a page between, each where a huge page of its file can be one of the mapping.
void describe_images(const std::vector<Image>& files) {
  ArenaHeader& header = teacup::arena();
  constexpr u64 kHuge = 2 * MiB;
  u64 address = kImageBase;
  for (const Image& image : files) {
    if (image.size > kImageEnd - kImageBase || page_up(image.size) > kImageEnd - address) {
      throw LaunchError("the image is larger than 4 TiB, or the layers are together");
    }
    u32 slot = header.image_count++;
    header.images[slot] = {address, image.size, static_cast<u32>(kFirstImageFd) + slot,
                           static_cast<u32>(image.kind)};
    address = align_up(address + page_up(image.size) + kPageSize, kHuge);
  }
}

// For images that a library has to parse: its process is started first, while there is nothing to inherit.
std::unique_ptr<importer::Importer> start_importer(const Stack& stack) {
  if (stack.imported.empty()) return nullptr;
  std::string error;
  auto importer = importer::Importer::start(stack.imported, error);
  if (importer == nullptr) {
    throw LaunchError("cannot start the process that reads " + stack.imported_names[0] + ": " + error);
  }
  for (u32 i = 0; i < stack.imported.size(); i++) {
    std::string problem = importer->problem(i);
    if (!problem.empty()) throw LaunchError("cannot use image " + stack.imported_names[i] + ": " + problem);
  }
  return importer;
}

[[noreturn]] void run(const MachineOptions& options) {
  signal(SIGXFSZ, SIG_IGN);  // past a limit on files there is an error to tell of
  check_host();
  check_cpu(options.cpu);
  HostFiles host_files;
  const Stack stack = open_stack(options, host_files);
  std::unique_ptr<importer::Importer> importer = start_importer(stack);
  std::unique_ptr<UpperFile> upper;
  if (!options.upper.empty()) {
    upper = options.upper_is_temporary ? UpperFile::open_nameless(options.upper, options.upper_layers)
                                       : UpperFile::open(options.upper, options.upper_layers);
  }
  if (upper != nullptr && !upper->dropped().empty()) {
    fprintf(stderr, "teacup run: %s\n", upper->dropped().c_str());
  }
  Arena arena = Arena::create();
  ArenaHeader& header = teacup::arena();
  header.cpu_count = static_cast<u32>(sysconf(_SC_NPROCESSORS_ONLN));
  header.usable_cpus = usable_cpus(header.cpu_count);
  u64 memory = host_memory();
  header.memory_limit = options.memory != 0 ? options.memory : memory;
  arena.reserve_object<abi::Streams>(header.streams_offset);
  u64 events_room = arena.reserve(sizeof(abi::Events) + 64 + sizeof(abi::MachineStats));
  header.events_offset = events_room;
  describe_images(stack.files);
  Gateway gateway(options.network);
  gateway.open();
  write_config(arena, options, stack, host_files, gateway);
  std::vector<int> guest_fds;
  for (const Image& image : stack.files) guest_fds.push_back(image.fd);
  std::unique_ptr<TextStore> texts = options.trap ? nullptr : open_text_store();
  if (texts != nullptr) {
    header.text_store_fd = static_cast<u32>(kFirstImageFd) + static_cast<u32>(guest_fds.size());
    guest_fds.push_back(texts->fd());
  }
  const std::unique_ptr<Foreseen> foreseen =
      foresee(stack.files, texts.get(), options.command.empty() ? "" : options.command.front());
  put_foreseen(arena, *foreseen);
  Broker broker(options, host_files, gateway, stack.files, texts.get(), *foreseen, importer.get(),
                upper.get());
  broker.prepare(arena.fd());
  pid_t machine = start_template(arena, guest_fds);
  broker.serve(machine);
}

}  // namespace

int run_machine(const MachineOptions& options) {
  try {
    run(options);
  } catch (const LaunchError& error) {
    fprintf(stderr, "teacup run: %s\n", error.what());
    return 125;
  }
}

}  // namespace teacup::host

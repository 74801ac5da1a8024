// What programs look up in /proc/sys. Few of these can be set: the machine has nothing behind most of them.
#include "kernel/pseudo/proc_settings.h"

#include "fs/pipe.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/version.h"
#include "kernel/base/memory.h"
#include "kernel/frame/pages.h"
#include "kernel/pseudo/mqueue.h"
#include "kernel/task/processes.h"
#include "kernel/task/random.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kFile = abi::kS_IFREG | 0444;
constexpr u32 kWritable = abi::kS_IFREG | 0644;
constexpr u32 kDirectory = abi::kS_IFDIR | 0555;

template <const char* text>
Result<void> show_line(TextBuffer& out, const Subject&) {
  out.add(text).add('\n');
  return {};
}
template <u64 value>
Result<void> show_number(TextBuffer& out, const Subject&) {
  out.udec(value).add('\n');
  return {};
}
template <u64 value>
constexpr Node number(const char* name) {
  return {name, kFile, &show_number<value>};
}
template <const char* text>
constexpr Node line(const char* name) {
  return {name, kFile, &show_line<text>};
}

// --- kernel

Result<void> show_host_name(TextBuffer& out, const Subject&) {
  LockGuard guard(processes().lock);
  out.add(processes().host_name).add('\n');
  return {};
}
Result<void> show_domain_name(TextBuffer& out, const Subject&) {
  LockGuard guard(processes().lock);
  const char* name = processes().domain_name;
  out.add(name[0] != '\0' ? name : "(none)").add('\n');
  return {};
}
Result<void> store_host_name(std::string_view text, const Subject&) {
  if (!current_task().credentials.has(abi::kCAP_SYS_ADMIN)) return Errno::PERM;
  text = text.substr(0, text.find('\n'));
  if (text.size() >= sizeof processes().host_name) return Errno::INVAL;
  LockGuard guard(processes().lock);
  memset(processes().host_name, 0, sizeof processes().host_name);
  memcpy(processes().host_name, text.data(), text.size());
  return {};
}

void show_uuid(TextBuffer& out, std::span<const u8> random) {
  for (size_t i = 0; i < 16; i++) {
    u8 byte = random[i];
    if (i == 6) byte = static_cast<u8>((byte & 0x0f) | 0x40);
    if (i == 8) byte = static_cast<u8>((byte & 0x3f) | 0x80);
    if (i == 4 || i == 6 || i == 8 || i == 10) out.add('-');
    out.hex(byte, 2);
  }
  out.add('\n');
}
Result<void> show_random_uuid(TextBuffer& out, const Subject&) {
  u8 random[16];
  random_fill(random);
  show_uuid(out, random);
  return {};
}
// The same all through the machine's life; not the seed itself.
Result<void> show_boot_id(TextBuffer& out, const Subject&) {
  const abi::BootConfig& config = abi::boot_config();
  u64 mixed[2] = {0x243f6a8885a308d3 ^ config.boot_realtime, 0x13198a2e03707344};
  for (u8 byte : config.random_seed) {
    for (u64& word : mixed) word = (word ^ byte) * 0x100000001b3 + (word >> 29);
  }
  u8 bytes[16];
  memcpy(bytes, mixed, sizeof bytes);
  show_uuid(out, bytes);
  return {};
}

constexpr char kCorePattern[] = "core";
constexpr char kPrintk[] = "4\t4\t1\t7";
constexpr char kSem[] = "32000\t1024000000\t500\t32000";
constexpr char kSeccompActions[] = "";

constexpr Node kRandomNodes[] = {{"boot_id", kFile, &show_boot_id},
                                 number<256>("entropy_avail"),
                                 number<256>("poolsize"),
                                 {"uuid", kFile, &show_random_uuid},
                                 {nullptr, 0}};
constexpr Node kSeccompNodes[] = {line<kSeccompActions>("actions_avail"), {nullptr, 0}};
constexpr Node kYamaNodes[] = {number<1>("ptrace_scope"), {nullptr, 0}};

constexpr Node kKernelNodes[] = {number<abi::kCAP_LAST_CAP>("cap_last_cap"),
                                 line<kCorePattern>("core_pattern"),
                                 number<0>("core_uses_pid"),
                                 number<1>("dmesg_restrict"),
                                 {"domainname", kFile, &show_domain_name},
                                 {"hostname", kWritable, &show_host_name, nullptr, nullptr, &store_host_name},
                                 number<0>("kptr_restrict"),
                                 number<8192>("msgmax"),
                                 number<16384>("msgmnb"),
                                 number<32000>("msgmni"),
                                 number<65536>("ngroups_max"),
                                 line<abi::kSystemRelease>("osrelease"),
                                 line<abi::kSystemName>("ostype"),
                                 number<65534>("overflowgid"),
                                 number<65534>("overflowuid"),
                                 number<0>("panic"),
                                 number<4>("perf_event_paranoid"),
                                 number<kPidMax>("pid_max"),
                                 line<kPrintk>("printk"),
                                 {"random", kDirectory, nullptr, kRandomNodes},
                                 number<2>("randomize_va_space"),
                                 {"seccomp", kDirectory, nullptr, kSeccompNodes},
                                 line<kSem>("sem"),
                                 number<18446744073692774399ULL>("shmall"),
                                 number<18446744073692774399ULL>("shmmax"),
                                 number<4096>("shmmni"),
                                 number<0>("tainted"),
                                 number<kPidMax>("threads-max"),
                                 line<abi::kSystemVersion>("version"),
                                 {"yama", kDirectory, nullptr, kYamaNodes},
                                 {nullptr, 0}};

// --- fs

Result<void> show_pipe_max_size(TextBuffer& out, const Subject&) {
  out.udec(fs::pipe_max_size()).add('\n');
  return {};
}
Result<void> store_pipe_max_size(std::string_view text, const Subject&) {
  return fs::set_pipe_max_size(TRY(parse_setting(text)));
}

constexpr char kFileNr[] = "1024\t0\t9223372036854775807";
constexpr Node kEpollNodes[] = {number<1000000>("max_user_watches"), {nullptr, 0}};
constexpr Node kInotifyNodes[] = {number<16384>("max_queued_events"),
                                  number<128>("max_user_instances"),
                                  number<65536>("max_user_watches"),
                                  {nullptr, 0}};
constexpr Node kMqueueNodes[] = {number<kMqueueMessages>("msg_default"),
                                 number<kMqueueMessages>("msg_max"),
                                 number<kMqueueMessageSize>("msgsize_default"),
                                 number<kMqueueMessageSize>("msgsize_max"),
                                 number<kMqueuesMax>("queues_max"),
                                 {nullptr, 0}};
constexpr Node kFsNodes[] = {
    number<65536>("aio-max-nr"),
    {"epoll", kDirectory, nullptr, kEpollNodes},
    number<9223372036854775807ULL>("file-max"),
    line<kFileNr>("file-nr"),
    {"inotify", kDirectory, nullptr, kInotifyNodes},
    {"mqueue", kDirectory, nullptr, kMqueueNodes},
    number<1048576>("nr_open"),
    {"pipe-max-size", kWritable, &show_pipe_max_size, nullptr, nullptr, &store_pipe_max_size},
    number<0>("pipe-user-pages-hard"),
    number<16384>("pipe-user-pages-soft"),
    number<0>("protected_fifos"),
    number<0>("protected_hardlinks"),
    number<0>("protected_regular"),
    number<0>("protected_symlinks"),
    number<0>("suid_dumpable"),
    {nullptr, 0}};

// --- vm

constexpr Node kVmNodes[] = {number<65530>("max_map_count"), number<67584>("min_free_kbytes"),
                             number<65536>("mmap_min_addr"), number<0>("nr_hugepages"),
                             number<1>("overcommit_memory"), number<50>("overcommit_ratio"),
                             number<60>("swappiness"),       {nullptr, 0}};

// --- net

constexpr char kPortRange[] = "32768\t60999";
constexpr char kPingRange[] = "0\t2147483647";
constexpr char kTcpMem[] = "4096\t131072\t6291456";
constexpr Node kNetCoreNodes[] = {number<212992>("optmem_max"),
                                  number<212992>("rmem_default"),
                                  number<212992>("rmem_max"),
                                  number<4096>("somaxconn"),
                                  number<212992>("wmem_default"),
                                  number<212992>("wmem_max"),
                                  {nullptr, 0}};
constexpr Node kIpv4Nodes[] = {number<0>("ip_forward"),
                               line<kPortRange>("ip_local_port_range"),
                               number<64>("ip_default_ttl"),
                               number<1024>("ip_unprivileged_port_start"),
                               line<kPingRange>("ping_group_range"),
                               number<60>("tcp_fin_timeout"),
                               number<7200>("tcp_keepalive_time"),
                               line<kTcpMem>("tcp_rmem"),
                               line<kTcpMem>("tcp_wmem"),
                               {nullptr, 0}};
constexpr Node kUnixNodes[] = {number<512>("max_dgram_qlen"), {nullptr, 0}};
constexpr Node kNetNodes[] = {{"core", kDirectory, nullptr, kNetCoreNodes},
                              {"ipv4", kDirectory, nullptr, kIpv4Nodes},
                              {"unix", kDirectory, nullptr, kUnixNodes},
                              {nullptr, 0}};

}  // namespace

const Node kSettings[] = {{"fs", kDirectory, nullptr, kFsNodes},
                          {"kernel", kDirectory, nullptr, kKernelNodes},
                          {"net", kDirectory, nullptr, kNetNodes},
                          {"vm", kDirectory, nullptr, kVmNodes},
                          {nullptr, 0}};

Result<void> show_version(TextBuffer& out, const Subject&) {
  out.add(abi::kSystemName).add(" version ").add(abi::kSystemRelease).add(" (teacup) ");
  out.add(abi::kSystemVersion).add('\n');
  return {};
}

}  // namespace teacup::pseudo

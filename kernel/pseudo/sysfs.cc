// /sys: what programs ask it for, which is how many processors there are and how memory is near them (one
// node of memory, one package, each processor a core of its own), and the network's interfaces.
#include <algorithm>

#include "fs/filesystem.h"
#include "kernel/base/arena_header.h"
#include "kernel/frame/pages.h"
#include "kernel/pseudo/pseudo_inode.h"
#include "net/interfaces.h"

namespace teacup::pseudo {

namespace {

constexpr u32 kSysfsMagic = 0x62656572;
constexpr u32 kFile = abi::kS_IFREG | 0444;
constexpr u32 kDirectory = abi::kS_IFDIR | 0555;

Result<void> show_processors(TextBuffer& out, const Subject&) {
  out.add('0');
  if (arena().cpu_count > 1) out.add('-').udec(arena().cpu_count - 1);
  out.add('\n');
  return {};
}

// Processors [first, end) as the host writes a set: words of 32 bits, the highest first, for all that there
// are.
void add_set(TextBuffer& out, u32 first, u32 end) {
  const u32 count = arena().cpu_count;
  for (u32 word = (count + 31) / 32; word-- > 0;) {
    u32 bits = 0;
    for (u32 bit = 0; bit < 32; bit++) {
      const u32 processor = word * 32 + bit;
      if (processor >= first && processor < end) bits |= 1U << bit;
    }
    const u32 in_word = std::min(count - word * 32, 32U);
    out.hex(bits, (in_word + 3) / 4).add(word > 0 ? ',' : '\n');
  }
}
Result<void> show_all_set(TextBuffer& out, const Subject&) {
  add_set(out, 0, arena().cpu_count);
  return {};
}
Result<void> show_own_set(TextBuffer& out, const Subject& subject) {
  add_set(out, subject.processor, subject.processor + 1);
  return {};
}
Result<void> show_own_number(TextBuffer& out, const Subject& subject) {
  out.udec(subject.processor).add('\n');
  return {};
}

Result<void> show_node_memory(TextBuffer& out, const Subject&) {
  const u64 total = limit_pages(), used = std::min(total, committed_pages());
  auto line = [&](std::string_view name, u64 pages) {
    const size_t start = out.length();
    out.add("Node 0 ").add(name).add(':');
    while (out.length() < start + 22 && !out.full()) out.add(' ');
    out.udec(pages * kPageSize / KiB, 9).add(" kB\n");
  };
  line("MemTotal", total);
  line("MemFree", total - used);
  line("MemUsed", used);
  return {};
}

Result<void> show_none(TextBuffer& out, const Subject&) {
  out.add('\n');
  return {};
}
template <const char* text>
Result<void> show_line(TextBuffer& out, const Subject&) {
  out.add(text).add('\n');
  return {};
}
constexpr char kThp[] = "always [madvise] never";
constexpr char kOne[] = "1";
constexpr char kZero[] = "0";
constexpr char kPmdSize[] = "2097152";
constexpr char kKernelMax[] = "8191";  // Debian's
constexpr char kDistance[] = "10";     // a node's from itself
constexpr char kNodeCounts[] =
    "numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0";

constexpr Node kNoNodes[] = {{nullptr, 0}};
constexpr Node kTopologyNodes[] = {{"core_cpus", kFile, &show_own_set},
                                   {"core_cpus_list", kFile, &show_own_number},
                                   {"core_id", kFile, &show_own_number},
                                   {"core_siblings", kFile, &show_all_set},
                                   {"core_siblings_list", kFile, &show_processors},
                                   {"die_id", kFile, &show_line<kZero>},
                                   {"package_cpus", kFile, &show_all_set},
                                   {"package_cpus_list", kFile, &show_processors},
                                   {"physical_package_id", kFile, &show_line<kZero>},
                                   {"thread_siblings", kFile, &show_own_set},
                                   {"thread_siblings_list", kFile, &show_own_number},
                                   {nullptr, 0}};
constexpr Node kOneCpuNodes[] = {
    {"online", kFile, &show_line<kOne>}, {"topology", kDirectory, nullptr, kTopologyNodes}, {nullptr, 0}};
constexpr Node kOneCpu = {"", kDirectory, nullptr, kOneCpuNodes};

// cpu0, cpu1… beside the table.
class CpuDirectory final : public PseudoDirectory {
 public:
  using PseudoDirectory::PseudoDirectory;

  Result<Ref<fs::Inode>> lookup(std::string_view name) override {
    u64 number;
    if (name.starts_with("cpu") && parse_number(name.substr(3), &number)) {
      if (number >= arena().cpu_count) return Errno::NOENT;
      return make_node_inode(file_system(), kOneCpu, Subject{.processor = static_cast<u32>(number)});
    }
    return PseudoDirectory::lookup(name);
  }
  Result<void> read_directory(fs::DirSink& sink, u64& position) override {
    TRY(PseudoDirectory::read_directory(sink, position));
    if (position < kFirstOwn) return {};
    for (; position - kFirstOwn < arena().cpu_count; position++) {
      char storage[16];
      TextBuffer name(storage);
      name.add("cpu").udec(position - kFirstOwn);
      if (!sink.add(name.text(), ino + position, abi::kS_IFDIR >> 12, position + 1)) return {};
    }
    return {};
  }
};

Result<Ref<fs::Inode>> make_cpus(fs::FileSystem& file_system, const Node& node, const Subject& subject) {
  return Ref<fs::Inode>(TRY(make_ref<CpuDirectory>(file_system, node, subject)));
}

constexpr Node kCpuNodes[] = {
    {"kernel_max", kFile, &show_line<kKernelMax>}, {"offline", kFile, &show_none},
    {"online", kFile, &show_processors},           {"possible", kFile, &show_processors},
    {"present", kFile, &show_processors},          {nullptr, 0}};
constexpr Node kNodeZeroNodes[] = {
    {"cpulist", kFile, &show_processors},         {"cpumap", kFile, &show_all_set},
    {"distance", kFile, &show_line<kDistance>},   {"meminfo", kFile, &show_node_memory},
    {"numastat", kFile, &show_line<kNodeCounts>}, {nullptr, 0}};
constexpr Node kNodeNodes[] = {{"has_cpu", kFile, &show_line<kZero>},
                               {"node0", kDirectory, nullptr, kNodeZeroNodes},
                               {"online", kFile, &show_line<kZero>},
                               {"possible", kFile, &show_line<kZero>},
                               {nullptr, 0}};
constexpr Node kSystemNodes[] = {{"cpu", kDirectory, nullptr, kCpuNodes, &make_cpus},
                                 {"node", kDirectory, nullptr, kNodeNodes},
                                 {nullptr, 0}};
constexpr Node kDeviceNodes[] = {{"system", kDirectory, nullptr, kSystemNodes}, {nullptr, 0}};
constexpr Node kThpNodes[] = {
    {"enabled", kFile, &show_line<kThp>}, {"hpage_pmd_size", kFile, &show_line<kPmdSize>}, {nullptr, 0}};
constexpr Node kMmNodes[] = {{"transparent_hugepage", kDirectory, nullptr, kThpNodes}, {nullptr, 0}};
constexpr Node kKernelNodes[] = {{"mm", kDirectory, nullptr, kMmNodes}, {nullptr, 0}};
// --- /sys/class/net: the interfaces, a directory each. Differs from Linux: no links into /sys/devices.

using net::Interface;

template <s32 index, u64 (*number)(const Interface&)>
Result<void> show_number(TextBuffer& out, const Subject&) {
  out.udec(number(*net::find_interface(index))).add('\n');
  return {};
}
template <s32 index, auto field>
Result<void> show_hardware(TextBuffer& out, const Subject&) {
  const auto& bytes = net::find_interface(index)->*field;
  for (size_t i = 0; i < std::size(bytes); i++) out.add(i > 0 ? ":" : "").hex(bytes[i], 2);
  out.add('\n');
  return {};
}
template <s32 index>
Result<void> show_flags(TextBuffer& out, const Subject&) {
  // RUNNING is told by others.
  out.add("0x").hex(net::find_interface(index)->flags & ~abi::kIFF_RUNNING).add('\n');
  return {};
}
template <s32 index>
Result<void> show_operation(TextBuffer& out, const Subject&) {
  out.add(index == net::kLoopbackIndex ? "unknown\n" : "up\n");
  return {};
}
template <s32 index>
Result<void> show_event(TextBuffer& out, const Subject&) {
  const Interface& interface = *net::find_interface(index);
  out.add("INTERFACE=").add(interface.name).add("\nIFINDEX=").udec(static_cast<u64>(index)).add('\n');
  return {};
}

u64 carrier_of(const Interface& interface) {
  return interface.is_up() ? 1 : 0;
}
u64 length_of_hardware(const Interface& interface) {
  return std::size(interface.hardware);
}
u64 index_of(const Interface& interface) {
  return static_cast<u64>(interface.index);
}
u64 mtu_of(const Interface& interface) {
  return interface.mtu;
}
u64 queue_of(const Interface& interface) {
  return interface.queue_length;
}
u64 type_of(const Interface& interface) {
  return interface.type;
}

// There are no packets to count.
constexpr Node kStatisticsNodes[] = {{"collisions", kFile, &show_line<kZero>},
                                     {"multicast", kFile, &show_line<kZero>},
                                     {"rx_bytes", kFile, &show_line<kZero>},
                                     {"rx_dropped", kFile, &show_line<kZero>},
                                     {"rx_errors", kFile, &show_line<kZero>},
                                     {"rx_packets", kFile, &show_line<kZero>},
                                     {"tx_bytes", kFile, &show_line<kZero>},
                                     {"tx_dropped", kFile, &show_line<kZero>},
                                     {"tx_errors", kFile, &show_line<kZero>},
                                     {"tx_packets", kFile, &show_line<kZero>},
                                     {nullptr, 0}};
template <s32 index>
constexpr Node kInterfaceNodes[] = {
    {"addr_len", kFile, &show_number<index, &length_of_hardware>},
    {"address", kFile, &show_hardware<index, &Interface::hardware>},
    {"broadcast", kFile, &show_hardware<index, &Interface::hardware_broadcast>},
    {"carrier", kFile, &show_number<index, &carrier_of>},
    {"flags", kFile, &show_flags<index>},
    {"ifindex", kFile, &show_number<index, &index_of>},
    {"iflink", kFile, &show_number<index, &index_of>},
    {"mtu", kFile, &show_number<index, &mtu_of>},
    {"operstate", kFile, &show_operation<index>},
    {"statistics", kDirectory, nullptr, kStatisticsNodes},
    {"tx_queue_len", kFile, &show_number<index, &queue_of>},
    {"type", kFile, &show_number<index, &type_of>},
    {"uevent", kFile, &show_event<index>},
    {nullptr, 0}};
constexpr Node kLoopbackNodes[] = {{"lo", kDirectory, nullptr, kInterfaceNodes<net::kLoopbackIndex>},
                                   {nullptr, 0}};
constexpr Node kBothNodes[] = {{"eth0", kDirectory, nullptr, kInterfaceNodes<net::kEthernetIndex>},
                               {"lo", kDirectory, nullptr, kInterfaceNodes<net::kLoopbackIndex>},
                               {nullptr, 0}};
constexpr Node kLoopbackOnly = {"", kDirectory, nullptr, kLoopbackNodes};
constexpr Node kBoth = {"", kDirectory, nullptr, kBothNodes};

Result<Ref<fs::Inode>> make_interfaces(fs::FileSystem& file_system, const Node&, const Subject& subject) {
  return make_node_inode(file_system, net::is_network_up() ? kBoth : kLoopbackOnly, subject);
}

constexpr Node kFsNodes[] = {{"cgroup", kDirectory, nullptr, kNoNodes}, {nullptr, 0}};
constexpr Node kClassNodes[] = {{"net", kDirectory, nullptr, kNoNodes, &make_interfaces}, {nullptr, 0}};
constexpr Node kRootNodes[] = {
    {"block", kDirectory, nullptr, kNoNodes},    {"bus", kDirectory, nullptr, kNoNodes},
    {"class", kDirectory, nullptr, kClassNodes}, {"devices", kDirectory, nullptr, kDeviceNodes},
    {"fs", kDirectory, nullptr, kFsNodes},       {"kernel", kDirectory, nullptr, kKernelNodes},
    {"module", kDirectory, nullptr, kNoNodes},   {nullptr, 0}};
constexpr Node kRootNode = {"", kDirectory, nullptr, kRootNodes};

class SysFileSystem final : public fs::FileSystem {
 public:
  SysFileSystem() : FileSystem("sysfs", kSysfsMagic) {}
  Result<Ref<fs::Inode>> root() override { return make_node_inode(*this, kRootNode, Subject{}); }
  bool caches_names() const override { return false; }
};

Result<Ref<fs::FileSystem>> mount_sysfs(std::string_view, std::string_view) {
  return Ref<fs::FileSystem>(TRY(make_ref<SysFileSystem>()));
}

constexpr fs::FileSystemType kSysfsType = {"sysfs", &mount_sysfs};

}  // namespace

void register_sysfs() {
  fs::register_file_system(kSysfsType);
}

}  // namespace teacup::pseudo

#include "host/broker/stats.h"

#include <map>
#include <nlohmann/json.hpp>

#include "kernel/abi/nr.h"
#include "kernel/abi/stats.h"

namespace teacup::host {

namespace {

const std::map<u32, std::string>& call_names() {
  static const std::map<u32, std::string> names = {
#define NAMED(name) {abi::kNR_##name, #name},
#include "kernel/syscall/names.def"
#undef NAMED
  };
  return names;
}

std::string name_of(u32 number) {
  auto found = call_names().find(number);
  return found != call_names().end() ? found->second : "syscall_" + std::to_string(number);
}

}  // namespace

std::string stats_json(u64 started_at) {
  const abi::MachineStats& stats = abi::machine_stats();
  nlohmann::ordered_json json;
  u64 total = 0;
  auto calls = nlohmann::ordered_json::object();
  auto unimplemented = nlohmann::ordered_json::object();
  for (u32 i = 0; i < std::size(stats.calls); i++) {
    u64 count = stats.calls[i].load();
    if (count == 0) continue;
    total += count;
    calls[name_of(i)] = count;
    if (u64 missing = i < 513 ? stats.unimplemented[i].load() : 0; missing != 0)
      unimplemented[name_of(i)] = missing;
  }
  u64 trapped = stats.trapped.load();
  json["calls"] = calls;
  json["rewritten"] = total > trapped ? total - trapped : 0;
  json["trapped"] = trapped;
  auto tactics = nlohmann::ordered_json::object();
  const char* const kTactics[] = {"net", "jump-before", "short-jump", "jump-after", "evict", "jump-around"};
  for (u32 i = 0; i < std::size(kTactics); i++) tactics[kTactics[i]] = stats.sites_by_tactic[i].load();
  json["sites"] = tactics;
  json["cpuid"] = {{"sites", stats.cpuid_sites.load()}, {"answered", stats.cpuids.load()}};
  json["files_prepared"] = stats.files_prepared.load();
  json["files_foreseen"] = stats.files_foreseen.load();
  auto host_calls = nlohmann::ordered_json::object();
  for (u32 i = 0; i < kHostCallNumbers; i++) {
    if (u64 count = arena().host_calls[i].load(); count != 0) host_calls[name_of(i)] = count;
  }
  json["host_calls"] = host_calls;
  json["unimplemented"] = unimplemented;
  u64 first = stats.first_instruction_at.load();
  json["startup_ns"] = first > started_at ? first - started_at : 0;
  return json.dump(2) + "\n";
}

}  // namespace teacup::host

// `teacup rewrite FILE...`: what the rewriter would do with a file, for people and for CI.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/colour.h"
#include "cli/commands.h"
#include "cli/error.h"
#include "cli/parse.h"
#include "cli/run_values.h"
#include "images/error.h"
#include "images/image_reader.h"
#include "images/progress.h"
#include "kernel/abi/prepare.h"
#include "rewrite/prepare.h"

namespace teacup::cli {

namespace {

using rewrite::Bytes;
using rewrite::Disassembler;
using rewrite::Prepared;
using rewrite::Site;

constexpr int kExitSitesLeft = 1;

struct RewriteOptions {
  std::vector<std::string> files;
  bool json = false;
  bool disassemble = false;
  bool quiet = false;
  std::string image;
  std::string patch = "cpuid";  // as typed
  bool cpuid = true;
  bool rdtsc = false;
};

// How many sites of each kind there are, and what became of the system calls.
struct Totals {
  std::map<std::string, size_t> kinds;
  std::map<std::string, size_t> tactics;
  size_t calls = 0;
  size_t left = 0;

  void add(const Totals& other) {
    for (const auto& [kind, count] : other.kinds) kinds[kind] += count;
    for (const auto& [tactic, count] : other.tactics) tactics[tactic] += count;
    calls += other.calls;
    left += other.left;
  }
  void add(const Site& site) {
    kinds[rewrite::kind_name(site.kind)]++;
    if (site.kind == abi::kSiteSyscall || site.tactic != abi::kTacticNet) {
      tactics[rewrite::tactic_name(site.tactic)]++;
    }
    calls += site.kind == abi::kSiteSyscall;
    left += site.left_to_net();
  }
  double coverage() const {
    return calls ? 100.0 * static_cast<double>(calls - left) / static_cast<double>(calls) : 100;
  }
  // "526 of 526 system calls patched (100.00 %), window before 523, …"
  std::string text() const {
    char head[128];
    std::snprintf(head, sizeof head, "%zu of %zu system calls patched (%.2f %%)", calls - left, calls,
                  coverage());
    std::string parts = head;
    for (const auto& [tactic, count] : tactics) parts += ", " + tactic + " " + std::to_string(count);
    for (const auto& [kind, count] : kinds) {
      if (kind != rewrite::kind_name(abi::kSiteSyscall)) parts += ", " + kind + " " + std::to_string(count);
    }
    return parts;
  }
};

class Report {
 public:
  Report(const std::string& name, Bytes file, const Prepared& prepared)
      : name_(name), file_(file), prepared_(prepared) {
    for (const Site& site : prepared.sites) totals_.add(site);
  }

  const Totals& totals() const { return totals_; }

  void print(const RewriteOptions& options) {
    for (const Site& site : prepared_.sites) {
      if (options.quiet && !site.left_to_net()) continue;
      std::printf("  %#12llx  %-32s %-9s %s\n", static_cast<unsigned long long>(site.address),
                  site.function.c_str(), rewrite::kind_name(site.kind), fate(site).c_str());
      if (options.disassemble && site.tactic != abi::kTacticNet) print_code(site);
    }
    std::printf("%s: ", paint(1, Colour::BOLD, name_).c_str());
    if (prepared_.sites.empty()) {
      std::printf("%s, %.1f ms\n", prepared_.message.c_str(), milliseconds());
      return;
    }
    print_totals();
  }

  nlohmann::json json() {
    nlohmann::json sites = nlohmann::json::array();
    for (const Site& site : prepared_.sites) {
      nlohmann::json entry = {{"address", site.address},
                              {"function", site.function},
                              {"kind", rewrite::kind_name(site.kind)},
                              {"tactic", rewrite::tactic_name(site.tactic)}};
      if (site.tactic == abi::kTacticNet) {
        entry["reason"] = rewrite::reason_text(site.reason);
      } else {
        entry["window"] = {site.window_begin, site.window_end};
        entry["trampoline"] = {site.trampoline, site.trampoline_end};
        entry["displaced"] = displaced(site);
      }
      sites.push_back(std::move(entry));
    }
    nlohmann::json patches = nlohmann::json::array();
    for (const rewrite::TextPatch& patch : prepared_.patches) {
      patches.push_back({{"address", patch.address}, {"bytes", patch.bytes}});
    }
    return {{"file", name_},
            {"patched", prepared_.status == abi::kPreparedPatched},
            {"message", prepared_.message},
            {"sites", std::move(sites)},
            {"patches", std::move(patches)},
            {"kinds", totals_.kinds},
            {"tactics", totals_.tactics},
            {"coverage", totals_.coverage()},
            {"trampoline_bytes", prepared_.trampolines.size()},
            {"milliseconds", milliseconds()}};
  }

 private:
  double milliseconds() const { return prepared_.micros / 1000.0; }

  void print_totals() const {
    std::printf("%s; %zu bytes of trampolines, %.1f ms\n", totals_.text().c_str(),
                prepared_.trampolines.size(), milliseconds());
  }

  std::string fate(const Site& site) {
    if (site.tactic == abi::kTacticNet) {
      std::string text = std::string("net: ") + rewrite::reason_text(site.reason);
      return site.left_to_net() ? paint(1, Colour::YELLOW, text) : text;
    }
    std::string text = rewrite::tactic_name(site.tactic);
    for (const std::string& instruction : displaced(site)) text += "; " + instruction;
    return text;
  }

  std::vector<std::string> displaced(const Site& site) {
    std::vector<std::string> texts;
    for (const rewrite::Instruction& in : site.displaced) {
      texts.push_back(disassembler_.text(text_at(in.address, in.length), in.address));
    }
    return texts;
  }

  // The file's own bytes at an address of its text.
  std::vector<u8> text_at(u64 address, u64 size) const {
    for (const rewrite::TextSegment& segment : prepared_.segments) {
      u64 into = address - segment.vaddr;
      if (into >= segment.file_size || size > segment.file_size - into) continue;
      Bytes bytes = file_.subspan(segment.file_offset + into, size);
      return {bytes.begin(), bytes.end()};
    }
    return {};
  }

  std::vector<u8> patched_at(u64 address, u64 size) const {
    std::vector<u8> bytes = text_at(address, size);
    for (const rewrite::TextPatch& patch : prepared_.patches) {
      for (size_t i = 0; i < patch.bytes.size(); i++) {
        u64 at = patch.address + i - address;
        if (at < bytes.size()) bytes[at] = patch.bytes[i];
      }
    }
    return bytes;
  }

  void print_code(const Site& site) {
    u64 size = site.window_end - site.window_begin;
    print_listing("before", text_at(site.window_begin, size), site.window_begin);
    print_listing("after", patched_at(site.window_begin, size), site.window_begin);
    u64 begin = site.trampoline - prepared_.trampoline_address;
    std::vector<u8> trampoline(
        prepared_.trampolines.begin() + static_cast<s64>(begin),
        prepared_.trampolines.begin() + static_cast<s64>(site.trampoline_end - prepared_.trampoline_address));
    print_listing("trampoline", trampoline, site.trampoline);
  }

  void print_listing(const char* title, const std::vector<u8>& code, u64 address) {
    std::printf("      %s\n", title);
    for (size_t at = 0; at < code.size();) {
      size_t length = 1;
      std::string text = disassembler_.text(Bytes(code).subspan(at), address + at, &length);
      std::string hex;
      for (size_t i = 0; i < length; i++) {
        char byte[4];
        std::snprintf(byte, sizeof byte, "%02x ", code[at + i]);
        hex += byte;
      }
      std::printf("        %#12llx  %-32s %s\n", static_cast<unsigned long long>(address) + at, hex.c_str(),
                  text.c_str());
      at += length;
    }
  }

  const std::string& name_;
  Bytes file_;
  const Prepared& prepared_;
  Totals totals_;
  Disassembler disassembler_;
};

std::optional<std::vector<char>> read_file(const std::string& name) {
  if (!std::filesystem::is_regular_file(name)) return std::nullopt;
  std::ifstream in(name, std::ios::binary | std::ios::ate);
  std::streamoff size = in.tellg();
  if (!in || size < 0) return std::nullopt;
  std::vector<char> bytes(static_cast<size_t>(size));
  in.seekg(0);
  if (!in.read(bytes.data(), size)) return std::nullopt;
  return bytes;
}

Prepared prepare(std::span<const std::byte> file, const RewriteOptions& options) {
  // In an image of thousands of files, what the machine would not do with them is not looked into.
  return rewrite::prepare(file, {.patch_cpuid = options.cpuid,
                                 .patch_rdtsc = options.rdtsc,
                                 .count_others = options.image.empty(),
                                 .name_functions = true});
}

Bytes as_bytes(std::span<const std::byte> file) {
  return Bytes(reinterpret_cast<const u8*>(file.data()), file.size());
}

int rewrite_files(const RewriteOptions& options) {
  nlohmann::json files = nlohmann::json::array();
  int status = 0;
  for (const std::string& name : options.files) {
    std::optional<std::vector<char>> bytes = read_file(name);
    if (!bytes) {
      status = fail("rewrite",
                    {"'" + name + "' cannot be read", "Give the path of an ELF file that you may read."});
      continue;
    }
    auto file = std::as_bytes(std::span(*bytes));
    Prepared prepared = prepare(file, options);
    Report report(name, as_bytes(file), prepared);
    if (options.json) {
      files.push_back(report.json());
    } else {
      report.print(options);
    }
    if (report.totals().left && status == 0) status = kExitSitesLeft;
  }
  if (options.json) std::printf("%s\n", files.dump(2).c_str());
  return status;
}

// All ELF files of an image: those with sites are listed, and summed up.
class ImageReport {
 public:
  explicit ImageReport(const RewriteOptions& options) : options_(options) {}

  int run() {
    auto reader = images::ImageReader::open(options_.image);
    std::vector<images::ImageFile> files = reader->files();
    u64 total = 0, done = 0;
    for (const images::ImageFile& file : files) total += file.size;
    {
      images::Progress progress(true);
      for (const images::ImageFile& file : files) {
        progress.update("examining", done, total);
        examine(*reader, file);
        done += file.size;
      }
    }
    print(files.size());
    return totals_.left ? kExitSitesLeft : 0;
  }

 private:
  void examine(images::ImageReader& reader, const images::ImageFile& file) {
    constexpr u64 kHead = 64;
    std::vector<std::byte> bytes = reader.read(file, kHead);
    if (bytes.size() < kHead || memcmp(bytes.data(), "\x7f\x45LF", 4) != 0) return;
    elf_files_++;
    // What the machine does not prepare is not prepared here.
    if (file.size <= abi::kMaxPreparedFile) bytes = reader.read(file, file.size);
    Prepared prepared = prepare(bytes, options_);
    micros_ += prepared.micros;
    if (prepared.sites.empty()) return;
    Report report(file.path, as_bytes(bytes), prepared);
    totals_.add(report.totals());
    if (options_.json) {
      files_.push_back(report.json());
    } else if (!options_.quiet || report.totals().left) {
      RewriteOptions brief = options_;
      brief.quiet = !options_.disassemble;  // thousands of sites are for --json
      report.print(brief);
    }
  }

  void print(size_t files) const {
    if (options_.json) {
      nlohmann::json json = {
          {"image", options_.image},        {"regular_files", files},
          {"elf_files", elf_files_},        {"files", files_},
          {"kinds", totals_.kinds},         {"tactics", totals_.tactics},
          {"calls", totals_.calls},         {"left_to_net", totals_.left},
          {"coverage", totals_.coverage()}, {"milliseconds", static_cast<double>(micros_) / 1000}};
      std::printf("%s\n", json.dump(2).c_str());
      return;
    }
    std::printf("%s: %zu files, %zu of them ELF; %s; %.0f ms\n",
                paint(1, Colour::BOLD, options_.image).c_str(), files, elf_files_, totals_.text().c_str(),
                static_cast<double>(micros_) / 1000);
  }

  const RewriteOptions& options_;
  nlohmann::json files_ = nlohmann::json::array();
  Totals totals_;
  size_t elf_files_ = 0;
  u64 micros_ = 0;
};

int rewrite_image(const RewriteOptions& options) {
  try {
    return ImageReport(options).run();
  } catch (const images::Error& error) {
    return fail("rewrite", {error.what()});
  }
}

}  // namespace

int rewrite_command(const Arguments& arguments) {
  RewriteOptions options;
  CommandLine line(
      "rewrite", "Shows how each system call of the given ELF files is patched when they are run.",
      "teacup rewrite [OPTIONS] FILE...\n       teacup rewrite [OPTIONS] --image IMAGE",
      "Exits with 1 if a system call of a file is left to the net: it works, but takes about 20 times as "
      "long.");
  line.arguments("FILE", options.files);
  line.option("--image", options.image, "IMAGE", "examine all ELF files of an image, or below a directory");
  line.flag("--json", options.json, "print JSON instead of text");
  line.flag("--disasm", options.disassemble, "show the code of each site before and after");
  line.flag("-q,--quiet", options.quiet, "list only the sites left to the net");
  line.option("--patch", options.patch, "LIST", "as in 'teacup run': cpuid (default), rdtsc, none");
  if (const auto status = line.parse(arguments)) return *status;
  if (auto error = parse_patch_list(options.patch, options.cpuid, options.rdtsc))
    return fail("rewrite", *error);
  if (options.image.empty() == options.files.empty()) {
    return fail("rewrite", {"give either files or one --image", "See 'teacup rewrite --help'."});
  }
  return options.image.empty() ? rewrite_files(options) : rewrite_image(options);
}

}  // namespace teacup::cli

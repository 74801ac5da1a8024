// The second half of execve(2): the new image in an empty address space.
//
// Placement. The stack lies below the top of the guest's high part, mappings (interpreter, libraries, vDSO)
// right below the stack's limit, so that they share page-table pages: each gigabyte touched costs every
// process a page of them, and a fault. Programs: where their headers say, or at two thirds of the usual
// address space. The break follows the program, its .bss and its trampolines. Random offsets come from the
// request.
#include <algorithm>

#include "kernel/abi/boot.h"
#include "kernel/abi/cpu_model.h"
#include "kernel/abi/mm.h"
#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"
#include "kernel/mm/text.h"
#include "loader/program.h"
#include "loader/stack.h"
#include "loader/vdso.h"

namespace teacup {

namespace {

constexpr u64 kPieBase = 0x5555'5555'4000;
constexpr u64 kPieRandomPages = 1 << 20;    // 4 GiB
constexpr u64 kStackRandomPages = 1 << 18;  // 1 GiB
constexpr u64 kMapRandomPages = 1 << 12;    // 16 MiB
constexpr u64 kMaxStack = GiB;              // for "unlimited"
constexpr u64 kMinStack = 256 * KiB;
constexpr u64 kStackGap = MiB;  // below the stack: stack_guard_gap

// What all programs share.
struct Loader {
  PageRun vdso;
  u32 hwcap;
};

u32 processor_features() {
  u32 eax = 1, ebx = 0, ecx = 0, edx = 0;
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return edx;
}

u64 random_word(const ProgramRequest& request, size_t index) {
  u64 word;
  memcpy(&word, request.random.data() + 16 + index * 4, 4);
  return word & 0xffffffff;
}

class ProgramLoader {
 public:
  ProgramLoader(mm::AddressSpace& space, ProgramRequest& request) : space_(space), request_(request) {}

  Result<LoadedProgram> load() {
    AuxValues values;
    values.hwcap = root<Loader>(Root::kLoader)->hwcap;
    u64 stack_top = TRY(map_stack());
    values.vdso = TRY(space_.map_vdso(root<Loader>(Root::kLoader)->vdso));
    u64 bias = TRY(place_program());
    TRY(map_image(request_.executable, request_.image, bias));
    describe(bias);
    values.entry = bias + request_.image.entry;
    if (request_.image.headers_address != 0) values.program_headers = bias + request_.image.headers_address;
    u64 entry = values.entry;
    if (request_.interpreter) {
      const ElfImage& image = request_.interpreter_image;
      values.interpreter_base = TRY(place_interpreter());
      TRY(map_image(request_.interpreter, image, values.interpreter_base));
      entry = values.interpreter_base + image.entry;
    }
    layout_.vdso = values.vdso;
    layout_.entry = values.entry;
    space_.allow_huge_pages(request_.huge_pages);
    layout_.brk_start = space_.set_brk_start(program_end_);
    u64 stack_pointer = TRY(build_stack(stack_top, request_, values, layout_));
    space_.set_layout(layout_);
    return LoadedProgram{entry, stack_pointer};
  }

 private:
  Result<u64> map_stack() {
    u64 least = kMinStack + request_.strings_size + 2 * kPageSize;
    u64 size = page_up(std::clamp(request_.stack_limit, least, std::max(kMaxStack, least)));
    u64 top = kGuestHighEnd - random_word(request_, 0) % kStackRandomPages * kPageSize;
    TRY(space_.map_stack(top, size, request_.image.executable_stack));
    space_.set_map_top(top - size - kStackGap - random_word(request_, 1) % kMapRandomPages * kPageSize);
    return top;
  }

  // The end of what an object with its trampolines takes, from its first byte on.
  static u64 span_with_trampolines(fs::File& file, const ElfImage& image) {
    u64 span = image.high - image.low;
    Ref<mm::Text> text = mm::text_of(file);
    if (text) span = std::max(span, text->trampoline_offset() + text->trampoline_length());
    return span;
  }

  Result<u64> place_program() {
    const ElfImage& image = request_.image;
    u64 span = span_with_trampolines(*request_.executable, image);
    u64 start = image.low;
    if (image.is_pie) {
      start = kPieBase + random_word(request_, 2) % kPieRandomPages * kPageSize;
      start = align_up(start, image.align);
      if (!is_guest_range(start, span)) start = TRY(space_.find_free(span, image.align));
    }
    // A program that wants the stack's place: as on Linux it comes too late to refuse it otherwise.
    if (!space_.is_free(start, image.high - image.low)) return Errno::NOMEM;
    program_end_ = start + span;
    // Trampolines that would leave the guest's addresses are not mapped: the break needs no room for them.
    if (!is_guest_range(start, span)) program_end_ = start + (image.high - image.low);
    return start - image.low;
  }

  Result<u64> place_interpreter() {
    const ElfImage& image = request_.interpreter_image;
    if (!image.is_pie) {
      if (!space_.is_free(image.low, image.high - image.low)) return Errno::NOMEM;
      return u64{0};
    }
    u64 span = span_with_trampolines(*request_.interpreter, image);
    return TRY(space_.find_free(span, image.align)) - image.low;
  }

  Result<void> map_image(const Ref<fs::File>& file, const ElfImage& image, u64 bias) {
    for (u32 i = 0; i < image.segment_count; i++) TRY(map_segment(file, image.segments[i], bias));
    return {};
  }

  Result<void> map_segment(const Ref<fs::File>& file, const ElfImage::Segment& segment, u64 bias) {
    constexpr int kPrivate = abi::kMAP_PRIVATE | abi::kMAP_FIXED;
    int prot = static_cast<int>(segment.prot);
    u64 address = bias + segment.address;
    u64 start = page_down(address), file_end = address + segment.file_size;
    u64 end = page_up(address + segment.memory_size);
    u64 mapped_end = start;
    if (segment.file_size > 0) {
      u64 lead = address - start;
      mapped_end = page_up(file_end);
      TRY(space_.map(start, mapped_end - start, prot, kPrivate, file, segment.file_offset - lead));
      // The rest of the last page is .bss, or bytes of the file that nobody minds.
      bool has_bss = segment.memory_size > segment.file_size;
      if (has_bss && (segment.prot & abi::kPROT_WRITE) != 0) {
        TRY(zero_guest(file_end, mapped_end - file_end));
      }
    }
    if (end > mapped_end) {
      TRY(space_.map(mapped_end, end - mapped_end, prot, kPrivate | abi::kMAP_ANONYMOUS, nullptr, 0));
    }
    return {};
  }

  void describe(u64 bias) {
    layout_.code_start = ~u64{0};
    for (u32 i = 0; i < request_.image.segment_count; i++) {
      const ElfImage::Segment& segment = request_.image.segments[i];
      u64 start = bias + segment.address, end = start + segment.file_size;
      layout_.code_start = std::min(layout_.code_start, start);
      layout_.data_start = std::max(layout_.data_start, start);
      if ((segment.prot & abi::kPROT_EXEC) != 0) layout_.code_end = std::max(layout_.code_end, end);
      layout_.data_end = std::max(layout_.data_end, end);
    }
  }

  mm::AddressSpace& space_;
  ProgramRequest& request_;
  mm::ProgramLayout layout_;
  u64 program_end_ = 0;
};

}  // namespace

Result<void> loader_start() {
  auto* loader = TRY(make<Loader>());
  loader->vdso = TRY(allocate_run(page_up(kVdsoSize) / kPageSize));
  memcpy(reinterpret_cast<void*>(loader->vdso.address()), kVdsoImage, kVdsoSize);
  loader->hwcap = processor_features();
  auto model = static_cast<abi::CpuModel>(abi::boot_config().cpu_model);
  if (model != abi::CpuModel::kHost) loader->hwcap = abi::features_of(model).leaf1_edx;
  set_root(Root::kLoader, loader);
  return {};
}

Result<LoadedProgram> load_program(mm::AddressSpace& space, ProgramRequest& request) {
  return ProgramLoader(space, request).load();
}

}  // namespace teacup

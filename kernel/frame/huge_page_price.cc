#include "kernel/frame/huge_page_price.h"

#include "host/gate/gate.h"
#include "kernel/abi/time.h"
#include "kernel/base/arena_header.h"
#include "kernel/frame/heap.h"

namespace teacup {

Result<void> huge_pages_start() {
  set_root(Root::kHugePages, TRY(make<HugePagePrice>()));
  return {};
}

bool huge_pages_are_fair(u64 bytes) {
  auto* price = root<HugePagePrice>(Root::kHugePages);
  return price == nullptr || price->is_fair(bytes);
}

Result<void> bring_huge_pages(u64 address, u64 length, int advice, u64 count) {
  auto* price = root<HugePagePrice>(Root::kHugePages);
  if (price == nullptr) return gate::advise(address, length, advice);
  Result<u64> before = gate::clock_now(abi::kCLOCK_THREAD_CPUTIME_ID);
  TRY(gate::advise(address, length, advice));
  Result<u64> after = gate::clock_now(abi::kCLOCK_THREAD_CPUTIME_ID);
  if (before.ok() && after.ok()) price->paid((after.value() - before.value()) / count);
  return {};
}

}  // namespace teacup

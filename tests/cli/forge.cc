// What hostile code in a machine can do without any system call: puts requests on the ring
// (kernel/abi/ring.h) as the kernel would. Reads lines "OP A B C D E F" and prints the broker's answer to
// each, or "done" to those that have none (OP < 0: -OP, and its answer is not wanted). "scribble SLOT SEED
// COUNT": writes that many random words where a connection of the gateway has its positions and states.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "kernel/abi/gateway.h"
#include "kernel/abi/ring.h"

using namespace teacup;

namespace {

long forge(long op, const u64 (&args)[6]) {
  abi::RingSlot& slot = abi::ring().slots[abi::kRingSlots - 1];
  u32 free = abi::kSlotFree;
  while (!slot.state.compare_exchange_weak(free, abi::kSlotClaimed)) free = abi::kSlotFree;
  slot.op = static_cast<abi::RingOp>(op < 0 ? -op : op);
  std::memcpy(slot.args, args, sizeof args);
  slot.no_answer = op < 0 ? 1 : 0;
  slot.state.store(abi::kSlotSubmitted);
  const u32 last = op < 0 ? abi::kSlotFree : abi::kSlotDone;
  // The doorbell's futex is not ours to wake by a system call of the guest; any request of the kernel's
  // rings.
  abi::ring().doorbell.fetch_add(1);
  while (slot.state.load() != last) {
    std::fprintf(stderr, ".");  // rings
  }
  const long result = slot.result;
  slot.state.store(abi::kSlotFree);
  return result;
}

void scribble(u32 slot, unsigned seed, int count) {
  std::mt19937_64 random(seed);
  auto* words = reinterpret_cast<std::atomic<u64>*>(&abi::gateway().slots[slot]);
  for (int i = 0; i < count; i++) {
    const u64 at = random() % (sizeof(abi::GatewaySlot) / 8);
    const u64 small = random() % 8;
    words[at].store(random() % 2 ? small : random());
    abi::gateway().to_broker.post(slot);
  }
}

}  // namespace

int main() {
  char line[512];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    u32 slot;
    unsigned seed;
    int count;
    if (std::sscanf(line, "scribble %u %u %d", &slot, &seed, &count) == 3) {
      scribble(slot, seed, count);
      std::puts("done");
    } else {
      u64 args[6] = {};
      char* at = line;
      const long op = std::strtol(at, &at, 10);
      for (u64& arg : args) arg = std::strtoull(at, &at, 0);
      const long result = forge(op, args);
      if (op < 0) {
        std::puts("done");
      } else {
        std::printf("%ld\n", result);
      }
    }
    std::fflush(stdout);
  }
}

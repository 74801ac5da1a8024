// Lock order: the generator's own lock is a leaf.
#include "kernel/task/random.h"

#include <bit>

#include "kernel/base/arena_header.h"
#include "kernel/base/memory.h"
#include "kernel/frame/heap.h"
#include "kernel/sync/lock.h"

namespace teacup {

namespace {

constexpr u32 kBlock = 64;

struct Generator {
  Mutex lock{LockRank::kTrace};
  u32 key[8] = {};
  u64 nonce = 0;
};

void quarter_round(u32& a, u32& b, u32& c, u32& d) {
  a += b;
  d = std::rotl(d ^ a, 16);
  c += d;
  b = std::rotl(b ^ c, 12);
  a += b;
  d = std::rotl(d ^ a, 8);
  c += d;
  b = std::rotl(b ^ c, 7);
}

// RFC 8439, 2.3, with a 64-bit counter and nonce.
void chacha20_block(const u32 (&key)[8], u64 counter, u64 nonce, u32 (&out)[16]) {
  const u32 start[16] = {0x61707865,
                         0x3320646e,
                         0x79622d32,
                         0x6b206574,
                         key[0],
                         key[1],
                         key[2],
                         key[3],
                         key[4],
                         key[5],
                         key[6],
                         key[7],
                         static_cast<u32>(counter),
                         static_cast<u32>(counter >> 32),
                         static_cast<u32>(nonce),
                         static_cast<u32>(nonce >> 32)};
  memcpy(out, start, sizeof start);
  for (int i = 0; i < 10; i++) {
    quarter_round(out[0], out[4], out[8], out[12]);
    quarter_round(out[1], out[5], out[9], out[13]);
    quarter_round(out[2], out[6], out[10], out[14]);
    quarter_round(out[3], out[7], out[11], out[15]);
    quarter_round(out[0], out[5], out[10], out[15]);
    quarter_round(out[1], out[6], out[11], out[12]);
    quarter_round(out[2], out[7], out[8], out[13]);
    quarter_round(out[3], out[4], out[9], out[14]);
  }
  for (int i = 0; i < 16; i++) out[i] += start[i];
}

}  // namespace

void random_start(std::span<const u8> seed) {
  auto* generator = make<Generator>().value_or(nullptr);
  if (generator == nullptr) panic("no memory for the random generator");
  memcpy(generator->key, seed.data(), seed.size() < 32 ? seed.size() : 32);
  set_root(Root::kRandom, generator);
}

void random_fill(std::span<u8> bytes) {
  Generator& generator = *root<Generator>(Root::kRandom);
  // Under the lock only the key changes; the rest of the stream is made from a key of the request's own.
  u32 key[8];
  u64 nonce = 0;
  {
    LockGuard guard(generator.lock);
    u32 block[16];
    nonce = ++generator.nonce;
    chacha20_block(generator.key, 0, nonce, block);
    memcpy(generator.key, block, sizeof generator.key);
    memcpy(key, block + 8, sizeof key);
  }
  for (size_t done = 0, counter = 0; done < bytes.size(); counter++) {
    u32 block[16];
    chacha20_block(key, counter, nonce, block);
    size_t piece = bytes.size() - done < kBlock ? bytes.size() - done : kBlock;
    memcpy(bytes.data() + done, block, piece);
    done += piece;
  }
}

}  // namespace teacup

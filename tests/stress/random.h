// The same random numbers from the same seed, whatever the libc.
#pragma once

#include <stdint.h>

struct random {
  uint64_t state;
};

// splitmix64
static inline uint64_t random_next(struct random* r) {
  uint64_t z = r->state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline uint64_t random_below(struct random* r, uint64_t bound) {
  return random_next(r) % bound;
}

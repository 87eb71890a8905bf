// What one thread of this processor can do: loops of nothing but one kind of work.
//
// The vectors and the exponential are those of the attention kernel (`lanes.h`). Each function
// does its work `times` times over and returns something made of all results, so that nothing can
// be left out.

#include "lanes.h"

namespace {

constexpr int CHAINS = 24;  // sums in registers: enough to hide how long one addition takes
constexpr int COUNT = 64;   // vectors of exponents, in the first cache

// The compiler may not turn repeated additions of floats into a multiplication.
template <typename T, typename V>
float products(int64_t times, V x, T y) {
  vec sums[CHAINS];
  for (int n = 0; n < CHAINS; ++n) sums[n] = splat(static_cast<float>(n));
  for (int64_t i = 0; i < times; ++i)
    for (int n = 0; n < CHAINS; ++n) multiply_add(sums[n], x, y);
  vec all{};
  for (int n = 0; n < CHAINS; ++n) all += sums[n];
  return all[0];
}

template <typename T>
float exponentials(int64_t times) {
  float data[COUNT * WIDTH] __attribute__((aligned(64)));
  for (int n = 0; n < COUNT * WIDTH; ++n) data[n] = -0.01f * static_cast<float>(n);
  vec sums[4] = {};
  for (int64_t i = 0; i < times; ++i) {
    asm volatile("" ::: "memory");  // the numbers may be others now: work them out again
    for (int n = 0; n < COUNT; n += 4)
      for (int k = 0; k < 4; ++k) sums[k] += exp2_vec<T>(load(data + (n + k) * WIDTH));
  }
  return sums[0][0] + sums[1][0] + sums[2][0] + sums[3][0];
}

}  // namespace

// Operations on numbers in one of the `times` below: a product and its addition are two.
extern "C" int64_t fdvs_roofline_float_work() { return int64_t(CHAINS) * WIDTH * 2; }
extern "C" int64_t fdvs_roofline_pair_work() { return HAS_PAIRS * int64_t(CHAINS) * WIDTH * 4; }
extern "C" int64_t fdvs_roofline_exp_work() { return int64_t(COUNT) * WIDTH; }

extern "C" float fdvs_roofline_float(int64_t times) {
  return products<float, vec>(times, splat(1e-3f), 1e-3f);
}

extern "C" float fdvs_roofline_pair(int64_t times) {
#if HAS_PAIRS
  const int32_t y = pair(1e-3f, 1e-3f);
  return products<int32_t, ivec>(times, ivec{} + y, y);
#else
  return static_cast<float>(times);
#endif
}

extern "C" float fdvs_roofline_exp_float(int64_t times) { return exponentials<float>(times); }
extern "C" float fdvs_roofline_exp_pair(int64_t times) { return exponentials<int32_t>(times); }

// Read `floats` numbers from 64-byte aligned memory, a multiple of 8 vectors, `times` times.
extern "C" float fdvs_roofline_read(const float *data, int64_t floats, int64_t times) {
  vec sums[8] = {};
  for (int64_t i = 0; i < times; ++i) {
    asm volatile("" ::: "memory");
    for (int64_t n = 0; n + 8 * WIDTH <= floats; n += 8 * WIDTH)
      for (int k = 0; k < 8; ++k) sums[k] += load(data + n + k * WIDTH);
  }
  vec all{};
  for (int k = 0; k < 8; ++k) all += sums[k];
  return all[0];
}

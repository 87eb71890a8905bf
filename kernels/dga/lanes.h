// The arithmetic that `attend.cpp` and `judge.cpp` share: vectors of lanes, and products of rows.
//
// Arithmetic is float32, or, where the processor has it and the caller asks, products of bfloat16
// pairs summed in float32 (logits, softmax and sums stay float32). Both are the same loops: T is
// what an element of the operands holds, `float` or two bfloat16 in an int32_t.
//
// Never compile with -ffast-math: it removes the rounding trick in exp2 below.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif
#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#define HAS_PAIRS 1
#else
#define HAS_PAIRS 0
#endif

#if defined(__AVX512F__)
constexpr int WIDTH = 16, STEP = 4;  // floats in a vector, vectors of queries held at once
#elif defined(__AVX__)
constexpr int WIDTH = 8, STEP = 2;
#else
constexpr int WIDTH = 4, STEP = 2;
#endif

typedef float vec __attribute__((vector_size(WIDTH * 4)));
typedef int32_t ivec __attribute__((vector_size(WIDTH * 4)));

constexpr int LANES = 64;   // queries of a tile
constexpr int ROWS = 6;     // rows of keys (or of values' dims) accumulated in registers
constexpr int BLOCK = 96;   // keys of a block
constexpr float LOG2E = 1.44269504088896340736f;
constexpr float LOWEST = -1e30f;  // of a running maximum; a masked score is lower still

namespace {

template <typename T>
constexpr int64_t HELD = 1;  // numbers in an element: of one dim for K, of one key for V
template <>
constexpr int64_t HELD<int32_t> = 2;

template <typename T>
constexpr int64_t elements(int64_t numbers) { return (numbers + HELD<T> - 1) / HELD<T>; }

inline vec splat(float x) { return vec{} + x; }
inline vec load(const float *p) { return *reinterpret_cast<const vec *>(p); }
inline ivec load(const int32_t *p) { return *reinterpret_cast<const ivec *>(p); }
inline void store(float *p, vec x) { *reinterpret_cast<vec *>(p) = x; }

inline vec larger(vec a, vec b) {
#if defined(__AVX512F__)
  return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#else
  return a > b ? a : b;
#endif
}

inline void multiply_add(vec &sum, vec x, float y) { sum += x * y; }

// Round to the nearest bfloat16, ties to even; NaN stays NaN.
inline uint32_t rounded(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bits >> 16 | 0x40u;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

inline int32_t pair(float a, float b) { return int32_t(rounded(a) | rounded(b) << 16); }

#if HAS_PAIRS
// sum[n] += x[n] . y, products of two bfloat16 each.
inline void multiply_add(vec &sum, ivec x, int32_t y) {
  sum = (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512i)x, (__m512bh)_mm512_set1_epi32(y));
}

// Round two vectors to bfloat16; lane n of the result holds a[n] (low half) and b[n].
inline void store_pairs(int32_t *p, vec a, vec b) {
  const __m512i order = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
  _mm512_store_si512(p, _mm512_permutexvar_epi16(order, both));
}

#else
inline void store_pairs(int32_t *p, vec a, vec b) {
  for (int n = 0; n < WIDTH; ++n) p[n] = pair(a[n], b[n]);
}
#endif

// 2^f for |f| <= 1/2: within 2e-7 for float, 1e-4 for pairs (whose weights are rounded by 4e-3).
template <typename T>
inline vec power_of_two(vec f) {
  if constexpr (HELD<T> == 2)
    return ((splat(5.517167e-2f) * f + 2.4261113e-1f) * f + 6.9326099e-1f) * f + 9.9992807e-1f;
  vec p = splat(1.33335581e-3f) * f + 9.61812910e-3f;
  p = p * f + 5.55041087e-2f;
  p = p * f + 2.40226507e-1f;
  p = p * f + 6.93147181e-1f;
  return p * f + 1.0f;
}

// 2^x for x <= 0: the rest after rounding by the polynomial, the integer into the exponent.
template <typename T>
inline vec exp2_vec(vec x) {
#if defined(__AVX512F__)
  const __m512 whole = _mm512_roundscale_ps((__m512)x, 0);
  return (vec)_mm512_scalef_ps((__m512)power_of_two<T>(x - (vec)whole), whole);
#else
  const vec magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds
  const vec low = splat(-126.0f);
  vec in = x > low ? x : low;
  vec t = in + magic;
  const vec p = power_of_two<T>(in - (t - magic));
  return x > low ? (vec)((ivec)p + ((ivec)t << 23)) : vec{};
#endif
}

// scores[r] = bias[r] * factor + K[r] . Q for R keys and N vectors of queries. `most` is raised to
// the highest.
template <int R, int N, typename T>
inline void dot_rows(const T *k, int64_t stride, int64_t depth, const T *q, float *scores,
                     const float *bias, int64_t bias_stride, float factor, vec *most) {
  vec acc[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) acc[r][n] = bias ? splat(bias[r * bias_stride] * factor) : vec{};
  for (int64_t d = 0; d < depth; ++d) {
    decltype(load(q)) x[N];
    for (int n = 0; n < N; ++n) x[n] = load(q + d * LANES + n * WIDTH);
    for (int r = 0; r < R; ++r) {
      const T y = k[r * stride + d];
      for (int n = 0; n < N; ++n) multiply_add(acc[r][n], x[n], y);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) {
      store(scores + r * LANES + n * WIDTH, acc[r][n]);
      most[n] = larger(acc[r][n], most[n]);
    }
}

// The same for any number of keys.
template <int N, typename T>
inline void dot_keys(const T *k, int64_t stride, int64_t keys, int64_t depth, const T *q,
                     float *scores, const float *bias, int64_t bias_stride, float factor,
                     vec *most) {
  int64_t r = 0;
  const auto some = [&](auto rows) {
    constexpr int R = decltype(rows)::value;
    for (; r + R <= keys; r += R)
      dot_rows<R, N>(k + r * stride, stride, depth, q, scores + r * LANES,
                     bias ? bias + r * bias_stride : nullptr, bias_stride, factor, most);
  };
  some(std::integral_constant<int, ROWS>{});
  some(std::integral_constant<int, 4>{});
  some(std::integral_constant<int, 1>{});
}

// output[c] += sum over keys of V[key][c] * P[key] for R dims of the values and N vectors.
template <int R, int N, typename T>
inline void add_values(const T *v, int64_t stride, int64_t depth, const T *p, float *out) {
  vec acc[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) acc[r][n] = load(out + r * LANES + n * WIDTH);
  for (int64_t key = 0; key < depth; ++key) {
    decltype(load(p)) x[N];
    for (int n = 0; n < N; ++n) x[n] = load(p + key * LANES + n * WIDTH);
    for (int r = 0; r < R; ++r) {
      const T y = v[key * stride + r];
      for (int n = 0; n < N; ++n) multiply_add(acc[r][n], x[n], y);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) store(out + r * LANES + n * WIDTH, acc[r][n]);
}

}  // namespace

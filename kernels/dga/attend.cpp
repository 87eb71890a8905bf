// Attend over committed units and the raw band on a CPU, in float32. One file, plain C interface.
//
// Lanes are queries, rows are keys: S^T = K Q^T and O^T = V^T P^T. A key is read as it lies in
// memory and broadcast; only the small tile of queries is transposed. Maximum and sum of the
// softmax are plain vectors, so nothing is ever reduced across lanes, and what a query may see is
// a per-lane range of key numbers. Base-2 softmax: log2(e) is folded into the queries and biases.
//
// A job is one tile of at most 64 lanes of one key head: 64 tokens of one query head, or, when few
// tokens are new, all query heads of the key head (decode reads each key once). The raw band comes
// first: every query sees itself, so the running maximum is finite before the first unit.
//
// Never compile with -ffast-math: it removes the rounding trick in exp2 below.

#include <cstdint>
#include <cstdlib>
#include <cstring>

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
constexpr float LOWEST = -1e30f;

namespace {

struct Strides {
  int64_t row, head, token;
};

struct Call {
  const float *q, *unit_k, *unit_v, *bias, *raw_k, *raw_v;
  float *out, *lse;
  Strides qs, uks, uvs, bs, rks, rvs, os;
  int64_t rows, heads, key_heads, tokens, dim, value_dim;
  int64_t q_start, raw_start;
  int64_t chunk, window, units_per_chunk, threshold;
  float scale;
};

// c(i): chunks that the query at position i sees as units. No division of a negative number.
int64_t chunks_visible(const Call &c, int64_t i) {
  if (c.units_per_chunk == 0 || i < c.threshold || i + 1 < c.window) return 0;
  return (i + 1 - c.window) / c.chunk;
}

inline vec splat(float x) { return vec{} + x; }
inline vec load(const float *p) { return *reinterpret_cast<const vec *>(p); }
inline void store(float *p, vec x) { *reinterpret_cast<vec *>(p) = x; }

// 2^x for x <= 0: round by adding 1.5 * 2^23, polynomial on the rest, integer into the exponent.
inline vec exp2_vec(vec x) {
  const vec magic = splat(12582912.0f);
  const vec low = splat(-126.0f);
  vec in = x > low ? x : low;
  vec t = in + magic;
  vec f = in - (t - magic);
  vec p = splat(1.33335581e-3f);
  p = p * f + 9.61812910e-3f;
  p = p * f + 5.55041087e-2f;
  p = p * f + 2.40226507e-1f;
  p = p * f + 6.93147181e-1f;
  p = p * f + 1.0f;
  ivec bits, power;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&power, &t, sizeof power);
  bits += power << 23;
  std::memcpy(&p, &bits, sizeof p);
  return x > low ? p : vec{};
}

// What the lanes of a tile are, and their running softmax.
struct Tile {
  int64_t row, key_head, num_lanes, num_vecs;
  int64_t head[LANES], token[LANES];
  int32_t unit_end[LANES] __attribute__((aligned(64)));
  int32_t raw_begin[LANES] __attribute__((aligned(64)));
  int32_t raw_end[LANES] __attribute__((aligned(64)));
  float max[LANES] __attribute__((aligned(64)));
  float sum[LANES] __attribute__((aligned(64)));
  float scores[BLOCK * LANES] __attribute__((aligned(64)));
  float *queries;  // [dim][LANES], scaled
  float *output;   // [value_dim][LANES]
};

// scores[r] = K[r] . Q for R keys and N vectors of queries, from vector `at` on.
template <int R, int N>
inline void dot_rows(const float *k, int64_t stride, int64_t dim, const float *q, float *scores) {
  vec acc[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) acc[r][n] = vec{};
  for (int64_t d = 0; d < dim; ++d) {
    vec x[N];
    for (int n = 0; n < N; ++n) x[n] = load(q + d * LANES + n * WIDTH);
    for (int r = 0; r < R; ++r) {
      const float y = k[r * stride + d];
      for (int n = 0; n < N; ++n) acc[r][n] += x[n] * y;
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) store(scores + r * LANES + n * WIDTH, acc[r][n]);
}

// output[c] += sum over keys of V[key][c] * P[key] for R dims of the values and N vectors.
template <int R, int N>
inline void add_values(const float *v, int64_t stride, int64_t keys, const float *p, float *out) {
  vec acc[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) acc[r][n] = load(out + r * LANES + n * WIDTH);
  for (int64_t key = 0; key < keys; ++key) {
    vec x[N];
    for (int n = 0; n < N; ++n) x[n] = load(p + key * LANES + n * WIDTH);
    for (int r = 0; r < R; ++r) {
      const float y = v[key * stride + r];
      for (int n = 0; n < N; ++n) acc[r][n] += x[n] * y;
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) store(out + r * LANES + n * WIDTH, acc[r][n]);
}

template <int N>
void scores_of(Tile &t, const float *k, int64_t stride, int64_t keys, int64_t dim, int64_t at) {
  int64_t r = 0;
  const float *q = t.queries + at * WIDTH;
  float *s = t.scores + at * WIDTH;
  for (; r + ROWS <= keys; r += ROWS)
    dot_rows<ROWS, N>(k + r * stride, stride, dim, q, s + r * LANES);
  for (; r + 4 <= keys; r += 4) dot_rows<4, N>(k + r * stride, stride, dim, q, s + r * LANES);
  for (; r < keys; ++r) dot_rows<1, N>(k + r * stride, stride, dim, q, s + r * LANES);
}

template <int N>
void values_of(Tile &t, const float *v, int64_t stride, int64_t keys, int64_t dim, int64_t at) {
  int64_t c = 0;
  const float *p = t.scores + at * WIDTH;
  float *out = t.output + at * WIDTH;
  for (; c + ROWS <= dim; c += ROWS)
    add_values<ROWS, N>(v + c, stride, keys, p, out + c * LANES);
  for (; c + 4 <= dim; c += 4) add_values<4, N>(v + c, stride, keys, p, out + c * LANES);
  for (; c < dim; ++c) add_values<1, N>(v + c, stride, keys, p, out + c * LANES);
}

// One vector of lanes: bias, mask, running maximum, exponentials in place, running sum.
void softmax_step(Tile &t, int64_t at, int64_t keys, int64_t first, const float *bias,
                  int64_t bias_stride, const int32_t *begin, const int32_t *end, bool masked,
                  int64_t value_dim) {
  float *s = t.scores + at * WIDTH;
  const vec before = load(t.max + at * WIDTH);
  vec most = before;
  ivec low{}, high{};
  if (end) std::memcpy(&high, end + at * WIDTH, sizeof high);
  if (begin) std::memcpy(&low, begin + at * WIDTH, sizeof low);
  for (int64_t r = 0; r < keys; ++r) {
    vec x = load(s + r * LANES);
    if (bias) x += bias[r * bias_stride] * LOG2E;
    if (masked) {
      const ivec key = ivec{} + static_cast<int32_t>(first + r);
      x = (key >= low) & (key < high) ? x : splat(LOWEST * 4);
    }
    store(s + r * LANES, x);
    most = x > most ? x : most;
  }
  vec sum = load(t.sum + at * WIDTH);
  const vec shrink = exp2_vec(before - most);
  bool moved = false;
  for (int n = 0; n < WIDTH; ++n) moved |= before[n] != most[n];
  if (moved) {
    sum *= shrink;
    for (int64_t c = 0; c < value_dim; ++c) {
      float *o = t.output + c * LANES + at * WIDTH;
      store(o, load(o) * shrink);
    }
  }
  for (int64_t r = 0; r < keys; ++r) {
    const vec p = exp2_vec(load(s + r * LANES) - most);
    sum += p;
    store(s + r * LANES, p);
  }
  store(t.max + at * WIDTH, most);
  store(t.sum + at * WIDTH, sum);
}

// Attend to keys [first, last) of one kind; `begin` and `end` are the lanes' ranges.
void attend_range(const Call &c, Tile &t, const float *k, int64_t k_stride, const float *v,
                  int64_t v_stride, const float *bias, int64_t bias_stride, int64_t first,
                  int64_t last, const int32_t *begin, const int32_t *end) {
  int64_t inner_begin = first, inner_end = last;
  for (int64_t n = 0; n < t.num_lanes; ++n) {
    if (begin && begin[n] > inner_begin) inner_begin = begin[n];
    if (end[n] < inner_end) inner_end = end[n];
  }
  for (int64_t at = first; at < last; at += BLOCK) {
    const int64_t keys = last - at < BLOCK ? last - at : BLOCK;
    const bool masked = at < inner_begin || at + keys > inner_end;
    const float *kb = k + at * k_stride, *vb = v + at * v_stride;
    for (int64_t n = 0; n < t.num_vecs;) {
      const bool wide = n + STEP <= t.num_vecs;
      if (wide) scores_of<STEP>(t, kb, k_stride, keys, c.dim, n);
      else scores_of<1>(t, kb, k_stride, keys, c.dim, n);
      n += wide ? STEP : 1;
    }
    for (int64_t n = 0; n < t.num_vecs; ++n)
      softmax_step(t, n, keys, at, bias ? bias + at * bias_stride : nullptr, bias_stride, begin,
                   end, masked, c.value_dim);
    for (int64_t n = 0; n < t.num_vecs;) {
      const bool wide = n + STEP <= t.num_vecs;
      if (wide) values_of<STEP>(t, vb, v_stride, keys, c.value_dim, n);
      else values_of<1>(t, vb, v_stride, keys, c.value_dim, n);
      n += wide ? STEP : 1;
    }
  }
}

// Fill the lanes: `count` lanes from number `first`, of one query head or of the whole key head.
void fill_tile(const Call &c, Tile &t, int64_t head, int64_t first, int64_t count) {
  t.num_lanes = count;
  t.num_vecs = (count + WIDTH - 1) / WIDTH;
  for (int64_t n = 0; n < t.num_vecs * WIDTH; ++n) {
    const int64_t lane = first + (n < count ? n : count - 1);  // spare lanes repeat the last one
    t.head[n] = head + lane / c.tokens;
    t.token[n] = lane % c.tokens;
    const int64_t i = c.q_start + t.token[n], chunks = chunks_visible(c, i);
    t.unit_end[n] = static_cast<int32_t>(chunks * c.units_per_chunk);
    t.raw_begin[n] = static_cast<int32_t>(chunks * c.chunk - c.raw_start);
    if (chunks == 0) t.raw_begin[n] = 0;
    t.raw_end[n] = static_cast<int32_t>(i + 1 - c.raw_start);
    t.max[n] = LOWEST;
    t.sum[n] = 0.0f;
    const float *q = c.q + t.row * c.qs.row + t.head[n] * c.qs.head + t.token[n] * c.qs.token;
    for (int64_t d = 0; d < c.dim; ++d) t.queries[d * LANES + n] = q[d] * (c.scale * LOG2E);
  }
  std::memset(t.output, 0, sizeof(float) * c.value_dim * LANES);
}

void write_tile(const Call &c, const Tile &t) {
  for (int64_t n = 0; n < t.num_lanes; ++n) {
    const float inverse = 1.0f / t.sum[n];
    float *out = c.out + t.row * c.os.row + t.head[n] * c.os.head + t.token[n] * c.os.token;
    for (int64_t d = 0; d < c.value_dim; ++d) out[d] = t.output[d * LANES + n] * inverse;
    if (c.lse)
      c.lse[(t.row * c.heads + t.head[n]) * c.tokens + t.token[n]] =
          (t.max[n] + __builtin_log2f(t.sum[n])) / LOG2E;
  }
}

void run_tile(const Call &c, Tile &t, int64_t head, int64_t first, int64_t count) {
  fill_tile(c, t, head, first, count);
  int64_t units = 0, raw_first = t.raw_begin[0], raw_last = 0;
  for (int64_t n = 0; n < count; ++n) {
    if (t.unit_end[n] > units) units = t.unit_end[n];
    if (t.raw_begin[n] < raw_first) raw_first = t.raw_begin[n];
    if (t.raw_end[n] > raw_last) raw_last = t.raw_end[n];
  }
  const int64_t b = t.row, h = t.key_head;
  attend_range(c, t, c.raw_k + b * c.rks.row + h * c.rks.head, c.rks.token,
               c.raw_v + b * c.rvs.row + h * c.rvs.head, c.rvs.token, nullptr, 0, raw_first,
               raw_last, t.raw_begin, t.raw_end);
  if (units)
    attend_range(c, t, c.unit_k + b * c.uks.row + h * c.uks.head, c.uks.token,
                 c.unit_v + b * c.uvs.row + h * c.uvs.head, c.uvs.token,
                 c.bias + b * c.bs.row + h * c.bs.head, c.bs.token, 0, units, nullptr, t.unit_end);
  write_tile(c, t);
}

Strides strides(const int64_t *s) { return Strides{s[0], s[1], s[2]}; }

}  // namespace

// Returns 0, or 1 if there is no memory. `sizes`: rows, heads, key heads, tokens, dim, value dim,
// q_start, raw_start, chunk, window, units per chunk (0: none are visible), threshold, threads.
// `steps`: row, head and token strides in floats of q, unit_k, unit_v, bias, raw_k, raw_v, out.
// The last dimension of every tensor is contiguous. `lse` may be null.
extern "C" int fdvs_dga_attend(const float *q, const float *unit_k, const float *unit_v,
                               const float *bias, const float *raw_k, const float *raw_v,
                               float *out, float *lse, const int64_t *sizes, const int64_t *steps,
                               float scale) {
  Call c{q, unit_k, unit_v, bias, raw_k, raw_v, out, lse,
         strides(steps), strides(steps + 3), strides(steps + 6), strides(steps + 9),
         strides(steps + 12), strides(steps + 15), strides(steps + 18),
         sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7],
         sizes[8], sizes[9], sizes[10], sizes[11], scale};
  const int64_t group = c.heads / c.key_heads;
  // few new tokens: the lanes are all heads of a key head; many: the tokens of one head
  const bool folded = c.tokens < LANES;
  const int64_t lanes = folded ? group * c.tokens : c.tokens;
  const int64_t tiles = (lanes + LANES - 1) / LANES;
  const int64_t owners = c.rows * (folded ? c.key_heads : c.heads);
  const int64_t jobs = owners * tiles;
  const int threads = static_cast<int>(sizes[12]);
  int failed = 0;
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(| : failed)
  {
    const size_t floats = static_cast<size_t>(c.dim + c.value_dim) * LANES;
    Tile *t = static_cast<Tile *>(std::aligned_alloc(64, (sizeof(Tile) + 63) / 64 * 64));
    float *scratch = static_cast<float *>(std::aligned_alloc(64, floats * sizeof(float)));
    if (!t || !scratch) failed = 1;
#pragma omp for schedule(dynamic, 1)
    for (int64_t job = 0; job < jobs; ++job) {
      if (failed) continue;
      // the longest tiles (the latest tokens) first; heads of one key head follow each other
      const int64_t tile = tiles - 1 - job / owners, owner = job % owners;
      const int64_t per_row = folded ? c.key_heads : c.heads, inside = owner % per_row;
      t->queries = scratch;
      t->output = scratch + c.dim * LANES;
      t->row = owner / per_row;
      t->key_head = folded ? inside : inside / group;
      const int64_t first = tile * LANES, left = lanes - first;
      run_tile(c, *t, folded ? inside * group : inside, first, left < LANES ? left : LANES);
    }
    std::free(t);
    std::free(scratch);
  }
  return failed;
}

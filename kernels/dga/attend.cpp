// Attend over committed units and the raw band on a CPU. Plain C interface.
//
// The arithmetic (float32, or products of bfloat16 pairs) is that of `lanes.h`.
//
// Lanes are queries, rows are keys: S^T = K Q^T and O^T = V^T P^T. A key is read as it lies in
// memory and broadcast; only the small tile of queries is transposed. Maximum and sum of the
// softmax are plain vectors, so nothing is ever reduced across lanes, and what a query may see is
// a per-lane range of key numbers. Base-2 softmax: scale and log2(e) are folded into the queries,
// or, in pairs, whose queries would be rounded by it, into the exponential's argument.
//
// A job is one tile of at most 64 lanes of one key head: 64 tokens of one query head, or, when few
// tokens are new, all query heads of the key head (decode reads each key once). The raw band comes
// first: every query sees itself, so the running maximum is finite before the first unit.

#include "lanes.h"

namespace {

constexpr float LEAST_SCALE = 1e-9f;  // below, a masked score times the scale would not be lowest

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

  // What scores are multiplied with to be exponents of 2: nothing where the queries already are.
  template <typename T>
  float slope() const { return HELD<T> == 1 ? 1.0f : scale * LOG2E; }
};

// Keys and values of one kind for one row and key head, as the loops read them.
template <typename T>
struct Keys {
  const T *k, *v;
  int64_t k_stride, v_stride;  // from key to key; for values from element to element of keys
  const float *bias;           // null: none
  int64_t bias_stride;
};

// c(i): chunks that the query at position i sees as units. No division of a negative number.
int64_t chunks_visible(const Call &c, int64_t i) {
  if (c.units_per_chunk == 0 || i < c.threshold || i + 1 < c.window) return 0;
  return (i + 1 - c.window) / c.chunk;
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
  float most[LANES] __attribute__((aligned(64)));  // as `max`, with the block at hand
  float scores[BLOCK * LANES] __attribute__((aligned(64)));
  int32_t pairs[BLOCK / 2 * LANES] __attribute__((aligned(64)));  // the weights, as pairs of keys
  void *queries;   // [elements of dim][LANES]
  float *output;   // [value_dim][LANES]
};

// Scores of a block for N vectors of lanes from vector `at` on, and their highest so far.
template <int N, typename T>
void scores_of(const Call &c, Tile &t, const Keys<T> &from, const T *k, const float *bias,
               int64_t keys, int64_t at) {
  vec most[N];
  for (int n = 0; n < N; ++n) most[n] = load(t.max + (at + n) * WIDTH);
  const T *q = static_cast<const T *>(t.queries) + at * WIDTH;
  dot_keys<N>(k, from.k_stride, keys, elements<T>(c.dim), q, t.scores + at * WIDTH, bias,
              from.bias_stride, LOG2E / c.slope<T>(), most);
  for (int n = 0; n < N; ++n) store(t.most + (at + n) * WIDTH, most[n]);
}

template <int N, typename T>
void values_of(Tile &t, const T *v, int64_t stride, int64_t keys, int64_t dim, int64_t at) {
  int64_t c = 0;
  const int64_t depth = elements<T>(keys);
  const void *weights = HELD<T> == 1 ? static_cast<const void *>(t.scores) : t.pairs;
  const T *p = static_cast<const T *>(weights) + at * WIDTH;
  float *out = t.output + at * WIDTH;
  for (; c + ROWS <= dim; c += ROWS)
    add_values<ROWS, N>(v + c, stride, depth, p, out + c * LANES);
  for (; c + 4 <= dim; c += 4) add_values<4, N>(v + c, stride, depth, p, out + c * LANES);
  for (; c < dim; ++c) add_values<1, N>(v + c, stride, depth, p, out + c * LANES);
}

// Exponentials of one vector of lanes, as what the values are multiplied with; returns their sum.
template <typename T>
inline vec weigh(Tile &t, int64_t at, int64_t keys, vec most, float slope) {
  vec sum{};
  const vec high = most * slope;
  for (int64_t r = 0; r < keys; r += HELD<T>) {
    float *s = t.scores + r * LANES + at * WIDTH;
    if constexpr (HELD<T> == 1) {
      const vec p = exp2_vec<T>(load(s) - most);
      sum += p;
      store(s, p);
    } else {
      const vec p = exp2_vec<T>(load(s) * slope - high);
      const vec next = r + 1 < keys ? exp2_vec<T>(load(s + LANES) * slope - high) : vec{};
      sum += p;
      sum += next;
      store_pairs(t.pairs + r / 2 * LANES + at * WIDTH, p, next);
    }
  }
  return sum;
}

// One vector of lanes of a masked block: hide what a query may not see; returns the maximum.
inline vec hide(Tile &t, int64_t at, int64_t keys, int64_t first, const int32_t *begin,
                const int32_t *end) {
  vec most = load(t.max + at * WIDTH);
  const ivec low = begin ? load(begin + at * WIDTH) : ivec{}, high = load(end + at * WIDTH);
  for (int64_t r = 0; r < keys; ++r) {
    float *s = t.scores + r * LANES + at * WIDTH;
    const ivec key = ivec{} + static_cast<int32_t>(first + r);
    const vec x = (key >= low) & (key < high) ? load(s) : splat(LOWEST * 4);
    store(s, x);
    most = larger(x, most);
  }
  return most;
}

// One vector of lanes: the new maximum is taken out of sum and output, then the block goes in.
template <typename T>
void softmax_step(Tile &t, int64_t at, int64_t keys, vec most, float slope, int64_t value_dim) {
  const vec before = load(t.max + at * WIDTH);
  vec sum = load(t.sum + at * WIDTH);
  bool moved = false;
  for (int n = 0; n < WIDTH; ++n) moved |= before[n] != most[n];
  if (moved) {
    const vec shrink = exp2_vec<float>((before - most) * slope);
    sum *= shrink;
    for (int64_t c = 0; c < value_dim; ++c) {
      float *o = t.output + c * LANES + at * WIDTH;
      store(o, load(o) * shrink);
    }
  }
  sum += weigh<T>(t, at, keys, most, slope);
  store(t.max + at * WIDTH, most);
  store(t.sum + at * WIDTH, sum);
}

// Attend to keys [first, last) of one kind; `begin` and `end` are the lanes' ranges.
template <typename T>
void attend_range(const Call &c, Tile &t, const Keys<T> &from, int64_t first, int64_t last,
                  const int32_t *begin, const int32_t *end) {
  int64_t inner_begin = first, inner_end = last;
  for (int64_t n = 0; n < t.num_lanes; ++n) {
    if (begin && begin[n] > inner_begin) inner_begin = begin[n];
    if (end[n] < inner_end) inner_end = end[n];
  }
  // values of a pair are read together: start at the pair, what comes too early is masked
  first -= first % HELD<T>;
  const int64_t wide = t.num_vecs / STEP * STEP;
  for (int64_t at = first; at < last; at += BLOCK) {
    const int64_t keys = last - at < BLOCK ? last - at : BLOCK;
    const bool masked = at < inner_begin || at + keys > inner_end;
    const T *kb = from.k + at * from.k_stride, *vb = from.v + at / HELD<T> * from.v_stride;
    const float *bias = from.bias ? from.bias + at * from.bias_stride : nullptr;
    for (int64_t n = 0; n < wide; n += STEP) scores_of<STEP>(c, t, from, kb, bias, keys, n);
    for (int64_t n = wide; n < t.num_vecs; ++n) scores_of<1>(c, t, from, kb, bias, keys, n);
    for (int64_t n = 0; n < t.num_vecs; ++n) {
      const vec most = masked ? hide(t, n, keys, at, begin, end) : load(t.most + n * WIDTH);
      softmax_step<T>(t, n, keys, most, c.slope<T>(), c.value_dim);
    }
    for (int64_t n = 0; n < wide; n += STEP)
      values_of<STEP>(t, vb, from.v_stride, keys, c.value_dim, n);
    for (int64_t n = wide; n < t.num_vecs; ++n)
      values_of<1>(t, vb, from.v_stride, keys, c.value_dim, n);
  }
}

// Fill the lanes: `count` lanes from number `first`, of one query head or of the whole key head.
template <typename T>
void fill_tile(const Call &c, Tile &t, int64_t head, int64_t first, int64_t count) {
  t.num_lanes = count;
  t.num_vecs = (count + WIDTH - 1) / WIDTH;
  for (int64_t n = 0; n < t.num_vecs * WIDTH; ++n) {
    const int64_t lane = first + (n < count ? n : count - 1);  // spare lanes repeat the last one
    t.head[n] = head + lane / c.tokens;
    t.token[n] = lane % c.tokens;
    const int64_t i = c.q_start + t.token[n], chunks = chunks_visible(c, i);
    t.unit_end[n] = static_cast<int32_t>(chunks * c.units_per_chunk);
    t.raw_begin[n] = chunks ? static_cast<int32_t>(chunks * c.chunk - c.raw_start) : 0;
    t.raw_end[n] = static_cast<int32_t>(i + 1 - c.raw_start);
    t.max[n] = LOWEST;
    t.sum[n] = 0.0f;
    const float *q = c.q + t.row * c.qs.row + t.head[n] * c.qs.head + t.token[n] * c.qs.token;
    for (int64_t d = 0; d < elements<T>(c.dim); ++d) {
      T &to = static_cast<T *>(t.queries)[d * LANES + n];
      if constexpr (HELD<T> == 1) to = q[d] * c.scale * LOG2E;
      else to = pair(q[2 * d], 2 * d + 1 < c.dim ? q[2 * d + 1] : 0.0f);
    }
  }
  std::memset(t.output, 0, sizeof(float) * c.value_dim * LANES);
}

template <typename T>
void write_tile(const Call &c, const Tile &t) {
  for (int64_t n = 0; n < t.num_lanes; ++n) {
    const float inverse = 1.0f / t.sum[n];
    float *out = c.out + t.row * c.os.row + t.head[n] * c.os.head + t.token[n] * c.os.token;
    for (int64_t d = 0; d < c.value_dim; ++d) out[d] = t.output[d * LANES + n] * inverse;
    if (c.lse)
      c.lse[(t.row * c.heads + t.head[n]) * c.tokens + t.token[n]] =
          (t.max[n] * c.slope<T>() + __builtin_log2f(t.sum[n])) / LOG2E;
  }
}

template <typename T>
void run_tile(const Call &c, Tile &t, const Keys<T> &raw, const Keys<T> &units, int64_t head,
              int64_t first, int64_t count) {
  fill_tile<T>(c, t, head, first, count);
  int64_t num_units = 0, raw_first = t.raw_begin[0], raw_last = 0;
  for (int64_t n = 0; n < count; ++n) {
    if (t.unit_end[n] > num_units) num_units = t.unit_end[n];
    if (t.raw_begin[n] < raw_first) raw_first = t.raw_begin[n];
    if (t.raw_end[n] > raw_last) raw_last = t.raw_end[n];
  }
  attend_range(c, t, raw, raw_first, raw_last, t.raw_begin, t.raw_end);
  if (num_units) attend_range(c, t, units, 0, num_units, nullptr, t.unit_end);
  write_tile<T>(c, t);
}

// Keys and values where the caller keeps them.
struct InPlace {
  const Call &c;

  Keys<float> raw(int64_t b, int64_t h) const {
    return {c.raw_k + b * c.rks.row + h * c.rks.head, c.raw_v + b * c.rvs.row + h * c.rvs.head,
            c.rks.token, c.rvs.token, nullptr, 0};
  }
  Keys<float> units(int64_t b, int64_t h) const {
    return {c.unit_k + b * c.uks.row + h * c.uks.head, c.unit_v + b * c.uvs.row + h * c.uvs.head,
            c.uks.token, c.uvs.token, c.bias + b * c.bs.row + h * c.bs.head, c.bs.token};
  }
};

// Copies of keys and values as pairs of bfloat16, for all rows and key heads.
struct Packed {
  const Call &c;
  const int64_t num_raw = c.q_start + c.tokens - c.raw_start;
  const int64_t num_units = chunks_visible(c, c.q_start + c.tokens - 1) * c.units_per_chunk;
  const int64_t k_row = elements<int32_t>(c.dim), v_row = c.value_dim;
  const int64_t raw_size = num_raw * k_row + elements<int32_t>(num_raw) * v_row;
  const int64_t head_size = raw_size + num_units * k_row + elements<int32_t>(num_units) * v_row;
  int32_t *const data =
      static_cast<int32_t *>(std::malloc(sizeof(int32_t) * c.rows * c.key_heads * head_size));

  explicit Packed(const Call &call) : c(call) {}
  Packed(const Packed &) = delete;
  ~Packed() { std::free(data); }

  int32_t *head(int64_t b, int64_t h) const { return data + (b * c.key_heads + h) * head_size; }

  Keys<int32_t> raw(int64_t b, int64_t h) const {
    return {head(b, h), head(b, h) + num_raw * k_row, k_row, v_row, nullptr, 0};
  }
  Keys<int32_t> units(int64_t b, int64_t h) const {
    const int32_t *k = head(b, h) + raw_size;
    return {k, k + num_units * k_row, k_row, v_row, c.bias + b * c.bs.row + h * c.bs.head,
            c.bs.token};
  }

  void fill(int64_t b, int64_t h) const {
    const InPlace from{c};
    pack(from.raw(b, h), num_raw, head(b, h));
    if (num_units) pack(from.units(b, h), num_units, head(b, h) + raw_size);
  }

  void pack(const Keys<float> &from, int64_t count, int32_t *k) const {
    int32_t *v = k + count * k_row;
    for (int64_t i = 0; i < count; ++i) {
      const float *x = from.k + i * from.k_stride;
      for (int64_t d = 0; d < c.dim; d += 2)
        k[i * k_row + d / 2] = pair(x[d], d + 1 < c.dim ? x[d + 1] : 0.0f);
    }
    for (int64_t i = 0; i < count; i += 2) {
      const float *x = from.v + i * from.v_stride;
      for (int64_t d = 0; d < c.value_dim; ++d)
        v[i / 2 * v_row + d] = pair(x[d], i + 1 < count ? x[from.v_stride + d] : 0.0f);
    }
  }
};

// Run all tiles on `threads` threads; returns 1 if there is no memory.
template <typename T, typename Source>
int run(const Call &c, const Source &source, int threads) {
  const int64_t group = c.heads / c.key_heads;
  // few new tokens: the lanes are all heads of a key head; many: the tokens of one head
  const bool folded = c.tokens < LANES;
  const int64_t lanes = folded ? group * c.tokens : c.tokens;
  const int64_t tiles = (lanes + LANES - 1) / LANES;
  const int64_t per_row = folded ? c.key_heads : c.heads;
  const int64_t owners = c.rows * per_row, jobs = owners * tiles;
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
      const int64_t inside = owner % per_row;
      t->output = scratch;
      t->queries = scratch + c.value_dim * LANES;
      t->row = owner / per_row;
      t->key_head = folded ? inside : inside / group;
      const int64_t first = tile * LANES, left = lanes - first;
      run_tile<T>(c, *t, source.raw(t->row, t->key_head), source.units(t->row, t->key_head),
                  folded ? inside * group : inside, first, left < LANES ? left : LANES);
    }
    std::free(t);
    std::free(scratch);
  }
  return failed;
}

#if HAS_PAIRS
int run_packed(const Call &c, int threads) {
  const Packed packed(c);
  if (!packed.data) return 1;
  const int64_t owners = c.rows * c.key_heads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic, 1)
  for (int64_t n = 0; n < owners; ++n) packed.fill(n / c.key_heads, n % c.key_heads);
  return run<int32_t>(c, packed, threads);
}
#endif

Strides strides(const int64_t *s) { return Strides{s[0], s[1], s[2]}; }

}  // namespace

// Whether `pairs` below can be 1.
extern "C" int fdvs_dga_has_pairs() { return HAS_PAIRS; }

// Returns 0, or 1 if there is no memory. `sizes`: rows, heads, key heads, tokens, dim, value dim,
// q_start, raw_start, chunk, window, units per chunk (0: none are visible), threshold, threads,
// pairs (1: multiply in bfloat16; copying the keys pays from a full tile of tokens on).
// `steps`: row, head and token strides in floats of q, unit_k, unit_v, bias, raw_k, raw_v, out.
// The last dimension of every tensor is contiguous. `lse` may be null.
extern "C" int fdvs_dga_attend(const float *q, const float *unit_k, const float *unit_v,
                               const float *bias, const float *raw_k, const float *raw_v,
                               float *out, float *lse, const int64_t *sizes, const int64_t *steps,
                               float scale) {
  const Call c{q, unit_k, unit_v, bias, raw_k, raw_v, out, lse,
               strides(steps), strides(steps + 3), strides(steps + 6), strides(steps + 9),
               strides(steps + 12), strides(steps + 15), strides(steps + 18),
               sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7],
               sizes[8], sizes[9], sizes[10], sizes[11], scale};
  const int threads = static_cast<int>(sizes[12]);
#if HAS_PAIRS
  if (sizes[13] && c.tokens >= LANES && scale > LEAST_SCALE) return run_packed(c, threads);
#endif
  return run<float>(c, InPlace{c}, threads);
}

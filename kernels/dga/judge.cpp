// Judge chunks on a CPU: the attention that each token of a chunk gets from the chunk's judges.
//
// A chunk of C tokens is judged by the last J queries of its span of S tokens (C and the window),
// of all heads of a key head. Lanes are judges, rows are keys, as in `attend.cpp`. The logits of
// the chunk itself are kept until maximum and sum over the whole span are known; of the others
// only the sum is. Always float32, and every chunk for itself: how many are judged in a call
// changes no bit, so a prefill chooses the tokens that a decode would.

#include "lanes.h"

namespace {

struct Judging {
  const float *q, *k;
  float *scores;  // [rows, key heads, chunks, chunk]
  int64_t q_row, q_head, q_token, k_row, k_head, k_token;
  int64_t rows, heads, key_heads, dim, chunks, chunk, span, judges;
  float scale;

  int64_t lanes() const { return heads / key_heads * judges; }
};

// One tile of judges: `logits` [chunk + BLOCK][LANES] and `queries` [dim][LANES] are scratch.
struct Judges {
  int64_t num_lanes, num_vecs;
  int32_t end[LANES] __attribute__((aligned(64)));  // keys of the span that a lane sees
  float max[LANES] __attribute__((aligned(64)));
  float sum[LANES] __attribute__((aligned(64)));
  float *logits, *queries;
};

// Fill the lanes `first` to `first + count` of a key head; `q` is its first head's first judge.
void fill_judges(const Judging &c, Judges &t, const float *q, int64_t first, int64_t count) {
  t.num_lanes = count;
  t.num_vecs = (count + WIDTH - 1) / WIDTH;
  for (int64_t n = 0; n < t.num_vecs * WIDTH; ++n) {
    const int64_t lane = first + (n < count ? n : count - 1);  // spare lanes repeat the last one
    const int64_t judge = lane % c.judges;
    const float *from = q + lane / c.judges * c.q_head + judge * c.q_token;
    t.end[n] = static_cast<int32_t>(c.span - c.judges + judge + 1);
    t.max[n] = LOWEST;
    t.sum[n] = 0.0f;
    for (int64_t d = 0; d < c.dim; ++d) t.queries[d * LANES + n] = from[d] * c.scale * LOG2E;
  }
}

// Logits of keys [first, first + keys) for N vectors of judges, into row `to`; raises `max`.
template <int N>
void logits_of(const Judging &c, Judges &t, const float *k, int64_t first, int64_t keys,
               int64_t to, int64_t at) {
  float *logits = t.logits + to * LANES + at * WIDTH;
  vec most[N], unused[N];
  for (int n = 0; n < N; ++n) most[n] = unused[n] = load(t.max + (at + n) * WIDTH);
  const bool masked = first + keys > c.span - c.judges + 1;
  dot_keys<N>(k + first * c.k_token, c.k_token, keys, c.dim, t.queries + at * WIDTH, logits,
              nullptr, 0, 0.0f, masked ? unused : most);
  if (masked)
    for (int n = 0; n < N; ++n)
      for (int64_t r = 0; r < keys; ++r) {
        float *x = logits + r * LANES + n * WIDTH;
        const ivec key = ivec{} + static_cast<int32_t>(first + r);
        store(x, key < load(t.end + (at + n) * WIDTH) ? load(x) : splat(LOWEST * 4));
        most[n] = larger(load(x), most[n]);
      }
  for (int n = 0; n < N; ++n) store(t.max + (at + n) * WIDTH, most[n]);
}

void logits_of(const Judging &c, Judges &t, const float *k, int64_t first, int64_t keys,
               int64_t to) {
  const int64_t wide = t.num_vecs / STEP * STEP;
  for (int64_t n = 0; n < wide; n += STEP) logits_of<STEP>(c, t, k, first, keys, to, n);
  for (int64_t n = wide; n < t.num_vecs; ++n) logits_of<1>(c, t, k, first, keys, to, n);
}

// Add what one tile of judges gives to the tokens of a chunk.
void add_tile(const Judging &c, Judges &t, const float *k, float *scores) {
  for (int64_t at = 0; at < c.chunk; at += BLOCK)
    logits_of(c, t, k, at, c.chunk - at < BLOCK ? c.chunk - at : BLOCK, at);
  for (int64_t at = c.chunk; at < c.span; at += BLOCK) {
    const int64_t keys = c.span - at < BLOCK ? c.span - at : BLOCK;
    float before[LANES] __attribute__((aligned(64)));
    std::memcpy(before, t.max, sizeof before);
    logits_of(c, t, k, at, keys, c.chunk);
    for (int64_t n = 0; n < t.num_vecs * WIDTH; n += WIDTH) {
      const vec most = load(t.max + n);
      vec sum = load(t.sum + n) * exp2_vec<float>(load(before + n) - most);
      for (int64_t r = 0; r < keys; ++r)
        sum += exp2_vec<float>(load(t.logits + (c.chunk + r) * LANES + n) - most);
      store(t.sum + n, sum);
    }
  }
  for (int64_t n = 0; n < t.num_vecs * WIDTH; n += WIDTH) {
    vec sum = load(t.sum + n);
    for (int64_t r = 0; r < c.chunk; ++r) {
      float *x = t.logits + r * LANES + n;
      const vec p = exp2_vec<float>(load(x) - load(t.max + n));
      store(x, p);
      sum += p;
    }
    for (int64_t i = 0; i < WIDTH; ++i) t.sum[n + i] = n + i < t.num_lanes ? 1.0f / sum[i] : 0.0f;
  }
  for (int64_t r = 0; r < c.chunk; ++r) {
    vec got{};
    for (int64_t n = 0; n < t.num_vecs * WIDTH; n += WIDTH)
      got += load(t.logits + r * LANES + n) * load(t.sum + n);
    for (int64_t i = 0; i < WIDTH; ++i) scores[r] += got[i];
  }
}

void judge_chunk(const Judging &c, Judges &t, int64_t row, int64_t head, int64_t chunk) {
  const float *k = c.k + row * c.k_row + head * c.k_head + chunk * c.chunk * c.k_token;
  const float *q = c.q + row * c.q_row + head * (c.heads / c.key_heads) * c.q_head +
                   chunk * c.chunk * c.q_token;
  float *scores = c.scores + ((row * c.key_heads + head) * c.chunks + chunk) * c.chunk;
  std::memset(scores, 0, sizeof(float) * c.chunk);
  for (int64_t first = 0; first < c.lanes(); first += LANES) {
    const int64_t left = c.lanes() - first;
    fill_judges(c, t, q, first, left < LANES ? left : LANES);
    add_tile(c, t, k, scores);
  }
}

}  // namespace

// Returns 0, or 1 if there is no memory. `q` is at the first chunk's first judge, `k` at its first
// key; chunk follows chunk. `sizes`: rows, heads, key heads, dim, chunks, chunk, span, judges,
// threads. `steps`: row, head and token strides in floats of q, then of k; the last dimension is
// contiguous.
extern "C" int fdvs_dga_judge(const float *q, const float *k, float *scores, const int64_t *sizes,
                              const int64_t *steps, float scale) {
  const Judging c{q,        k,        scores,   steps[0], steps[1], steps[2], steps[3], steps[4],
                  steps[5], sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6],
                  sizes[7], scale};
  const int threads = static_cast<int>(sizes[8]);
  const int64_t jobs = c.rows * c.key_heads * c.chunks;
  int failed = 0;
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(| : failed)
  {
    Judges *t = static_cast<Judges *>(std::aligned_alloc(64, (sizeof(Judges) + 63) / 64 * 64));
    const size_t rows = static_cast<size_t>(c.chunk + BLOCK + c.dim);
    float *scratch = static_cast<float *>(std::aligned_alloc(64, rows * LANES * sizeof(float)));
    if (!t || !scratch) failed = 1;
#pragma omp for schedule(dynamic, 1)
    for (int64_t job = 0; job < jobs; ++job) {
      if (failed) continue;
      t->logits = scratch;
      t->queries = scratch + (c.chunk + BLOCK) * LANES;
      judge_chunk(c, *t, job / c.chunks / c.key_heads, job / c.chunks % c.key_heads,
                  job % c.chunks);
    }
    std::free(t);
    std::free(scratch);
  }
  return failed;
}

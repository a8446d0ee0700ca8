// Float layers with AVX-512: one to four vectors of channels of several pixels at a time, sums in up to 24 registers. The
// last vector may be half a one, which takes half the time.
#include "float_graph.h"
#if defined(__x86_64__)
// GCC 12 takes the undefined value that its own intrinsics are made with for one that is used (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <algorithm>

#define TARGET __attribute__((target("avx512f,avx512vl,avx2,fma,f16c")))
#define INLINE TARGET __attribute__((always_inline)) inline
#define FACESDK_UNROLL _Pragma("GCC unroll 12")  // sums in registers, not in an array

namespace facesdk::nn {
namespace {

// A vector of 16 floats, and half a one.
struct Whole {
  using Floats = __m512;
  static constexpr size_t lanes = 16;
  INLINE static Floats zero() { return _mm512_setzero_ps(); }
  INLINE static Floats all(float value) { return _mm512_set1_ps(value); }
  INLINE static Floats load(const float* at) { return _mm512_loadu_ps(at); }
  INLINE static Floats load(const uint16_t* halves) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves)));
  }
  INLINE static void store(float* at, Floats x) { _mm512_storeu_ps(at, x); }
  INLINE static Floats add_product(Floats a, Floats b, Floats sum) { return _mm512_fmadd_ps(a, b, sum); }
  INLINE static Floats greater(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  // other: so many floats, then zeros.
  INLINE static Floats add_first(Floats sum, const float* other, size_t count) {
    const auto mask = static_cast<__mmask16>((1u << std::min(count, lanes)) - 1);
    return _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, other));
  }
  INLINE static Floats bend(Floats sum, Floats slopes) {
    return _mm512_mask_mul_ps(sum, _mm512_cmp_ps_mask(sum, zero(), _CMP_LT_OQ), sum, slopes);
  }
};
struct Half {
  using Floats = __m256;
  static constexpr size_t lanes = 8;
  INLINE static Floats zero() { return _mm256_setzero_ps(); }
  INLINE static Floats all(float value) { return _mm256_set1_ps(value); }
  INLINE static Floats load(const float* at) { return _mm256_loadu_ps(at); }
  INLINE static Floats load(const uint16_t* halves) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves)));
  }
  INLINE static void store(float* at, Floats x) { _mm256_storeu_ps(at, x); }
  INLINE static Floats add_product(Floats a, Floats b, Floats sum) { return _mm256_fmadd_ps(a, b, sum); }
  INLINE static Floats greater(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  INLINE static Floats add_first(Floats sum, const float* other, size_t count) {
    const auto mask = static_cast<__mmask8>((1u << std::min(count, lanes)) - 1);
    return _mm256_add_ps(sum, _mm256_maskz_loadu_ps(mask, other));
  }
  INLINE static Floats bend(Floats sum, Floats slopes) {
    return _mm256_mask_mul_ps(sum, _mm256_cmp_ps_mask(sum, zero(), _CMP_LT_OQ), sum, slopes);
  }
};

// What follows the sums of one vector of channels.
template <typename Vector>
struct Finish {
  typename Vector::Floats slopes;
  Bend bend;

  INLINE Finish(const FloatLayer& layer, size_t channel) : slopes(Vector::zero()), bend(layer.bend) {
    if (bend == Bend::prelu) slopes = Vector::load(layer.slopes.data() + channel);
  }

  INLINE typename Vector::Floats of(typename Vector::Floats sum) const {
    if (bend == Bend::none) return sum;
    if (bend == Bend::relu) return Vector::greater(Vector::zero(), sum);
    return Vector::bend(sum, slopes);
  }
};

// Goes over the pixels of the output in rows: where each reads, is written, and has its other summand.
struct Walk {
  const Place &source, &target;
  const float *from, *other = nullptr, *from_row, *other_row = nullptr;
  float *to, *to_row;
  size_t from_step, from_down, other_down = 0, other_step = 0;
  int x = 0;

  Walk(const FloatProgram& program, const FloatLayer& layer, float* arena)
      : source(program.places[layer.source]), target(program.places[layer.target]) {
    const size_t channels = static_cast<size_t>(source.channels);
    from_step = static_cast<size_t>(layer.stride_x) * channels;
    from_down = static_cast<size_t>(layer.stride_y) * source.row();
    from_row = arena + source.at() - static_cast<size_t>(layer.pad_top) * source.row() -
               static_cast<size_t>(layer.pad_left) * channels;
    to_row = arena + target.at();
    if (layer.other != kNone) {
      const Place& place = program.places[layer.other];
      other_row = arena + place.at();
      other_down = place.row();
      other_step = static_cast<size_t>(place.channels);
    }
    from = from_row;
    to = to_row;
    other = other_row;
  }
  void next() {
    from += from_step;
    to += target.channels;
    other += other_step;
    if (++x == target.width) down();
  }
  void down(int rows = 1) {
    const size_t n = static_cast<size_t>(rows);
    x = 0;
    from = from_row += n * from_down;
    to = to_row += n * target.row();
    other = other_row += n * other_down;
  }
};

// The sums of one vector of channels for kPixels pixels begin with its bias; `end` finishes and stores them.
template <typename Vector, int kPixels>
INLINE void begin(typename Vector::Floats (&sums)[kPixels], const FloatLayer& layer, size_t channel) {
  const auto bias = Vector::load(layer.bias.data() + channel);
  FACESDK_UNROLL
  for (int p = 0; p < kPixels; ++p) sums[p] = bias;
}
template <typename Vector, int kPixels>
INLINE void end(const typename Vector::Floats (&sums)[kPixels], const FloatLayer& layer, size_t channel, float* const* to,
                const float* const* other, size_t others) {
  const Finish<Vector> finish(layer, channel);
  FACESDK_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    const size_t there = others - std::min(others, channel);
    const auto sum = others == 0 ? sums[p] : Vector::add_first(sums[p], other[p] + channel, there);
    Vector::store(to[p] + channel, finish.of(sum));
  }
}

// kWhole vectors of kPixels pixels, and kHalf half ones, 0 or 1, behind them.
template <int kPixels, int kWhole, int kHalf, typename Weight>
TARGET void tile(const FloatLayer& layer, const float* const* from, size_t row, const Weight* weights, size_t channel,
                 float* const* to, const float* const* other, size_t others) noexcept {
  Whole::Floats sums[kWhole + 1][kPixels];  // one more than there are, as there may be none
  Half::Floats rest[kPixels];
  const size_t last = channel + kLanes * kWhole;
  FACESDK_UNROLL
  for (int v = 0; v < kWhole; ++v) begin<Whole>(sums[v], layer, channel + kLanes * static_cast<size_t>(v));
  if constexpr (kHalf) begin<Half>(rest, layer, last);
  const size_t run = static_cast<size_t>(layer.kernel_width * layer.inputs);
  for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky) {
    for (size_t i = ky * row; i < ky * row + run; ++i, weights += kWhole * Whole::lanes + kHalf * Half::lanes) {
      Whole::Floats w[kWhole + 1];
      Half::Floats half;
      FACESDK_UNROLL
      for (int v = 0; v < kWhole; ++v) w[v] = Whole::load(weights + kLanes * static_cast<size_t>(v));
      if constexpr (kHalf) half = Half::load(weights + kLanes * kWhole);
      FACESDK_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const Whole::Floats value = Whole::all(from[p][i]);
        FACESDK_UNROLL
        for (int v = 0; v < kWhole; ++v) sums[v][p] = Whole::add_product(value, w[v], sums[v][p]);
        if constexpr (kHalf) rest[p] = Half::add_product(_mm512_castps512_ps256(value), half, rest[p]);
      }
    }
  }
  FACESDK_UNROLL
  for (int v = 0; v < kWhole; ++v) {
    end<Whole>(sums[v], layer, channel + kLanes * static_cast<size_t>(v), to, other, others);
  }
  if constexpr (kHalf) end<Half>(rest, layer, last, to, other, others);
}

// Pixels of a tile, by its vectors.
constexpr size_t kFloatRows = 12;
constexpr size_t kMostPixels[] = {0, 12, 12, 8, 6};

template <typename Weight>
using Tile = decltype(&tile<1, 1, 0, Weight>);

template <int kVectors, int kHalf, typename Weight>
constexpr void add_tiles(Tile<Weight>* row) {
  constexpr int kMost = static_cast<int>(kMostPixels[kVectors]), kWhole = kVectors - kHalf;
  row[1] = tile<1, kWhole, kHalf, Weight>;
  row[2] = tile<2, kWhole, kHalf, Weight>;
  row[3] = tile<3, kWhole, kHalf, Weight>;
  row[4] = tile<4, kWhole, kHalf, Weight>;
  row[5] = tile<5, kWhole, kHalf, Weight>;
  row[6] = tile<6, kWhole, kHalf, Weight>;
  if constexpr (kMost >= 8) row[8] = tile<8, kWhole, kHalf, Weight>;
  if constexpr (kMost >= 12) row[12] = tile<12, kWhole, kHalf, Weight>;
}

// By vectors, whether the last of them is half a one, and pixels.
template <typename Weight>
struct Tiles {
  Tile<Weight> of[kWidest + 1][2][kFloatRows + 1] = {};
  constexpr Tiles() {
    add_tiles<1, 0, Weight>(of[1][0]);
    add_tiles<2, 0, Weight>(of[2][0]);
    add_tiles<3, 0, Weight>(of[3][0]);
    add_tiles<4, 0, Weight>(of[4][0]);
    add_tiles<1, 1, Weight>(of[1][1]);
    add_tiles<2, 1, Weight>(of[2][1]);
    add_tiles<3, 1, Weight>(of[3][1]);
    add_tiles<4, 1, Weight>(of[4][1]);
  }
};
template <typename Weight>
constexpr Tiles<Weight> kTiles;

// The largest tile of at most so many pixels.
size_t pixels_of(size_t vectors, size_t left) {
  size_t count = std::min(kMostPixels[vectors], left);
  while (kTiles<float>.of[vectors][0][count] == nullptr) --count;
  return count;
}

template <typename Weight>
TARGET void convolve(const FloatProgram& program, const FloatLayer& layer, const Weight* all, float* arena, Part part) noexcept {
  Walk walk(program, layer, arena);
  const int begin = part.begin(walk.target.height), end = part.end(walk.target.height);
  walk.down(begin);
  const size_t filled = static_cast<size_t>(walk.target.channels), blocks = blocks_in(vectors_in(filled));
  const size_t pixels = static_cast<size_t>((end - begin) * walk.target.width);
  size_t most = kFloatRows;
  for (size_t b = 0; b < blocks; ++b) most = std::min(most, kMostPixels[vectors_in(block_group(b, filled).size)]);
  for (size_t done = 0; done < pixels;) {
    const size_t together = std::min(most, pixels - done);
    const float *from[kFloatRows], *other[kFloatRows];
    float* to[kFloatRows];
    for (size_t p = 0; p < together; ++p, walk.next()) {
      from[p] = walk.from;
      to[p] = walk.to;
      other[p] = walk.other;
    }
    for (size_t b = 0; b < blocks; ++b) {
      const Group group = block_group(b, filled);
      const size_t width = vectors_in(group.size), half = group.size % kLanes != 0;
      const Weight* weights = all + group.first * layer.count();
      for (size_t p = 0; p < together;) {
        const size_t now = pixels_of(width, together - p);
        kTiles<Weight>.of[width][half][now](layer, from + p, walk.source.row(), weights, group.first, to + p, other + p,
                                            walk.other_step);
        p += now;
      }
    }
    done += together;
  }
}

// kCount outputs of one row, side by side.
template <typename Vector, int kCount>
INLINE void depthwise_some(const FloatLayer& layer, const Walk& walk, const float* from, const float* weights,
                           typename Vector::Floats bias, const Finish<Vector>& finish, float* to) {
  typename Vector::Floats sums[kCount];
  FACESDK_UNROLL
  for (int p = 0; p < kCount; ++p) sums[p] = bias;
  const size_t next = static_cast<size_t>(walk.source.channels);
  for (size_t kx = 0; kx < static_cast<size_t>(layer.kernel_width); ++kx) {
    for (size_t ky = 0; ky < static_cast<size_t>(layer.kernel_height); ++ky, weights += Vector::lanes) {
      const auto w = Vector::load(weights);
      const float* at = from + ky * walk.source.row() + kx * next;
      FACESDK_UNROLL
      for (int p = 0; p < kCount; ++p) {
        sums[p] = Vector::add_product(Vector::load(at + static_cast<size_t>(p) * walk.from_step), w, sums[p]);
      }
    }
  }
  FACESDK_UNROLL
  for (int p = 0; p < kCount; ++p) Vector::store(to + static_cast<size_t>(p) * next, finish.of(sums[p]));
}

// One row of one vector of channels.
template <typename Vector>
TARGET void depthwise_row(const FloatLayer& layer, const Walk& walk, size_t channel) noexcept {
  const Finish<Vector> finish(layer, channel);
  const auto bias = Vector::load(layer.bias.data() + channel);
  const float* weights = layer.weights.data() + channel * layer.count();
  const float* from = walk.from_row + channel;
  float* to = walk.to_row + channel;
  const size_t channels = static_cast<size_t>(walk.target.channels);
  int x = 0;
  const auto some = [&]<int kCount>() TARGET __attribute__((always_inline)) {
    for (; x + kCount <= walk.target.width; x += kCount, from += kCount * walk.from_step, to += kCount * channels) {
      depthwise_some<Vector, kCount>(layer, walk, from, weights, bias, finish, to);
    }
  };
  some.template operator()<8>();
  some.template operator()<4>();
  some.template operator()<1>();
}

TARGET void depthwise(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept {
  Walk walk(program, layer, arena);
  const int begin = part.begin(walk.target.height), end = part.end(walk.target.height);
  walk.down(begin);
  const size_t channels = static_cast<size_t>(walk.target.channels);
  for (int y = begin; y < end; ++y, walk.down()) {
    size_t c = 0;
    for (; c + Whole::lanes <= channels; c += Whole::lanes) depthwise_row<Whole>(layer, walk, c);
    if (c < channels) depthwise_row<Half>(layer, walk, c);
  }
}

template <typename Vector>
INLINE void pool_one(const float* from, size_t next, size_t row, float* to) {
  const auto above = Vector::greater(Vector::load(from), Vector::load(from + next));
  const auto below = Vector::greater(Vector::load(from + row), Vector::load(from + row + next));
  Vector::store(to, Vector::greater(above, below));
}

TARGET void max_pool(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept {
  Walk walk(program, layer, arena);
  const int begin = part.begin(walk.target.height), end = part.end(walk.target.height);
  walk.down(begin);
  const size_t next = static_cast<size_t>(walk.source.channels), row = walk.source.row();
  const size_t pixels = static_cast<size_t>((end - begin) * walk.target.width);
  for (size_t i = 0; i < pixels; ++i, walk.next()) {
    size_t c = 0;
    for (; c + Whole::lanes <= next; c += Whole::lanes) pool_one<Whole>(walk.from + c, next, row, walk.to + c);
    if (c < next) pool_one<Half>(walk.from + c, next, row, walk.to + c);
  }
}

}  // namespace

void run_float_avx512(const FloatProgram& program, const FloatLayer& layer, float* arena, Part part) noexcept {
  switch (layer.kind) {
    case FloatKind::convolution:
      if (layer.halves.empty()) return convolve(program, layer, layer.weights.data(), arena, part);
      return convolve(program, layer, layer.halves.data(), arena, part);
    case FloatKind::depthwise: return depthwise(program, layer, arena, part);
    case FloatKind::max_pool: return max_pool(program, layer, arena, part);
  }
}

}  // namespace facesdk::nn
#endif

// NEON variants (aarch64, where NEON is part of the ABI); the warp has a file of its own.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstring>

#include "kernels_box.h"
#include "kernels_neon.h"
#include "kernels_tail.h"

namespace facesdk {
namespace {

bool always() { return true; }

// The sums of kBox rows of 16 * kVectors bytes.
template <int kBox, int kVectors>
inline void add_rows(const uint8_t* in, size_t stride, uint16_t* sums) noexcept {
  for (int i = 0; i < 16 * kVectors; i += 16) {
    uint8x16_t row = vld1q_u8(in + i);
    uint16x8_t low = vmovl_u8(vget_low_u8(row)), high = vmovl_high_u8(row);
    for (int v = 1; v < kBox; ++v) {
      row = vld1q_u8(in + v * stride + i);
      low = vaddw_u8(low, vget_low_u8(row));
      high = vaddw_high_u8(high, row);
    }
    vst1q_u16(sums + i, low);
    vst1q_u16(sums + i + 8, high);
  }
}

// The means' upper halves of one pixel in four lanes, the last of which is noise.
template <int kBox>
inline uint32x4_t mean_of(const uint16_t* sums) noexcept {
  uint16x4_t sum = vadd_u16(vdup_n_u16(BoxDivision<kBox>::half), vld1_u16(sums));
  for (int u = 1; u < kBox; ++u) sum = vadd_u16(sum, vld1_u16(sums + 3 * u));
  return vmull_n_u16(sum, BoxDivision<kBox>::factor);
}

template <int kBox>
inline uint8x8_t two_means(const uint16_t* sums) noexcept {
  const uint16x4_t first = vshrn_n_u32(mean_of<kBox>(sums), 16);
  return vshrn_n_u16(vshrn_high_n_u32(first, mean_of<kBox>(sums + 3 * kBox), 16), BoxDivision<kBox>::shift);
}

template <int kBox>
void box_u8(const uint8_t* in, uint8_t* out, int side) noexcept {
  constexpr int kPixels = 16;
  alignas(8) static constexpr uint8_t order[8] = {0, 1, 2, 4, 5, 6, 8, 9}, rest[8] = {10, 12, 13, 14, 0, 0, 0, 0};
  const size_t stride = size_t{3} * side * kBox;
  uint16_t sums[3 * kBox * kPixels + 1];
  sums[3 * kBox * kPixels] = 0;  // the noise of the last pixel
  for (int y = 0; y < side; ++y, in += kBox * stride, out += size_t{3} * side) {
    int x = 0;
    for (; x + kPixels <= side; x += kPixels) {
      add_rows<kBox, 3 * kBox>(in + size_t{3} * kBox * x, stride, sums);
      for (int i = 0; i < kPixels; i += 4) {
        const uint16_t* p = sums + 3 * kBox * i;
        const uint8x16_t four = vcombine_u8(two_means<kBox>(p), two_means<kBox>(p + 6 * kBox));
        uint8_t* to = out + 3 * (x + i);
        vst1_u8(to, vqtbl1_u8(four, vld1_u8(order)));
        const uint32_t last = vget_lane_u32(vreinterpret_u32_u8(vqtbl1_u8(four, vld1_u8(rest))), 0);
        std::memcpy(to + 8, &last, 4);
      }
    }
    box_row_scalar(in, out, side, kBox, x);
  }
}

// Adds the Laplacian of the 16 bytes at p, those that keep drops excepted.
inline void add_edges(const uint8_t* p, size_t stride, uint8x16_t keep, int32x4_t& sum, int32x4_t& squares) noexcept {
  const uint8x16_t middle = vandq_u8(vld1q_u8(p), keep), left = vandq_u8(vld1q_u8(p - 1), keep);
  const uint8x16_t right = vandq_u8(vld1q_u8(p + 1), keep), above = vandq_u8(vld1q_u8(p - stride), keep);
  const uint8x16_t below = vandq_u8(vld1q_u8(p + stride), keep);
  const auto low = [](uint8x16_t v) { return vget_low_u8(v); };
  const uint16x8_t around0 = vaddq_u16(vaddl_u8(low(left), low(right)), vaddl_u8(low(above), low(below)));
  const uint16x8_t around1 = vaddq_u16(vaddl_high_u8(left, right), vaddl_high_u8(above, below));
  const int16x8_t edge0 = vreinterpretq_s16_u16(vsubq_u16(vshll_n_u8(low(middle), 2), around0));
  const int16x8_t edge1 = vreinterpretq_s16_u16(vsubq_u16(vshll_high_n_u8(middle, 2), around1));
  sum = vpadalq_s16(vpadalq_s16(sum, edge0), edge1);
  squares = vmlal_high_s16(vmlal_s16(squares, vget_low_s16(edge0), vget_low_s16(edge0)), edge0, edge0);
  squares = vmlal_high_s16(vmlal_s16(squares, vget_low_s16(edge1), vget_low_s16(edge1)), edge1, edge1);
}

struct RowSums {
  uint16x8_t sum;
  uint32x4_t squares;
  uint8x16_t bright;
};

inline void add_bytes(uint8x16_t v, RowSums& row) noexcept {
  row.sum = vpadalq_u8(row.sum, v);
  row.squares = vpadalq_u16(row.squares, vmull_u8(vget_low_u8(v), vget_low_u8(v)));
  row.squares = vpadalq_u16(row.squares, vmull_high_u8(v, v));
  row.bright = vsubq_u8(row.bright, vcgeq_u8(v, vdupq_n_u8(250)));
}

}  // namespace

void table_u8_neon(const uint8_t* in, uint8_t* out, size_t n, const uint8_t* table) noexcept {
  const uint8x16x4_t part0 = vld1q_u8_x4(table), part1 = vld1q_u8_x4(table + 64);
  const uint8x16x4_t part2 = vld1q_u8_x4(table + 128), part3 = vld1q_u8_x4(table + 192);
  const uint8x16_t step = vdupq_n_u8(64);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    uint8x16_t at = vld1q_u8(in + i);
    uint8x16_t found = vqtbl4q_u8(part0, at);
    found = vqtbx4q_u8(found, part1, at = vsubq_u8(at, step));
    found = vqtbx4q_u8(found, part2, at = vsubq_u8(at, step));
    vst1q_u8(out + i, vqtbx4q_u8(found, part3, vsubq_u8(at, step)));
  }
  table_u8_scalar(in + i, out + i, n - i, table);
}

void box_u8_neon(const uint8_t* in, uint8_t* out, int side, int factor) noexcept {
  switch (factor) {
    case 2: return box_u8<2>(in, out, side);
    case 3: return box_u8<3>(in, out, side);
    case 4: return box_u8<4>(in, out, side);
    case 5: return box_u8<5>(in, out, side);
    case 6: return box_u8<6>(in, out, side);
    case 7: return box_u8<7>(in, out, side);
    case 8: return box_u8<8>(in, out, side);
    default: return box_u8_scalar(in, out, side, factor);
  }
}

Sums sums_u8_neon(const uint8_t* in, size_t stride, int width, int height) noexcept {
  if (width < 16) return sums_u8_scalar(in, stride, width, height);
  const uint8x16_t keep = vld1q_u8(kKeepLast + width % 16);
  uint32x4_t sum = vdupq_n_u32(0), bright = sum;
  uint64x2_t squares = vdupq_n_u64(0);
  for (int y = 0; y < height; ++y, in += stride) {
    RowSums row{vdupq_n_u16(0), vdupq_n_u32(0), vdupq_n_u8(0)};
    for (int x = 0; x + 16 <= width; x += 16) add_bytes(vld1q_u8(in + x), row);
    // The last vector lies over the one before, but for width % 16 bytes.
    add_bytes(vandq_u8(vld1q_u8(in + width - 16), keep), row);
    sum = vpadalq_u16(sum, row.sum);
    squares = vpadalq_u32(squares, row.squares);
    bright = vpadalq_u16(bright, vpaddlq_u8(row.bright));
  }
  return {static_cast<int64_t>(vaddlvq_u32(sum)), static_cast<int64_t>(vaddvq_u64(squares)),
          static_cast<int64_t>(vaddlvq_u32(bright))};
}

Edges edges_u8_neon(const uint8_t* in, size_t stride, int width, int height) noexcept {
  if (width < 16) return edges_u8_scalar(in, stride, width, height);
  const uint8x16_t all = vdupq_n_u8(255), keep = vld1q_u8(kKeepLast + width % 16);
  int64x2_t sum = vdupq_n_s64(0), squares = sum;
  for (int y = 0; y < height; ++y, in += stride) {
    int32x4_t row_sum = vdupq_n_s32(0), row_squares = row_sum;
    for (int x = 0; x + 16 <= width; x += 16) add_edges(in + x, stride, all, row_sum, row_squares);
    add_edges(in + width - 16, stride, keep, row_sum, row_squares);
    sum = vpadalq_s32(sum, row_sum);
    squares = vpadalq_s32(squares, row_squares);
  }
  return {vaddvq_s64(sum), vaddvq_s64(squares)};
}

// Scaling and gray: what the compiler makes of the scalar functions is NEON already (docs/kernels.md).
const Kernels kNeon = {"neon",          always,         warp_u8_neon,  scale_u8_f32_scalar, dot_f32_scalar,
                       scores_f32_neon, gray_u8_scalar, table_u8_neon, box_u8_neon,         sums_u8_neon,
                       edges_u8_neon};

}  // namespace facesdk
#endif

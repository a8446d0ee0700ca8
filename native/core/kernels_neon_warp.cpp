// The NEON warp: eight pixels at a time where all their taps lie in the picture.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstring>

#include "kernels_neon.h"
#include "kernels_warp.h"

namespace facesdk {
namespace {

struct Weights {
  uint16x8_t u, left, v;  // left = 256 - u
};

struct Offsets {
  int32_t at[8];  // of each pixel's first byte
};

inline uint16x8_t fraction(int32x4_t low, int32x4_t high) noexcept {
  const int16x8_t both = vshrn_high_n_s32(vshrn_n_s32(low, 8), high, 8);
  return vandq_u16(vreinterpretq_u16_s16(both), vdupq_n_u16(255));
}

// l * 256 + (r - l) * weight: modulo 2^16, which holds the result.
inline uint16x8_t between(uint8x8_t l, uint8x8_t r, uint16x8_t weight) noexcept {
  return vmlaq_u16(vshll_n_u8(l, 8), vsubl_u8(r, l), weight);
}

// One RGB sample in four lanes, the last of which is noise. Eight bytes of each row hold both of its taps.
template <int kLane>
inline uint32x4_t weigh_rgb(const uint8_t* p, size_t stride, const Weights& w) noexcept {
  const uint8x8_t above = vld1_u8(p), below = vld1_u8(p + stride);
  const uint16x8_t column = vmlaq_laneq_u16(vshll_n_u8(above, 8), vsubl_u8(below, above), w.v, kLane);
  const uint16x4_t left = vget_low_u16(column), right = vget_low_u16(vextq_u16(column, column, 3));
  return vmlal_laneq_u16(vmull_laneq_u16(left, w.left, kLane), right, w.u, kLane);
}

template <int kLane>
inline uint16x8_t two_rgb(const uint8_t* data, size_t stride, const Offsets& o, const Weights& w) noexcept {
  const uint32x4_t first = weigh_rgb<kLane>(data + o.at[kLane], stride, w);
  const uint32x4_t second = weigh_rgb<kLane + 1>(data + o.at[kLane + 1], stride, w);
  return vrshrn_high_n_u32(vrshrn_n_u32(first, 16), second, 16);
}

inline void eight_rgb(const uint8_t* data, size_t stride, const Offsets& o, const Weights& w, uint8_t* out) noexcept {
  alignas(16) static constexpr uint8_t order[16] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20};
  alignas(8) static constexpr uint8_t rest[8] = {5, 6, 8, 9, 10, 12, 13, 14};
  uint8x16x2_t four;
  four.val[0] = vmovn_high_u16(vmovn_u16(two_rgb<0>(data, stride, o, w)), two_rgb<2>(data, stride, o, w));
  four.val[1] = vmovn_high_u16(vmovn_u16(two_rgb<4>(data, stride, o, w)), two_rgb<6>(data, stride, o, w));
  vst1q_u8(out, vqtbl2q_u8(four, vld1q_u8(order)));
  vst1_u8(out + 16, vqtbl1_u8(four.val[1], vld1_u8(rest)));
}

template <int kLane>
inline uint16x8_t load_taps(const uint8_t* data, const Offsets& o, uint16x8_t taps) noexcept {
  uint16_t both;
  std::memcpy(&both, data + o.at[kLane], 2);
  return vsetq_lane_u16(both, taps, kLane);
}

// The two taps of one row of eight gray samples: lane i is left | right << 8.
inline uint16x8_t taps_gray(const uint8_t* data, const Offsets& o) noexcept {
  uint16x8_t taps = load_taps<0>(data, o, vdupq_n_u16(0));
  taps = load_taps<2>(data, o, load_taps<1>(data, o, taps));
  taps = load_taps<4>(data, o, load_taps<3>(data, o, taps));
  return load_taps<7>(data, o, load_taps<6>(data, o, load_taps<5>(data, o, taps)));
}

inline void eight_gray(const uint8_t* data, size_t stride, const Offsets& o, const Weights& w, uint8_t* out) noexcept {
  const uint16x8_t above = taps_gray(data, o), below = taps_gray(data + stride, o);
  const uint16x8_t left = between(vmovn_u16(above), vmovn_u16(below), w.v);
  const uint16x8_t right = between(vshrn_n_u16(above, 8), vshrn_n_u16(below, 8), w.v);
  const uint32x4_t low = vmull_u16(vget_low_u16(left), vget_low_u16(w.left));
  const uint32x4_t high = vmull_high_u16(left, w.left);
  const uint16x4_t first = vrshrn_n_u32(vmlal_u16(low, vget_low_u16(right), vget_low_u16(w.u)), 16);
  const uint8x8_t gray = vmovn_u16(vrshrn_high_n_u32(first, vmlal_high_u16(high, right, w.u), 16));
  vst3_u8(out, uint8x8x3_t{{gray, gray, gray}});
}

// A run of blocks whose taps lie in the picture.
void warp_inside(const Image& src, const WarpRun& run, uint8_t* out) noexcept {
  static constexpr int32_t kLanes[8] = {0, 1, 2, 3, 4, 5, 6, 7};
  const int32x4_t first = vld1q_s32(kLanes), last = vld1q_s32(kLanes + 4);
  const Steps s = run.steps;
  const int32_t dx = static_cast<int32_t>(s.dx), dy = static_cast<int32_t>(s.dy);
  const int32_t stride = static_cast<int32_t>(src.stride), channels = src.channels;
  for (int i = 0, x = run.x; i < run.blocks; ++i, x += 8, out += 24) {
    const int32x4_t fx = vdupq_n_s32(static_cast<int32_t>(s.x + s.dx * x));
    const int32x4_t fy = vdupq_n_s32(static_cast<int32_t>(s.y + s.dy * x));
    const int32x4_t x0 = vmlaq_n_s32(fx, first, dx), x1 = vmlaq_n_s32(fx, last, dx);
    const int32x4_t y0 = vmlaq_n_s32(fy, first, dy), y1 = vmlaq_n_s32(fy, last, dy);
    Offsets o;
    vst1q_s32(o.at, vmlaq_n_s32(vmulq_n_s32(vshrq_n_s32(y0, kFraction), stride), vshrq_n_s32(x0, kFraction), channels));
    vst1q_s32(o.at + 4,
              vmlaq_n_s32(vmulq_n_s32(vshrq_n_s32(y1, kFraction), stride), vshrq_n_s32(x1, kFraction), channels));
    const uint16x8_t u = fraction(x0, x1);
    const Weights w{u, vsubq_u16(vdupq_n_u16(256), u), fraction(y0, y1)};
    (channels == 3 ? eight_rgb : eight_gray)(src.data, src.stride, o, w, out);
  }
}

}  // namespace

void warp_u8_neon(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept {
  // Eight bytes are read for the six of two RGB pixels.
  warp_rows(src, map, out, width, height, src.channels == 3 ? 2 : 1, warp_inside);
}

}  // namespace facesdk
#endif

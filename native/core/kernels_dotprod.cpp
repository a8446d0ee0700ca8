// The NEON variants with UDOT (Armv8.2 dot products: Cortex-A76, not A53 or A72). The instruction set is per function.
#if defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>

#include "kernels_neon.h"
#include "kernels_tail.h"

#define TARGET_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))

namespace facesdk {
namespace {

// Source: the Linux kernel's arch/arm64/include/uapi/asm/hwcap.h.
constexpr unsigned long kHwcapAsimdDp = 1ul << 20;

bool has_dotprod() { return (getauxval(AT_HWCAP) & kHwcapAsimdDp) != 0; }

struct Lanes {
  uint32x4_t sum, squares, bright;
};

TARGET_DOTPROD inline void add_bytes(uint8x16_t v, Lanes& lanes) noexcept {
  lanes.sum = vdotq_u32(lanes.sum, v, vdupq_n_u8(1));
  lanes.squares = vdotq_u32(lanes.squares, v, v);
  lanes.bright = vdotq_u32(lanes.bright, vcgeq_u8(v, vdupq_n_u8(250)), vdupq_n_u8(1));
}

TARGET_DOTPROD Sums sums_u8_dotprod(const uint8_t* in, size_t stride, int width, int height) noexcept {
  if (width < 16) return sums_u8_scalar(in, stride, width, height);
  const uint8x16_t keep = vld1q_u8(kKeepLast + width % 16);
  uint64x2_t sum = vdupq_n_u64(0), squares = sum, bright = sum;
  for (int y = 0; y < height; ++y, in += stride) {
    Lanes row{vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    for (int x = 0; x + 16 <= width; x += 16) add_bytes(vld1q_u8(in + x), row);
    // The last vector lies over the one before, but for width % 16 bytes.
    add_bytes(vandq_u8(vld1q_u8(in + width - 16), keep), row);
    sum = vpadalq_u32(sum, row.sum);
    squares = vpadalq_u32(squares, row.squares);
    bright = vpadalq_u32(bright, row.bright);
  }
  return {static_cast<int64_t>(vaddvq_u64(sum)), static_cast<int64_t>(vaddvq_u64(squares)),
          static_cast<int64_t>(vaddvq_u64(bright) / 255)};
}

}  // namespace

const Kernels kDotprod = {"dotprod",       has_dotprod,    warp_u8_neon,  scale_u8_f32_scalar, dot_f32_scalar,
                          scores_f32_neon, gray_u8_scalar, table_u8_neon, box_u8_neon,         sums_u8_dotprod,
                          edges_u8_neon};

}  // namespace facesdk
#endif

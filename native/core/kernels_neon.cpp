// NEON variants (aarch64, where NEON is part of the ABI).
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels.h"

namespace facesdk {
namespace {

bool always() { return true; }

void scale_u8_f32_neon(const uint8_t* in, float* out, size_t n, float scale, float bias) noexcept {
  const float32x4_t s = vdupq_n_f32(scale), b = vdupq_n_f32(bias);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const uint16x8_t wide = vmovl_u8(vld1_u8(in + i));
    const float32x4_t low = vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
    const float32x4_t high = vcvtq_f32_u32(vmovl_u16(vget_high_u16(wide)));
    vst1q_f32(out + i, vaddq_f32(vmulq_f32(low, s), b));
    vst1q_f32(out + i + 4, vaddq_f32(vmulq_f32(high, s), b));
  }
  kScalar.scale_u8_f32(in + i, out + i, n - i, scale, bias);
}

}  // namespace

// NEON has no gather: loading four taps lane by lane costs what the scalar warp costs.
const Kernels kNeon = {"neon", always, warp_u8_scalar, scale_u8_f32_neon, dot_f32_scalar};

}  // namespace facesdk
#endif

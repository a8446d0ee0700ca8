// The AVX2 functions that stand in a file of their own.
#pragma once

#include "kernels.h"

namespace facesdk {

void box_u8_avx2(const uint8_t* in, uint8_t* out, int side, int factor) noexcept;
Sums sums_u8_avx2(const uint8_t* in, size_t stride, int width, int height) noexcept;
Edges edges_u8_avx2(const uint8_t* in, size_t stride, int width, int height) noexcept;

}  // namespace facesdk

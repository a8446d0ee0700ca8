// The AVX2 functions by name, for the tables of the variants that share them.
#pragma once

#include "kernels.h"

namespace facesdk {

bool has_avx2() noexcept;
void warp_u8_avx2(const Image& src, const Affine& map, uint8_t* out, int width, int height) noexcept;
void scale_u8_f32_avx2(const uint8_t* in, float* out, size_t n, float scale, float bias) noexcept;
void gray_u8_avx2(const uint8_t* rgb, uint8_t* out, size_t n) noexcept;
void table_u8_avx2(const uint8_t* in, uint8_t* out, size_t n, const uint8_t* table) noexcept;
void scores_f32_avx2(const float* a, size_t rows, const float* b, size_t columns, size_t n, float* out) noexcept;
void box_u8_avx2(const uint8_t* in, uint8_t* out, int side, int factor) noexcept;
Sums sums_u8_avx2(const uint8_t* in, size_t stride, int width, int height) noexcept;
Edges edges_u8_avx2(const uint8_t* in, size_t stride, int width, int height) noexcept;

}  // namespace facesdk

// Which blocks of a warp the vector variants take: private to them.
#pragma once

#include "kernels.h"

namespace facesdk {

// The samples of eight neighbouring pixels of a row lie on a straight line from (x0, y0) to (x1, y1), in fixed point.
struct WarpBlock {
  int64_t x0, y0, x1, y1;
};

inline WarpBlock warp_block(const Steps& s, int x) noexcept {
  const int64_t fx = s.x + s.dx * x, fy = s.y + s.dy * x;
  return {fx, fy, fx + s.dx * 7, fy + s.dy * 7};
}

// Whether all taps lie in the picture, columns up to spare to the right of a sample's own too; a line does if its
// ends do.
inline bool lies_inside(const Image& src, const WarpBlock& b, int spare) noexcept {
  const int64_t right = (int64_t{src.width} - spare) << kFraction, bottom = (int64_t{src.height} - 1) << kFraction;
  return b.x0 >= 0 && b.y0 >= 0 && b.x1 >= 0 && b.y1 >= 0 && b.x0 < right && b.x1 < right && b.y0 < bottom &&
         b.y1 < bottom;
}

// Whether all taps lie beyond one and the same side of the picture.
inline bool lies_outside(const Image& src, const WarpBlock& b) noexcept {
  constexpr int64_t first = -(int64_t{1} << kFraction);
  const int64_t right = int64_t{src.width} << kFraction, bottom = int64_t{src.height} << kFraction;
  return (b.x0 < first && b.x1 < first) || (b.y0 < first && b.y1 < first) || (b.x0 >= right && b.x1 >= right) ||
         (b.y0 >= bottom && b.y1 >= bottom);
}

// Whether 32 bits hold the coordinates and the offsets of every pixel of the picture.
inline bool fits_32_bits(const Image& src) noexcept {
  constexpr int widest = (1 << (31 - kFraction)) - 1;
  return src.stride * static_cast<size_t>(src.height) < (size_t{1} << 31) && src.width <= widest &&
         src.height <= widest;
}

}  // namespace facesdk

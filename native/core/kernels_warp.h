// Which blocks of a warp the vector variants take: private to them.
#pragma once

#include <cstring>

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

// Blocks of a row whose taps lie in the picture, from column x on; so many bytes ahead lie those of the next row.
struct WarpRun {
  Steps steps;
  int x, blocks;
  int64_t ahead;
};

// A warp row by row: black where all taps of a block lie outside, `inside` for the blocks whose taps lie in the picture
// (neighbours, as a line does not leave it between two of its points), the scalar function for the rest.
inline void warp_rows(const Image& src, const Affine& map, uint8_t* out, int width, int height, int spare,
                      void (*inside)(const Image& src, const WarpRun& run, uint8_t* out) noexcept) noexcept {
  constexpr int64_t up = (1 << kFraction) - 1;
  const bool fits = fits_32_bits(src);
  const int whole = width - width % 8;
  Steps next_row = warp_steps(map, 0);
  for (int y = 0; y < height; ++y, out += size_t{3} * width) {
    const Steps s = next_row;
    next_row = warp_steps(map, y + 1);
    const int64_t down = (next_row.y - s.y + up) >> kFraction, right = (next_row.x - s.x) >> kFraction;
    for (int x = 0, next = 8; x < whole; x = next, next += 8) {
      const WarpBlock block = warp_block(s, x);
      if (lies_outside(src, block)) {
        std::memset(out + 3 * x, 0, 24);
      } else if (fits && lies_inside(src, block, spare)) {
        next = whole;
        while (!lies_inside(src, warp_block(s, next - 8), spare)) next -= 8;
        const int64_t ahead = down * static_cast<int64_t>(src.stride) + right * src.channels;
        inside(src, {s, x, (next - x) / 8, ahead}, out + 3 * x);
      } else {
        warp_row_scalar(src, map, out, x, next, y);
      }
    }
    if (whole < width) warp_row_scalar(src, map, out, whole, width, y);
  }
}

}  // namespace facesdk

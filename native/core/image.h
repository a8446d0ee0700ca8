// A view of a picture in memory, and the affine map that says where its pixels go.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facesdk {

// Of a picture that the pipeline takes.
constexpr int kMinSide = 64, kMaxSide = 8192;

// Rows of interleaved uint8 pixels; channels is 3 (RGB) or 1 (gray). Owns nothing.
struct Image {
  const uint8_t* data;
  int width;
  int height;
  int channels;
  size_t stride;  // bytes from one row to the next
};

struct Point {
  double x;
  double y;
};

// (x, y) -> (a x + b y + c, d x + e y + f), pixels to pixels; pixel centres have integer coordinates.
struct Affine {
  double a, b, c;
  double d, e, f;

  Point operator()(Point p) const { return {a * p.x + b * p.y + c, d * p.x + e * p.y + f}; }
};

}  // namespace facesdk

#include "geometry.h"

#include <cmath>

namespace facesdk {

const FivePoints kArcFacePoints = {{{38.2946, 51.6963},
                                    {73.5318, 51.5014},
                                    {56.0252, 71.7366},
                                    {41.5493, 92.3655},
                                    {70.7299, 92.2041}}};

Affine region_to_frame(const Region& region, int size) {
  const double step = region.side / size;
  const double cos = std::cos(region.angle) * step, sin = std::sin(region.angle) * step;
  const double half = 0.5 * size;
  return {cos, -sin, region.centre.x - half * (cos - sin), sin, cos, region.centre.y - half * (sin + cos)};
}

Affine similarity(const FivePoints& from, const FivePoints& to) {
  Point from_mean{0, 0}, to_mean{0, 0};
  for (size_t i = 0; i < from.size(); ++i) {
    from_mean.x += from[i].x / from.size();
    from_mean.y += from[i].y / from.size();
    to_mean.x += to[i].x / to.size();
    to_mean.y += to[i].y / to.size();
  }
  double dot = 0, cross = 0, spread = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    const double fx = from[i].x - from_mean.x, fy = from[i].y - from_mean.y;
    const double tx = to[i].x - to_mean.x, ty = to[i].y - to_mean.y;
    dot += fx * tx + fy * ty;
    cross += fx * ty - fy * tx;
    spread += fx * fx + fy * fy;
  }
  if (!(spread > 0)) return {0, 0, to_mean.x, 0, 0, to_mean.y};
  const double a = dot / spread, b = cross / spread;
  return {a, -b, to_mean.x - a * from_mean.x + b * from_mean.y, b, a, to_mean.y - b * from_mean.x - a * from_mean.y};
}

Affine inverse(const Affine& m) {
  const double det = m.a * m.e - m.b * m.d;
  if (!(std::abs(det) > 0)) return {0, 0, 0, 0, 0, 0};
  const double a = m.e / det, b = -m.b / det, d = -m.d / det, e = m.a / det;
  return {a, b, -(a * m.c + b * m.f), d, e, -(d * m.c + e * m.f)};
}

Affine on_grid(const Affine& map) {
  constexpr double half = kCropSize / 2;
  int exponent = 0;
  std::frexp(scale_of(map), &exponent);
  const auto to = [exponent](double value, int bits) {
    return std::ldexp(std::nearbyint(std::ldexp(value, bits - exponent)), exponent - bits);
  };
  const double a = to(map.a, 11), d = to(map.d, 11);
  const Point middle = map({half, half});
  return {a, -d, to(middle.x, 6) - half * (a - d), d, a, to(middle.y, 6) - half * (d + a)};
}

// Not std::hypot: it asks for glibc 2.35.
double scale_of(const Affine& map) { return std::sqrt(map.a * map.a + map.d * map.d); }

}  // namespace facesdk

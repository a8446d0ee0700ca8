// Face points for the tests.
#pragma once

#include "geometry.h"

namespace test {

// The reference points times scale, with the crop's corner at (x, y).
inline facesdk::FivePoints scaled(double scale, double x, double y) {
  facesdk::FivePoints points = facesdk::kArcFacePoints;
  for (facesdk::Point& p : points) p = {p.x * scale + x, p.y * scale + y};
  return points;
}

}  // namespace test

// A face mesh for the tests: an oval of so many pixels, its contour, eyes and mouth where MediaPipe numbers them.
#pragma once

#include <cmath>

#include "mesh.h"

namespace test {

inline facesdk::mesh::Points face(double x, double y, double wide) {
  facesdk::mesh::Points points;
  const double half = wide / 2;
  const auto put = [&](int i, double u, double v) {
    points[static_cast<size_t>(i)] = {x + half * u, y + half * 1.25 * v, half * (0.8 * (u * u + v * v) - 0.4 * std::exp(-8 * (u * u + v * v)))};
  };
  for (int i = 0; i < facesdk::mesh::kPoints; ++i) {
    const double angle = 2.39996 * i, radius = std::sqrt(i / 468.0);
    put(i, radius * std::cos(angle), radius * std::sin(angle));
  }
  constexpr int contour[] = {10,  338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
                             152, 148, 176, 149, 150, 136, 172, 58,  132, 93,  234, 127, 162, 21,  54,  103, 67,  109};
  for (int i = 0; i < 36; ++i) put(contour[i], std::sin(i * 3.14159265 / 18), -std::cos(i * 3.14159265 / 18));
  put(33, -0.6, -0.3), put(133, -0.2, -0.3), put(159, -0.4, -0.35), put(145, -0.4, -0.25);
  put(362, 0.2, -0.3), put(263, 0.6, -0.3), put(386, 0.4, -0.35), put(374, 0.4, -0.25);
  put(61, -0.35, 0.5), put(291, 0.35, 0.5), put(1, 0, 0.05), put(4, 0, 0.1);
  return points;
}

}  // namespace test

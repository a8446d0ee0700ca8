#include "mesh.h"

#include <algorithm>
#include <cmath>

namespace facesdk {
namespace {

constexpr double kDegrees = 180.0 / 3.14159265358979323846;

}  // namespace

namespace mesh {
namespace {

Point mean(const Points& points, std::initializer_list<int> indexes) {
  Point sum{0, 0};
  for (const int i : indexes) {
    sum.x += points[i].x / indexes.size();
    sum.y += points[i].y / indexes.size();
  }
  return sum;
}

Point3 unit(Point3 p) {
  const double length = std::sqrt(p.x * p.x + p.y * p.y + p.z * p.z);
  return length > 0 ? Point3{p.x / length, p.y / length, p.z / length} : Point3{0, 0, 0};
}

Point3 between(const Points& points, int from, int to) {
  return unit({points[to].x - points[from].x, points[to].y - points[from].y, points[to].z - points[from].z});
}

}  // namespace

Region region_of(const Detection& face) {
  const Point right = face.keypoints[0], left = face.keypoints[1];
  const Box& box = face.box;
  return {{(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2},
          1.5 * std::max(box.width(), box.height()),
          std::atan2(left.y - right.y, left.x - right.x)};
}

void to_frame(const float* raw, const Region& region, Points& points) {
  const Affine map = region_to_frame(region, kSize);
  const double scale = region.side / kSize;
  for (int i = 0; i < kPoints; ++i) {
    const Point p = map({raw[3 * i], raw[3 * i + 1]});
    points[i] = {p.x, p.y, raw[3 * i + 2] * scale};
  }
}

FivePoints five_points(const Points& points) {
  return {mean(points, {33, 133, 159, 145}), mean(points, {362, 263, 386, 374}), mean(points, {1, 4}),
          mean(points, {61}), mean(points, {291})};
}

Pose pose_of(const Points& points) {
  const Point3 across = between(points, 234, 454), down = between(points, 10, 152);
  // The far cheek, or the chin of a lowered head, has the larger z.
  const double yaw = std::asin(std::clamp(across.z, -1.0, 1.0));
  const double pitch = std::asin(std::clamp(down.z, -1.0, 1.0));
  return {yaw * kDegrees, pitch * kDegrees, std::atan2(across.y, across.x) * kDegrees};
}

}  // namespace mesh

Pose pose_of(const Detection& face) {
  const auto& k = face.keypoints;
  const double roll = std::atan2(k[1].y - k[0].y, k[1].x - k[0].x);
  // In the head's own axes: along the eyes, and downwards.
  const auto along = [&](Point p, Point from) {
    return Point{(p.x - from.x) * std::cos(roll) + (p.y - from.y) * std::sin(roll),
                 -(p.x - from.x) * std::sin(roll) + (p.y - from.y) * std::cos(roll)};
  };
  const Point ears{(k[4].x + k[5].x) / 2, (k[4].y + k[5].y) / 2};
  const Point eyes{(k[0].x + k[1].x) / 2, (k[0].y + k[1].y) / 2};
  const double width = std::abs(along(k[5], k[4]).x) / 2, height = along(k[3], eyes).y;
  const double yaw = width > 0 ? std::asin(std::clamp(along(k[2], ears).x / width / 1.2, -1.0, 1.0)) : 0;
  // Frontal faces have the nose tip 0.6 of the way from the eyes to the mouth.
  const double rise = height > 0 ? std::clamp(along(k[2], eyes).y / height - 0.6, -0.5, 0.5) : 0;
  return {yaw * kDegrees, std::asin(2 * rise) * kDegrees * 0.7, roll * kDegrees};
}

}  // namespace facesdk

#include "eyes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels.h"

namespace facesdk {
namespace eyes {
namespace {

constexpr int kLower = 9, kLids = 16;  // lower lid with both corners, then the upper one
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

bool inside(const Image& frame, Point p) {
  return p.x >= 0 && p.y >= 0 && p.x <= frame.width - 1 && p.y <= frame.height - 1;
}

}  // namespace

Region region_of(const Corners& corners) {
  const double dx = corners.right.x - corners.left.x, dy = corners.right.y - corners.left.y;
  return {{(corners.left.x + corners.right.x) / 2, (corners.left.y + corners.right.y) / 2},
          kAround * std::sqrt(dx * dx + dy * dy), std::atan2(dy, dx)};
}

Affine map_of(const Region& region, bool mirrored) {
  const Affine map = region_to_frame(region, kSize);
  if (!mirrored) return map;
  constexpr double last = kSize - 1;
  return {-map.a, map.b, map.c + last * map.a, -map.d, map.e, map.f + last * map.d};
}

double openness_of(const float* contour) {
  const auto at = [&](int i) { return Point{contour[3 * i], contour[3 * i + 1]}; };
  const Point outer = at(0), inner = at(kLower - 1);
  const double dx = inner.x - outer.x, dy = inner.y - outer.y, width = std::sqrt(dx * dx + dy * dy);
  const auto below = [&](int i) { return (dx * (at(i).y - outer.y) - dy * (at(i).x - outer.x)) / width; };
  double lower = 0, upper = 0;
  for (int i = 1; i < kLower - 1; ++i) lower += below(i) / (kLower - 2);
  for (int i = kLower; i < kLids; ++i) upper += below(i) / (kLids - kLower);
  const double openness = std::abs(lower - upper) / width;
  return std::isfinite(openness) && width > 0 ? openness : kNan;
}

}  // namespace eyes

Eyes::Eyes(std::shared_ptr<Network> network) : network_(std::move(network)) {
  if (!network_) throw RuntimeFailure("eyes: a network was expected, there is none");
  const TensorInfo& info = network_->input_info();
  if (info.type != ElementType::float32 || info.shape != std::vector<int>{1, eyes::kSize, eyes::kSize, 3}) {
    throw RuntimeFailure("eyes: the input tensor " + info.name + " is not 1 x 64 x 64 x 3 of float32");
  }
  contour_ = network_->output_of_size(size_t{eyes::kContour} * 3);
  iris_ = network_->output_of_size(size_t{eyes::kIris} * 3);
  for (const size_t output : {contour_, iris_}) {
    if (network_->output_infos()[output].type != ElementType::float32) {
      throw RuntimeFailure("eyes: float32 outputs were expected");
    }
  }
  pixels_.resize(size_t{eyes::kSize} * eyes::kSize * 3);
}

std::array<Eye, 2> Eyes::look(const Image& frame, const std::array<eyes::Corners, 2>& corners) {
  process_.check();  // before the lock, as in Pipeline
  const std::unique_lock lock(mutex_);
  return {look_at(frame, corners[0], false), look_at(frame, corners[1], true)};
}

Eye Eyes::look_at(const Image& frame, const eyes::Corners& corners, bool mirrored) {
  Eye eye{{}, {}, eyes::kNan};
  eye.contour.fill({eyes::kNan, eyes::kNan});
  eye.iris.fill({eyes::kNan, eyes::kNan});
  const Region region = eyes::region_of(corners);
  if (!(region.side > 0) || !eyes::inside(frame, corners.left) || !eyes::inside(frame, corners.right)) return eye;
  const Affine map = eyes::map_of(region, mirrored);
  kernels().warp_u8(frame, map, pixels_.data(), eyes::kSize, eyes::kSize);
  kernels().scale_u8_f32(pixels_.data(), static_cast<float*>(network_->input()), pixels_.size(), 1.0f / 255.0f, 0.0f);
  network_->invoke();
  const auto* contour = static_cast<const float*>(network_->output(contour_));
  const auto* iris = static_cast<const float*>(network_->output(iris_));
  for (int i = 0; i < eyes::kContour; ++i) eye.contour[i] = map({contour[3 * i], contour[3 * i + 1]});
  for (int i = 0; i < eyes::kIris; ++i) eye.iris[i] = map({iris[3 * i], iris[3 * i + 1]});
  eye.openness = eyes::openness_of(contour);
  return eye;
}

}  // namespace facesdk

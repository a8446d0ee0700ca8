// The crop of a face: aligned by its points, and measured.
#include <algorithm>
#include <cmath>
#include <vector>

#include "frames.h"
#include "pipeline.h"
#include "points.h"
#include "test.h"

using namespace facesdk;
using test::Frame;
using test::scaled;

namespace {

std::vector<uint8_t> aligned(const Image& frame, const FivePoints& points) {
  std::vector<uint8_t> scratch, crop(kCropBytes, 99);
  CHECK(align(frame, points, scratch, crop.data()));
  return crop;
}

std::vector<uint8_t> crop_of(const test::Paint& paint) {
  const Frame frame(kCropSize, kCropSize, 3, paint);
  return {frame.image.data, frame.image.data + kCropBytes};
}

}  // namespace

TEST(align_of_one_colour_is_that_colour) {
  const Frame frame(1000, 1000, 3, [](int, int, int c) { return 137 + c; });
  for (const double scale : {1.0, 1.9, 2.0, 3.0, 5.5, 8.0}) {
    const std::vector<uint8_t> crop = aligned(frame.image, scaled(scale, 20, 20));
    bool equal = true;
    for (int i = 0; i < kCropBytes; ++i) equal = equal && crop[i] == 137 + i % 3;
    CHECK(equal);
  }
}

TEST(align_has_no_half_pixel_drift) {
  // A ramp of 240 gray levels over the crop's part of the frame, level or upright; averaging its samples must
  // give the ramp's value at the crop pixel's centre, whatever the number of samples.
  for (const double scale : {1.0, 2.0, 3.0, 5.0, 8.0}) {
    for (const bool across : {true, false}) {
      const double slope = 240 / (111 * scale);
      const int side = static_cast<int>(112 * scale) + 40;
      const Frame frame(side, side, 3, [=](int x, int y, int) {
        return static_cast<int>(std::clamp(std::lround(((across ? x : y) - 20) * slope), 0L, 255L));
      });
      const std::vector<uint8_t> crop = aligned(frame.image, scaled(scale, 20, 20));
      double worst = 0, bias = 0;
      int n = 0;
      for (int y = 2; y < 110; ++y) {
        for (int x = 2; x < 110; ++x) {
          const double error = crop[3 * (y * kCropSize + x)] - (across ? x : y) * scale * slope;
          worst = std::max(worst, std::abs(error));
          bias += error;
          ++n;
        }
      }
      CHECK(worst <= 1.0);
      CHECK_NEAR(bias / n, 0, 0.25);  // a third of a crop pixel would be 0.7
    }
  }
}

TEST(align_puts_the_points_in_their_places) {
  // White dots of five pixels at the face's points, turned and enlarged: they must come out at ArcFace's.
  const double c = 2.6 * std::cos(0.4), s = 2.6 * std::sin(0.4);
  FivePoints points = kArcFacePoints;
  for (Point& p : points) p = {c * p.x - s * p.y + 180, s * p.x + c * p.y + 20};
  const Frame frame(480, 420, 1, [&](int x, int y, int) {
    const bool near = std::any_of(points.begin(), points.end(), [&](Point p) { return std::hypot(p.x - x, p.y - y) < 5; });
    return near ? 255 : 0;
  });
  const std::vector<uint8_t> crop = aligned(frame.image, points);
  for (const Point& p : kArcFacePoints) {
    double sum = 0, x_sum = 0, y_sum = 0;
    for (int y = static_cast<int>(p.y) - 6; y <= p.y + 6; ++y) {
      for (int x = static_cast<int>(p.x) - 6; x <= p.x + 6; ++x) {
        const double v = crop[3 * (y * kCropSize + x)];
        sum += v;
        x_sum += v * x;
        y_sum += v * y;
      }
    }
    CHECK(sum > 0);
    CHECK_NEAR(x_sum / sum, p.x, 0.1);
    CHECK_NEAR(y_sum / sum, p.y, 0.1);
  }
}

TEST(align_refuses_points_in_one_place) {
  const Frame frame(64, 64, 3, test::noise());
  std::vector<uint8_t> scratch, crop(kCropBytes);
  const FivePoints same = {{{5, 5}, {5, 5}, {5, 5}, {5, 5}, {5, 5}}};
  CHECK(!align(frame.image, same, scratch, crop.data()));
  FivePoints holed = kArcFacePoints;
  holed[3].y = std::nan("");
  CHECK(!align(frame.image, holed, scratch, crop.data()));
}

TEST(align_takes_faces_of_any_size) {
  const Frame frame(64, 64, 3, test::constant(200));
  std::vector<uint8_t> scratch, crop(kCropBytes);
  for (const double scale : {1e-6, 0.01, 0.5, 100.0, 1e6, 3e9, 1e12, 1e30}) {
    CHECK(align(frame.image, scaled(scale, 0, 0), scratch, crop.data()));
    // Faces that fill thousands of frames are averaged as finely as any is.
    if (scale >= 100) CHECK_EQ(scratch.size(), size_t{8 * 8} * kCropBytes);
  }
}

TEST(measure_flat) {
  const CropStatistics s = measure(crop_of(test::constant(100)).data());
  CHECK_EQ(s.brightness, 100.0);
  CHECK_EQ(s.contrast, 0.0);
  CHECK_EQ(s.overexposed, 0.0);
  CHECK_EQ(s.sharpness, 0.0);
  // gray = (77 R + 150 G + 29 B) / 256
  CHECK_EQ(measure(crop_of([](int, int, int c) { return c == 0 ? 200 : 0; }).data()).brightness, 60.0);
  CHECK_EQ(measure(crop_of([](int, int, int c) { return c == 1 ? 200 : 0; }).data()).brightness, 117.0);
  CHECK_EQ(measure(crop_of([](int, int, int c) { return c == 2 ? 200 : 0; }).data()).brightness, 22.0);
}

TEST(measure_checkerboard) {
  const CropStatistics s = measure(crop_of([](int x, int y, int) { return (x + y) % 2 == 0 ? 0 : 255; }).data());
  CHECK_NEAR(s.brightness, 127.5, 1e-9);
  CHECK_NEAR(s.contrast, 127.5, 1e-9);
  CHECK_NEAR(s.overexposed, 0.5, 1e-9);
  CHECK_NEAR(s.sharpness, 1020.0 * 1020.0, 1e-6);
}

TEST(measure_bright) {
  CHECK_EQ(measure(crop_of(test::constant(255)).data()).overexposed, 1.0);
  CHECK_EQ(measure(crop_of(test::constant(250)).data()).overexposed, 1.0);
  CHECK_EQ(measure(crop_of(test::constant(249)).data()).overexposed, 0.0);
}

TEST(measure_looks_at_the_face_only) {
  const auto face = [](int x, int y) { return x >= 21 && x < 91 && y >= 27 && y < 105; };
  const auto crop = crop_of([&](int x, int y, int) { return face(x, y) ? 60 : 255; });
  const CropStatistics s = measure(crop.data());
  CHECK_EQ(s.brightness, 60.0);
  CHECK_EQ(s.sharpness, 0.0);
  // A ramp is no edge: its Laplacian is zero.
  const CropStatistics ramp = measure(crop_of([](int x, int y, int) { return x + y; }).data());
  CHECK_EQ(ramp.sharpness, 0.0);
  CHECK(ramp.contrast > 20);
}

// Maps between frame, region and crop, by numbers worked out by hand and by round trips.
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "geometry.h"
#include "test.h"

using namespace facesdk;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Affine similarity_map(double scale, double angle, double x, double y) {
  const double c = scale * std::cos(angle), s = scale * std::sin(angle);
  return {c, -s, x, s, c, y};
}

FivePoints mapped(const FivePoints& points, const Affine& map) {
  FivePoints out;
  for (size_t i = 0; i < points.size(); ++i) out[i] = map(points[i]);
  return out;
}

void check_same_map(const Affine& a, const Affine& b, double tolerance) {
  CHECK_NEAR(a.a, b.a, tolerance);
  CHECK_NEAR(a.b, b.b, tolerance);
  CHECK_NEAR(a.c, b.c, tolerance * 1000);
  CHECK_NEAR(a.d, b.d, tolerance);
  CHECK_NEAR(a.e, b.e, tolerance);
  CHECK_NEAR(a.f, b.f, tolerance * 1000);
}

}  // namespace

TEST(geometry_affine_applies_rows) {
  const Affine map{2, 3, 5, 7, 11, 13};
  const Point p = map({17, 19});
  CHECK_EQ(p.x, 2.0 * 17 + 3 * 19 + 5);
  CHECK_EQ(p.y, 7.0 * 17 + 11 * 19 + 13);
}

TEST(geometry_similarity_recovers_what_was_done) {
  std::mt19937 random(11);
  std::uniform_real_distribution<double> angle(-std::numbers::pi, std::numbers::pi), shift(-3000, 3000),
      power(-3, 3);
  for (int i = 0; i < 300; ++i) {
    const Affine truth = similarity_map(std::exp2(power(random)), angle(random), shift(random), shift(random));
    check_same_map(similarity(kArcFacePoints, mapped(kArcFacePoints, truth)), truth, 1e-10);
  }
}

TEST(geometry_similarity_is_the_least_squares_one) {
  std::mt19937 random(12);
  std::normal_distribution<double> jitter(0, 3);
  FivePoints noisy = mapped(kArcFacePoints, similarity_map(2, 0.3, 10, -20));
  for (Point& p : noisy) p = {p.x + jitter(random), p.y + jitter(random)};
  const auto error = [&](const Affine& map) {
    double sum = 0;
    for (size_t i = 0; i < noisy.size(); ++i) {
      const Point p = map(kArcFacePoints[i]);
      sum += (p.x - noisy[i].x) * (p.x - noisy[i].x) + (p.y - noisy[i].y) * (p.y - noisy[i].y);
    }
    return sum;
  };
  const Affine best = similarity(kArcFacePoints, noisy);
  CHECK_NEAR(best.a, best.e, 0);
  CHECK_NEAR(best.b, -best.d, 0);
  for (const double step : {-0.01, 0.01}) {
    CHECK(error(best) < error({best.a + step, best.b, best.c, best.d, best.e + step, best.f}));
    CHECK(error(best) < error({best.a, best.b - step, best.c, best.d + step, best.e, best.f}));
    CHECK(error(best) < error({best.a, best.b, best.c + step, best.d, best.e, best.f}));
    CHECK(error(best) < error({best.a, best.b, best.c, best.d, best.e, best.f + step}));
  }
}

TEST(geometry_similarity_never_mirrors) {
  const FivePoints mirrored = mapped(kArcFacePoints, {-1, 0, 112, 0, 1, 0});
  const Affine map = similarity(kArcFacePoints, mirrored);
  CHECK(map.a * map.e - map.b * map.d >= 0);
}

TEST(geometry_inverse_round_trips) {
  std::mt19937 random(13);
  std::uniform_real_distribution<double> angle(-std::numbers::pi, std::numbers::pi), shift(-3000, 3000),
      power(-6, 6);
  for (int i = 0; i < 300; ++i) {
    const Affine map = similarity_map(std::exp2(power(random)), angle(random), shift(random), shift(random));
    check_same_map(inverse(inverse(map)), map, 1e-8);
    const Point p{shift(random), shift(random)}, q = inverse(map)(map(p));
    CHECK_NEAR(q.x, p.x, 1e-7);
    CHECK_NEAR(q.y, p.y, 1e-7);
  }
  // One that is no similarity.
  const Affine sheared{1, 0.5, 3, 0.25, 2, -4};
  check_same_map(inverse(inverse(sheared)), sheared, 1e-12);
}

TEST(geometry_degenerate_points_give_nothing) {
  const FivePoints one_place = {{{5, 6}, {5, 6}, {5, 6}, {5, 6}, {5, 6}}};
  const Affine flat = similarity(one_place, kArcFacePoints);
  CHECK_EQ(scale_of(flat), 0.0);
  CHECK_EQ(scale_of(inverse(flat)), 0.0);
  FivePoints holed = kArcFacePoints;
  holed[2].x = kNan;
  CHECK_EQ(scale_of(inverse(similarity(holed, kArcFacePoints))), 0.0);
  holed[2].x = HUGE_VAL;
  CHECK_EQ(scale_of(inverse(similarity(holed, kArcFacePoints))), 0.0);
  const Affine zero = inverse({kNan, 0, 0, 0, 1, 0});
  CHECK_EQ(scale_of(zero), 0.0);
  CHECK_EQ(zero.c, 0.0);
  // In one line is no harm: a similarity has only two points' worth of freedom.
  const FivePoints line = {{{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 0}}};
  check_same_map(similarity(line, mapped(line, similarity_map(3, 1, 2, 5))), similarity_map(3, 1, 2, 5), 1e-12);
}

TEST(geometry_grid_is_near_and_takes_noise_away) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> scale(0.2, 9), angle(-3.2, 3.2), place(-500, 4500), noise(-1, 1);
  int same = 0;
  constexpr int kTried = 2000;
  for (int i = 0; i < kTried; ++i) {
    const double s = scale(random), turn = angle(random), a = s * std::cos(turn), d = s * std::sin(turn);
    const Affine map{a, -d, place(random), d, a, place(random)}, grid = on_grid(map);
    CHECK(grid.a == grid.e && grid.b == -grid.d);
    for (const Point corner : {Point{0, 0}, Point{112, 0}, Point{0, 112}, Point{112, 112}}) {
      const Point before = map(corner), after = grid(corner);
      CHECK(std::hypot(before.x - after.x, before.y - after.y) <= 0.073 * s);
    }
    const auto off = [&](double value, double by) { return value + by * s * noise(random); };
    const double a2 = off(a, 1e-5), d2 = off(d, 1e-5);
    const Affine other = on_grid({a2, -d2, off(map.c, 5e-4), d2, a2, off(map.f, 5e-4)});
    same += other.a == grid.a && other.d == grid.d && other.c == grid.c && other.f == grid.f;
  }
  CHECK(same >= kTried * 9 / 10);
  // The scale just above a power of two, where the grid is widest.
  const Affine widest{0x1.81bf6f768ef7bp+0, -0x1.513f4b1589654p+0, 0x1.a76f0b4b8aa94p+6,
                      0x1.513f4b1589654p+0, 0x1.81bf6f768ef7bp+0, 0x1.db000c614acc6p+11};
  const Point before = widest({0, 0}), after = on_grid(widest)({0, 0});
  CHECK(std::hypot(before.x - after.x, before.y - after.y) <= 0.073 * scale_of(widest));
  CHECK(scale_of(on_grid({0, 0, 3, 0, 0, 4})) == 0);
}

TEST(geometry_region_corners) {
  const Region level{{100, 200}, 50, 0};
  const Affine map = region_to_frame(level, 10);
  CHECK_NEAR(map({0, 0}).x, 75, 1e-9);
  CHECK_NEAR(map({0, 0}).y, 175, 1e-9);
  CHECK_NEAR(map({10, 10}).x, 125, 1e-9);
  CHECK_NEAR(map({10, 10}).y, 225, 1e-9);
  CHECK_NEAR(map({5, 5}).x, 100, 1e-9);
  CHECK_NEAR(scale_of(map), 5, 1e-12);
  // A quarter turn clockwise as seen: the top left corner goes to the top right.
  const Affine turned = region_to_frame({{100, 200}, 50, std::numbers::pi / 2}, 10);
  CHECK_NEAR(turned({0, 0}).x, 125, 1e-9);
  CHECK_NEAR(turned({0, 0}).y, 175, 1e-9);
  CHECK_NEAR(turned({10, 0}).x, 125, 1e-9);
  CHECK_NEAR(turned({10, 0}).y, 225, 1e-9);
  CHECK_NEAR(turned({5, 5}).x, 100, 1e-9);
  CHECK_NEAR(turned({5, 5}).y, 200, 1e-9);
}

TEST(geometry_arcface_points_are_upright) {
  // Eyes above nose above mouth, the person's right on the left.
  CHECK(kArcFacePoints[0].x < kArcFacePoints[2].x && kArcFacePoints[2].x < kArcFacePoints[1].x);
  CHECK(kArcFacePoints[0].y < kArcFacePoints[2].y && kArcFacePoints[2].y < kArcFacePoints[3].y);
  CHECK(kArcFacePoints[3].x < kArcFacePoints[4].x);
  double x = 0;
  for (const Point& p : kArcFacePoints) x += p.x / 5;
  CHECK_NEAR(x, kCropSize / 2.0, 1.0);
}

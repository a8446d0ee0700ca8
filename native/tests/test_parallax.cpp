// Turns of a mesh, its depths, and the relief that moved points show.
#include "parallax.h"

#include <cmath>
#include <limits>
#include <vector>

#include "meshes.h"
#include "test.h"

using namespace facesdk;
using namespace facesdk::parallax;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

mesh::Points turned(const mesh::Points& face, double yaw) {
  mesh::Points out;
  for (size_t i = 0; i < out.size(); ++i) {
    const mesh::Point3& p = face[i];
    out[i] = {std::cos(yaw) * (p.x - 200) - std::sin(yaw) * p.z + 210, p.y + 3, std::sin(yaw) * (p.x - 200) + std::cos(yaw) * p.z};
  }
  return out;
}

// Points of the face, moved as a plane is, and by relief times shift.
struct Moved {
  std::vector<Point> from, to;
  std::vector<double> depths;
  double size;

  Moved(double head, double bend, Point shift) {
    const mesh::Points face = test::face(200, 190, 130);
    size = eye_distance(face);
    for (int i = 0; i < 60; ++i) {
      const double angle = 2.4 * i, radius = 55 * std::sqrt((i + 0.5) / 60);
      from.push_back({200 + radius * std::cos(angle), 190 + radius * 1.2 * std::sin(angle)});
      depths.push_back(depth_at(face, from.back()));
      const double x = (from.back().x - 200) / size, y = (from.back().y - 190) / size, w = 1 + 0.05 * x - 0.03 * y;
      const double relief = head * depths.back() + bend * x * x;
      const double wobble = 0.0005 * ((i * 7) % 5 - 2);
      to.push_back({210 + size * ((0.95 * x + 0.04 * y) / w + relief * shift.x + wobble),
                    180 + size * ((1.02 * y - 0.03 * x) / w + relief * shift.y - wobble)});
    }
  }
};

}  // namespace

TEST(a_turn_is_known_by_its_points) {
  const mesh::Points face = test::face(200, 190, 130);
  for (const double degrees : {0.0, 12.0, -25.0, 40.0}) {
    const double yaw = degrees * 3.14159265358979323846 / 180;
    const Turn turn = turn_between(face, turned(face, yaw));
    CHECK(turn.known);
    CHECK_NEAR(turn.turn_deg, std::abs(degrees), 1e-4);
    CHECK_NEAR(turn.shift.x, -std::sin(yaw), 1e-6);
    CHECK_NEAR(turn.shift.y, 0, 1e-6);
  }
}

TEST(no_turn_without_a_relief_or_with_numbers_that_are_none) {
  const mesh::Points face = test::face(200, 190, 130);
  mesh::Points flat = face, wrong = face, mirrored = face, one;
  for (mesh::Point3& p : flat) p.z = 0;
  for (mesh::Point3& p : mirrored) p.x = -p.x;
  one.fill({1, 1, 1});
  wrong[3].y = kNan;
  for (const mesh::Points& bad : {flat, wrong, mirrored, one}) CHECK(!turn_between(face, bad).known);
  CHECK(!turn_between(one, face).known);
}

TEST(heads_are_told_from_sheets) {
  for (const Point shift : {Point{0.25, 0}, Point{0, -0.25}, Point{0.2, 0.2}}) {
    Relief relief{};
    const Moved head(1, 0, shift), flat(0, 0, shift), bent(0, 0.3, shift);
    CHECK(relief_of(head.from, head.depths, head.to, head.size, shift, relief));
    CHECK_NEAR(relief.rho, 1, 0.03);
    CHECK_NEAR(relief.rho_bent, 1, 0.03);
    CHECK(relief.used >= 55);
    CHECK(relief_of(flat.from, flat.depths, flat.to, flat.size, shift, relief));
    CHECK_NEAR(relief.rho, 0, 0.03);
    CHECK_NEAR(relief.rho_bent, 0, 0.03);
    CHECK(relief_of(bent.from, bent.depths, bent.to, bent.size, shift, relief));
    CHECK(relief.rho > 0.1);
    CHECK_NEAR(relief.rho_bent, 0, 0.03);
  }
}

TEST(fits_that_say_nothing_are_none) {
  const Point shift{0.25, 0};
  const Moved head(1, 0, shift);
  Relief relief{};
  CHECK(relief_of(head.from, head.depths, head.to, head.size, shift, relief));
  for (const double bad : {kNan, std::numeric_limits<double>::infinity(), 1e300}) {
    Moved wrong = head;
    wrong.from[5].x = bad;
    CHECK(!relief_of(wrong.from, wrong.depths, wrong.to, wrong.size, shift, relief));
    wrong = head;
    wrong.to[5].y = bad;
    CHECK(!relief_of(wrong.from, wrong.depths, wrong.to, wrong.size, shift, relief));
    wrong = head;
    wrong.depths[5] = bad;
    CHECK(!relief_of(wrong.from, wrong.depths, wrong.to, wrong.size, shift, relief));
    CHECK(!relief_of(head.from, head.depths, head.to, bad, shift, relief));
    CHECK(!relief_of(head.from, head.depths, head.to, head.size, {bad, 0}, relief));
  }
  const std::span<const Point> from(head.from), to(head.to);
  const std::span<const double> depths(head.depths);
  CHECK(!relief_of(from.first(kLeast - 1), depths.first(kLeast - 1), to.first(kLeast - 1), head.size, shift, relief));
  CHECK(!relief_of(from.first(30), depths, to, head.size, shift, relief));
  CHECK(!relief_of(from, depths, to, head.size, {0, 0}, relief));
  const std::vector<double> none(60, 0.5);
  CHECK(!relief_of(from, none, to, head.size, shift, relief));
  const std::vector<Point> one(60, Point{3, 4});
  CHECK(!relief_of(one, depths, to, head.size, shift, relief));
}

TEST(depths_are_none_where_no_mesh_is) {
  const mesh::Points face = test::face(200, 190, 130);
  CHECK(std::isfinite(depth_at(face, {200, 190})));
  CHECK(depth_at(face, {200, 190}) < depth_at(face, {230, 190}));
  CHECK(std::isnan(depth_at(face, {900, 190})));
  CHECK(std::isnan(depth_at(face, {kNan, 190})));
}

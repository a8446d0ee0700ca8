// The mesh's region and points, and the signs of poses on heads turned by known angles.
#include <cmath>
#include <numbers>
#include <vector>

#include "mesh.h"
#include "test.h"

using namespace facesdk;
using mesh::Point3;

namespace {

constexpr double kRadians = std::numbers::pi / 180;

// x to the right of the picture, y down, z away from the camera.
struct Turn {
  double yaw = 0, pitch = 0, roll = 0;  // degrees; the nose moves right, moves down, the head turns clockwise

  Point3 operator()(Point3 p) const {
    const double cy = std::cos(yaw * kRadians), sy = std::sin(yaw * kRadians);
    p = {p.x * cy - p.z * sy, p.y, p.x * sy + p.z * cy};
    const double cp = std::cos(pitch * kRadians), sp = std::sin(pitch * kRadians);
    p = {p.x, p.y * cp - p.z * sp, p.y * sp + p.z * cp};
    const double cr = std::cos(roll * kRadians), sr = std::sin(roll * kRadians);
    return {p.x * cr - p.y * sr, p.x * sr + p.y * cr, p.z};
  }
};

struct Named {
  int index;
  Point3 at;
};

// A head of radius 100 around its own centre; only the points that anything looks at.
const std::vector<Named> kHead = {
    {10, {0, -100, 0}},     {152, {0, 100, 0}},     {234, {-100, 0, 0}},    {454, {100, 0, 0}},
    {33, {-60, -30, -60}},  {133, {-20, -30, -60}}, {159, {-40, -36, -60}}, {145, {-40, -24, -60}},
    {362, {20, -30, -60}},  {263, {60, -30, -60}},  {386, {40, -36, -60}},  {374, {40, -24, -60}},
    {1, {0, 20, -100}},     {4, {0, 10, -100}},     {61, {-30, 60, -70}},   {291, {30, 60, -70}},
};

mesh::Points turned_head(const Turn& turn) {
  mesh::Points points;
  points.fill({-1e4, -1e4, -1e4});  // a look at another point shows
  for (const Named& n : kHead) {
    const Point3 p = turn(n.at);
    points[n.index] = {p.x + 300, p.y + 200, p.z};
  }
  return points;
}

// The six keypoints of the same head: eyes, nose tip, mouth, ears.
Detection turned_keypoints(const Turn& turn) {
  const Point3 head[6] = {{-40, -30, -60}, {40, -30, -60}, {0, 24, -100}, {0, 60, -70}, {-100, 0, 0}, {100, 0, 0}};
  Detection d{{200, 100, 400, 300}, {}, 0.9};
  for (size_t k = 0; k < 6; ++k) {
    const Point3 p = turn(head[k]);
    d.keypoints[k] = {p.x + 300, p.y + 200};
  }
  return d;
}

}  // namespace

TEST(mesh_region_is_level_with_the_eyes) {
  Detection face{{10, 20, 50, 120}, {}, 0.9};
  face.keypoints[0] = {20, 50};
  face.keypoints[1] = {40, 70};
  const Region region = mesh::region_of(face);
  CHECK_EQ(region.centre.x, 30.0);
  CHECK_EQ(region.centre.y, 70.0);
  CHECK_EQ(region.side, 150.0);
  CHECK_NEAR(region.angle, std::numbers::pi / 4, 1e-12);
  const Affine map = region_to_frame(region, mesh::kSize);
  const Point left = inverse(map)(face.keypoints[0]), right = inverse(map)(face.keypoints[1]);
  CHECK_NEAR(left.y, right.y, 1e-9);
  CHECK(left.x < right.x);
}

TEST(mesh_points_go_back_to_the_frame) {
  std::vector<float> raw(3 * mesh::kPoints, 96.0f);
  raw[0] = raw[1] = 0;
  raw[2] = -10;
  raw[3 * 467] = 192;
  raw[3 * 467 + 1] = 192;
  raw[3 * 467 + 2] = 20;
  mesh::Points points;
  mesh::to_frame(raw.data(), {{500, 400}, 384, 0}, points);
  CHECK_NEAR(points[0].x, 308, 1e-9);
  CHECK_NEAR(points[0].y, 208, 1e-9);
  CHECK_NEAR(points[0].z, -20, 1e-9);
  CHECK_NEAR(points[467].x, 692, 1e-9);
  CHECK_NEAR(points[467].y, 592, 1e-9);
  CHECK_NEAR(points[467].z, 40, 1e-9);
  CHECK_NEAR(points[200].x, 500, 1e-9);
  CHECK_NEAR(points[200].y, 400, 1e-9);
}

TEST(mesh_five_points) {
  const FivePoints p = mesh::five_points(turned_head({}));
  const Point expected[5] = {{260, 170}, {340, 170}, {300, 215}, {270, 260}, {330, 260}};
  for (int i = 0; i < 5; ++i) {
    CHECK_NEAR(p[i].x, expected[i].x, 1e-9);
    CHECK_NEAR(p[i].y, expected[i].y, 1e-9);
  }
}

TEST(mesh_pose_signs) {
  // The head itself turns as its comment says: this holds the test's own geometry to the definition.
  CHECK((Turn{30, 0, 0}({0, 0, -100}).x > 0));
  CHECK((Turn{0, 30, 0}({0, 0, -100}).y > 0));
  CHECK((Turn{0, 0, 30}({100, 0, 0}).y > 0));
  for (double degrees = -60; degrees <= 60; degrees += 7.5) {
    const Pose yaw = mesh::pose_of(turned_head({degrees, 0, 0}));
    CHECK_NEAR(yaw.yaw, degrees, 1e-6);
    CHECK_NEAR(yaw.pitch, 0, 1e-6);
    CHECK_NEAR(yaw.roll, 0, 1e-6);
    const Pose pitch = mesh::pose_of(turned_head({0, degrees, 0}));
    CHECK_NEAR(pitch.yaw, 0, 1e-6);
    CHECK_NEAR(pitch.pitch, degrees, 1e-6);
    CHECK_NEAR(pitch.roll, 0, 1e-6);
    const Pose roll = mesh::pose_of(turned_head({0, 0, degrees}));
    CHECK_NEAR(roll.yaw, 0, 1e-6);
    CHECK_NEAR(roll.pitch, 0, 1e-6);
    CHECK_NEAR(roll.roll, degrees, 1e-6);
    // Rolling the head as well changes neither of the others.
    CHECK_NEAR(mesh::pose_of(turned_head({degrees, 0, 25})).yaw, degrees, 1e-6);
    CHECK_NEAR(mesh::pose_of(turned_head({0, degrees, 25})).pitch, degrees, 1e-6);
  }
}

TEST(mesh_pose_of_one_point_is_finite) {
  mesh::Points points;
  points.fill({3, 4, 5});
  const Pose pose = mesh::pose_of(points);
  CHECK_EQ(pose.yaw, 0.0);
  CHECK_EQ(pose.pitch, 0.0);
  CHECK_EQ(pose.roll, 0.0);
}

TEST(keypoint_pose_signs) {
  const Pose front = pose_of(turned_keypoints({}));
  CHECK_NEAR(front.yaw, 0, 1e-6);
  CHECK_NEAR(front.pitch, 0, 1e-6);
  CHECK_NEAR(front.roll, 0, 1e-6);
  double last_yaw = -90, last_pitch = -90;
  for (const double degrees : {-30.0, -20.0, -10.0, 10.0, 20.0, 30.0}) {
    const Pose yaw = pose_of(turned_keypoints({degrees, 0, 0}));
    CHECK(yaw.yaw * degrees > 0 && yaw.yaw > last_yaw);
    CHECK_NEAR(yaw.yaw, degrees, 15);
    last_yaw = yaw.yaw;
    const Pose pitch = pose_of(turned_keypoints({0, degrees, 0}));
    CHECK(pitch.pitch * degrees > 0 && pitch.pitch >= last_pitch);
    last_pitch = pitch.pitch;
    CHECK_NEAR(pose_of(turned_keypoints({0, 0, degrees})).roll, degrees, 1e-6);
    CHECK_NEAR(pose_of(turned_keypoints({15, 0, degrees})).yaw, pose_of(turned_keypoints({15, 0, 0})).yaw, 1e-6);
  }
}

TEST(keypoint_pose_of_one_point_is_finite) {
  Detection d{{0, 0, 10, 10}, {}, 0.9};
  for (Point& p : d.keypoints) p = {5, 5};
  const Pose pose = pose_of(d);
  CHECK_EQ(pose.yaw, 0.0);
  CHECK_EQ(pose.roll, 0.0);
  CHECK(std::isfinite(pose.pitch));
}

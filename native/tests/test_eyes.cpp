// The region of an eye, its mirror image, how far it is open, and what is no eye.
#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <utility>
#include <vector>

#include "eyes.h"
#include "frames.h"
#include "test.h"

using namespace facesdk;
using eyes::Corners;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TensorInfo tensor(std::vector<int> shape, ElementType type = ElementType::float32) { return {"t", type, std::move(shape)}; }

// Answers with what it holds; keeps the sum of each input.
class FakeNetwork final : public Network {
 public:
  FakeNetwork(TensorInfo input, std::vector<TensorInfo> outputs) {
    input_info_ = std::move(input);
    output_infos_ = std::move(outputs);
    given.resize(input_info_.elements());
    for (const TensorInfo& t : output_infos_) answers.emplace_back(t.elements());
  }
  void* input() override { return given.data(); }
  void invoke() override { inputs.push_back(given); }
  const void* output(size_t i) override { return answers.at(i).data(); }

  std::vector<float> given;
  std::vector<std::vector<float>> answers, inputs;
};

std::shared_ptr<FakeNetwork> fake(int size = eyes::kSize, int contour = 213, int iris = 15) {
  return std::make_shared<FakeNetwork>(tensor({1, size, size, 3}), std::vector{tensor({1, contour}), tensor({1, iris})});
}

// Corners at (16, 32) and (48, 32), the lids so far above and below their line.
void draw_lids(float* contour, float upper, float lower) {
  for (int i = 0; i < 16; ++i) {
    const bool corner = i == 0 || i == 8;
    contour[3 * i] = i <= 8 ? 16.0f + 4.0f * i : 16.0f + 4.0f * (i - 8);
    contour[3 * i + 1] = corner ? 32.0f : i < 8 ? 32.0f + lower : 32.0f - upper;
  }
}

const Corners kEye{{100, 100}, {140, 100}};

}  // namespace

TEST(eyes_region_is_level_with_the_corners) {
  const Region level = eyes::region_of(kEye);
  CHECK_EQ(level.centre.x, 120.0);
  CHECK_EQ(level.centre.y, 100.0);
  CHECK_NEAR(level.side, 92, 1e-9);
  CHECK_EQ(level.angle, 0.0);
  CHECK_NEAR(eyes::region_of({{100, 100}, {130, 130}}).angle, std::numbers::pi / 4, 1e-12);
}

TEST(eyes_are_mirrored_about_the_middle_of_their_picture) {
  const Region region = eyes::region_of({{100, 100}, {130, 112}});
  const Affine plain = eyes::map_of(region, false), mirrored = eyes::map_of(region, true);
  for (const Point p : {Point{0, 0}, Point{63, 0}, Point{10, 50}}) {
    const Point a = plain(p), b = mirrored({63 - p.x, p.y});
    CHECK_NEAR(a.x, b.x, 1e-9);
    CHECK_NEAR(a.y, b.y, 1e-9);
  }
}

TEST(eyes_openness_is_between_the_lids_over_the_width) {
  std::vector<float> contour(213);
  draw_lids(contour.data(), 5, 3);
  CHECK_NEAR(eyes::openness_of(contour.data()), 8.0 / 32, 1e-9);
  draw_lids(contour.data(), 0, 0);
  CHECK_NEAR(eyes::openness_of(contour.data()), 0, 1e-9);
  // Turned with the head, and mirrored: the same.
  draw_lids(contour.data(), 5, 3);
  for (int i = 0; i < 71; ++i) {
    const float x = contour[3 * i], y = contour[3 * i + 1];
    contour[3 * i] = -(0.8f * x - 0.6f * y);
    contour[3 * i + 1] = 0.6f * x + 0.8f * y;
  }
  CHECK_NEAR(eyes::openness_of(contour.data()), 8.0 / 32, 1e-5);
}

TEST(eyes_openness_of_no_eye_is_no_number) {
  std::vector<float> contour(213, 7.0f);
  CHECK(std::isnan(eyes::openness_of(contour.data())));  // all in one place
  for (int i = 0; i < 16; ++i) {
    for (const int axis : {0, 1}) {
      draw_lids(contour.data(), 5, 3);
      contour[3 * i + axis] = kNan;
      CHECK(std::isnan(eyes::openness_of(contour.data())));
    }
  }
}

TEST(eyes_look_at_both_the_left_one_mirrored) {
  // Brighter to the right: of the mirrored eye the network sees it brighter to the left.
  const test::Frame frame(320, 240, 3, [](int x, int, int) { return x * 255 / 319; });
  const auto network = fake();
  draw_lids(network->answers[0].data(), 5, 3);
  network->answers[1][0] = 20.0f;
  network->answers[1][1] = 40.0f;
  Eyes reader(network);
  const auto found = reader.look(frame.image, {kEye, Corners{{180, 100}, {220, 100}}});
  CHECK_EQ(network->inputs.size(), size_t{2});
  if (network->inputs.size() != 2) return;
  CHECK(network->inputs[0][0] < network->inputs[0][3 * 63]);
  CHECK(network->inputs[1][0] > network->inputs[1][3 * 63]);
  for (const Eye& eye : found) CHECK_NEAR(eye.openness, 8.0 / 32, 1e-9);
  const double step = 92.0 / 64;
  CHECK_NEAR(found[0].iris[0].x, 120 + (20 - 32) * step, 1e-6);
  CHECK_NEAR(found[0].iris[0].y, 100 + (40 - 32) * step, 1e-6);
  CHECK_NEAR(found[1].iris[0].x, 200 + (63 - 20 - 32) * step, 1e-6);
  CHECK_NEAR(found[0].contour[0].x, 120 + (16 - 32) * step, 1e-6);
}

TEST(eyes_outside_the_frame_or_without_a_width_are_not_looked_at) {
  const test::Frame frame(320, 240, 3, test::constant(90));
  const auto network = fake();
  draw_lids(network->answers[0].data(), 5, 3);
  Eyes reader(network);
  const double nan = kNan;
  for (const Corners& bad : {Corners{{-1, 100}, {40, 100}}, Corners{{300, 100}, {320, 100}}, Corners{{50, -0.5}, {90, 9}},
                             Corners{{50, 230}, {90, 240}}, Corners{{50, 50}, {50, 50}}, Corners{{nan, 50}, {90, 50}}}) {
    const auto found = reader.look(frame.image, {bad, kEye});
    CHECK(std::isnan(found[0].openness));
    CHECK(std::isnan(found[0].iris[0].x));
    CHECK_NEAR(found[1].openness, 8.0 / 32, 1e-9);
  }
  CHECK_EQ(network->inputs.size(), size_t{6});
}

TEST(eyes_take_only_the_network_that_they_were_made_for) {
  CHECK_THROWS(RuntimeFailure, "there is none", Eyes(nullptr));
  CHECK_THROWS(RuntimeFailure, "64 x 64", Eyes(fake(128)));
  CHECK_THROWS(RuntimeFailure, "", Eyes(fake(eyes::kSize, 200)));
  CHECK_THROWS(RuntimeFailure, "", Eyes(fake(eyes::kSize, 213, 12)));
  const auto outputs = std::vector{tensor({1, 213}, ElementType::int8), tensor({1, 15})};
  CHECK_THROWS(RuntimeFailure, "float32", Eyes(std::make_shared<FakeNetwork>(tensor({1, 64, 64, 3}), outputs)));
}

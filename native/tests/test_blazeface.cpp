// From raw outputs to detections: anchors, clipping, and the weighted suppression.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include "blazeface.h"
#include "test.h"

using namespace facesdk;
using namespace facesdk::blazeface;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The network's outputs with nothing found.
struct Outputs {
  explicit Outputs(const Form& made_by = kShortRange) : form(made_by) {}

  const Form form;
  std::vector<float> regressors = std::vector<float>(static_cast<size_t>(form.anchors()) * kValues, 0.0f);
  std::vector<float> logits = std::vector<float>(static_cast<size_t>(form.anchors()), -100.0f);

  float* at(int anchor) { return &regressors[static_cast<size_t>(anchor) * kValues]; }
  void heat(int anchor, float logit = 3.0f, float width = 32.0f, float height = 64.0f) {
    logits[anchor] = logit;
    at(anchor)[2] = width;
    at(anchor)[3] = height;
  }
  std::vector<Detection> decoded(const Region& region) const {
    return decode(form, regressors.data(), logits.data(), region);
  }
};

const Region kUnit = letterbox(128, 128);

Detection boxed(double x0, double y0, double x1, double y1, double score) {
  Detection d{{x0, y0, x1, y1}, {}, score};
  for (size_t k = 0; k < 6; ++k) d.keypoints[k] = {x0 + static_cast<double>(k), y0 - static_cast<double>(k)};
  return d;
}

}  // namespace

TEST(blazeface_letterbox_is_the_square_around) {
  const Region wide = letterbox(640, 480), tall = letterbox(480, 640);
  CHECK_EQ(wide.side, 640.0);
  CHECK_EQ(wide.centre.x, 320.0);
  CHECK_EQ(wide.centre.y, 240.0);
  CHECK_EQ(wide.angle, 0.0);
  CHECK_EQ(tall.side, 640.0);
  CHECK_EQ(tall.centre.x, 240.0);
}

TEST(blazeface_anchors_lie_at_cell_centres) {
  struct Known {
    int anchor;
    double x, y;
  };
  // 16 x 16 cells of 8 pixels with two anchors each, then 8 x 8 cells of 16 pixels with six.
  const Known list[] = {{0, 4, 4},           {1, 4, 4},    {2, 12, 4},     {31, 124, 4},   {32, 4, 12},
                        {511, 124, 124},     {512, 8, 8},  {517, 8, 8},    {518, 24, 8},   {559, 120, 8},
                        {560, 8, 24},        {890, 120, 120}, {895, 120, 120}, {(5 * 16 + 9) * 2, 76, 44}};
  for (const Known& known : list) {
    Outputs outputs;
    outputs.heat(known.anchor);
    const auto found = outputs.decoded(kUnit);
    CHECK_EQ(found.size(), size_t{1});
    if (found.size() != 1) continue;
    CHECK_NEAR((found[0].box.x0 + found[0].box.x1) / 2, known.x, 1e-9);
    CHECK_NEAR((found[0].box.y0 + found[0].box.y1) / 2, known.y, 1e-9);
    CHECK_NEAR(found[0].box.width(), 32, 1e-9);
    CHECK_NEAR(found[0].box.height(), 64, 1e-9);
    for (const Point& p : found[0].keypoints) {
      CHECK_NEAR(p.x, known.x, 1e-9);
      CHECK_NEAR(p.y, known.y, 1e-9);
    }
  }
}

TEST(blazeface_full_range_has_one_anchor_in_each_of_48_x_48_cells) {
  CHECK_EQ(kShortRange.anchors(), 896);
  CHECK_EQ(kFullRange.anchors(), 2304);
  struct Known {
    int anchor;
    double x, y;
  };
  // In a frame of 192 x 192 a cell has 4 pixels.
  const Known list[] = {{0, 2, 2}, {1, 6, 2}, {47, 190, 2}, {48, 2, 6}, {2303, 190, 190}, {5 * 48 + 9, 38, 22}};
  for (const Known& known : list) {
    Outputs outputs(kFullRange);
    outputs.heat(known.anchor, 3.0f, 12.0f, 24.0f);
    outputs.at(known.anchor)[0] = 2.0f;
    outputs.at(known.anchor)[14] = -3.0f;
    const auto found = outputs.decoded(letterbox(192, 192));
    CHECK_EQ(found.size(), size_t{1});
    if (found.size() != 1) continue;
    CHECK_NEAR((found[0].box.x0 + found[0].box.x1) / 2, known.x + 2, 1e-9);
    CHECK_NEAR((found[0].box.y0 + found[0].box.y1) / 2, known.y, 1e-9);
    CHECK_NEAR(found[0].box.width(), 12, 1e-9);
    CHECK_NEAR(found[0].box.height(), 24, 1e-9);
    CHECK_NEAR(found[0].keypoints[0].x, known.x, 1e-9);
    CHECK_NEAR(found[0].keypoints[5].x, known.x - 3, 1e-9);
  }
}

TEST(blazeface_each_form_has_its_own_least_score) {
  // Logits whose scores lie right above and right below 0.5, and 0.45.
  for (const auto& [form, above, below] : {std::tuple{kShortRange, 0.001f, -0.001f}, std::tuple{kFullRange, -0.2f, -0.201f}}) {
    Outputs found(form), missed(form);
    found.heat(40, above);
    missed.heat(40, below);
    CHECK_EQ(found.decoded(kUnit).size(), size_t{1});
    CHECK_EQ(missed.decoded(kUnit).size(), size_t{0});
  }
}

TEST(blazeface_values_are_offsets_in_input_pixels) {
  Outputs outputs;
  outputs.heat(0);
  for (int i = 0; i < kValues; ++i) outputs.at(0)[i] = static_cast<float>(i + 1);
  // A frame of 640 x 480: one input pixel is 5 pixels, and 80 rows above the frame are black.
  const auto found = outputs.decoded(letterbox(640, 480));
  CHECK_EQ(found.size(), size_t{1});
  if (found.size() != 1) return;
  CHECK_NEAR((found[0].box.x0 + found[0].box.x1) / 2, (4 + 1) * 5, 1e-9);
  CHECK_NEAR((found[0].box.y0 + found[0].box.y1) / 2, (4 + 2) * 5 - 80, 1e-9);
  CHECK_NEAR(found[0].box.width(), 3 * 5, 1e-9);
  CHECK_NEAR(found[0].box.height(), 4 * 5, 1e-9);
  for (int k = 0; k < 6; ++k) {
    CHECK_NEAR(found[0].keypoints[k].x, (4 + 5 + 2 * k) * 5, 1e-9);
    CHECK_NEAR(found[0].keypoints[k].y, (4 + 6 + 2 * k) * 5 - 80, 1e-9);
  }
}

TEST(blazeface_logits_are_clipped) {
  for (const float hot : {80.0f, 1e30f, kInfinity}) {
    Outputs outputs;
    outputs.heat(7, hot);
    const auto found = outputs.decoded(kUnit);
    CHECK_EQ(found.size(), size_t{1});
    if (!found.empty()) CHECK_EQ(found[0].score, 1.0 / (1.0 + std::exp(-80.0)));
  }
  for (const float cold : {-80.0f, -1e30f, -kInfinity, kNan, -1e-3f}) {
    Outputs outputs;
    outputs.heat(7, cold);
    CHECK(outputs.decoded(kUnit).empty());
  }
  Outputs edge;
  edge.heat(7, 0.0f);
  CHECK_EQ(edge.decoded(kUnit).size(), size_t{1});
  Outputs known;
  known.heat(7, 1.0f);
  CHECK_NEAR(known.decoded(kUnit).at(0).score, 0.7310585786300049, 1e-12);
}

TEST(blazeface_drops_what_is_no_box) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    for (int i = 0; i < kValues; ++i) {
      Outputs outputs;
      outputs.heat(100);
      outputs.heat(700);
      outputs.at(100)[i] = bad;
      CHECK_EQ(outputs.decoded(kUnit).size(), size_t{1});
    }
  }
  for (const float side : {0.0f, -5.0f}) {
    Outputs outputs;
    outputs.heat(100, 3.0f, side, 10.0f);
    outputs.heat(200, 3.0f, 10.0f, side);
    outputs.heat(300, 3.0f, -10.0f, side);
    CHECK(outputs.decoded(kUnit).empty());
  }
}

TEST(blazeface_suppression_ends_on_wild_numbers) {
  Outputs outputs;
  std::mt19937 random(3);
  const float values[] = {3e38f, -3e38f, 1e-45f, 1.0f, 50.0f, -7.0f, 1e10f, 0.0f};
  std::fill(outputs.logits.begin(), outputs.logits.end(), 5.0f);
  for (float& v : outputs.regressors) v = values[random() % std::size(values)];
  const auto kept = suppress(outputs.decoded(letterbox(8192, 64)));
  CHECK(kept.size() <= outputs.logits.size());
  CHECK(suppress({}).empty());
}

TEST(blazeface_overlap) {
  const Box a{0, 0, 10, 10}, b{5, 0, 15, 10}, far{20, 20, 30, 30}, touching{10, 0, 20, 10}, inner{2, 2, 7, 7};
  CHECK_NEAR(overlap(a, b), 50.0 / 150.0, 1e-12);
  CHECK_NEAR(overlap(a, inner), 0.25, 1e-12);
  CHECK_EQ(overlap(a, a), 1.0);
  CHECK_EQ(overlap(a, far), 0.0);
  CHECK_EQ(overlap(a, touching), 0.0);
  const Box nothing{3, 3, 3, 3};
  CHECK_EQ(overlap(nothing, nothing), 0.0);
  // Both differences negative must not make a positive area.
  CHECK_EQ(Box({10, 10, 0, 0}).area(), 0.0);
  std::mt19937 random(5);
  std::uniform_real_distribution<double> where(-100, 100), size(0, 80);
  for (int i = 0; i < 1000; ++i) {
    const double x = where(random), y = where(random), u = where(random), v = where(random);
    const Box p{x, y, x + size(random), y + size(random)}, q{u, v, u + size(random), v + size(random)};
    CHECK_EQ(overlap(p, q), overlap(q, p));
    CHECK(overlap(p, q) >= 0 && overlap(p, q) <= 1);
  }
}

TEST(blazeface_suppression_is_the_mean_weighted_by_score) {
  // Overlap of the two is 90 / 110; the third lies apart.
  const auto kept = suppress({boxed(1, 0, 11, 10, 0.6), boxed(100, 100, 110, 110, 0.7), boxed(0, 0, 10, 10, 0.9)});
  CHECK_EQ(kept.size(), size_t{2});
  if (kept.size() != 2) return;
  CHECK_EQ(kept[0].score, 0.9);
  CHECK_NEAR(kept[0].box.x0, 0.6 / 1.5, 1e-12);
  CHECK_NEAR(kept[0].box.x1, (0.6 * 11 + 0.9 * 10) / 1.5, 1e-12);
  CHECK_NEAR(kept[0].box.y0, 0, 1e-12);
  CHECK_NEAR(kept[0].box.y1, 10, 1e-12);
  for (int k = 0; k < 6; ++k) {
    CHECK_NEAR(kept[0].keypoints[k].x, 0.6 / 1.5 + k, 1e-12);
    CHECK_NEAR(kept[0].keypoints[k].y, -k, 1e-12);
  }
  CHECK_EQ(kept[1].score, 0.7);
  CHECK_NEAR(kept[1].box.x0, 100, 1e-12);
}

TEST(blazeface_suppression_joins_only_above_the_limit) {
  // Overlap 4/16 = 0.25 stays apart, 5/15 = 0.33 is joined.
  CHECK_EQ(suppress({boxed(0, 0, 10, 10, 0.9), boxed(6, 0, 16, 10, 0.8)}).size(), size_t{2});
  CHECK_EQ(suppress({boxed(0, 0, 10, 10, 0.9), boxed(5, 0, 15, 10, 0.8)}).size(), size_t{1});
  // The overlap counts with the best of the group, not with its members.
  const auto chain = suppress({boxed(0, 0, 10, 10, 0.9), boxed(4, 0, 14, 10, 0.8), boxed(8, 0, 18, 10, 0.7)});
  CHECK_EQ(chain.size(), size_t{2});
}

TEST(blazeface_sorts_by_area) {
  std::vector<Detection> found = {boxed(0, 0, 2, 2, 0.9), boxed(0, 0, 9, 9, 0.6), boxed(0, 0, 5, 5, 0.8),
                                  boxed(50, 0, 55, 5, 0.7)};
  sort_by_area(found);
  CHECK_EQ(found[0].box.x1, 9.0);
  CHECK_EQ(found[1].score, 0.8);  // equal areas keep their order
  CHECK_EQ(found[2].score, 0.7);
  CHECK_EQ(found[3].box.x1, 2.0);
}

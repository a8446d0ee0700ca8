#include "blazeface.h"

#include <algorithm>
#include <cmath>

namespace facesdk::blazeface {
namespace {

double sigmoid(double logit) { return 1.0 / (1.0 + std::exp(-std::clamp(logit, -80.0, 80.0))); }

void accumulate(Detection& sum, const Detection& d) {
  sum.box.x0 += d.score * d.box.x0;
  sum.box.y0 += d.score * d.box.y0;
  sum.box.x1 += d.score * d.box.x1;
  sum.box.y1 += d.score * d.box.y1;
  for (size_t k = 0; k < d.keypoints.size(); ++k) {
    sum.keypoints[k].x += d.score * d.keypoints[k].x;
    sum.keypoints[k].y += d.score * d.keypoints[k].y;
  }
}

void divide(Detection& sum, double weight) {
  for (double* value : {&sum.box.x0, &sum.box.y0, &sum.box.x1, &sum.box.y1}) *value /= weight;
  for (Point& p : sum.keypoints) p = {p.x / weight, p.y / weight};
}

}  // namespace

Region letterbox(int width, int height) {
  return {{0.5 * width, 0.5 * height}, static_cast<double>(std::max(width, height)), 0.0};
}

std::vector<Detection> decode(const Form& form, const float* regressors, const float* logits, const Region& region) {
  const Affine to_frame = region_to_frame(region, 1);
  const double size = form.size, least = std::log(form.min_score / (1 - form.min_score)) - 1e-6;
  std::vector<Detection> found;
  int first = 0;
  for (const Grid& grid : form.grids) {
    for (int i = 0; i < grid.anchors(); ++i) {
      if (!(logits[first + i] >= least)) continue;  // nearly all, without an exponential
      const double score = sigmoid(logits[first + i]);
      if (!(score >= form.min_score)) continue;
      const float* raw = regressors + static_cast<size_t>(first + i) * kValues;
      if (!std::all_of(raw, raw + kValues, [](float v) { return std::isfinite(v); })) continue;
      // Of size 1, at the cell's centre. Source: SsdAnchorsCalculator of MediaPipe.
      const int cell = i / grid.each;
      const Point anchor{(cell % grid.cells + 0.5) / grid.cells, (cell / grid.cells + 0.5) / grid.cells};
      const auto place = [&](int at) { return to_frame({raw[at] / size + anchor.x, raw[at + 1] / size + anchor.y}); };
      const Point centre = place(0);
      const double w = raw[2] / size * region.side, h = raw[3] / size * region.side;
      Detection d{{centre.x - w / 2, centre.y - h / 2, centre.x + w / 2, centre.y + h / 2}, {}, score};
      for (int k = 0; k < 6; ++k) d.keypoints[k] = place(4 + 2 * k);
      if (d.box.area() > 0) found.push_back(d);
    }
    first += grid.anchors();
  }
  return found;
}

double overlap(const Box& a, const Box& b) {
  const Box common{std::max(a.x0, b.x0), std::max(a.y0, b.y0), std::min(a.x1, b.x1), std::min(a.y1, b.y1)};
  const double joint = a.area() + b.area() - common.area();
  return joint > 0 ? common.area() / joint : 0;
}

std::vector<Detection> suppress(std::vector<Detection> found) {
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  std::vector<Detection> kept;
  while (!found.empty()) {
    const Detection best = found.front();
    Detection mean{{0, 0, 0, 0}, {}, best.score};
    double weight = 0;
    std::vector<Detection> rest;
    for (const Detection& d : found) {
      // The best is always of its own group, so that every round takes at least one away.
      if (&d == &found.front() || overlap(best.box, d.box) > kMaxOverlap) {
        accumulate(mean, d);
        weight += d.score;
      } else {
        rest.push_back(d);
      }
    }
    divide(mean, weight);
    kept.push_back(mean);
    found = std::move(rest);
  }
  return kept;
}

void sort_by_area(std::vector<Detection>& found) {
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.box.area() > b.box.area(); });
}

}  // namespace facesdk::blazeface

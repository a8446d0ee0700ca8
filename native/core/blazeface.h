// BlazeFace short range, from a frame to detections as MediaPipe 0.10.21 gives them.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "geometry.h"

namespace facesdk {

struct Box {
  double x0, y0, x1, y1;

  double width() const { return x1 - x0; }
  double height() const { return y1 - y0; }
  double area() const { return width() > 0 && height() > 0 ? width() * height() : 0; }
};

// Frame pixels. Keypoints: right eye, left eye, nose tip, mouth centre, right ear, left ear (the person's).
struct Detection {
  Box box;
  std::array<Point, 6> keypoints;
  double score;
};

namespace blazeface {

constexpr int kSize = 128;      // input: kSize x kSize x 3, -1..1
constexpr int kAnchors = 896;   // outputs: kAnchors x kValues regressors, kAnchors logits
constexpr int kValues = 16;
constexpr double kMinScore = 0.5;
constexpr double kMaxOverlap = 0.3;

// The square around the whole frame that becomes the input.
Region letterbox(int width, int height);

// Detections in frame pixels over kMinScore, before suppression.
std::vector<Detection> decode(const float* regressors, const float* logits, const Region& region);

// Weighted non-maximum suppression: each group of overlapping detections becomes their mean weighted by score.
std::vector<Detection> suppress(std::vector<Detection> found);

// The largest first.
void sort_by_area(std::vector<Detection>& found);

// Shared area over joint area.
double overlap(const Box& a, const Box& b);

}  // namespace blazeface
}  // namespace facesdk

// MediaPipe's BlazeFace networks, from a frame to detections as MediaPipe 0.10.21 gives them.
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

constexpr int kValues = 16;  // of each anchor: box, six keypoints
constexpr double kMaxOverlap = 0.3;

// Anchors at the centres of cells x cells, `each` in every one.
struct Grid {
  int cells, each;

  constexpr int anchors() const { return cells * cells * each; }
};

// One of the networks. Input: size x size x 3, -1..1; outputs: anchors x kValues regressors, anchors logits.
struct Form {
  int size;
  std::array<Grid, 2> grids;
  double min_score;

  constexpr int anchors() const { return grids[0].anchors() + grids[1].anchors(); }
};

// Source: the options of face_detection_short_range and face_detection_full_range of MediaPipe, but for full range's score,
// 0.6 there: what it sees is looked at again by short range (facesdk/engine/distance.py).
constexpr Form kShortRange{128, {{{16, 2}, {8, 6}}}, 0.5};
constexpr Form kFullRange{192, {{{48, 1}, {0, 0}}}, 0.45};

// The square around the whole frame that becomes the input.
Region letterbox(int width, int height);

// Detections in frame pixels over the form's min_score, before suppression.
std::vector<Detection> decode(const Form& form, const float* regressors, const float* logits, const Region& region);

// Weighted non-maximum suppression: each group of overlapping detections becomes their mean weighted by score.
std::vector<Detection> suppress(std::vector<Detection> found);

// The largest first.
void sort_by_area(std::vector<Detection>& found);

// Shared area over joint area.
double overlap(const Box& a, const Box& b);

}  // namespace blazeface
}  // namespace facesdk

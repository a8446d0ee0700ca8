#include "tracks.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels.h"
#include "parallax.h"

namespace facesdk::tracks {
namespace {

constexpr int kBlock = 4;
static_assert(kWindow == 4 * kBlock);

// Of the mesh's numbers: beyond these there is no frame.
constexpr double kMaxNumber = 1e5;

// The face's contour, in order. Source: FACEMESH_FACE_OVAL of MediaPipe.
constexpr std::array<int, 36> kContour = {10,  338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288,
                                          397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136,
                                          172, 58,  132, 93,  234, 127, 162, 21,  54,  103, 67,  109};

// Where tracks are chosen, and where they end: the contour made smaller about its middle. Outside, windows see what is
// behind the head.
constexpr double kChosenInside = 0.9, kKeptInside = 1.0;

// What moves by itself, as ellipses along the line between two points: half axes in lengths of that line.
struct Moving {
  int from, to;
  double along, across;
};
constexpr Moving kMoving[] = {{33, 133, 0.55, 0.4}, {362, 263, 0.55, 0.4}, {61, 291, 0.6, 0.45}};

// Tracks lie at least so far from each other, of the longer side of the face.
constexpr double kApart = 0.055;

struct Box {
  double left, top, right, bottom;
  double longer() const { return std::max(right - left, bottom - top); }
};

// False for points that are none.
bool box_of(const mesh::Points& face, Box& box) {
  box = {kMaxNumber, kMaxNumber, -kMaxNumber, -kMaxNumber};
  for (const mesh::Point3& p : face) {
    if (!(std::abs(p.x) < kMaxNumber && std::abs(p.y) < kMaxNumber && std::abs(p.z) < kMaxNumber)) return false;
    box = {std::min(box.left, p.x), std::min(box.top, p.y), std::max(box.right, p.x), std::max(box.bottom, p.y)};
  }
  return true;
}

// A polygon that knows what is inside it.
class Contour {
 public:
  Contour(const mesh::Points& face, double size) {
    Point middle{0, 0};
    for (const int i : kContour) {
      middle.x += face[static_cast<size_t>(i)].x / kContour.size();
      middle.y += face[static_cast<size_t>(i)].y / kContour.size();
    }
    for (size_t i = 0; i < kContour.size(); ++i) {
      const mesh::Point3& p = face[static_cast<size_t>(kContour[i])];
      points_[i] = {middle.x + size * (p.x - middle.x), middle.y + size * (p.y - middle.y)};
    }
  }

  // By how often a ray to the right crosses the edges.
  bool has(Point p) const {
    bool inside = false;
    for (size_t i = 0, j = points_.size() - 1; i < points_.size(); j = i++) {
      const Point &a = points_[i], &b = points_[j];
      if ((a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x) inside = !inside;
    }
    return inside;
  }

 private:
  std::array<Point, kContour.size()> points_;
};

bool moves_by_itself(const mesh::Points& face, Point p) {
  for (const Moving& part : kMoving) {
    const mesh::Point3 &a = face[static_cast<size_t>(part.from)], &b = face[static_cast<size_t>(part.to)];
    const double x = b.x - a.x, y = b.y - a.y, squares = x * x + y * y;
    const double px = p.x - (a.x + b.x) / 2, py = p.y - (a.y + b.y) / 2;
    const double along = (px * x + py * y) / part.along, across = (py * x - px * y) / part.across;
    if (along * along + across * across <= squares * squares) return true;
  }
  return false;
}

}  // namespace

void build(Pyramid& pyramid) {
  for (size_t level = 1; level < pyramid.size(); ++level) {
    const Plane& below = pyramid[level - 1];
    Plane& plane = pyramid[level];
    plane.resize(below.width / 2, below.height / 2);
    for (int y = 0; y < plane.height; ++y) {
      const uint8_t *a = below.row(2 * y), *b = below.row(2 * y + 1);
      uint8_t* out = plane.row(y);
      for (int x = 0; x < plane.width; ++x) {
        out[x] = static_cast<uint8_t>((a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1] + 2) >> 2);
      }
    }
  }
}

void shrink_gray(const Image& frame, const Part& part, Plane& out) {
  const auto channels = static_cast<size_t>(frame.channels), n = static_cast<size_t>(out.width);
  const auto top = static_cast<size_t>(part.top), factor = static_cast<size_t>(part.factor);
  const uint8_t* corner = frame.data + top * frame.stride + static_cast<size_t>(part.left) * channels;
  const auto gray = kernels().gray_u8;
  if (factor == 1) {
    for (int y = 0; y < out.height; ++y, corner += frame.stride) {
      if (channels == 3) gray(corner, out.row(y), n);
      else std::copy_n(corner, n, out.row(y));
    }
    return;
  }
  const size_t step = static_cast<size_t>(part.step()), count = static_cast<size_t>(part.count());
  const auto divisor = static_cast<unsigned>(count * count);
  uint8_t line[3 * kMaxPlane], tones[kMaxPlane];
  uint16_t sums[kMaxPlane];
  for (int y = 0; y < out.height; ++y, corner += factor * frame.stride) {
    std::fill_n(sums, n, uint16_t{0});
    for (size_t at = 0; at < count * count; ++at) {
      const uint8_t* p = corner + at / count * step * frame.stride + at % count * step * channels;
      for (size_t x = 0; x < n; ++x, p += factor * channels) std::copy_n(p, channels, line + x * channels);
      if (channels == 3) gray(line, tones, n);
      const uint8_t* tone = channels == 3 ? tones : line;
      for (size_t x = 0; x < n; ++x) sums[x] = static_cast<uint16_t>(sums[x] + tone[x]);
    }
    uint8_t* to = out.row(y);
    for (size_t x = 0; x < n; ++x) to[x] = static_cast<uint8_t>((2u * sums[x] + divisor) / (2 * divisor));
  }
}

// Gradients are those of two pixels; a window's sums are those of its 16 blocks.
void Chooser::scores_of(const Plane& plane) {
  across_ = plane.width / kBlock;
  down_ = plane.height / kBlock;
  blocks_.assign(3 * static_cast<size_t>(across_) * static_cast<size_t>(down_), 0);
  for (int y = 1; y < std::min(plane.height - 1, down_ * kBlock); ++y) {
    const uint8_t* p = plane.row(y);
    int32_t* blocks = blocks_.data() + 3 * static_cast<size_t>(y / kBlock) * static_cast<size_t>(across_);
    for (int x = 1; x < std::min(plane.width - 1, across_ * kBlock); ++x) {
      const int gx = p[x + 1] - p[x - 1], gy = p[x + plane.width] - p[x - plane.width];
      int32_t* block = blocks + 3 * static_cast<size_t>(x / kBlock);
      block[0] += gx * gx;
      block[1] += gx * gy;
      block[2] += gy * gy;
    }
  }
}

void Chooser::collect() {
  places_.clear();
  // A window needs a pixel more for its gradients, and room to be found again.
  for (int j = 3; j + 3 <= down_; ++j) {
    for (int i = 3; i + 3 <= across_; ++i) {
      int64_t sums[3] = {0, 0, 0};
      for (int row = j - 2; row < j + 2; ++row) {
        const int32_t* block = blocks_.data() + 3 * (static_cast<size_t>(row) * static_cast<size_t>(across_) + static_cast<size_t>(i) - 2);
        for (int k = 0; k < 12; ++k) sums[k % 3] += block[k];
      }
      const auto xx = static_cast<double>(sums[0]), xy = static_cast<double>(sums[1]), yy = static_cast<double>(sums[2]);
      const double least = (xx + yy - std::sqrt((xx - yy) * (xx - yy) + 4 * xy * xy)) / 2;
      // One gray level a pixel, root mean square.
      if (least >= 4.0 * kWindow * kWindow) places_.push_back({least, i * kBlock, j * kBlock});
    }
  }
  std::sort(places_.begin(), places_.end(), [](const Place& a, const Place& b) {
    return a.score != b.score ? a.score > b.score : a.y != b.y ? a.y < b.y : a.x < b.x;
  });
}

bool FaceTracks::look_at(const Image& frame, const mesh::Points& face) {
  Box box{};
  if (!box_of(face, box) || !(box.longer() >= kMinFace)) return false;
  // As large as it was, so that pixels stay pixels, until it is not.
  int factor = part_before_.factor;
  if (tracks_.empty() || box.longer() > 1.25 * kEnough * factor || box.longer() < 0.4 * kEnough * (factor - 1)) {
    factor = static_cast<int>(std::ceil(box.longer() / kEnough));
  }
  const double margin = 0.1 * box.longer() + kWindow * factor;
  const int most = kMaxPlane * factor;
  const auto span = [&](double from, double to, int size, int& first) {
    const double middle = (from + to) / 2, half = std::min((to - from) / 2 + margin, most / 2.0);
    first = static_cast<int>(std::clamp(std::floor(middle - half), 0.0, static_cast<double>(size)));
    const int last = static_cast<int>(std::clamp(std::ceil(middle + half), 0.0, static_cast<double>(size)));
    return std::clamp((last - first) / factor, 0, kMaxPlane);
  };
  part_.factor = factor;
  const int width = span(box.left, box.right, frame.width, part_.left);
  const int height = span(box.top, box.bottom, frame.height, part_.top);
  if (width < 2 * kWindow || height < 2 * kWindow) return false;
  now_[0].resize(width, height);
  shrink_gray(frame, part_, now_[0]);
  build(now_);
  middle_ = {0, 0};
  for (const mesh::Point3& p : face) middle_ = {middle_.x + p.x / mesh::kPoints, middle_.y + p.y / mesh::kPoints};
  width_ = frame.width;
  height_ = frame.height;
  return true;
}

size_t FaceTracks::start(const Image& frame, const mesh::Points& face) {
  reset();
  if (!look_at(frame, face)) return 0;
  Box box{};
  box_of(face, box);
  const double apart = kApart * box.longer() / part_.factor;
  const Contour contour(face, kChosenInside);
  chooser_.scores_of(now_[0]);
  chooser_.choose(apart, kMost, [&](Point p) {
    const Point at = part_.to_frame(p);
    return contour.has(at) && !moves_by_itself(face, at);
  }, chosen_);
  for (const Point& p : chosen_) {
    const Point at = part_.to_frame(p);
    const double depth = parallax::depth_at(face, at);
    if (std::isfinite(depth)) tracks_.push_back({at, depth, at});
  }
  std::swap(before_, now_);
  part_before_ = part_;
  middle_before_ = middle_;
  return tracks_.size();
}

size_t FaceTracks::follow(const Image& frame, const mesh::Points& face) {
  if (tracks_.empty()) return 0;
  const bool same = frame.width == width_ && frame.height == height_;
  if (!same || !look_at(frame, face) || part_.factor != part_before_.factor) {
    reset();
    return 0;
  }
  const Contour contour(face, kKeptInside);
  size_t kept = 0;
  for (const Track& track : tracks_) {
    const Point guess{track.at.x + middle_.x - middle_before_.x, track.at.y + middle_.y - middle_before_.y};
    const Carried carried = carry_and_return(before_, now_, part_before_.from_frame(track.at), part_.from_frame(guess));
    const Point at = part_.to_frame(carried.at);
    if (carried.found && contour.has(at)) tracks_[kept++] = {track.anchor, track.depth, at};
  }
  tracks_.resize(kept);
  std::swap(before_, now_);
  part_before_ = part_;
  middle_before_ = middle_;
  return kept;
}

void FaceTracks::reset() {
  tracks_.clear();
  part_before_ = {};
}

}  // namespace facesdk::tracks

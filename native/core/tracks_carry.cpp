// One window carried from picture to picture. The definition; its loops have fixed lengths, so that compilers make
// vector code of them.
#include <algorithm>
#include <cmath>

#include "tracks.h"

namespace facesdk::tracks {
namespace {

constexpr int kPatch = kWindow + 2;             // a window with what its gradients need
constexpr int kPatchRow = kWindow + 8;          // in rows of whole vectors; the last six columns are not used
static_assert(kPatchRow - kPatch <= kSpare);
constexpr int kPixels = kWindow * kWindow;
constexpr double kHalf = (kWindow - 1) / 2.0;   // from a window's corner to its middle
constexpr int kSteps = 128;                     // places between two pixels that are told apart
constexpr double kGray = 16;                    // what samples count one gray level as
constexpr int kMaxIterations = 12;
constexpr double kStill = 0.0004, kStillAbove = 0.01;  // squared pixels of a last step, on level 0 and above
constexpr double kMaxStep = 8;                  // pixels of one step; more is none that gradients can tell

// The least of a window's gradients, (gray levels a pixel) squared, along its weaker direction. Below there is nothing
// to hold on to: black, white, out of focus.
constexpr double kMinGradient = 0.25;

// What may be left of a window: this share of its own contrast (variances), or so many gray levels squared.
constexpr double kMaxLeft = 0.3, kNoise = 9;

// A place between pixels in steps of 1 / 128.
struct Place {
  int x, y;  // the pixel
  int u, v;  // steps from it

  static int steps(double at) { return static_cast<int>(std::floor(at * kSteps + 0.5)); }
  Place(double px, double py) : x(steps(px) >> 7), y(steps(py) >> 7), u(steps(px) & 127), v(steps(py) & 127) {}
  double left() const { return x + u / static_cast<double>(kSteps); }
  double top() const { return y + v / static_cast<double>(kSteps); }
  bool within(const Plane& plane, int size) const {
    return x >= 0 && y >= 0 && x + size < plane.width && y + size < plane.height;
  }
};

// Rows x Columns samples from this place on, 16 a gray level, all in 16 bits but for one product's upper half:
// a = (128 - u) p00 + u p01, b = (128 - u) p10 + u p11, ((a >> 1) + ((b - a) 256 v >> 16) + 2) >> 2
template <int Rows, int Columns>
void sample(const Plane& plane, const Place& place, int16_t* out) noexcept {
  const auto u = static_cast<int16_t>(place.u), rest = static_cast<int16_t>(kSteps - place.u);
  const auto down = static_cast<int16_t>(place.v << 8);
  int16_t rows[2][Columns];
  const auto across = [&](int y, int16_t* to) {
    const uint8_t* p = plane.row(place.y + y) + place.x;
    for (int x = 0; x < Columns; ++x) to[x] = static_cast<int16_t>(rest * p[x] + u * p[x + 1]);
  };
  across(0, rows[0]);
  for (int y = 0; y < Rows; ++y) {
    const int16_t* a = rows[y & 1];
    int16_t* b = rows[(y + 1) & 1];
    across(y + 1, b);
    for (int x = 0; x < Columns; ++x) {
      const auto more = static_cast<int16_t>((static_cast<int16_t>(b[x] - a[x]) * down) >> 16);
      out[y * Columns + x] = static_cast<int16_t>(static_cast<int16_t>((a[x] >> 1) + more + 2) >> 2);
    }
  }
}

// Of half a window 32 bits hold every sum of products: 128 x 4080 x 4080.
constexpr int kHalfPixels = kPixels / 2;

int64_t product(const int16_t* a, const int16_t* b) noexcept {
  int64_t sum = 0;
  for (int half = 0; half < kPixels; half += kHalfPixels) {
    int32_t s = 0;
    for (int i = half; i < half + kHalfPixels; ++i) s += a[i] * b[i];
    sum += s;
  }
  return sum;
}

int64_t total(const int16_t* a) noexcept {
  int32_t sum = 0;
  for (int i = 0; i < kPixels; ++i) sum += a[i];
  return sum;
}

// A window of the picture that is carried from, its gradients and their sums.
struct Window {
  alignas(32) int16_t values[kPixels], across[kPixels], down[kPixels];
  int64_t sum_x, sum_y, xx, xy, yy;

  Window(const Plane& plane, const Place& place) noexcept {
    alignas(32) int16_t patch[kPatch * kPatchRow];
    sample<kPatch, kPatchRow>(plane, {place.left() - 1, place.top() - 1}, patch);
    for (int y = 0; y < kWindow; ++y) {
      const int16_t* p = patch + (y + 1) * kPatchRow + 1;
      int16_t *value = values + y * kWindow, *gx = across + y * kWindow, *gy = down + y * kWindow;
      for (int x = 0; x < kWindow; ++x) {
        value[x] = p[x];
        gx[x] = static_cast<int16_t>(p[x + 1] - p[x - 1]);
        gy[x] = static_cast<int16_t>(p[x + kPatchRow] - p[x - kPatchRow]);
      }
    }
    sum_x = total(across);
    sum_y = total(down);
    xx = product(across, across);
    xy = product(across, down);
    yy = product(down, down);
  }
};

// Sums over the window of what is different elsewhere.
struct Difference {
  alignas(32) int16_t d[kPixels];
  int64_t sum, x, y;

  Difference(const Window& window, const int16_t* there) noexcept {
    for (int i = 0; i < kPixels; ++i) d[i] = static_cast<int16_t>(there[i] - window.values[i]);
    sum = total(d);
    x = product(window.across, d);
    y = product(window.down, d);
  }
};

// kPixels^2 times a variance of samples.
double spread(int64_t squares, int64_t sum) noexcept { return static_cast<double>(kPixels * squares - sum * sum); }

enum class Came { found, lost, outside };

// One level: `at` is moved to where the window around `start` is.
Came carry_level(const Plane& from, const Plane& to, Point start, Point& at, bool last) noexcept {
  const Place here(start.x - kHalf, start.y - kHalf);
  if (here.x < 1 || here.y < 1 || !here.within(from, kWindow + 1)) return Came::outside;
  const Window window(from, here);
  // Gradients are those of two pixels, and without their means: what is brighter as a whole moves nothing.
  const double xx = spread(window.xx, window.sum_x), yy = spread(window.yy, window.sum_y);
  const auto xy = static_cast<double>(kPixels * window.xy - window.sum_x * window.sum_y);
  const double least = (xx + yy - std::sqrt((xx - yy) * (xx - yy) + 4 * xy * xy)) / 2;
  constexpr double unit = kPixels * 2 * kGray * kPixels * 2 * kGray;
  if (!(least >= kMinGradient * unit)) return Came::lost;
  const double determinant = xx * yy - xy * xy;
  const double offset_x = start.x - kHalf - here.left(), offset_y = start.y - kHalf - here.top();
  double x = at.x - kHalf - offset_x, y = at.y - kHalf - offset_y;
  alignas(32) int16_t there[kPixels];
  for (int i = 0; i < kMaxIterations; ++i) {
    if (!(x > -2 && y > -2 && x < to.width && y < to.height)) return Came::outside;
    const Place place(x, y);
    if (!place.within(to, kWindow)) return Came::outside;
    sample<kWindow, kWindow>(to, place, there);
    const Difference d(window, there);
    const auto bx = static_cast<double>(kPixels * d.x - window.sum_x * d.sum);
    const auto by = static_cast<double>(kPixels * d.y - window.sum_y * d.sum);
    const double dx = 2 * (yy * bx - xy * by) / determinant, dy = 2 * (xx * by - xy * bx) / determinant;
    if (!(dx * dx + dy * dy < kMaxStep * kMaxStep)) return Came::lost;
    x = place.left() - dx;
    y = place.top() - dy;
    if (dx * dx + dy * dy < (last ? kStill : kStillAbove)) {
      if (last) {
        const double left = spread(product(d.d, d.d), d.sum);
        constexpr double noise = kNoise * kGray * kGray * kPixels * kPixels;
        if (!(left <= noise || left <= kMaxLeft * spread(product(window.values, window.values), total(window.values)))) return Came::lost;
      }
      at = {x + kHalf + offset_x, y + kHalf + offset_y};
      return Came::found;
    }
  }
  if (!last) at = {x + kHalf + offset_x, y + kHalf + offset_y};
  return last ? Came::lost : Came::found;
}

Point on_level(Point p, int level) noexcept {
  const double size = 1 << level;
  return {(p.x + 0.5) / size - 0.5, (p.y + 0.5) / size - 0.5};
}

}  // namespace

Carried carry(const Pyramid& from, const Pyramid& to, Point start, Point guess) {
  Point at = guess;
  for (int level = kLevels - 1; level >= 0; --level) {
    const auto n = static_cast<size_t>(level);
    Point here = on_level(at, level);
    const Came came = carry_level(from[n], to[n], on_level(start, level), here, level == 0);
    const double size = 1 << level;
    // A level that tells nothing leaves the guess to the next; only the last one's word counts.
    if (came == Came::found) at = {(here.x + 0.5) * size - 0.5, (here.y + 0.5) * size - 0.5};
    if (level == 0 && came != Came::found) return {at, false};
  }
  return {at, true};
}

Carried carry_and_return(const Pyramid& from, const Pyramid& to, Point start, Point guess) {
  const Carried there = carry(from, to, start, guess);
  if (!there.found) return there;
  const Carried back = carry(to, from, there.at, {there.at.x + start.x - guess.x, there.at.y + start.y - guess.y});
  const double dx = back.at.x - start.x, dy = back.at.y - start.y;
  return {there.at, back.found && dx * dx + dy * dy <= kMaxBack * kMaxBack};
}

}  // namespace facesdk::tracks

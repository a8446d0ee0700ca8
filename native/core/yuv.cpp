#include "yuv.h"

#include <algorithm>
#include <cstddef>

namespace facesdk {
namespace {

inline uint8_t held(int value) noexcept { return static_cast<uint8_t>(std::clamp(value >> 8, 0, 255)); }

// Pairs of pixels in one go. Their planes lie on the stack, so that compilers make vector code of the sums.
constexpr int kPairs = 64;

// Pairs that share one U and one V each: two pixels of YUYV, or two of a row of NV12.
struct Pairs {
  int16_t y0[kPairs], y1[kPairs], u[kPairs], v[kPairs];

  void take(int i, int first, int second, int blueness, int redness) noexcept {
    y0[i] = static_cast<int16_t>(first - 16);
    y1[i] = static_cast<int16_t>(second - 16);
    u[i] = static_cast<int16_t>(blueness - 128);
    v[i] = static_cast<int16_t>(redness - 128);
  }

  // Writes the first n of them, 6 bytes each.
  void paint(uint8_t* rgb, int n) const noexcept {
    uint8_t planes[6][kPairs];
    for (int i = 0; i < kPairs; ++i) {
      const int first = 298 * y0[i] + 128, second = 298 * y1[i] + 128;
      const int red = 409 * v[i], green = -100 * u[i] - 208 * v[i], blue = 516 * u[i];
      planes[0][i] = held(first + red);
      planes[1][i] = held(first + green);
      planes[2][i] = held(first + blue);
      planes[3][i] = held(second + red);
      planes[4][i] = held(second + green);
      planes[5][i] = held(second + blue);
    }
    for (int i = 0; i < n; ++i) {
      for (int k = 0; k < 6; ++k) rgb[6 * i + k] = planes[k][i];
    }
  }
};

}  // namespace

void yuv_pixel(int y, int u, int v, uint8_t* rgb) noexcept {
  const int light = 298 * (y - 16) + 128;
  rgb[0] = held(light + 409 * (v - 128));
  rgb[1] = held(light - 100 * (u - 128) - 208 * (v - 128));
  rgb[2] = held(light + 516 * (u - 128));
}

void yuyv_to_rgb(const uint8_t* yuyv, uint8_t* rgb, int width, int height) noexcept {
  const size_t all = static_cast<size_t>(width) / 2 * static_cast<size_t>(height);
  Pairs pairs{};
  for (size_t done = 0; done < all; done += kPairs) {
    const int n = static_cast<int>(std::min<size_t>(kPairs, all - done));
    const uint8_t* in = yuyv + 4 * done;
    for (int i = 0; i < n; ++i) pairs.take(i, in[4 * i], in[4 * i + 2], in[4 * i + 1], in[4 * i + 3]);
    pairs.paint(rgb + 6 * done, n);
  }
}

void nv12_to_rgb(const uint8_t* nv12, uint8_t* rgb, int width, int height) noexcept {
  const size_t row = static_cast<size_t>(width), rows = static_cast<size_t>(height);
  Pairs pairs{};
  for (size_t y = 0; y < rows; ++y) {
    const uint8_t *light = nv12 + y * row, *colours = nv12 + (rows + y / 2) * row;
    for (size_t done = 0; done < row / 2; done += kPairs) {
      const int n = static_cast<int>(std::min<size_t>(kPairs, row / 2 - done));
      const uint8_t *in = light + 2 * done, *pair = colours + 2 * done;
      for (int i = 0; i < n; ++i) pairs.take(i, in[2 * i], in[2 * i + 1], pair[2 * i], pair[2 * i + 1]);
      pairs.paint(rgb + 3 * y * row + 6 * done, n);
    }
  }
}

}  // namespace facesdk

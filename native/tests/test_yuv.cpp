// YUYV and NV12: each pixel is yuv_pixel's, and nothing is read or written beyond the picture.
#include <cstring>
#include <vector>

#include "test.h"
#include "yuv.h"

using namespace facesdk;

namespace {

// In a buffer of its very size, so that a sanitizer sees the first byte beyond it.
std::vector<uint8_t> noise_of(size_t size) {
  std::vector<uint8_t> bytes(size);
  uint32_t state = 7;
  for (uint8_t& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return bytes;
}

}  // namespace

TEST(yuyv_is_the_definition_pixel_for_pixel) {
  for (const int width : {2, 4, 30, 128, 130, 258}) {
    for (const int height : {1, 2, 3}) {
      const size_t pixels = static_cast<size_t>(width) * height;
      const std::vector<uint8_t> in = noise_of(2 * pixels);
      std::vector<uint8_t> out(3 * pixels), expected(3 * pixels);
      for (size_t i = 0; i < pixels; ++i) {
        const uint8_t* pair = in.data() + i / 2 * 4;
        yuv_pixel(in[2 * i], pair[1], pair[3], expected.data() + 3 * i);
      }
      yuyv_to_rgb(in.data(), out.data(), width, height);
      CHECK(out == expected);
    }
  }
}

TEST(nv12_is_the_definition_pixel_for_pixel) {
  for (const int width : {2, 4, 30, 128, 130, 258}) {
    for (const int height : {2, 4, 6}) {
      const size_t pixels = static_cast<size_t>(width) * height;
      const std::vector<uint8_t> in = noise_of(pixels * 3 / 2);
      std::vector<uint8_t> out(3 * pixels), expected(3 * pixels);
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          const size_t at = static_cast<size_t>(y) * width + x;
          const uint8_t* pair = in.data() + pixels + static_cast<size_t>(y / 2) * width + x / 2 * 2;
          yuv_pixel(in[at], pair[0], pair[1], expected.data() + 3 * at);
        }
      }
      nv12_to_rgb(in.data(), out.data(), width, height);
      CHECK(out == expected);
    }
  }
}

TEST(yuv_pixel_is_held_within_a_byte) {
  uint8_t rgb[3];
  yuv_pixel(255, 255, 255, rgb);
  CHECK(rgb[0] == 255 && rgb[2] == 255);
  yuv_pixel(0, 0, 0, rgb);
  CHECK(rgb[0] == 0 && rgb[2] == 0);
  yuv_pixel(16, 128, 128, rgb);
  CHECK(rgb[0] == 0 && rgb[1] == 0 && rgb[2] == 0);
  yuv_pixel(235, 128, 128, rgb);
  CHECK(rgb[0] == 255 && rgb[1] == 255 && rgb[2] == 255);
}

// Pictures as cameras send them, in YUV, to RGB.
#pragma once

#include <cstdint>

namespace facesdk {

// ITU-R BT.601, limited range (Y 16..235, U and V 16..240), in whole numbers:
//   R = (298 (Y - 16) + 409 (V - 128) + 128) >> 8
//   G = (298 (Y - 16) - 100 (U - 128) - 208 (V - 128) + 128) >> 8
//   B = (298 (Y - 16) + 516 (U - 128) + 128) >> 8
// each held within 0..255. Source: BT.601-7, its matrix times 256 and 255/219, rounded. This is the definition; what
// follows gives its bits.
void yuv_pixel(int y, int u, int v, uint8_t* rgb) noexcept;

// YUYV (4:2:2, packed): bytes Y0 U Y1 V for two pixels. width is even; rgb takes 3 * width * height bytes.
void yuyv_to_rgb(const uint8_t* yuyv, uint8_t* rgb, int width, int height) noexcept;

// NV12 (4:2:0): all Y, then one row of U V pairs for two rows of pixels. width and height are even.
void nv12_to_rgb(const uint8_t* nv12, uint8_t* rgb, int width, int height) noexcept;

}  // namespace facesdk

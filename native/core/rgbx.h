// Pictures as Pillow keeps them, four bytes a pixel, to RGB.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facesdk {

// The first three of each four bytes.
void rgbx_to_rgb(const uint8_t* rgbx, uint8_t* rgb, size_t pixels) noexcept;

}  // namespace facesdk

#include "rgbx.h"

#include <bit>
#include <cstring>

namespace facesdk {

void rgbx_to_rgb(const uint8_t* rgbx, uint8_t* rgb, size_t pixels) noexcept {
  size_t i = 0;
  if constexpr (std::endian::native == std::endian::little) {
    // Two pixels at a time, of which eight bytes are written: the last two are those of the next pixels.
    for (; i + 4 <= pixels; i += 2) {
      uint64_t two;
      std::memcpy(&two, rgbx + 4 * i, 8);
      const uint64_t six = (two & 0xffffff) | (two >> 8 & 0xffffff000000);
      std::memcpy(rgb + 3 * i, &six, 8);
    }
  }
  for (; i < pixels; ++i) std::memcpy(rgb + 3 * i, rgbx + 4 * i, 3);
}

}  // namespace facesdk

// Division of a box's sum by its area without dividing: private to the vector variants.
#pragma once

#include <bit>

#include "kernels.h"

namespace facesdk {

// (sum + area / 2) / area == ((sum + half) * factor) >> (16 + shift) for every sum of that many bytes, since
// (factor * area - 2^(16 + shift)) * (sum + half) < 2^(16 + shift).
template <int kBox>
struct BoxDivision {
  static constexpr unsigned area = kBox * kBox;
  static constexpr int shift = std::bit_width(area - 1) - 1;
  static constexpr uint16_t half = area / 2;
  static constexpr uint16_t factor = ((1u << (16 + shift)) + area - 1) / area;
  static constexpr uint64_t error = uint64_t{factor} * area - (uint64_t{1} << (16 + shift));
  static_assert(error * (255 * area + half) < (uint64_t{1} << (16 + shift)));
};

}  // namespace facesdk

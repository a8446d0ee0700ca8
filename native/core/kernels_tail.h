// Rows whose length is no multiple of a vector: private to the vector variants.
#pragma once

#include <cstdint>

namespace facesdk {

// Sixteen bytes from the n-th on keep the last n bytes of a vector, n being 0 to 16.
alignas(32) inline constexpr uint8_t kKeepLast[32] = {0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
                                                      0,   0,   0,   0,   0,   255, 255, 255, 255, 255, 255,
                                                      255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

}  // namespace facesdk

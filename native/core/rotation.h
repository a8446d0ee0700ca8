// A secret rotation of feature vectors: orthonormal, so every comparison score stays, and unknowable without its stream.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facesdk {

// Layers of a rotation. Each pairs all coordinates at random and turns every pair by a random angle: Kac's walk on the
// sphere, which is near uniform after about n log n turns of pairs (Pillai and Smith, Kac's walk on n-sphere mixes in
// n log n steps, Ann. Appl. Probab. 27, 2017). 32 layers are 16 n turns; n log n is 5.8 n at 320 features.
constexpr size_t kRotationLayers = 32;

// Bytes of random stream that a rotation of this dimension takes.
size_t rotation_stream_size(size_t dimension) noexcept;

// Turns n vectors of `dimension` floats in place; `inverse` turns them back. Computed in double, rounded once.
void rotate(const uint8_t* stream, size_t dimension, float* vectors, size_t n, bool inverse);

}  // namespace facesdk

#include "rotation.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "secret.h"

namespace facesdk {
namespace {

constexpr double kTurn = 6.283185307179586476925286766559 / 4294967296.0;

uint32_t word(const uint8_t* stream, size_t index) noexcept {
  const uint8_t* p = stream + 4 * index;
  return uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
}

// A random order of 0..n-1 (Fisher and Yates) from n words. The bias of n / 2^32 is of no use to anyone.
void shuffle(const uint8_t* stream, std::vector<uint32_t>& order) noexcept {
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = order.size(); i > 1; --i) {
    const size_t j = static_cast<size_t>((uint64_t{word(stream, i - 1)} * i) >> 32);
    std::swap(order[i - 1], order[j]);
  }
}

// Memory that is wiped when it goes.
template <typename T>
struct Wiped : std::vector<T> {
  using std::vector<T>::vector;
  ~Wiped() { wipe(this->data(), this->size() * sizeof(T)); }
};

}  // namespace

size_t rotation_stream_size(size_t dimension) noexcept { return kRotationLayers * 4 * (dimension + dimension / 2); }

void rotate(const uint8_t* stream, size_t dimension, float* vectors, size_t n, bool inverse) {
  Wiped<uint32_t> order(dimension);
  Wiped<double> values(vectors, vectors + dimension * n);
  const size_t layer_size = rotation_stream_size(dimension) / kRotationLayers;
  for (size_t step = 0; step < kRotationLayers; ++step) {
    const uint8_t* layer = stream + layer_size * (inverse ? kRotationLayers - 1 - step : step);
    shuffle(layer, order);
    for (size_t pair = 0; pair < dimension / 2; ++pair) {
      const double angle = kTurn * word(layer, dimension + pair), c = std::cos(angle);
      const double s = inverse ? -std::sin(angle) : std::sin(angle);
      const size_t i = order[2 * pair], j = order[2 * pair + 1];
      for (double* v = values.data(); v != values.data() + dimension * n; v += dimension) {
        const double x = v[i], y = v[j];
        v[i] = c * x - s * y;
        v[j] = s * x + c * y;
      }
    }
  }
  for (size_t i = 0; i < dimension * n; ++i) vectors[i] = static_cast<float>(values[i]);
}

}  // namespace facesdk

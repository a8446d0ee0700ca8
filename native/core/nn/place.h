// Where tensors lie in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace facesdk::nn {

// Memory whose vectors of 64 bytes each lie in one line of the cache.
template <typename T>
struct Aligned {
  using value_type = T;
  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, size_t) noexcept { ::operator delete(p, std::align_val_t{64}); }
  bool operator==(const Aligned&) const = default;
};
template <typename T>
using AlignedVector = std::vector<T, Aligned<T>>;

constexpr size_t kLine = 64;   // bytes, or floats, that buffers begin at a multiple of
constexpr size_t kSlack = 256;  // elements past the end of buffers that may be read

// A tensor's place in the arena, in elements. Row y of its pixels begins at at() + y * row(); the border lies around.
struct Place {
  int height = 0, width = 0, channels = 0;
  int top = 0, left = 0, bottom = 0, right = 0;  // pixels of border
  uint8_t zero = 0;                              // int8: the byte of the real value 0
  size_t begin = 0;                              // of the border's first element

  size_t row() const { return static_cast<size_t>(left + width + right) * static_cast<size_t>(channels); }
  size_t size() const { return static_cast<size_t>(top + height + bottom) * row(); }
  size_t at() const { return begin + static_cast<size_t>(top) * row() + static_cast<size_t>(left * channels); }
};

// One of the parts that a layer is divided into, to be computed side by side: which numbers it has of `all`, in whole
// groups of `group`.
struct Part {
  int index = 0, count = 1;

  int begin(int all, int group = 1) const {
    const int groups = (all + group - 1) / group;
    return std::min(all, static_cast<int>(int64_t{groups} * index / count) * group);
  }
  int end(int all, int group = 1) const { return Part{index + 1, count}.begin(all, group); }
};

// Writes the border, which what lay there before has overwritten.
template <typename T>
void fill_border(const Place& place, T* arena, T zero) {
  const size_t row = place.row(), left = static_cast<size_t>(place.left * place.channels);
  const size_t inner = static_cast<size_t>(place.width * place.channels);
  T* at = arena + place.begin;
  std::fill_n(at, static_cast<size_t>(place.top) * row, zero);
  at += static_cast<size_t>(place.top) * row;
  for (int y = 0; y < place.height && row > inner; ++y) {
    std::fill_n(at + static_cast<size_t>(y) * row, left, zero);
    std::fill_n(at + static_cast<size_t>(y) * row + left + inner, row - left - inner, zero);
  }
  std::fill_n(at + static_cast<size_t>(place.height) * row, static_cast<size_t>(place.bottom) * row, zero);
}

}  // namespace facesdk::nn

// What the executor runs: layers that each read one tensor and write another, with their weights packed.
//
// An activation is a byte, the model's int8 + 128, in (height, width, channels) with a border of its zero point around
// it. Sums are of byte x weight in 32 bits; the offset of the bytes and the zero point are in the bias.
//
// Weights come in blocks of 64 channels and groups of four inputs. Within a block, vector j of four holds the channels
// 16 L + 4 j + i at lane 4 L + i: packing int32 to int16 and to bytes, which interleaves 128-bit lanes, then gives the
// channels in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <vector>

namespace facesdk::nn {

constexpr size_t kBlock = 64;  // channels that are computed together
// Memory whose vectors of 64 bytes each lie in one line of the cache.
template <typename T>
struct Aligned {
  using value_type = T;
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, size_t) noexcept { ::operator delete(p, std::align_val_t{64}); }
  bool operator==(const Aligned&) const = default;
};
template <typename T>
using AlignedVector = std::vector<T, Aligned<T>>;

constexpr size_t kSlack = 256;  // bytes past the end of buffers that may be read

// Where a channel's 32-bit parameters stand, within its block and after the blocks before.
constexpr size_t slot32(size_t channel) {
  const size_t c = channel % kBlock;
  return channel - c + (c % 16) / 4 * 16 + c / 16 * 4 + c % 4;
}

// The same of 16-bit parameters: two vectors of 32, of the channels 16 L to 16 L + 7 and of those from 16 L + 8.
constexpr size_t slot16(size_t channel) {
  const size_t c = channel % kBlock;
  return channel - c + (c % 16) / 8 * 32 + c / 16 * 8 + c % 8;
}

constexpr size_t blocks_of(size_t channels) { return (channels + kBlock - 1) / kBlock; }

// A tensor's place in the arena. Row y of its pixels begins at `at` + y * row(); the border lies before and after.
struct Place {
  int height = 0, width = 0, channels = 0;
  int top = 0, left = 0, bottom = 0, right = 0;  // pixels of border
  uint8_t zero = 0;                              // the byte of the real value 0
  size_t begin = 0;                              // of the border's first byte

  size_t row() const { return static_cast<size_t>(left + width + right) * static_cast<size_t>(channels); }
  size_t size() const { return static_cast<size_t>(top + height + bottom) * row(); }
  size_t at() const { return begin + static_cast<size_t>(top) * row() + static_cast<size_t>(left * channels); }
};

// y = ((bias + x * own + r * other) >> shift) + zero of two bytes, as XNNPACK's qs8-vadd; the weights in two parts of
// which the low one has 11 bits.
struct Residual {
  size_t tensor = 0;  // the other summand
  int16_t own_high = 0, own_low = 0, other_high = 0, other_low = 0;
  int32_t bias = 0;
  int shift = 0;
  int16_t zero = 0;  // of the sum, + 128
};

// max(x, (x * slope + 2^14) >> 15) of a value in the output's steps, which is found at load to be, for every x, what
// XNNPACK's qs8-vmulc and qs8-vmaximum give.
struct Prelu {
  AlignedVector<int16_t> slopes;  // by slot16
};

struct Layer {
  bool depthwise = false;
  int kernel_height = 1, kernel_width = 1, stride_y = 1, stride_x = 1, pad_top = 0, pad_left = 0;
  size_t source = 0, target = 0;  // tensors
  // Of the output: those of the target, or half its width and twice its channels, as two pixels side by side are.
  int height = 0, width = 0, channels = 0;
  // Convolution: (blocks, groups of 4 inputs, 4, 16, 4), inputs in the order (kernel row, column, channel).
  // Depthwise: (blocks, groups of 4 kernel rows, kernel columns, 4, 16, 4).
  AlignedVector<int8_t> weights;
  AlignedVector<int32_t> bias;  // by slot32, as scale
  AlignedVector<float> scale;   // of the sum, to the output's steps
  int16_t zero = 0;           // of the output, + 128
  std::optional<Prelu> prelu;
  std::optional<Residual> residual;

  int kernel() const { return kernel_height * kernel_width; }
};

// Layers in order, and the arena that their tensors lie in.
struct Program {
  std::vector<Place> places;  // by tensor
  std::vector<Layer> layers;
  size_t input = 0, output = 0;  // tensors
  size_t arena_bytes = 0;
};

// One instruction set: runs a layer on an arena that has kSlack bytes more than the program wants. `scratch` has room
// for kRows rows of inputs of any convolution.
constexpr int kRows = 6;
struct Variant {
  const char* name;
  bool (*supported)();
  void (*run)(const Program& program, const Layer& layer, uint8_t* arena, uint8_t* scratch) noexcept;
};

extern const Variant kScalar;
#if defined(__x86_64__)
extern const Variant kAvx512Vnni;
#endif

}  // namespace facesdk::nn

// Pictures for the tests, in memory whose neighbours cannot be read.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>

#include "image.h"

namespace test {

// Where the bytes lie between the two unreadable pages around them.
enum class Edge { first_byte, last_byte };

// A block of memory that begins right after, or ends right before, a page that faults when touched.
class GuardedMemory {
 public:
  GuardedMemory(size_t size, Edge edge) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t body = (size + page - 1) / page * page;
    total_ = body + 2 * page;
    void* start = mmap(nullptr, total_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) throw std::runtime_error("mmap failed");
    start_ = static_cast<uint8_t*>(start);
    if (mprotect(start_ + page, body, PROT_READ | PROT_WRITE) != 0) throw std::runtime_error("mprotect failed");
    data_ = start_ + page + (edge == Edge::last_byte ? body - size : 0);
  }
  ~GuardedMemory() { munmap(start_, total_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  uint8_t* data() const { return data_; }

 private:
  uint8_t* start_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t total_ = 0;
};

// (x, y, channel) -> byte.
using Paint = std::function<int(int x, int y, int channel)>;

// A frame that owns guarded memory: its last row ends with its last pixel, whatever the stride.
class Frame {
 public:
  Frame(int width, int height, int channels, const Paint& paint, size_t padding = 0, Edge edge = Edge::last_byte)
      : row_(static_cast<size_t>(width) * channels),
        stride_(row_ + padding),
        memory_(stride_ * (height - 1) + row_, edge),
        image{memory_.data(), width, height, channels, stride_} {
    // Padding holds a colour of its own, so that a sample of it shows.
    std::memset(memory_.data(), 0xAB, stride_ * (height - 1) + row_);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (int c = 0; c < channels; ++c) {
          memory_.data()[y * stride_ + static_cast<size_t>(x) * channels + c] = static_cast<uint8_t>(paint(x, y, c));
        }
      }
    }
  }

 private:
  size_t row_, stride_;
  GuardedMemory memory_;

 public:
  const facesdk::Image image;
};

// Every pixel unlike its neighbours.
inline Paint noise() {
  return [random = std::mt19937(7)](int, int, int) mutable { return static_cast<int>(random() & 255); };
}

inline Paint constant(int value) {
  return [value](int, int, int) { return value; };
}

}  // namespace test

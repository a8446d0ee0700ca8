// Tables and vectors of a flatbuffer, each read within the bytes of the file. Format: https://flatbuffers.dev/internals/
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "../network.h"

namespace facesdk::nn {

// The value at `at`; throws RuntimeFailure where it would not lie within the bytes.
template <typename T>
T read(std::string_view bytes, size_t at) {
  if (at > bytes.size() || sizeof(T) > bytes.size() - at) throw RuntimeFailure("the model's bytes end too early");
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// `count` elements at `at`.
struct Vector {
  std::string_view bytes;
  size_t at = 0, count = 0;

  template <typename T>
  T get(size_t i) const {
    if (i >= count) throw RuntimeFailure("the model names element " + std::to_string(i) + " of " + std::to_string(count));
    return read<T>(bytes, at + i * sizeof(T));
  }
  // The elements themselves, in place.
  std::string_view data(size_t element_size) const {
    if (at > bytes.size() || count > (bytes.size() - at) / element_size) {
      throw RuntimeFailure("the model's bytes end too early");
    }
    return bytes.substr(at, count * element_size);
  }
};

class Table {
 public:
  Table(std::string_view bytes, size_t at) : bytes_(bytes), at_(at) {
    vtable_ = at_ - static_cast<size_t>(static_cast<int64_t>(read<int32_t>(bytes_, at_)));
    size_ = read<uint16_t>(bytes_, vtable_);
  }
  // The root of a whole file.
  explicit Table(std::string_view bytes) : Table(bytes, read<uint32_t>(bytes, 0)) {}

  template <typename T>
  T scalar(int slot, T missing) const {
    const size_t place = field(slot);
    return place == 0 ? missing : read<T>(bytes_, place);
  }
  bool has(int slot) const { return field(slot) != 0; }
  Vector vector(int slot) const {
    const size_t place = field(slot);
    if (place == 0) return {bytes_, 0, 0};
    const size_t begin = place + read<uint32_t>(bytes_, place);
    return {bytes_, begin + 4, read<uint32_t>(bytes_, begin)};
  }
  Table table(int slot) const {
    const size_t place = field(slot);
    if (place == 0) throw RuntimeFailure("the model has no table in slot " + std::to_string(slot));
    return {bytes_, place + read<uint32_t>(bytes_, place)};
  }
  // Table i of a vector of tables.
  Table table(int slot, size_t i) const {
    const Vector tables = vector(slot);
    return {bytes_, tables.at + 4 * i + tables.get<uint32_t>(i)};
  }
  std::string text(int slot) const { return std::string(vector(slot).data(1)); }

 private:
  size_t field(int slot) const {
    const size_t entry = 4 + 2 * static_cast<size_t>(slot);
    if (entry + 2 > size_) return 0;
    const uint16_t offset = read<uint16_t>(bytes_, vtable_ + entry);
    return offset == 0 ? 0 : at_ + offset;
  }

  std::string_view bytes_;
  size_t at_, vtable_, size_;
};

}  // namespace facesdk::nn

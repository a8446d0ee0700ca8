// How tiles cover a block of scores: private to the variants.
#pragma once

#include "kernels.h"

namespace facesdk {

// The scores outside the whole tiles, one by one.
inline void scores_of_rest(const float* a, size_t rows, const float* b, size_t columns, size_t n, float* out,
                           size_t whole_rows, size_t whole_columns) noexcept {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
      out[r * columns + c] = dot_f32_scalar(a + r * n, b + c * n, n);
    }
  }
}

// tile(a, b, columns, n, out) makes kRows x kColumns scores.
template <size_t kRows, size_t kColumns, auto tile>
void scores_by_tiles(const float* a, size_t rows, const float* b, size_t columns, size_t n, float* out) noexcept {
  const size_t whole_rows = rows - rows % kRows, whole_columns = columns - columns % kColumns;
  for (size_t c = 0; c < whole_columns; c += kColumns) {
    for (size_t r = 0; r < whole_rows; r += kRows) tile(a + r * n, b + c * n, columns, n, out + r * columns + c);
  }
  scores_of_rest(a, rows, b, columns, n, out, whole_rows, whole_columns);
}

}  // namespace facesdk

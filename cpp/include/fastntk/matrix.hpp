// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <type_traits>

#include "fastntk/portability.hpp"

namespace fastntk {

using Index = std::ptrdiff_t;

// This is a non-owning view of a row-major matrix: one sample a row, with `stride` elements from
// one row to the next. It never touches the memory itself, so it may point into any device.
template <class T>
struct Matrix {
  T* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;

  Matrix() = default;
  Matrix(T* data_, Index rows_, Index cols_, Index stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
  Matrix(T* data_, Index rows_, Index cols_) : Matrix(data_, rows_, cols_, cols_) {}
  // Reading through a writable view is always safe.
  template <class Writable>
    requires(std::is_same_v<const Writable, T>)
  // NOLINTNEXTLINE(google-explicit-constructor)
  Matrix(const Matrix<Writable>& other)
      : Matrix(other.data, other.rows, other.cols, other.stride) {}

  FASTNTK_HOST_DEVICE constexpr T* row(Index i) const { return data + i * stride; }
  FASTNTK_HOST_DEVICE constexpr T& operator()(Index i, Index j) const {
    return data[i * stride + j];
  }
  Matrix block(Index row, Index row_count, Index col, Index col_count) const {
    return {data + row * stride + col, row_count, col_count, stride};
  }
  Matrix row_block(Index row, Index count) const { return block(row, count, 0, cols); }
  Matrix col_block(Index col, Index count) const { return block(0, rows, col, count); }
};

// This keeps a parameter out of template argument deduction, so that Matrix<T> converts to it.
template <class T>
using ConstMatrix = Matrix<const std::type_identity_t<T>>;

}  // namespace fastntk

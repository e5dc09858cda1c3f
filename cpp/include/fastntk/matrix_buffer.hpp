// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <memory>

#include "fastntk/matrix.hpp"

namespace fastntk {

// Owns an uninitialized matrix in memory that Memory::allocate(rows, cols, bytes of an element)
// hands out and Memory::free takes back.
template <class T, class Memory>
class MatrixBuffer {
 public:
  MatrixBuffer() = default;
  MatrixBuffer(Index rows, Index cols)
      : memory_(static_cast<T*>(Memory::allocate(rows, cols, sizeof(T)))),
        rows_(rows),
        cols_(cols) {}

  Matrix<T> view() const { return {memory_.get(), rows_, cols_}; }

 private:
  struct Free {
    void operator()(T* p) const { Memory::free(p); }
  };
  std::unique_ptr<T, Free> memory_;
  Index rows_ = 0;
  Index cols_ = 0;
};

}  // namespace fastntk

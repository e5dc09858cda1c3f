// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "fastntk/matrix.hpp"
#include "fastntk/portability.hpp"

// The kernels are what the operations of a lane do on the GPU. They are written so that the tests
// can run the same text on a processor: shared memory is declared by a macro, and launches are
// function calls (lane.cuh).
#ifndef FASTNTK_SHARED
#define FASTNTK_SHARED(T, name, size) __shared__ T name[size]
#endif

namespace fastntk::kernels {

constexpr unsigned kThreads = 256;  // of every block

inline __device__ Index thread_row() {
  return static_cast<Index>(blockIdx.y) * blockDim.y + threadIdx.y;
}
inline __device__ Index thread_col() {
  return static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// Calls f(i, j) for all elements; neighbouring threads take neighbouring columns. Most threads take
// one step along their row, so copies of the loop's body would only cost registers.
template <class F>
__global__ void __launch_bounds__(kThreads) for_each(Index rows, Index cols, F f) {
  const Index row_step = static_cast<Index>(gridDim.y) * blockDim.y;
  const Index col_step = static_cast<Index>(gridDim.x) * blockDim.x;
  FASTNTK_NOT_UNROLLED
  for (Index i = thread_row(); i < rows; i += row_step) {
    FASTNTK_NOT_UNROLLED
    for (Index j = thread_col(); j < cols; j += col_step) f(i, j);
  }
}

constexpr int kTile = 32;     // of a transposition, in rows and columns
constexpr int kTileRows = 8;  // that are read at once

// to = fromᵀ, with one block for each tile, through shared memory, so that reading and writing both
// go along rows. A column of the tile's memory is left free, or its columns would all lie in one
// memory bank.
template <class T>
__global__ void __launch_bounds__(kThreads) transpose(Matrix<const T> from, Matrix<T> to) {
  FASTNTK_SHARED(T, tile, kTile * (kTile + 1));
  const Index tiles_across = (from.cols + kTile - 1) / kTile;
  const Index row0 = static_cast<Index>(blockIdx.x) / tiles_across * kTile;
  const Index col0 = static_cast<Index>(blockIdx.x) % tiles_across * kTile;
  const auto x = static_cast<int>(threadIdx.x);
  for (int y = static_cast<int>(threadIdx.y); y < kTile; y += kTileRows) {
    if (row0 + y < from.rows && col0 + x < from.cols) {
      tile[y * (kTile + 1) + x] = from(row0 + y, col0 + x);
    }
  }
  __syncthreads();
  for (int y = static_cast<int>(threadIdx.y); y < kTile; y += kTileRows) {
    if (col0 + y < to.rows && row0 + x < to.cols) {
      to(col0 + y, row0 + x) = tile[x * (kTile + 1) + y];
    }
  }
}

// Combines the values of the threads of a block, always in the same order. All of them get the
// result, which is in the memory until one of them writes there.
template <class T, class Combine>
inline __device__ T combine_block(T* shared, T value, Combine combine) {
  const unsigned x = threadIdx.x;
  shared[x] = value;
  __syncthreads();
  for (unsigned width = kThreads / 2; width > 0; width /= 2) {
    if (x < width) shared[x] = combine(shared[x], shared[x + width]);
    __syncthreads();
  }
  return shared[0];
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// The larger of two numbers wins, and any number wins over a NaN.
struct Larger {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || b != b ? a : b;
  }
};

// The threads of a block that share a row: see rows.hpp.
template <class T>
class ThreadsOfBlock {
 public:
  // The memory is for kThreads numbers.
  explicit __device__ ThreadsOfBlock(T* shared) : shared_(shared) {}

  template <class F>
  __device__ void each(Index count, F f) const {
    FASTNTK_NOT_UNROLLED
    for (Index j = threadIdx.x; j < count; j += kThreads) f(j);
  }
  template <class Value>
  __device__ T sum(Index count, Value value) const {
    T part = T(0);
    each(count, [&](Index j) { part += value(j); });
    return combine(part, Sum{});
  }
  template <class Value>
  __device__ T largest(T least, Index count, Value value) const {
    T part = least;
    each(count, [&](Index j) { part = Larger{}(part, value(j)); });
    return combine(part, Larger{});
  }
  template <class F>
  __device__ void once(F f) const {
    if (threadIdx.x == 0) f();
  }

 private:
  // All of the threads get the result. They have read it before one of them writes there again.
  template <class Combine>
  __device__ T combine(T part, Combine combine) const {
    const T result = combine_block(shared_, part, combine);
    __syncthreads();
    return result;
  }

  T* shared_;
};

// Calls f(threads, i) for all rows, with one block for each.
template <class T, class F>
__global__ void __launch_bounds__(kThreads) for_each_row(F f) {
  FASTNTK_SHARED(T, shared, kThreads);
  f(ThreadsOfBlock<T>(shared), static_cast<Index>(blockIdx.x));
}

// sums[i] (+)= factor · Σ_j a(i, j) b(i, j), with one block for each row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    row_dots(T factor, Matrix<const T> a, Matrix<const T> b, bool accumulate, Matrix<T> sums) {
  FASTNTK_SHARED(T, shared, kThreads);
  const Index i = blockIdx.x;
  T part = T(0);
  for (Index j = threadIdx.x; j < a.cols; j += kThreads) {
    part += a(i, j) * b(i, j);
  }
  const T sum = factor * combine_block(shared, part, Sum{});
  if (threadIdx.x == 0) {
    T& target = sums(i, 0);
    target = accumulate ? target + sum : sum;
  }
}

// largest[i] = row_scales[i] · max_j a(i, j) col_scales[j] over j < i + diagonal, with one block
// for each row; not a finite number where there is no such j.
template <class T>
__global__ void __launch_bounds__(kThreads)
    largest_products(Matrix<const T> a, const T* row_scales, const T* col_scales, Index diagonal,
                     T* largest) {
  FASTNTK_SHARED(T, shared, kThreads);
  const Index i = blockIdx.x;
  const T* const row = a.data + i * a.stride;
  const Index cols = a.cols < i + diagonal ? a.cols : i + diagonal;
  T part = -static_cast<T>(INFINITY);
  for (Index j = threadIdx.x; j < cols; j += kThreads) {
    part = Larger{}(part, row[j] * col_scales[j]);
  }
  const T result = combine_block(shared, part, Larger{});
  if (threadIdx.x == 0) largest[i] = row_scales[i] * result;
}

}  // namespace fastntk::kernels

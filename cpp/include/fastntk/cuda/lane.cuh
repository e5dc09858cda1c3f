// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "fastntk/cuda/cuda_device.hpp"
#include "fastntk/cuda/kernels.cuh"

// These are the operations of a lane, as launches of kernels. Only the sources in src/cuda include
// them.
namespace fastntk {

inline void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  const std::string message =
      std::string(call) + ": " + cudaGetErrorName(error) + ": " + cudaGetErrorString(error);
  static_cast<void>(cudaGetLastError());  // or the next call would report it again
  if (error == cudaErrorMemoryAllocation) throw CudaOutOfMemory(message);
  throw CudaError(message);
}

// One dimension of a grid has at most so many blocks, which is enough to keep a GPU busy. The
// threads take what remains in steps.
constexpr Index kMostBlocks = 1024;

inline Index blocks_for(Index count, Index size) { return (count + size - 1) / size; }

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const char* name, dim3 grid, dim3 block,
            cudaStream_t stream, const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
}

template <class F>
void CudaDevice::Lane::for_each(Index rows, Index cols, F f) const {
  if (rows == 0 || cols == 0) return;
  // A row gets as many threads as it has use for; 32 of them read whole memory lines.
  unsigned across = 1;
  while (across < kernels::kThreads && static_cast<Index>(across) < cols) across *= 2;
  const unsigned down = kernels::kThreads / across;
  const dim3 grid(static_cast<unsigned>(std::min(blocks_for(cols, across), kMostBlocks)),
                  static_cast<unsigned>(std::min(blocks_for(rows, down), kMostBlocks)));
  launch(&kernels::for_each<F>, "for_each", grid, dim3(across, down), stream(), rows, cols, f);
}

template <class T, class F>
void CudaDevice::Lane::for_each_row(Index rows, F f) const {
  if (rows == 0) return;
  launch(&kernels::for_each_row<T, F>, "for_each_row", dim3(static_cast<unsigned>(rows)),
         dim3(kernels::kThreads), stream(), f);
}

template <class T>
void CudaDevice::Lane::transpose(ConstMatrix<T> from, Matrix<T> to) const {
  const Index tiles = blocks_for(from.rows, kernels::kTile) * blocks_for(from.cols, kernels::kTile);
  if (tiles == 0) return;
  launch(&kernels::transpose<T>, "transpose", dim3(static_cast<unsigned>(tiles)),
         dim3(kernels::kTile, kernels::kTileRows), stream(), from, to);
}

template <class T>
void CudaDevice::Lane::row_dots(T factor, ConstMatrix<T> a, ConstMatrix<T> b, Write write,
                                Matrix<T> sums) const {
  if (a.rows == 0) return;
  launch(&kernels::row_dots<T>, "row_dots", dim3(static_cast<unsigned>(a.rows)),
         dim3(kernels::kThreads), stream(), factor, a, b, write == Write::accumulate, sums);
}

template <class T>
void CudaDevice::Lane::copy_to_host(const T* from, Index count, T* to) const {
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(T),
                        cudaMemcpyDeviceToHost, stream()),
        "cudaMemcpyAsync");
}

template <class T, class Least, class Visit>
void CudaDevice::Lane::visit_large(ConstMatrix<T> a, const T* row_scales, const T* col_scales,
                                   Index diagonal, Least least, Visit visit) const {
  if (a.rows == 0 || a.cols == 0) return;
  T* const largest = static_cast<T*>(scratch(static_cast<std::size_t>(a.rows) * sizeof(T)));
  launch(&kernels::largest_products<T>, "largest_products", dim3(static_cast<unsigned>(a.rows)),
         dim3(kernels::kThreads), stream(), a, row_scales, col_scales, diagonal, largest);
  std::vector<T> of_row(static_cast<std::size_t>(a.rows));
  std::vector<T> by_row(of_row.size());
  std::vector<T> by_col(static_cast<std::size_t>(a.cols));
  std::vector<T> row(by_col.size());
  copy_to_host(largest, a.rows, of_row.data());
  copy_to_host(row_scales, a.rows, by_row.data());
  copy_to_host(col_scales, a.cols, by_col.data());
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");

  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < of_row.size(); ++i) {
    if (of_row[i] >= least()) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t i, std::size_t j) { return of_row[i] > of_row[j]; });
  for (const std::size_t i : order) {
    if (of_row[i] < least()) return;
    const auto cols =
        static_cast<std::size_t>(std::clamp(static_cast<Index>(i) + diagonal, Index{0}, a.cols));
    copy_to_host(a.row(static_cast<Index>(i)), a.cols, row.data());
    check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
    for (std::size_t j = 0; j < cols; ++j) {
      const T value = by_row[i] * (row[j] * by_col[j]);
      if (value >= least()) visit(static_cast<Index>(i), static_cast<Index>(j), value);
    }
  }
}

}  // namespace fastntk

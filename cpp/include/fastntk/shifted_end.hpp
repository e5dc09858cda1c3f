// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>

#include "fastntk/cholesky.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/symmetric_products.hpp"
#include "fastntk/symmetric_storage.hpp"

// This looks at one end of a spectrum through the Cholesky decomposition of ±A + σ1, with a shift
// that takes this end near to 0: that there is a decomposition bounds the end on one side, and the
// vector that inverse iteration finds bounds it on the other. It is one call because for a small
// matrix several calls took longer than the work.
namespace fastntk {

struct ShiftedEnd {
  Index good = 0;         // n, or the pivot that is not positive; then there are no numbers
  double quotient = 0.0;  // vᵀA v/vᵀv
  double length = 0.0;    // ‖A v‖/‖v‖
};

inline ShiftedEnd quotient_of(Matrix<const double> vector, Matrix<const double> image) {
  const Index n = vector.rows;
  const double square = dot(n, vector.data, vector.data);
  return {n, dot(n, vector.data, image.data) / square,
          std::sqrt(dot(n, image.data, image.data) / square)};
}

// Divides a vector by its largest element, for its squares to be in range.
inline void divide_by_largest(Matrix<double> vector) {
  double largest = 0.0;
  for (Index i = 0; i < vector.rows; ++i) largest = std::max(largest, std::abs(vector(i, 0)));
  for (Index i = 0; i < vector.rows; ++i) vector(i, 0) /= largest;
}

// Takes so many steps of inverse iteration from `start` (n, 1). The factor is a packed one, of half
// the size of the matrix, and is gone when this returns.
template <class Device>
ShiftedEnd shifted_end(const Device& device, const SymmetricStorage<const double>& matrix,
                       double sign, double shift, Matrix<const double> start, Index iterations,
                       const Monitor& monitor) {
  const Index n = matrix.n();
  using Buffer = typename Device::template Buffer<double>;
  const Buffer vector(n, 1);
  const Buffer image(n, 1);
  std::copy_n(start.data, n, vector.view().data);
  {
    const Buffer work(1, SymmetricStorage<double>::packed_size(n));
    const auto factor = SymmetricStorage<double>::packed(work.view().data, n);
    scale_and_shift(device, matrix, sign, shift, factor, monitor);
    try {
      cholesky(device, factor, cholesky_blocks(n), monitor);
    } catch (const NotPositiveDefinite& failure) {
      return {failure.pivot()};
    }
    for (Index step = 0; step < iterations; ++step) {
      triangular_solve(device, factor, false, vector.view(), monitor);
      triangular_solve(device, factor, true, vector.view(), monitor);
      divide_by_largest(vector.view());
    }
  }
  symmetric_product<Device, double>(device, matrix, vector.view(), image.view(), monitor);
  return quotient_of(vector.view(), image.view());
}

}  // namespace fastntk

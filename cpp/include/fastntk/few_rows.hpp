// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cmath>

#include "fastntk/matrix.hpp"
#include "fastntk/portability.hpp"

// These are decompositions and products of symmetric matrices of few rows, which stay in the first-
// level cache. No BLAS is called: its calls, and to keep it from starting threads, would take
// longer than the work.
namespace fastntk::few_rows {

constexpr Index kMost = 64;

// Overwrites the upper triangle of a symmetric matrix A, with the diagonal, by that of Lᵀ, for
// A = L Lᵀ. Returns n, or the first pivot that is not positive and finite. What is below the
// diagonal is not touched.
FASTNTK_MULTIVERSION inline Index cholesky(Matrix<double> upper) {
  const Index n = upper.rows;
  for (Index j = 0; j < n; ++j) {
    double* const row = upper.row(j);
    const bool good = row[j] > 0.0 && std::isfinite(row[j]);
    if (!good) return j;
    const double pivot = std::sqrt(row[j]);
    row[j] = pivot;
    FASTNTK_INDEPENDENT_ITERATIONS
    for (Index k = j + 1; k < n; ++k) row[k] /= pivot;
    for (Index i = j + 1; i < n; ++i) {
      double* const target = upper.row(i);
      const double factor = row[i];
      FASTNTK_INDEPENDENT_ITERATIONS
      for (Index k = i; k < n; ++k) target[k] -= factor * row[k];
    }
  }
  return n;
}

// x = (L Lᵀ)⁻¹ x, for the Lᵀ above.
FASTNTK_MULTIVERSION inline void solve(Matrix<const double> upper, double* x) {
  const Index n = upper.rows;
  for (Index j = 0; j < n; ++j) {
    const double* const row = upper.row(j);
    const double solved = x[j] /= row[j];
    FASTNTK_INDEPENDENT_ITERATIONS
    for (Index k = j + 1; k < n; ++k) x[k] -= solved * row[k];
  }
  for (Index j = n - 1; j >= 0; --j) {
    const double* const row = upper.row(j);
    double sum = x[j];
    for (Index k = j + 1; k < n; ++k) sum -= row[k] * x[k];
    x[j] = sum / row[j];
  }
}

// product = A x, of a symmetric A both of whose triangles are there.
FASTNTK_MULTIVERSION inline void multiply(Matrix<const double> a, const double* x,
                                          double* product) {
  for (Index k = 0; k < a.cols; ++k) product[k] = 0.0;
  for (Index j = 0; j < a.rows; ++j) {
    const double* const row = a.row(j);
    FASTNTK_INDEPENDENT_ITERATIONS
    for (Index k = 0; k < a.cols; ++k) product[k] += x[j] * row[k];
  }
}

}  // namespace fastntk::few_rows

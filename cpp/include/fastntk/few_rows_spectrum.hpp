// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "fastntk/few_rows.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/shifted_end.hpp"
#include "fastntk/tridiagonal.hpp"

// This reads a symmetric matrix of few rows once, and tells all of both ends of its spectrum that
// can be told at the first attempt.
namespace fastntk {

// This is room for what is done with few rows.
template <class Device>
class FewRowsRoom {
 public:
  explicit FewRowsRoom(Index n) : memory_(2 * n + 2, n), n_(n) {}
  Matrix<double> whole() const { return memory_.view().row_block(0, n_); }
  Matrix<double> work() const { return memory_.view().row_block(n_, n_); }
  Matrix<double> vector() const { return {memory_.view().row(2 * n_), n_, 1}; }
  Matrix<double> image() const { return {memory_.view().row(2 * n_ + 1), n_, 1}; }

 private:
  typename Device::template Buffer<double> memory_;
  Index n_;
};

// Does what `shifted_end` says for few rows, both triangles of which are in room.whole().
template <class Device>
ShiftedEnd shifted_end_of_few(const FewRowsRoom<Device>& room, double sign, double shift,
                              const double* start, Index iterations) {
  const Matrix<double> whole = room.whole();
  const Matrix<double> work = room.work();
  const Index n = whole.rows;
  for (Index i = 0; i < n; ++i) {
    for (Index j = i; j < n; ++j) work(i, j) = sign * whole(i, j);
    work(i, i) += shift;
  }
  const Index good = few_rows::cholesky(work);
  if (good < n) return {good};
  std::copy_n(start, n, room.vector().data);
  for (Index step = 0; step < iterations; ++step) {
    few_rows::solve(work, room.vector().data);
    divide_by_largest(room.vector());
  }
  few_rows::multiply(whole, room.vector().data, room.image().data);
  return quotient_of(room.vector(), room.image());
}

// This is a decomposition of ±A + shift · 1 that ran to its end.
struct EndAtShift {
  double shift;
  ShiftedEnd found;
};

struct FewRowsSpectrum {
  double squares;  // Σ a_ij²
  ExtremeEigenvalues values;
  EndAtShift smallest;
  std::optional<EndAtShift> largest;  // if it was asked for
};

// Copies a matrix; returns Σ a_ij², or NaN if it is not symmetric to the last bit.
template <class T>
double copy_symmetric(Matrix<const T> from, Matrix<double> to) {
  double diagonal = 0.0;
  double below = 0.0;
  for (Index i = 0; i < from.rows; ++i) {
    for (Index j = 0; j < i; ++j) {
      const auto element = static_cast<double>(from(i, j));
      if (!(from(i, j) == from(j, i))) return std::numeric_limits<double>::quiet_NaN();
      to(i, j) = to(j, i) = element;
      below += element * element;
    }
    const auto element = static_cast<double>(from(i, i));
    to(i, i) = element;
    diagonal += element * element;
  }
  return 2.0 * below + diagonal;
}

// Computes the k smallest and the k largest eigenvalues, and looks at the lower end, or at `both`
// ends, with a shift beside the computed eigenvalue. How far beside is no matter of proof: what a
// decomposition proves is said of the shift that it had. Too near, and rounding may keep it from
// running to its end; so it is twice what its rounding can be, and what that of a product can be.
//
// There is no result where more than one look is needed: for a matrix that is not symmetric to the
// last bit, not finite or not of a moderate scale, and where a decomposition does not run to its
// end. The matrix has at most few_rows::kMost rows, for which no BLAS is called.
template <class Device, class T>
std::optional<FewRowsSpectrum> few_rows_spectrum(const Device& device, Matrix<const T> matrix,
                                                 Index k, const double* start, Index iterations,
                                                 bool both, const Monitor& monitor) {
  constexpr double kSmallestSquare = 1e-240;
  constexpr double kLargestSquare = 1e240;
  const Index n = matrix.rows;
  const FewRowsRoom<Device> room(n);
  const Matrix<double> whole = room.whole();
  const double squares = copy_symmetric(matrix, whole);
  const bool moderate = squares > kSmallestSquare && squares < kLargestSquare;
  if (!moderate) return std::nullopt;
  FewRowsSpectrum result{
      squares,
      extreme_eigenvalues(device, SymmetricStorage<const double>::full(whole), k, monitor),
      {},
      {}};
  double trace = 0.0;
  double largest_diagonal = 0.0;
  for (Index i = 0; i < n; ++i) {
    trace += whole(i, i);
    largest_diagonal = std::max(largest_diagonal, std::abs(whole(i, i)));
  }
  constexpr double kUnit = 0x1p-53;
  const double unit = static_cast<double>(n + 8) * kUnit;
  const double product = unit * std::sqrt(squares);
  const double bottom = result.values.smallest.front();
  const double least = product + 2 * unit * std::abs(trace) + 8 * kUnit * largest_diagonal - bottom;
  result.smallest = {least, shifted_end_of_few(room, 1.0, least, start, iterations)};
  if (result.smallest.found.good < n) return std::nullopt;
  if (both) {
    const double top = result.values.largest.front();
    const double rest = std::abs(static_cast<double>(n) * top - trace);
    const double most = top + 17 * product + 2 * unit * rest;
    result.largest = {most, shifted_end_of_few(room, -1.0, most, start, iterations)};
    if (result.largest->found.good < n) return std::nullopt;
  }
  return result;
}

}  // namespace fastntk

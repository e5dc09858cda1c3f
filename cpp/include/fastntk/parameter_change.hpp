// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "fastntk/matrix.hpp"

// This is how far parameters have moved, in one reading of them.
namespace fastntk {

// These are the elements of an array as they are, and as they were.
template <class T>
struct ChangedParameters {
  const T* now;
  const T* then;
  Index count;
};

struct ParameterChange {
  double square = 0.0;   // ‖now − then‖²
  double largest = 0.0;  // max |now − then|; NaN if one of them is
};

// Sums and maxima have so many parts, which fill vector registers.
constexpr Index kChangeLanes = 8;

// Returns the sum as NumPy's `add.reduce` has it, to the last bit: of few numbers by partial sums,
// of many by halves, so that its error grows with the logarithm of their count.
inline double pairwise_sum(const double* x, Index count) {
  constexpr Index kAtOnce = 128;
  if (count > kAtOnce) {
    const Index half = count / 2 / kChangeLanes * kChangeLanes;
    return pairwise_sum(x, half) + pairwise_sum(x + half, count - half);
  }
  const Index whole = count / kChangeLanes * kChangeLanes;
  double sum = 0.0;
  if (whole > 0) {
    std::array<double, kChangeLanes> lanes{};
    std::copy_n(x, kChangeLanes, lanes.begin());
    for (Index i = kChangeLanes; i < whole; i += kChangeLanes) {
      for (Index lane = 0; lane < kChangeLanes; ++lane) lanes[lane] += x[i + lane];
    }
    sum = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
          ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
  }
  for (Index i = whole; i < count; ++i) sum += x[i];
  return sum;
}

// Fills the squares of now − then and returns the largest |now − then|, of those that are numbers.
template <class T>
double square_changes(const T* now, const T* then, Index count, double* squares) {
  std::array<double, kChangeLanes> largest{};
  const auto look_at = [&](Index i, Index lane) {
    const double difference = static_cast<double>(now[i]) - static_cast<double>(then[i]);
    squares[i] = difference * difference;
    const double size = std::abs(difference);
    largest[lane] = size > largest[lane] ? size : largest[lane];
  };
  const Index whole = count / kChangeLanes * kChangeLanes;
  for (Index i = 0; i < whole; i += kChangeLanes) {
    for (Index lane = 0; lane < kChangeLanes; ++lane) look_at(i + lane, lane);
  }
  for (Index i = whole; i < count; ++i) look_at(i, 0);
  return *std::ranges::max_element(largest);
}

// Adds up all arrays, in float64 whatever they are of.
template <class T>
ParameterChange parameter_change(const std::vector<ChangedParameters<T>>& arrays) {
  // So many squares at a time stay in a cache. Where a block ends is a matter of the last bits.
  constexpr Index kBlock = 65536;
  Index most = 0;
  for (const auto& array : arrays) most = std::max(most, array.count);
  std::vector<double> squares(static_cast<std::size_t>(std::min(most, kBlock)));
  ParameterChange change;
  for (const auto& [now, then, count] : arrays) {
    for (Index first = 0; first < count; first += kBlock) {
      const Index part = std::min(kBlock, count - first);
      const double largest = square_changes(now + first, then + first, part, squares.data());
      change.largest = std::max(change.largest, largest);
      change.square += pairwise_sum(squares.data(), part);
    }
  }
  // Squares have a sum that is not a number if and only if one of them is none.
  if (std::isnan(change.square)) change.largest = std::numeric_limits<double>::quiet_NaN();
  return change;
}

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "fastntk/matrix.hpp"

namespace fastntk::test {

// This is a matrix of NaN, surrounded by a margin on all four sides that a correct program neither
// reads (let it be NaN) nor writes (ask margin_intact()).
template <class T>
class PaddedMatrix {
 public:
  static constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
  static constexpr T kMark = T(0.25);

  PaddedMatrix(Index rows, Index cols, T margin = kMark)
      : rows_(rows),
        cols_(cols),
        margin_(margin),
        memory_(static_cast<std::size_t>((rows + 2) * stride()), margin) {
    fill(kNan);
  }

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Matrix<T> view() { return {memory_.data() + offset(), rows_, cols_, stride()}; }
  Matrix<const T> view() const { return {memory_.data() + offset(), rows_, cols_, stride()}; }
  T& operator()(Index i, Index j) { return view()(i, j); }
  const T& operator()(Index i, Index j) const { return view()(i, j); }

  void fill(T value) {
    for (Index i = 0; i < rows_; ++i) {
      for (Index j = 0; j < cols_; ++j) (*this)(i, j) = value;
    }
  }

  bool margin_intact() const {
    PaddedMatrix expected(rows_, cols_, margin_);
    for (Index i = 0; i < rows_; ++i) {
      for (Index j = 0; j < cols_; ++j) expected(i, j) = (*this)(i, j);
    }
    return std::memcmp(memory_.data(), expected.memory_.data(), memory_.size() * sizeof(T)) == 0;
  }

 private:
  static constexpr Index kLeft = 2;
  static constexpr Index kRight = 3;
  Index stride() const { return kLeft + cols_ + kRight; }
  Index offset() const { return stride() + kLeft; }

  Index rows_;
  Index cols_;
  T margin_;
  std::vector<T> memory_;
};

// Returns max |actual − expected| / max |expected|, or infinity if any element of `actual` is not
// finite or the shapes differ, so that a comparison with a bound fails.
template <class Actual, class Expected>
double relative_error(Matrix<Actual> actual, Matrix<Expected> expected) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (actual.rows != expected.rows || actual.cols != expected.cols) return kInfinity;
  double difference = 0.0;
  double largest = 0.0;
  for (Index i = 0; i < expected.rows; ++i) {
    for (Index j = 0; j < expected.cols; ++j) {
      const auto a = static_cast<double>(actual(i, j));
      const auto e = static_cast<double>(expected(i, j));
      if (!std::isfinite(e)) throw std::logic_error("the expected matrix has to be finite");
      if (!std::isfinite(a)) return kInfinity;
      difference = std::max(difference, std::abs(a - e));
      largest = std::max(largest, std::abs(e));
    }
  }
  if (difference == 0.0) return 0.0;
  return largest == 0.0 ? kInfinity : difference / largest;
}

template <class Actual, class Expected>
double relative_error(const PaddedMatrix<Actual>& actual, const PaddedMatrix<Expected>& expected) {
  return relative_error(actual.view(), expected.view());
}

template <class T>
bool equal_to_the_last_bit(const PaddedMatrix<T>& a, const PaddedMatrix<T>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.cols(); ++j) {
      if (std::memcmp(&a(i, j), &b(i, j), sizeof(T)) != 0) return false;
    }
  }
  return true;
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

#include "fastntk/symmetric_storage.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"

namespace fastntk::test {

// Returns where the element (i, j), i ≥ j, of a packed matrix lies: the definition in the LAPACK
// Users' Guide, for TRANSR = 'T' and UPLO = 'L', element by element.
inline Index packed_place(Index n, Index i, Index j) {
  const Index half = (n + 1) / 2;
  if (n % 2 == 0) return j < half ? (i + 1) * half + j : (j - half) * half + (i - half);
  return j < half ? i * half + j : (j - half) * half + (i - half) + 1;
}

// This is a packed matrix with a margin before and after it.
template <class T>
class Packed {
 public:
  explicit Packed(Index n)
      : n_(n),
        memory_(static_cast<std::size_t>(n * (n + 1) / 2 + 2 * kMargin), PaddedMatrix<T>::kMark) {}
  // Takes the lower triangle of the matrix.
  template <class From>
  explicit Packed(const PaddedMatrix<From>& matrix) : Packed(matrix.rows()) {
    for (Index i = 0; i < n_; ++i) {
      for (Index j = 0; j <= i; ++j) (*this)(i, j) = static_cast<T>(matrix(i, j));
    }
  }

  SymmetricStorage<T> storage() {
    return SymmetricStorage<T>::packed(memory_.data() + kMargin, n_);
  }
  T& operator()(Index i, Index j) {
    return memory_[static_cast<std::size_t>(kMargin + packed_place(n_, i, j))];
  }

  // Returns it as a square matrix with `above` above the diagonal.
  PaddedMatrix<T> lower(T above) {
    PaddedMatrix<T> result(n_, n_);
    result.fill(above);
    for (Index i = 0; i < n_; ++i) {
      for (Index j = 0; j <= i; ++j) result(i, j) = (*this)(i, j);
    }
    return result;
  }

  bool margin_intact() const {
    const auto is_mark = [](T value) { return value == PaddedMatrix<T>::kMark; };
    return std::all_of(memory_.begin(), memory_.begin() + kMargin, is_mark) &&
           std::all_of(memory_.end() - kMargin, memory_.end(), is_mark);
  }
  bool same_bits(const Packed& other) const {
    return n_ == other.n_ &&
           std::memcmp(memory_.data(), other.memory_.data(), memory_.size() * sizeof(T)) == 0;
  }

 private:
  static constexpr Index kMargin = 3;
  Index n_;
  std::vector<T> memory_;
};

// Returns a symmetric matrix with eigenvalues of about 1 to 5: the identity and a product, of a few
// columns for a large one, as sanitized builds take seconds for n³ terms.
inline PaddedMatrix<double> positive_definite(Index n, std::uint64_t seed = 11) {
  const Index terms = std::min<Index>(n, 64);
  const PaddedMatrix<double> a = random_samples<double>(n, terms, seed);
  PaddedMatrix<double> result(n, n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j <= i; ++j) {
      double sum = 0.0;
      for (Index p = 0; p < terms; ++p) sum += a(i, p) * a(j, p);
      sum /= static_cast<double>(n);
      result(j, i) = sum;
      result(i, j) = i == j ? sum + 1.0 : sum;
    }
  }
  return result;
}

// Returns the lower triangle, with `above` above the diagonal.
template <class T>
PaddedMatrix<T> lower_of(const PaddedMatrix<T>& matrix, T above) {
  PaddedMatrix<T> result(matrix.rows(), matrix.cols());
  for (Index i = 0; i < matrix.rows(); ++i) {
    for (Index j = 0; j < matrix.cols(); ++j) result(i, j) = j <= i ? matrix(i, j) : above;
  }
  return result;
}

template <class T>
bool only_nan_above_diagonal(const PaddedMatrix<T>& matrix) {
  for (Index i = 0; i < matrix.rows(); ++i) {
    for (Index j = i + 1; j < matrix.cols(); ++j) {
      if (!std::isnan(matrix(i, j))) return false;
    }
  }
  return true;
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/symmetry.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr std::array<Index, 6> kSizes = {1, 2, 31, 64, 257, 600};

template <class T>
Symmetry found(const PaddedMatrix<T>& matrix, int threads = 2) {
  return symmetry(HostDevice(reference_blas(), threads), matrix.view(), nullptr);
}

template <class T>
PaddedMatrix<T> symmetric(Index n) {
  PaddedMatrix<T> result = random_samples<T>(n, n, 7);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < i; ++j) result(i, j) = result(j, i);
  }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("symmetry: sum of squares, for any number of threads", T, float, double) {
  for (const Index n : kSizes) {
    CAPTURE(n);
    const PaddedMatrix<T> matrix = symmetric<T>(n);
    double squares = 0;
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) squares += std::pow(static_cast<double>(matrix(i, j)), 2);
    }
    const double rounding = static_cast<double>(n) * Tolerance<double>::kRounding;
    const Symmetry result = found(matrix);
    CHECK(result.difference == 0.0);
    CHECK(result.squares == doctest::Approx(squares).epsilon(rounding));
    CHECK(result.squares == found(matrix, 5).squares);
  }
}

TEST_CASE_TEMPLATE("symmetry: one element that differs, wherever it is", T, float, double) {
  const Index n = 77;
  for (Index i = 0; i < n; i += 4) {
    for (Index j = 0; j < n; j += 3) {
      PaddedMatrix<T> matrix = symmetric<T>(n);
      matrix(i, j) += T(50);
      CHECK(found(matrix).difference == doctest::Approx(i == j ? 0.0 : 50.0));
    }
  }
}

TEST_CASE_TEMPLATE("symmetry: what is not finite, wherever it is", T, float, double) {
  using Limits = std::numeric_limits<T>;
  const Index n = 70;
  for (const T bad : {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity()}) {
    for (const Index i : {0, 5, 32, 69}) {
      for (const Index j : {0, 31, 64, 69}) {
        PaddedMatrix<T> matrix = symmetric<T>(n);
        matrix(i, j) = bad;
        CHECK_FALSE(std::isfinite(found(matrix).squares));
      }
    }
  }
}

TEST_CASE_TEMPLATE("symmetry: one triangle mirrored to the other, for any number of threads", T,
                   float, double) {
  for (const Index n : kSizes) {
    for (const Triangle kept : {Triangle::lower, Triangle::upper}) {
      CAPTURE(n);
      CAPTURE(static_cast<int>(kept));
      const PaddedMatrix<T> random = random_samples<T>(n, n, 9);
      const auto is_kept = [kept](Index i, Index j) {
        return kept == Triangle::lower ? j <= i : j >= i;
      };
      PaddedMatrix<T> expected(n, n);
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) expected(i, j) = is_kept(i, j) ? random(i, j) : random(j, i);
      }
      for (const int threads : {1, 3}) {
        PaddedMatrix<T> matrix(n, n);  // the triangle that is overwritten holds NaN
        for (Index i = 0; i < n; ++i) {
          for (Index j = 0; j < n; ++j) {
            if (is_kept(i, j)) matrix(i, j) = random(i, j);
          }
        }
        mirror(HostDevice(reference_blas(), threads), matrix.view(), kept, nullptr);
        CHECK(equal_to_the_last_bit(matrix, expected));
        CHECK(matrix.margin_intact());
      }
    }
  }
}

}  // namespace fastntk::test

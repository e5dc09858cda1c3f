// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/tridiagonal.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <stdexcept>
#include <string>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "symmetric_matrices.hpp"

namespace fastntk::test {

namespace {

HostDevice device(int threads = 1) { return {reference_blas(), threads}; }

ExtremeEigenvalues extremes(const SymmetricStorage<const double>& storage, Index k,
                            int threads = 1) {
  return extreme_eigenvalues(device(threads), storage, k, nullptr);
}

// Returns min(i, j) + 1, whose inverse is tridiagonal.
PaddedMatrix<double> minima(Index n) {
  PaddedMatrix<double> result(n, n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) result(i, j) = static_cast<double>(std::min(i, j) + 1);
  }
  return result;
}

// Returns its eigenvalue number j, from 1, in descending order.
double eigenvalue_of_minima(Index n, Index j) {
  const double angle =
      std::numbers::pi * static_cast<double>(2 * j - 1) / static_cast<double>(4 * n + 2);
  return 0.25 / (std::sin(angle) * std::sin(angle));
}

}  // namespace

TEST_CASE("extreme eigenvalues: of matrices that they are known of, in both layouts") {
  for (Index n = 1; n <= 41; ++n) {
    CAPTURE(n);
    const PaddedMatrix<double> matrix = minima(n);
    PaddedMatrix<double> lower = lower_of(matrix, PaddedMatrix<double>::kNan);
    Packed<double> packed(matrix);
    const Index k = std::min<Index>(n, 3);
    const SymmetricStorage<const double> full = SymmetricStorage<double>::full(lower.view());
    const ExtremeEigenvalues found = extremes(full, k);
    const double rounding = 1e-15 * static_cast<double>(n) * eigenvalue_of_minima(n, 1);
    REQUIRE(static_cast<Index>(found.smallest.size()) == k);
    REQUIRE(static_cast<Index>(found.largest.size()) == k);
    for (Index i = 0; i < k; ++i) {
      const auto at = static_cast<std::size_t>(i);
      CHECK(std::abs(found.smallest[at] - eigenvalue_of_minima(n, n - i)) < rounding);
      CHECK(std::abs(found.largest[at] - eigenvalue_of_minima(n, 1 + i)) < rounding);
    }
    const ExtremeEigenvalues of_packed = extremes(packed.storage(), k, 3);
    CHECK(of_packed.smallest == found.smallest);
    CHECK(of_packed.largest == found.largest);
  }
}

TEST_CASE("extreme eigenvalues: all of them have the trace and the norm of the matrix") {
  for (const Index n : {7, 30, 65, 130}) {
    CAPTURE(n);
    const PaddedMatrix<double> a = random_samples<double>(n, n, 3);
    PaddedMatrix<double> matrix(n, n);
    double trace = 0.0;
    double squares = 0.0;
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        matrix(i, j) = a(i, j) + a(j, i);
        squares += matrix(i, j) * matrix(i, j);
      }
      trace += matrix(i, i);
    }
    const ExtremeEigenvalues found = extremes(SymmetricStorage<double>::full(matrix.view()), n);
    double sum = 0.0;
    double sum_of_squares = 0.0;
    for (const double value : found.smallest) {
      sum += value;
      sum_of_squares += value * value;
    }
    CHECK(sum == doctest::Approx(trace).epsilon(1e-12));
    CHECK(sum_of_squares == doctest::Approx(squares).epsilon(1e-13));
    CHECK(std::ranges::is_sorted(found.smallest));
    CHECK(std::ranges::equal(found.smallest.rbegin(), found.smallest.rend(), found.largest.begin(),
                             found.largest.end()));
  }
}

TEST_CASE("extreme eigenvalues: those of a diagonal matrix are its elements, whatever they are") {
  const std::array<double, 9> diagonal = {0.1, -7.0, 3.0, 1e-30, 0.0, 1e100, 3.0, -1.0 / 3.0, -0.0};
  constexpr Index kSize = diagonal.size();
  for (const double scale : {1.0, 1e-110, 1e20}) {
    PaddedMatrix<double> matrix(kSize, kSize);
    matrix.fill(0.0);
    std::array<double, kSize> sorted{};
    for (std::size_t i = 0; i < diagonal.size(); ++i) {
      const auto at = static_cast<Index>(i);
      matrix(at, at) = sorted[i] = scale * diagonal[i];
    }
    std::ranges::sort(sorted);
    const ExtremeEigenvalues found = extremes(SymmetricStorage<double>::full(matrix.view()), kSize);
    // What is 2⁻⁷⁵ of the largest is as good as 0.
    const double nothing = sorted.back() * 0x1p-74;
    for (std::size_t i = 0; i < diagonal.size(); ++i) {
      const bool small = std::abs(sorted[i]) < nothing;
      CHECK(std::abs(found.smallest[i] - sorted[i]) <= (small ? nothing : 0.0));
    }
  }
  PaddedMatrix<double> moderate(3, 3);
  moderate.fill(0.0);
  moderate(0, 0) = 1.0 / 3.0;
  moderate(1, 1) = -0.7;
  moderate(2, 2) = 1e-3;
  const ExtremeEigenvalues found = extremes(SymmetricStorage<double>::full(moderate.view()), 3);
  CHECK(found.smallest == std::vector<double>{-0.7, 1e-3, 1.0 / 3.0});
}

TEST_CASE("extreme eigenvalues: powers of two change nothing, to the last bit") {
  for (const Index n : {3, 20}) {
    const PaddedMatrix<double> matrix = minima(n);
    const ExtremeEigenvalues plain =
        extremes(SymmetricStorage<const double>::full(matrix.view()), 2);
    for (const int exponent : {-395, -340, -200, 200, 340, 390}) {
      CAPTURE(exponent);
      PaddedMatrix<double> scaled(n, n);
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) scaled(i, j) = std::ldexp(matrix(i, j), exponent);
      }
      const ExtremeEigenvalues found =
          extremes(SymmetricStorage<const double>::full(scaled.view()), 2);
      for (std::size_t i = 0; i < 2; ++i) {
        CHECK(found.smallest[i] == std::ldexp(plain.smallest[i], exponent));
        CHECK(found.largest[i] == std::ldexp(plain.largest[i], exponent));
      }
    }
  }
}

TEST_CASE("extreme eigenvalues: a row that nearly vanishes beside others of another scale") {
  for (const double scale : {1e-58, 1e-40, 1e-13, 1.0, 1e13, 1e40, 1e58}) {
    CAPTURE(scale);
    PaddedMatrix<double> matrix(3, 3);
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 3; ++j) matrix(i, j) = 0.0;
      matrix(i, i) = static_cast<double>(i + 1) * scale;
    }
    matrix(0, 1) = matrix(1, 0) = 0.5 * scale;
    matrix(2, 0) = matrix(0, 2) = 1e-144;
    matrix(2, 1) = matrix(1, 2) = 2e-144;
    const ExtremeEigenvalues found =
        extremes(SymmetricStorage<const double>::full(matrix.view()), 1);
    CHECK(found.smallest[0] / scale == doctest::Approx(1.5 - std::sqrt(0.5)).epsilon(1e-13));
    CHECK(found.largest[0] / scale == doctest::Approx(3.0).epsilon(1e-13));
  }
}

TEST_CASE("extreme eigenvalues: of rank one, of blocks, of zeros") {
  for (const Index n : {2, 5, 8, 33}) {
    PaddedMatrix<double> matrix(n, n);
    matrix.fill(2.0);
    const auto size = static_cast<double>(n);
    ExtremeEigenvalues found = extremes(SymmetricStorage<double>::full(matrix.view()), 2);
    CHECK(found.largest[0] == doctest::Approx(2.0 * size).epsilon(1e-14));
    CHECK(std::abs(found.largest[1]) < 1e-14 * size);
    CHECK(std::abs(found.smallest[0]) < 1e-14 * size);
    // Two blocks that know nothing of each other: a reflection is left out between them.
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        const double inside = i == j ? 2.0 : -1.0;
        matrix(i, j) = i / 2 == j / 2 ? inside : 0.0;
      }
    }
    found = extremes(SymmetricStorage<double>::full(matrix.view()), 1);
    CHECK(found.smallest[0] == doctest::Approx(1.0).epsilon(1e-15));
    CHECK(found.largest[0] == doctest::Approx(3.0).epsilon(1e-15));
    matrix.fill(0.0);
    found = extremes(SymmetricStorage<double>::full(matrix.view()), 1);
    CHECK(found.smallest[0] == 0.0);
    CHECK(found.largest[0] == 0.0);
  }
}

TEST_CASE("extreme eigenvalues: the caller can stop the work") {
  const Index n = 700;  // long enough for a lane of its own
  PaddedMatrix<double> matrix = minima(n);
  const SymmetricStorage<const double> storage = SymmetricStorage<double>::full(matrix.view());
  const Monitor monitor = [](const char* stage, Index, Index) {
    if (std::string(stage) == "eigenvalues") throw std::runtime_error("enough");
  };
  CHECK_THROWS_WITH(extreme_eigenvalues(device(2), storage, 1, monitor), "enough");
}

}  // namespace fastntk::test

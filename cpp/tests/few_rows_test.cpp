// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/few_rows.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "fastntk/few_rows_spectrum.hpp"
#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "reference_blas.hpp"
#include "symmetric_matrices.hpp"

namespace fastntk::test {

namespace {

HostDevice device() { return {reference_blas(), 1}; }

std::vector<double> ones(Index n) { return std::vector<double>(static_cast<std::size_t>(n), 1.0); }

template <class T>
std::optional<FewRowsSpectrum> spectrum(const PaddedMatrix<T>& matrix, Index k, bool both) {
  return few_rows_spectrum<HostDevice, T>(device(), matrix.view(), k, ones(matrix.rows()).data(), 3,
                                          both, nullptr);
}

}  // namespace

TEST_CASE("few rows: the factor gives the matrix back, and what is below the diagonal stays") {
  for (Index n = 1; n <= few_rows::kMost; n += n < 20 ? 1 : 11) {
    CAPTURE(n);
    const PaddedMatrix<double> matrix = positive_definite(n);
    PaddedMatrix<double> work(n, n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) work(i, j) = j < i ? -7.0 : matrix(i, j);
    }
    REQUIRE(few_rows::cholesky(work.view()) == n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < i; ++j) {
        CHECK(work(i, j) == -7.0);
        double sum = 0.0;
        for (Index p = 0; p <= j; ++p) sum += work(p, i) * work(p, j);
        CHECK(sum == doctest::Approx(matrix(i, j)).epsilon(1e-13));
      }
      CHECK(work(i, i) > 0.0);
    }
    // A solution, and its product, are where they were.
    std::vector<double> x(static_cast<std::size_t>(n));
    std::vector<double> image(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i % 5) - 1.5;
    const std::vector<double> expected = x;
    few_rows::solve(work.view(), x.data());
    few_rows::multiply(matrix.view(), x.data(), image.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      CHECK(image[i] == doctest::Approx(expected[i]).epsilon(1e-12));
    }
  }
}

TEST_CASE("few rows: the first pivot that is not positive and finite is told") {
  for (const Index bad : {0, 3, 9}) {
    for (const double pivot : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                               std::numeric_limits<double>::infinity()}) {
      PaddedMatrix<double> work(10, 10);
      for (Index i = 0; i < 10; ++i) {
        for (Index j = 0; j < 10; ++j) work(i, j) = i == j ? 2.0 : 0.0;
      }
      work(bad, bad) = pivot;
      work(9, 9) = bad == 9 ? pivot : -1.0;
      CHECK(few_rows::cholesky(work.view()) == bad);
    }
  }
}

TEST_CASE("few rows: both ends of the spectrum, as one asks for them") {
  for (const Index n : {1, 2, 5, 33, 64}) {
    CAPTURE(n);
    const PaddedMatrix<double> matrix = positive_definite(n);
    const Index k = n < 3 ? 1 : 3;
    const ExtremeEigenvalues expected = extreme_eigenvalues(
        device(), SymmetricStorage<const double>::full(matrix.view()), k, nullptr);
    double squares = 0.0;
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) squares += matrix(i, j) * matrix(i, j);
    }
    for (const bool both : {false, true}) {
      const auto found = spectrum(matrix, k, both);
      REQUIRE(found.has_value());
      CHECK(found->squares == doctest::Approx(squares).epsilon(1e-14));
      CHECK(found->values.smallest == expected.smallest);
      CHECK(found->values.largest == expected.largest);
      const double bottom = expected.smallest[0];
      const double top = expected.largest[0];
      // Shifts are beside the ends, by some roundings.
      CHECK(found->smallest.shift > -bottom);
      CHECK(found->smallest.shift < -bottom + 1e-12 * top);
      CHECK(found->smallest.found.quotient == doctest::Approx(bottom).epsilon(1e-12));
      CHECK(found->smallest.found.length == doctest::Approx(bottom).epsilon(1e-12));
      REQUIRE(found->largest.has_value() == both);
      if (!both) continue;
      CHECK(found->largest->shift > top);
      CHECK(found->largest->shift < top * (1 + 1e-11));
      CHECK(found->largest->found.quotient == doctest::Approx(top).epsilon(1e-12));
    }
  }
}

TEST_CASE("few rows: no result for what more than one look is needed for") {
  PaddedMatrix<double> matrix(6, 6);
  matrix.fill(0.0);
  CHECK_FALSE(spectrum(matrix, 1, true));
  for (Index i = 0; i < 6; ++i) matrix(i, i) = 1.0;
  CHECK(spectrum(matrix, 1, true));
  matrix(4, 2) = 1e-300;
  CHECK_FALSE(spectrum(matrix, 1, true));
  matrix(2, 4) = 1e-300;
  CHECK(spectrum(matrix, 1, true));
  for (const double scale : {1e-121, 1e121, std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN()}) {
    for (Index i = 0; i < 6; ++i) matrix(i, i) = scale;
    CHECK_FALSE(spectrum(matrix, 1, false));
  }
  PaddedMatrix<float> single(2, 2);
  single(0, 0) = single(1, 1) = 2.0F;
  single(0, 1) = single(1, 0) = 1.0F;
  const auto found = spectrum(single, 1, true);
  CHECK(found.has_value());
  if (!found.has_value()) return;
  CHECK(found->values.smallest[0] == doctest::Approx(1.0).epsilon(1e-15));
  CHECK(found->values.largest[0] == doctest::Approx(3.0).epsilon(1e-15));
  CHECK(found->squares == 10.0);
}

TEST_CASE("shifted end: the same numbers from a factor in tiles") {
  for (const Index n : {1, 5, 64, 131}) {
    CAPTURE(n);
    PaddedMatrix<double> matrix = positive_definite(n);
    Packed<double> packed(matrix);
    const std::vector<double> start = ones(n);
    const Matrix<const double> vector(start.data(), n, 1);
    const auto storage = SymmetricStorage<const double>::full(matrix.view());
    const ExtremeEigenvalues ends = extreme_eigenvalues(device(), storage, 1, nullptr);
    for (const double sign : {1.0, -1.0}) {
      const double value = sign > 0 ? ends.smallest[0] : ends.largest[0];
      const double shift = -sign * value + 1e-10;
      const ShiftedEnd found = shifted_end(device(), storage, sign, shift, vector, 3, nullptr);
      CHECK(found.good == n);
      CHECK(found.quotient == doctest::Approx(value).epsilon(1e-10));
      CHECK(found.length == doctest::Approx(value).epsilon(1e-10));
      const ShiftedEnd of_packed =
          shifted_end(device(), packed.storage(), sign, shift, vector, 3, nullptr);
      CHECK(of_packed.quotient == doctest::Approx(found.quotient).epsilon(1e-12));
      // On the other side of the end there is no decomposition.
      CHECK(shifted_end(device(), storage, sign, -sign * value - 1e-10, vector, 3, nullptr).good <
            n);
    }
  }
}

}  // namespace fastntk::test

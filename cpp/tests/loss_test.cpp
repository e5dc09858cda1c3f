// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/loss.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr std::array<Loss, 2> kLosses = {Loss::square, Loss::cross_entropy};

// Returns the loss of one sample by its definition.
double reference_loss(Loss loss, const std::vector<double>& f, const std::vector<double>& y) {
  double result = 0.0;
  double sum = 0.0;
  for (const double value : f) sum += std::exp(value);
  for (std::size_t c = 0; c < f.size(); ++c) {
    result += loss == Loss::square ? (f[c] - y[c]) * (f[c] - y[c]) / 2.0
                                   : -y[c] * std::log(std::exp(f[c]) / sum);
  }
  return result;
}

template <class T>
std::vector<double> row(const PaddedMatrix<T>& matrix, Index i) {
  const T* first = matrix.view().row(i);
  return {first, first + matrix.cols()};
}

// Returns random targets that sum to 1 in each row.
template <class T>
PaddedMatrix<T> probabilities(Index rows, Index cols) {
  PaddedMatrix<T> result = random_samples<T>(rows, cols, 3);
  for (Index i = 0; i < rows; ++i) {
    double sum = 0.0;
    for (Index c = 0; c < cols; ++c) sum += std::abs(static_cast<double>(result(i, c)));
    for (Index c = 0; c < cols; ++c) {
      result(i, c) = static_cast<T>(std::abs(static_cast<double>(result(i, c))) / sum);
    }
  }
  return result;
}

// Returns the outcomes; f is replaced by its gradient.
template <class T>
PaddedMatrix<double> outcomes_of(Loss loss, const PaddedMatrix<T>& targets, PaddedMatrix<T>& f,
                                 int threads = 2) {
  PaddedMatrix<double> outcomes(f.rows(), 2);
  evaluate_loss<HostDevice, T>(HostDevice(reference_blas(), threads), loss, targets.view(),
                               f.view(), outcomes.view(), nullptr);
  CHECK(outcomes.margin_intact());
  return outcomes;
}

}  // namespace

TEST_CASE_TEMPLATE("loss: values and gradients of each sample", T, float, double) {
  constexpr Index kRows = 70;
  constexpr Index kOutputs = 5;
  const PaddedMatrix<T> f = random_samples<T>(kRows, kOutputs, 1);
  const PaddedMatrix<T> targets = probabilities<T>(kRows, kOutputs);
  for (const Loss loss : kLosses) {
    PaddedMatrix<T> gradient = f;
    const PaddedMatrix<double> outcomes = outcomes_of(loss, targets, gradient);
    PaddedMatrix<double> values(kRows, 1);
    PaddedMatrix<double> expected(kRows, 1);
    PaddedMatrix<double> differences(kRows, kOutputs);
    for (Index i = 0; i < kRows; ++i) {
      values(i, 0) = outcomes(i, 0);
      expected(i, 0) = reference_loss(loss, row(f, i), row(targets, i));
      for (Index c = 0; c < kOutputs; ++c) {
        std::vector<double> above = row(f, i);
        std::vector<double> below = above;
        constexpr double kDifference = 1e-5;
        above[static_cast<std::size_t>(c)] += kDifference;
        below[static_cast<std::size_t>(c)] -= kDifference;
        differences(i, c) = (reference_loss(loss, above, row(targets, i)) -
                             reference_loss(loss, below, row(targets, i))) /
                            (2.0 * kDifference);
      }
    }
    // The loss is formed in float64, also for float32; targets rounded to float32 do not quite sum
    // to 1.
    CHECK(relative_error(values, expected) < (sizeof(T) == 4 ? 1e-6 : 1e-14));
    CHECK(relative_error(gradient, differences) <
          std::max(Tolerance<double>::kFiniteDifferences, Tolerance<T>::kRounding));
    CHECK(gradient.view()(0, 0) != f.view()(0, 0));
  }
}

TEST_CASE_TEMPLATE("loss: cross-entropy of outputs that exponentials cannot take", T, float,
                   double) {
  PaddedMatrix<T> f(3, 3);
  PaddedMatrix<T> targets(3, 3);
  targets.fill(T(0));
  for (Index i = 0; i < 3; ++i) {
    f(i, 0) = T(2000);
    f(i, 1) = T(-3000);
    f(i, 2) = T(2000);
    targets(i, i) = T(1);
  }
  const PaddedMatrix<double> outcomes = outcomes_of(Loss::cross_entropy, targets, f);
  CHECK(outcomes(0, 0) == doctest::Approx(std::log(2.0)));
  CHECK(outcomes(1, 0) == doctest::Approx(5000.0 + std::log(2.0)));
  CHECK(static_cast<double>(f(1, 0)) == doctest::Approx(0.5));
  CHECK(f(1, 1) == T(-1));
}

TEST_CASE("loss: a small loss keeps its digits") {
  PaddedMatrix<double> f(1, 2);
  PaddedMatrix<double> targets(1, 2);
  f(0, 0) = 30.0;
  f(0, 1) = 0.0;
  targets(0, 0) = 1.0;
  targets(0, 1) = 0.0;
  const PaddedMatrix<double> outcomes = outcomes_of(Loss::cross_entropy, targets, f);
  CHECK(outcomes(0, 0) == doctest::Approx(std::log1p(std::exp(-30.0))).epsilon(1e-2));
  CHECK(f(0, 1) == doctest::Approx(std::exp(-30.0)));
}

TEST_CASE("loss: what is recognized, and a NaN is not hidden") {
  PaddedMatrix<double> f(4, 3);
  PaddedMatrix<double> targets(4, 3);
  targets.fill(0.0);
  f.fill(0.0);
  f(0, 2) = 1.0;
  targets(0, 2) = 1.0;
  f(1, 1) = 1.0;
  targets(1, 2) = 1.0;
  targets(2, 0) = 1.0;  // the first of equal outputs
  f(3, 1) = PaddedMatrix<double>::kNan;
  targets(3, 1) = 1.0;
  for (const Loss loss : kLosses) {
    PaddedMatrix<double> gradient = f;
    const PaddedMatrix<double> outcomes = outcomes_of(loss, targets, gradient);
    CHECK(outcomes(0, 1) == 1.0);
    CHECK(outcomes(1, 1) == 0.0);
    CHECK(outcomes(2, 1) == 1.0);
    CHECK(std::isnan(outcomes(3, 0)));
  }
}

}  // namespace fastntk::test

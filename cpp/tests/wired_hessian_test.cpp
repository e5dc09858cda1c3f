// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fastntk/host.hpp"
#include "fastntk/wired/hessian_products.hpp"
#include "padded_matrix.hpp"
#include "random_wiring.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

// Products with Hessians of networks of steps, against differences of their gradients.
namespace fastntk::test {

namespace {

constexpr Index kInputs = 4;
constexpr Index kOutputs = 3;
constexpr std::uint64_t kSeedU = 41;
constexpr std::uint64_t kSeedV = 42;

HostDevice device_with(int threads) { return {reference_blas(), threads}; }

template <class T>
PaddedMatrix<T> products_of(const wired::Wiring<T>& wiring, const PaddedMatrix<T>& x,
                            const PaddedMatrix<T>& u, const PaddedMatrix<T>& v, int threads = 2) {
  PaddedMatrix<T> result(v.rows(), v.cols());
  wired::hessian_products<HostDevice, T>(device_with(threads), wiring, x.view(), u.view(), v.view(),
                                         result.view(), nullptr);
  CHECK(result.margin_intact());
  return result;
}

// Returns Σ_i Σ_c u_ic ∇f_c(x_i).
std::vector<double> weighted_gradient(const wired::Wiring<double>& wiring,
                                      const PaddedMatrix<double>& x,
                                      const PaddedMatrix<double>& u) {
  std::vector<double> sum(static_cast<std::size_t>(wiring.parameters()), 0.0);
  PaddedMatrix<double> gradients(x.rows(), wiring.parameters());
  for (Index c = 0; c < u.cols(); ++c) {
    wired::gradient_features<HostDevice, double>(device_with(1), wiring, c, x.view(),
                                                 gradients.view(), nullptr);
    for (Index i = 0; i < x.rows(); ++i) {
      for (std::size_t p = 0; p < sum.size(); ++p) {
        sum[p] += u(i, c) * gradients(i, static_cast<Index>(p));
      }
    }
  }
  return sum;
}

// Takes differences of the gradient along v, of the fourth order.
PaddedMatrix<double> numerical_products(RandomWiring<double>& net, const PaddedMatrix<double>& x,
                                        const PaddedMatrix<double>& u,
                                        const PaddedMatrix<double>& v) {
  constexpr double kLength = 1.0 / (1U << 11U);
  const std::vector<double*> parameters = net.parameters();
  PaddedMatrix<double> result(v.rows(), v.cols());
  result.fill(0.0);
  for (Index k = 0; k < v.rows(); ++k) {
    const double* const direction = v.view().row(k);
    const auto move = [&](double steps) {
      for (std::size_t p = 0; p < parameters.size(); ++p) *parameters[p] += steps * direction[p];
    };
    for (const auto& [steps, factor] :
         {std::pair{-2.0, 1.0}, {-1.0, -8.0}, {1.0, 8.0}, {2.0, -1.0}}) {
      move(steps * kLength);
      const auto gradient = weighted_gradient(net.get(), x, u);
      move(-steps * kLength);
      for (std::size_t p = 0; p < gradient.size(); ++p) {
        result(k, static_cast<Index>(p)) += factor * gradient[p] / (12.0 * kLength);
      }
    }
  }
  return result;
}

// This is everything that a product with the Hessian of a network takes.
template <class T>
struct Case {
  RandomWiring<T> net{kInputs};
  Index parameters;
  PaddedMatrix<T> x;
  PaddedMatrix<T> u;
  PaddedMatrix<T> v;

  Case(const std::string& name, Index samples, Index vectors)
      : parameters(built(name)),
        x(random_samples<T>(samples, kInputs)),
        u(random_samples<T>(samples, kOutputs, kSeedU)),
        v(random_samples<T>(vectors, parameters, kSeedV)) {}

  PaddedMatrix<T> products(int threads = 2) const {
    return products_of(net.get(), x, u, v, threads);
  }

 private:
  Index built(const std::string& name) {
    build(net, name);
    return net.get().parameters();
  }
};

void check_against_differences(const std::string& name, Index samples, Index vectors) {
  CAPTURE(name);
  CAPTURE(samples);
  CAPTURE(vectors);
  Case<double> c(name, samples, vectors);
  CHECK(relative_error(c.products(), numerical_products(c.net, c.x, c.u, c.v)) <
        Tolerance<double>::kFiniteDifferences);
}

}  // namespace

TEST_CASE("Hessian products of networks of steps: derivatives of the gradient") {
  for (const std::string& name : wiring_names()) check_against_differences(name, 5, 6);
}

TEST_CASE("Hessian products of networks of steps: any number of samples and of vectors") {
  for (const Index samples : {1, 33, 1030}) check_against_differences("after", samples, 1);
  for (const Index vectors : {3, 4, 5}) check_against_differences("before", 40, vectors);
  const Case<double> none("before", 0, 2);
  const auto result = none.products();
  for (Index p = 0; p < result.cols(); ++p) CHECK(result(0, p) == 0.0);
}

TEST_CASE("Hessian products of networks of steps: layers in several pieces") {
  RandomWiring<double> net(kInputs);
  net.linear(300);
  net.normalize(true);
  net.gain_shift(true, true);
  net.activate(kTanh);
  net.linear(kOutputs);
  const auto x = random_samples<double>(3, kInputs);
  const auto u = random_samples<double>(3, kOutputs, kSeedU);
  const auto v = random_samples<double>(2, net.get().parameters(), kSeedV);
  CHECK(relative_error(products_of(net.get(), x, u, v), numerical_products(net, x, u, v)) <
        Tolerance<double>::kFiniteDifferences);
}

TEST_CASE("Hessian products of networks of steps: that of an affine map is zero") {
  RandomWiring<double> net(kInputs);
  net.normalize(false);  // of the inputs, which no parameter moves
  net.linear(kOutputs);
  const auto x = random_samples<double>(6, kInputs);
  const auto u = random_samples<double>(6, kOutputs, kSeedU);
  const auto v = random_samples<double>(2, net.get().parameters(), kSeedV);
  const auto result = products_of(net.get(), x, u, v);
  for (Index k = 0; k < 2; ++k) {
    for (Index p = 0; p < result.cols(); ++p) CHECK(result(k, p) == 0.0);
  }
}

TEST_CASE("Hessian products of networks of steps: symmetric") {
  for (const std::string& name : wiring_names()) {
    CAPTURE(name);
    const Case<double> c(name, 50, 2);
    const auto result = c.products();
    double one_way = 0.0;
    double other_way = 0.0;
    for (Index p = 0; p < result.cols(); ++p) {
      one_way += c.v(0, p) * result(1, p);
      other_way += c.v(1, p) * result(0, p);
    }
    CHECK(std::abs(one_way - other_way) < 1e-12 * std::abs(one_way));
  }
}

TEST_CASE("Hessian products of networks of steps: float32 agrees with float64") {
  for (const std::string& name : wiring_names()) {
    CAPTURE(name);
    const Case<float> single(name, 40, 2);
    const Case<double> reference(name, 40, 2);
    CHECK(relative_error(single.products(), reference.products()) <
          4 * Tolerance<float>::kRounding);
  }
}

TEST_CASE_TEMPLATE("Hessian products of networks of steps: the same bits for any threads", T, float,
                   double) {
  for (const char* const name : {"before", "after"}) {
    const Case<T> c(name, 1100, 5);
    const auto expected = c.products(1);
    for (const int threads : {2, 3}) {
      CAPTURE(threads);
      CHECK(equal_to_the_last_bit(c.products(threads), expected));
    }
    PaddedMatrix<T> alone(1, c.v.cols());
    PaddedMatrix<T> of_all(1, c.v.cols());
    for (Index p = 0; p < c.v.cols(); ++p) {
      alone(0, p) = c.v(4, p);
      of_all(0, p) = expected(4, p);
    }
    CHECK(equal_to_the_last_bit(products_of(c.net.get(), c.x, c.u, alone), of_all));
  }
}

// ĥ does not depend on the size of what is normalized, and so the product with the Hessian of
// parameters on top of it does not: it must not pass through squares of that size.
TEST_CASE_TEMPLATE("Hessian products of networks of steps: normalized layers of any size", T, float,
                   double) {
  for (const bool centred : {false, true}) {
    std::vector<PaddedMatrix<T>> results;
    for (const int exponent : {0, -80, 80}) {
      const T size = std::ldexp(T(1), std::is_same_v<T, float> ? exponent : 8 * exponent);
      RandomWiring<T> net(kInputs);
      net.linear(5, false);
      net.normalize(centred);
      net.gain_shift(true, true);
      net.activate(kTanh);
      net.linear(kOutputs);
      auto x = random_samples<T>(7, kInputs);
      for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < x.cols(); ++j) x(i, j) *= size;
      }
      const auto u = random_samples<T>(7, kOutputs, kSeedU);
      const auto v = random_samples<T>(2, net.get().parameters(), kSeedV);
      results.push_back(products_of(net.get(), x, u, v));
    }
    CHECK(relative_error(results[1], results[0]) < Tolerance<T>::kRounding);
    CHECK(relative_error(results[2], results[0]) < Tolerance<T>::kRounding);
  }
}

TEST_CASE("Hessian products of networks of steps: an activation without a second derivative") {
  RandomWiring<double> net(kInputs);
  net.linear(5);
  net.activate(activation::Custom{});
  net.linear(kOutputs);
  const auto x = random_samples<double>(2, kInputs);
  const auto u = random_samples<double>(2, kOutputs, kSeedU);
  const auto v = random_samples<double>(1, net.get().parameters(), kSeedV);
  CHECK_THROWS_AS(products_of(net.get(), x, u, v), std::invalid_argument);
}

}  // namespace fastntk::test

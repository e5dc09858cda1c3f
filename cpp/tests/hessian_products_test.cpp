// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/hessian_products.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "reference_network.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr std::uint64_t kSeedU = 31;
constexpr std::uint64_t kSeedV = 32;

template <class T>
PaddedMatrix<T> products(const Network<T>& network, const PaddedMatrix<T>& x,
                         const PaddedMatrix<T>& u, const PaddedMatrix<T>& v, int threads = 2,
                         const Monitor& monitor = nullptr) {
  PaddedMatrix<T> result(v.rows(), v.cols());
  hessian_products<HostDevice, T>(HostDevice(reference_blas(), threads), network, x.view(),
                                  u.view(), v.view(), result.view(), monitor);
  CHECK(result.margin_intact());
  return result;
}

// Moves the parameters by so many steps along v.
void move(const std::vector<double*>& parameters, const double* v, double steps) {
  for (std::size_t p = 0; p < parameters.size(); ++p) *parameters[p] += steps * v[p];
}

// Returns Σ_i Σ_c u_ic ∇f_c(x_i) by the definition, in long double.
std::vector<long double> weighted_gradient(const Network<double>& network,
                                           const PaddedMatrix<double>& x,
                                           const PaddedMatrix<double>& u) {
  std::vector<long double> sum;
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index c = 0; c < u.cols(); ++c) {
      const auto gradient = reference_gradient<long double>(network, c, x.view().row(i));
      sum.resize(gradient.size(), 0.0L);
      for (std::size_t p = 0; p < gradient.size(); ++p) {
        sum[p] += static_cast<long double>(u(i, c)) * gradient[p];
      }
    }
  }
  return sum;
}

// Takes differences of the gradient of the fourth order. The parameters and directions of these
// tests have so few digits that a moved parameter is exact.
PaddedMatrix<double> numerical_products(RandomNetwork<double>& random,
                                        const PaddedMatrix<double>& x,
                                        const PaddedMatrix<double>& u,
                                        const PaddedMatrix<double>& v) {
  constexpr double kLength = 1.0 / (1U << 13U);
  const std::vector<double*> parameters = random.parameters();
  PaddedMatrix<double> result(v.rows(), v.cols());
  result.fill(0.0);
  if (x.rows() == 0) return result;
  for (Index k = 0; k < v.rows(); ++k) {
    const double* const direction = v.view().row(k);
    std::vector<long double> sum(parameters.size(), 0.0L);
    for (const auto& [steps, factor] :
         {std::pair{-2.0, 1.0L}, {-1.0, -8.0L}, {1.0, 8.0L}, {2.0, -1.0L}}) {
      move(parameters, direction, steps * kLength);
      const auto gradient = weighted_gradient(random.get(), x, u);
      move(parameters, direction, -steps * kLength);
      for (std::size_t p = 0; p < sum.size(); ++p) sum[p] += factor * gradient[p];
    }
    for (Index p = 0; p < v.cols(); ++p) {
      result(k, p) = static_cast<double>(sum[static_cast<std::size_t>(p)] / (12.0L * kLength));
    }
  }
  return result;
}

void check_against_differences(const Shape& shape, Index samples, Index vectors) {
  CAPTURE(shape.activation.index());
  CAPTURE(shape.readouts.front());
  CAPTURE(shape.biases);
  CAPTURE(samples);
  CAPTURE(vectors);
  RandomNetwork<double> random(shape);
  const auto x = random_samples<double>(samples, shape.inputs);
  const auto u = random_samples<double>(samples, shape.outputs, kSeedU);
  const Index parameters = parameter_count(random.get(), random.get().readouts.front());
  const auto v = random_samples<double>(vectors, parameters, kSeedV);
  CHECK(relative_error(products(random.get(), x, u, v), numerical_products(random, x, u, v)) <
        Tolerance<double>::kFourthOrderDifferences);
}

// This is everything that a product with the Hessian of a small network takes.
template <class T>
struct Case {
  RandomNetwork<T> random;
  PaddedMatrix<T> x;
  PaddedMatrix<T> u;
  PaddedMatrix<T> v;

  Case(const Shape& shape, Index samples, Index vectors)
      : random(shape),
        x(random_samples<T>(samples, shape.inputs)),
        u(random_samples<T>(samples, shape.outputs, kSeedU)),
        v(random_samples<T>(vectors, parameter_count(random.get(), random.get().readouts.front()),
                            kSeedV)) {}

  PaddedMatrix<T> products(int threads = 2, const Monitor& monitor = nullptr) const {
    return fastntk::test::products(random.get(), x, u, v, threads, monitor);
  }
};

}  // namespace

TEST_CASE("hessian products: derivatives of the gradient, for every activation") {
  for (const Activation& activation : kBuiltInActivations) {
    for (const bool biases : {false, true}) {
      check_against_differences(
          {.outputs = 2, .readouts = {3}, .activation = activation, .biases = biases}, 5, 2);
    }
  }
}

TEST_CASE("hessian products: the passes that they rest on, of many samples") {
  const Shape shape{.outputs = 2, .readouts = {3, 2}, .activation = kTanh};
  const Index samples = 70;  // several blocks
  const Case<double> c(shape, samples, 0);
  const Network<double>& network = c.random.get();
  std::array<std::vector<PaddedMatrix<double>>, 4> arrays;
  std::array<std::vector<Matrix<double>>, 4> views;
  for (std::size_t a = 0; a < 4; ++a) {
    arrays[a].reserve(4);
    for (Index l = 0; l <= 3; ++l) {
      arrays[a].emplace_back(samples, network.width(l));
      views[a].push_back(arrays[a].back().view());
    }
  }
  passes_with_curvature<HostDevice, double>(HostDevice(reference_blas(), 2), network, c.x.view(),
                                            c.u.view(), {views[0], views[1], views[2], views[3]},
                                            nullptr);
  for (const auto& of_kind : arrays) {
    for (const auto& array : of_kind) CHECK(array.margin_intact());
  }
  for (const Index i : {0, 15, 16, 69}) {
    const double* const x = c.x.view().row(i);
    const ReferencePass pass = reference_pass(network, x);
    for (Index l = 1; l <= 3; ++l) {
      const auto at = static_cast<std::size_t>(l);
      const auto z = reference_layer(network.layer(l), pass.h[at - 1]);
      for (Index j = 0; j < network.width(l); ++j) {
        CAPTURE(l);
        CAPTURE(j);
        const auto unit = static_cast<std::size_t>(j);
        double delta = 0.0;
        for (Index output = 0; output < 2; ++output) {
          delta += c.u(i, output) * numerical_delta(network, x, l, j, 0, output);
        }
        const double curvature = network.activation_scale *
                                 (reference_activation(shape.activation, z[unit] + kStep).slope -
                                  reference_activation(shape.activation, z[unit] - kStep).slope) /
                                 (2.0 * kStep);
        const auto near = [](double value) {
          return doctest::Approx(value).epsilon(Tolerance<double>::kFiniteDifferences);
        };
        CHECK(arrays[0][at](i, j) == doctest::Approx(pass.h[at][unit]).epsilon(1e-12));
        CHECK(arrays[1][at](i, j) == doctest::Approx(pass.slopes[at][unit]).epsilon(1e-12));
        CHECK(arrays[2][at](i, j) == near(delta));
        CHECK(arrays[3][at](i, j) == near(curvature * delta / pass.slopes[at][unit]));
      }
    }
  }
}

TEST_CASE("hessian products: any depth, and of a readout below the top") {
  for (const Index depth : {2, 1, 0}) {
    for (const bool biases : {false, true}) {
      check_against_differences(
          {.outputs = 3, .readouts = {depth, 3}, .activation = kTanh, .biases = biases}, 5, 2);
    }
  }
}

TEST_CASE("hessian products: of outputs with an activation") {
  for (const OutputActivation& psi : kOutputActivations) {
    CAPTURE(psi.index());
    for (const bool biases : {false, true}) {
      Shape shape{.outputs = 3,
                  .readouts = {3},
                  .activation = kTanh,
                  .biases = biases,
                  .output_activation = psi};
      check_against_differences(shape, 5, 2);
      shape.hidden = {};
      shape.readouts = {0};
      check_against_differences(shape, 5, 2);
    }
  }
}

TEST_CASE("hessian products: any number of samples") {
  const Shape shape{.inputs = 3, .hidden = {4, 3}, .readouts = {2}, .activation = kTanh};
  for (const Index samples : {0, 1, 31, 33, 300, 1023, 1025, 2050}) {
    check_against_differences(shape, samples, 1);
  }
}

TEST_CASE("hessian products: any number of vectors") {
  const Shape shape{.inputs = 3, .hidden = {4, 3}, .readouts = {2}, .activation = kSoftplus};
  for (const Index vectors : {0, 3, 4, 5, 9}) check_against_differences(shape, 40, vectors);
  check_against_differences(shape, 1030, 6);
}

TEST_CASE("hessian products: any number of units, inputs and outputs") {
  for (const Index units : {255, 256, 257, 520}) {
    const Shape shape{.inputs = 2, .readouts = {1}, .activation = kTanh};
    Shape wide = shape;
    wide.hidden = {units};
    check_against_differences(wide, 3, 1);
    wide = shape;
    wide.inputs = units;
    wide.hidden = {2};
    check_against_differences(wide, 3, 1);
    wide = shape;
    wide.outputs = units;
    wide.hidden = {3};
    check_against_differences(wide, 3, 1);
  }
}

TEST_CASE("hessian products: without hidden layers the Hessian is zero") {
  for (const bool biases : {false, true}) {
    const Case<double> c({.hidden = {}, .outputs = 3, .readouts = {0}, .biases = biases}, 6, 2);
    const auto result = c.products();
    for (Index k = 0; k < 2; ++k) {
      for (Index p = 0; p < result.cols(); ++p) CHECK(result(k, p) == 0.0);
    }
  }
}

// For f = s₂ w₂ᵀ (c s₁ W₁ x) the Hessian has the two cross blocks s₁ s₂ c x and nothing else.
TEST_CASE("hessian products: of a linear network with one hidden layer") {
  const Shape shape{
      .inputs = 4, .hidden = {3}, .readouts = {1}, .activation = kIdentity, .biases = false};
  const Case<double> c(shape, 1, 2);
  const Network<double>& network = c.random.get();
  const double factor = network.layer(1).weight_scale * network.readouts[0].layer.weight_scale *
                        network.activation_scale * c.u(0, 0);
  PaddedMatrix<double> expected(2, c.v.cols());
  for (Index k = 0; k < 2; ++k) {
    for (Index i = 0; i < 3; ++i) {
      double along = 0.0;
      for (Index j = 0; j < 4; ++j) {
        expected(k, 4 * i + j) = factor * c.v(k, 12 + i) * c.x(0, j);
        along += c.v(k, 4 * i + j) * c.x(0, j);
      }
      expected(k, 12 + i) = factor * along;
    }
  }
  CHECK(relative_error(c.products(), expected) < Tolerance<double>::kRounding);
}

TEST_CASE_TEMPLATE("hessian products: a sum over the samples with their weights", T, float,
                   double) {
  const Shape shape{.outputs = 2, .activation = kGelu};
  const Case<T> c(shape, 3, 2);
  PaddedMatrix<T> sum(2, c.v.cols());
  sum.fill(T(0));
  for (Index i = 0; i < 3; ++i) {
    for (Index output = 0; output < 2; ++output) {
      PaddedMatrix<T> one(1, 2);
      one.fill(T(0));
      one(0, output) = T(1);
      PaddedMatrix<T> sample(1, shape.inputs);
      for (Index j = 0; j < shape.inputs; ++j) sample(0, j) = c.x(i, j);
      const auto own = products(c.random.get(), sample, one, c.v);
      for (Index k = 0; k < 2; ++k) {
        for (Index p = 0; p < sum.cols(); ++p) sum(k, p) += c.u(i, output) * own(k, p);
      }
    }
  }
  CHECK(relative_error(c.products(), sum) < Tolerance<T>::kRounding);
}

TEST_CASE("hessian products: symmetric") {
  for (const Activation& activation : {kRelu, kTanh}) {
    const Case<double> c({.hidden = {7, 300, 4}, .outputs = 2, .activation = activation}, 600, 2);
    const auto result = c.products();
    const auto dot_product = [&](Index a, Index b) {
      double sum = 0.0;
      for (Index p = 0; p < result.cols(); ++p) sum += c.v(a, p) * result(b, p);
      return sum;
    };
    CHECK(std::abs(dot_product(0, 1) - dot_product(1, 0)) < 1e-12 * std::abs(dot_product(0, 1)));
  }
}

TEST_CASE("hessian products: float32 agrees with float64") {
  for (const Activation& activation : kBuiltInActivations) {
    CAPTURE(activation.index());
    const Shape shape{.outputs = 2, .activation = activation};
    const Case<float> single(shape, 40, 2);
    const Case<double> reference(shape, 40, 2);
    CHECK(relative_error(single.products(), reference.products()) < Tolerance<float>::kRounding);
  }
}

TEST_CASE_TEMPLATE("hessian products: each by itself and the same to the last bit for any threads",
                   T, float, double) {
  const Shape shape{.inputs = 3, .hidden = {300, 4}, .outputs = 2, .readouts = {2}};
  const Case<T> c(shape, 1100, 5);
  const auto expected = c.products(1);
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    CHECK(equal_to_the_last_bit(c.products(threads), expected));
  }
  for (const Index k : {0, 4}) {
    PaddedMatrix<T> alone(1, c.v.cols());
    PaddedMatrix<T> of_all(1, c.v.cols());
    for (Index p = 0; p < c.v.cols(); ++p) {
      alone(0, p) = c.v(k, p);
      of_all(0, p) = expected(k, p);
    }
    CHECK(equal_to_the_last_bit(products(c.random.get(), c.x, c.u, alone), of_all));
  }
}

TEST_CASE("hessian products: a custom activation has no second derivative") {
  const auto one = [](double /*z*/) { return 1.0; };
  const Activation custom = activation::Custom{one, one};
  const Monitor monitor = [](const char* /*stage*/, Index /*done*/, Index /*total*/) {
    throw std::logic_error("work has begun");
  };
  for (const Index samples : {0, 3}) {
    const Case<double> c({.activation = custom}, samples, 1);
    CHECK_THROWS_WITH_AS(c.products(1, monitor), "this activation has no second derivative",
                         std::invalid_argument);
  }
}

TEST_CASE("hessian products: a custom activation that has one") {
  const auto cube = [](double z) { return z * z * z; };
  const auto slope = [](double z) { return 3.0 * z * z; };
  const auto bend = [](double z) { return 6.0 * z; };
  const Activation custom = activation::Custom{cube, slope, bend};
  check_against_differences({.outputs = 2, .output_activation = custom}, 5, 2);
  check_against_differences({.hidden = {5}, .readouts = {1}, .activation = custom}, 5, 2);
}

TEST_CASE("hessian products: the monitor may end the work at each stage") {
  const Case<double> c({}, 3, 1);
  for (const std::string last : {"passes", "tangents", "sums"}) {
    std::vector<std::string> stages;
    const Monitor monitor = [&](const char* stage, Index /*done*/, Index /*total*/) {
      stages.emplace_back(stage);
      if (stage == last) throw std::runtime_error(stage);
    };
    CHECK_THROWS_WITH_AS(c.products(1, monitor), last.c_str(), std::runtime_error);
    CHECK(stages.back() == last);
  }
}

}  // namespace fastntk::test

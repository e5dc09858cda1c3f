// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/activation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "reference_activation.hpp"

namespace fastntk::test {

namespace {

template <class T>
constexpr double kTolerance = std::is_same_v<T, float> ? 2e-6 : 4e-15;

double cube(double z) { return z * z * z; }
double cube_slope(double z) { return 3.0 * z * z; }

constexpr auto kSmooth = std::to_array<Activation>({
    activation::Identity{},
    activation::Gelu{},
    activation::Sigmoid{},
    activation::Silu{},
    activation::Softplus{1.0},
    activation::Softplus{2.5},
    activation::Tanh{},
    activation::Erf{1.0, 0.0},
    activation::Erf{0.7, 1.0},
    activation::Sine{1.0, 0.0},
    activation::Sine{1.5, 0.25},
    activation::Cosine{1.0, 0.0},
    activation::Cosine{0.75, -0.5},
    activation::Squareplus{4.0},
    activation::Squareplus{0.3},
    activation::Mish{},
    activation::GeluTanh{},
});

constexpr activation::Clipped kHardtanh{-1.0, 1.0};
constexpr activation::Clipped kHardsigmoid{-3.0, 3.0, 1.0 / 6.0, 0.5};
constexpr activation::Clipped kHardswish{-3.0, 3.0, 1.0 / 6.0, 0.5, true};
constexpr activation::Elu kSelu{1.75809934084737685995, 1.05070098735548049342};

constexpr auto kWithKink = std::to_array<Activation>({
    activation::Relu{},
    activation::PiecewiseLinear{0.1, 1.0},
    activation::PiecewiseLinear{-1.0, 1.0},
    activation::PiecewiseLinear{2.0, -0.5},
    activation::RectifiedMonomial{1},
    activation::RectifiedMonomial{2},
    activation::RectifiedMonomial{3},
    activation::RectifiedMonomial{5},
    activation::Elu{1.0},
    activation::Elu{0.4},
    kSelu,
    activation::Elu{0.4, 1.0, 2.5},
    activation::Softsign{},
    activation::Clipped{0.0, 6.0},
    kHardtanh,
    kHardswish,
});

std::vector<Activation> all_activations() {
  std::vector<Activation> all(kSmooth.begin(), kSmooth.end());
  all.insert(all.end(), kWithKink.begin(), kWithKink.end());
  all.emplace_back(kHardsigmoid);
  return all;
}

// These points are exact in float32, and not too close to 0 for a central difference to meet a kink
// there.
std::vector<double> grid() {
  std::vector<double> points;
  for (int k = -63; k <= 63; k += 2) points.push_back(k / 8.0);
  return points;
}

template <class T>
ValueAndSlope<T> evaluate_at(const Activation& activation, T z) {
  return with_activation(activation, [&](auto phi) { return phi(z); });
}

template <class T>
T curvature_at(const Activation& activation, T z) {
  return with_smooth_activation(activation, [&](auto phi) { return phi.curvature(z); });
}

// Returns f'(z) from four values around z; in long double it is good to 1e-12 or so.
template <class F>
long double derivative(F f, long double z) {
  constexpr long double kH = 1.0L / 1024.0L;
  return (8.0L * (f(z + kH) - f(z - kH)) - (f(z + 2.0L * kH) - f(z - 2.0L * kH))) / (12.0L * kH);
}

double error(long double actual, long double expected) {
  if (!std::isfinite(actual)) return std::numeric_limits<double>::infinity();
  return static_cast<double>(std::abs(actual - expected) / std::max(1.0L, std::abs(expected)));
}

// Returns |actual − expected| / |expected|, for tails, where every digit of a small number counts.
double tail_error(long double actual, long double expected) {
  if (!std::isfinite(actual)) return std::numeric_limits<double>::infinity();
  if (actual == expected) return 0.0;
  return static_cast<double>(std::abs((actual - expected) / expected));
}

constexpr double kNumericalDerivative = 1e-10;

}  // namespace

TEST_CASE_TEMPLATE("activation: values and slopes are those of the plain formulas", T, float,
                   double) {
  for (const Activation& activation : all_activations()) {
    for (const double z : grid()) {
      CAPTURE(activation.index());
      CAPTURE(z);
      const auto [value, slope] = evaluate_at(activation, static_cast<T>(z));
      const auto expected = reference_activation<long double>(activation, z);
      CHECK(error(value, expected.value) < kTolerance<T>);
      CHECK(error(slope, expected.slope) < kTolerance<T>);
    }
  }
}

TEST_CASE_TEMPLATE("activation: slopes that follow from the values", T, float, double) {
  std::vector<Activation> activations = all_activations();
  activations.emplace_back(activation::PiecewiseLinear{0.0, 0.5});
  activations.emplace_back(activation::PiecewiseLinear{1.0, 0.0});
  activations.emplace_back(activation::PiecewiseLinear{1.0, 1e-60});
  activations.emplace_back(activation::Custom{cube, cube_slope});
  std::vector<double> points = grid();
  constexpr auto kInf = std::numeric_limits<double>::infinity();
  constexpr auto kTiny = static_cast<double>(std::numeric_limits<T>::min());
  for (const double z : {0.0, -0.0, 16.0 * kTiny, -16.0 * kTiny, kInf, -kInf,
                         std::numeric_limits<double>::quiet_NaN()}) {
    points.push_back(z);
  }
  std::size_t following = 0;
  for (const Activation& activation : activations) {
    CAPTURE(activation.index());
    bool follows = true;
    for (const double z : points) {
      const auto [value, slope] = evaluate_at(activation, static_cast<T>(z));
      for (const double scale : {0.5, 1.0, 1.3}) {
        const T h = static_cast<T>(scale) * value;
        const T from_value = evaluate_at(activation, h).slope;
        follows = follows && (from_value == slope || (std::isnan(from_value) && std::isnan(slope)));
      }
    }
    CHECK(slope_is_that_of_value(activation) == follows);
    following += static_cast<std::size_t>(follows);
  }
  CHECK(following == 5);  // identity, relu twice, leaky relu and one whose negative slope is 0
}

TEST_CASE_TEMPLATE("activation: slope and curvature are the derivatives", T, float, double) {
  for (const Activation& activation : all_activations()) {
    for (const double z : grid()) {
      CAPTURE(activation.index());
      CAPTURE(z);
      const auto value = [&](long double x) { return reference_activation(activation, x).value; };
      const auto slope = [&](long double x) { return reference_activation(activation, x).slope; };
      const double tolerance = std::max(kTolerance<T>, kNumericalDerivative);
      const auto at = static_cast<T>(z);
      CHECK(error(evaluate_at(activation, at).slope, derivative(value, z)) < tolerance);
      CHECK(error(curvature_at(activation, at), derivative(slope, z)) < tolerance);
    }
  }
}

TEST_CASE_TEMPLATE("activation: finite for arguments of any realistic size", T, float, double) {
  for (const Activation& activation : all_activations()) {
    const bool monomial = std::holds_alternative<activation::RectifiedMonomial>(activation);
    for (const double size : {20.0, 90.0, 200.0, 800.0, 1e4, 1e6}) {
      for (const double z : {size, -size}) {
        CAPTURE(activation.index());
        CAPTURE(z);
        const auto at = static_cast<T>(z);
        const auto [value, slope] = evaluate_at(activation, at);
        CHECK(std::isfinite(value));
        CHECK(std::isfinite(slope));
        CHECK(std::isfinite(curvature_at(activation, at)));
        CHECK((monomial || std::abs(value) <= T(2) * static_cast<T>(size) + T(2)));
      }
    }
  }
}

TEST_CASE("activation: every digit of the tails") {
  struct Tail {
    Activation activation;
    bool value_vanishes_left;  // else the value tends to a constant or grows
  };
  const std::vector<Tail> tails = {
      {activation::Gelu{}, true},          {activation::Sigmoid{}, true},
      {activation::Silu{}, true},          {activation::Softplus{1.0}, true},
      {activation::Softplus{2.5}, true},   {activation::Tanh{}, false},
      {activation::Erf{1.0, 0.0}, false},  {activation::Elu{1.0}, false},
      {activation::Mish{}, true},          {activation::GeluTanh{}, true},
      {activation::Squareplus{4.0}, true}, {activation::Softsign{}, false},
  };
  // exp(−x²/2) magnifies the rounding of its argument by x².
  constexpr double kTail = 2e-13;
  for (const auto& [activation, vanishes] : tails) {
    for (const double size : {9.0, 15.5, 24.0, 30.0}) {
      for (const double z : {size, -size}) {
        CAPTURE(activation.index());
        CAPTURE(z);
        const auto expected = reference_activation<long double>(activation, z);
        // Subnormal numbers do not have all their digits.
        if (std::abs(expected.slope) < 1e-300L) continue;
        const auto [value, slope] = evaluate_at(activation, z);
        if (z > 0.0 || vanishes) {
          CHECK(tail_error(value, expected.value) < kTail);
        } else {
          CHECK(error(value, expected.value) < kTolerance<double>);
        }
        CHECK(tail_error(slope, expected.slope) < kTail);
      }
    }
  }
  // In the tail φ'' is ± φ' for logistic functions, and −2 tanh φ' for tanh.
  for (const double z : {-40.0, 40.0}) {
    const long double e = std::exp(-std::abs(static_cast<long double>(z)));
    const long double sign = z < 0.0 ? 1.0L : -1.0L;
    CHECK(tail_error(curvature_at(activation::Sigmoid{}, z), sign * e) < 1e-14);
    CHECK(tail_error(curvature_at(activation::Softplus{1.0}, z), e) < 1e-14);
    CHECK(tail_error(curvature_at(activation::Silu{}, z), -38.0L * e) < 1e-14);
    CHECK(tail_error(curvature_at(activation::Tanh{}, z), 8.0L * sign * e * e) < 1e-14);
    // Of mish, z (1 − 2 e^−2z) and z e^z.
    const long double mish = z > 0.0 ? 8.0L * e * e * (1.0L - z) : (2.0L + z) * e;
    CHECK(tail_error(curvature_at(activation::Mish{}, z), mish) < 1e-14);
    const long double root = std::sqrt(static_cast<long double>(z) * z + 4.0L);
    CHECK(tail_error(curvature_at(activation::Squareplus{4.0}, z), 2.0L / (root * root * root)) <
          1e-14);
  }
}

TEST_CASE("activation: close to 0 nothing cancels") {
  for (const double z : {1e-10, -1e-10, 1e-200, -1e-200}) {
    CAPTURE(z);
    CHECK(tail_error(evaluate_at(activation::Tanh{}, z).value, z) < 1e-15);
    CHECK(tail_error(evaluate_at(activation::Erf{1.0, 0.0}, z).value,
                     std::erf(static_cast<long double>(z))) < 1e-15);
    CHECK(tail_error(evaluate_at(activation::Silu{}, z).value,
                     z / (1.0L + std::exp(-static_cast<long double>(z)))) < 1e-15);
    CHECK(tail_error(evaluate_at(activation::Elu{0.5}, z).value,
                     z > 0.0 ? z : 0.5L * std::expm1(static_cast<long double>(z))) < 1e-15);
    CHECK(evaluate_at(activation::Softsign{}, z).value == doctest::Approx(z).epsilon(1e-9));
    CHECK(evaluate_at(kHardtanh, z).value == z);
    CHECK(evaluate_at(kHardswish, z).value == doctest::Approx(z / 2.0).epsilon(1e-9));
  }
}

TEST_CASE_TEMPLATE("activation: at a kink the derivatives are those from the left", T, float,
                   double) {
  const auto at_zero = [](const Activation& activation) { return evaluate_at(activation, T(0)); };
  for (const Activation& activation : kWithKink) CHECK(at_zero(activation).value == T(0));
  CHECK(at_zero(activation::Relu{}).slope == T(0));
  CHECK(at_zero(activation::PiecewiseLinear{0.25, 1.0}).slope == T(0.25));
  CHECK(at_zero(activation::PiecewiseLinear{-1.0, 1.0}).slope == T(-1));
  CHECK(at_zero(activation::RectifiedMonomial{1}).slope == T(0));
  CHECK(at_zero(activation::Elu{0.5}).slope == T(0.5));
  CHECK(curvature_at(activation::Elu{0.5}, T(0)) == T(0.5));
  CHECK(curvature_at(activation::RectifiedMonomial{2}, T(0)) == T(0));
  CHECK(evaluate_at(kSelu, T(0)).slope == static_cast<T>(kSelu.alpha));
  CHECK(curvature_at(activation::Softsign{}, T(0)) == T(2));
  CHECK(curvature_at(activation::Softsign{}, T(0x1p-100)) == T(-2));
  // So they are at kinks elsewhere.
  CHECK(evaluate_at(kHardtanh, T(-1)).slope == T(0));
  CHECK(evaluate_at(kHardtanh, T(1)).slope == T(1));
  CHECK(evaluate_at(kHardtanh, T(1.0 + 0x1p-20)).slope == T(0));
  CHECK(evaluate_at(kHardswish, T(-3)).slope == T(0));
  CHECK(evaluate_at(kHardswish, T(3)).slope == T(1.5));
  CHECK(evaluate_at(kHardswish, T(3.0 + 0x1p-20)).slope == T(1));
  CHECK(curvature_at(kHardswish, T(-3)) == T(0));
  CHECK(curvature_at(kHardswish, T(3)) == static_cast<T>(1.0 / 3.0));
  // They are those from the right as soon as z is positive, however small.
  const T smallest = std::numeric_limits<T>::min();
  CHECK(evaluate_at(activation::Relu{}, smallest).value == smallest);
  CHECK(evaluate_at(activation::Relu{}, smallest).slope == T(1));
  CHECK(evaluate_at(activation::Relu{}, -smallest).slope == T(0));
  CHECK(evaluate_at(activation::PiecewiseLinear{0.25, 3.0}, smallest).slope == T(3));
  CHECK(evaluate_at(activation::Elu{0.5}, smallest).slope == T(1));
  CHECK(curvature_at(activation::Elu{0.5}, smallest) == T(0));
  CHECK(curvature_at(activation::RectifiedMonomial{2}, smallest) == T(2));
}

TEST_CASE_TEMPLATE("activation: a NaN stays visible", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const Activation& activation : all_activations()) {
    CAPTURE(activation.index());
    CHECK(std::isnan(evaluate_at(activation, nan).value));
  }
}

TEST_CASE_TEMPLATE("activation: a function compiled elsewhere", T, float, double) {
  const Activation custom = activation::Custom{&cube, &cube_slope};
  const auto [value, slope] = evaluate_at(custom, T(-1.5));
  CHECK(value == T(-3.375));
  CHECK(slope == T(6.75));
  CHECK_THROWS_AS(curvature_at(custom, T(1)), std::invalid_argument);
}

TEST_CASE("activation: names") {
  std::set<std::string_view> names;
  std::set<std::size_t> functors;
  for (const NamedActivation& named : named_activations()) {
    CAPTURE(named.name);
    CHECK(names.insert(named.name).second);
    REQUIRE((named.parameters >= 0 && named.parameters <= 2));
    functors.insert(named.make(1.0, 1.0).index());
    // As many parameters as are said make a difference, and no others.
    const auto value_and_slope = [&](double first, double second) {
      if (named.name == "hardtanh") first = -first / 4.0;  // below the second
      const auto [value, slope] = evaluate_at(named.make(first, second), 0.75);
      const auto [below, slope_below] = evaluate_at(named.make(first, second), -0.75);
      return std::array{value, slope, below, slope_below};
    };
    const auto usual = value_and_slope(2.0, 0.5);
    CHECK((value_and_slope(3.0, 0.5) != usual) == (named.parameters > 0));
    CHECK((value_and_slope(2.0, 0.25) != usual) == (named.parameters > 1));
  }
  // A custom activation alone has no name.
  CHECK(functors.size() == std::variant_size_v<Activation> - 1);
  const auto named = [](std::string_view name) {
    const auto all = named_activations();
    return std::ranges::find(all, name, &NamedActivation::name)->make;
  };
  CHECK(evaluate_at(named("leaky_relu")(0.25, 7.0), -2.0).value == -0.5);
  CHECK(evaluate_at(named("leaky_relu")(0.25, 7.0), 2.0).value == 2.0);
  CHECK(evaluate_at(named("abs")(7.0, 7.0), -2.0).value == 2.0);
  CHECK(evaluate_at(named("abrelu")(-0.5, 3.0), -2.0).value == 1.0);
  CHECK(evaluate_at(named("abrelu")(-0.5, 3.0), 2.0).value == 6.0);
  CHECK(evaluate_at(named("relu6")(7.0, 7.0), 8.0).value == 6.0);
  CHECK(evaluate_at(named("hardtanh")(-2.0, 0.5), 8.0).value == 0.5);
  CHECK(evaluate_at(named("hardtanh")(-2.0, 0.5), -8.0).value == -2.0);
  CHECK(evaluate_at(named("hardsigmoid")(7.0, 7.0), 1.5).value == 0.75);
  CHECK(evaluate_at(named("hardsigmoid")(7.0, 7.0), 8.0).value == 1.0);
  CHECK(evaluate_at(named("hardswish")(7.0, 7.0), 1.5).value == 1.125);
  CHECK(evaluate_at(named("hardswish")(7.0, 7.0), 8.0).value == 8.0);
}

}  // namespace fastntk::test

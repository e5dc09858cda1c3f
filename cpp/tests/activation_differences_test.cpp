// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/activation_differences.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>
#include <limits>
#include <type_traits>
#include <variant>
#include <vector>

namespace fastntk::test {

namespace {

using activation::Clipped;
using activation::Cosine;
using activation::Elu;
using activation::Erf;
using activation::Gelu;
using activation::GeluTanh;
using activation::Identity;
using activation::Mish;
using activation::PiecewiseLinear;
using activation::RectifiedMonomial;
using activation::Relu;
using activation::Sigmoid;
using activation::Silu;
using activation::Sine;
using activation::Softplus;
using activation::Softsign;
using activation::Squareplus;
using activation::Tanh;

std::vector<Activation> all_activations() {
  return {Identity{},
          Relu{},
          PiecewiseLinear{-1.0, 1.0},
          PiecewiseLinear{0.25, 1.0},
          RectifiedMonomial{1},
          RectifiedMonomial{2},
          RectifiedMonomial{5},
          Gelu{},
          Sigmoid{},
          Silu{},
          Elu{0.5},
          Softplus{1.0},
          Softplus{4.0},
          Tanh{},
          Erf{0.5, 0.25},
          Erf{1.0, 0.0},
          Sine{2.0, 0.5},
          Cosine{0.5, 0.25},
          Elu{1.75, 1.0625, 1.0},
          Elu{0.5, 1.0, 2.0},
          Softsign{},
          Squareplus{4.0},
          Squareplus{0.25},
          Mish{},
          GeluTanh{},
          Clipped{-1.0, 1.0},
          Clipped{0.0, 6.0},
          Clipped{-3.0, 3.0, 0.125, 0.375},
          Clipped{-3.0, 3.0, 0.125, 0.375, true}};
}

// All sums of these points and steps are exact, but for the smallest steps, which are beyond what
// the difference of two values of long double tells.
constexpr std::initializer_list<double> kPoints = {
    0.0, 0x1p-12, 0.125, 0.625, 1.0, 1.5, 3.5, 5.25, 8.0, 13.0, 20.0, 36.5, 100.0, 1024.0, 0x1p20};
constexpr std::initializer_list<double> kSteps = {0x1p-34, 0x1p-20, 0x1p-10, 0x1p-5, 0.125,
                                                  0.1875,  0.25,    0.3125,  0.75,   1.0,
                                                  2.5,     8.0,     50.0,    1000.0, 0x1p21};

// Whether two numbers agree to some digits, or to what the reference has.
bool agree(long double actual, long double expected, long double size, long double digits) {
  return std::abs(actual - expected) <=
         digits * std::abs(expected) + 256.0L * std::numeric_limits<long double>::epsilon() * size +
             std::numeric_limits<double>::min();
}

// Of exp(-z^2/2), a rounding of z takes as many digits as z^2 has, and of those of z that cancel.
template <class Phi>
constexpr long double kDigits =
    std::is_same_v<Phi, Gelu> || std::is_same_v<Phi, GeluTanh> || std::is_same_v<Phi, Erf> ? 1e-11L
                                                                                           : 2e-14L;

template <class Phi>
void check(const Phi& phi, double z, double dz) {
  CAPTURE(z);
  CAPTURE(dz);
  const auto actual = difference_of(phi, z, dz);
  const auto at = phi(static_cast<long double>(z));
  const auto end = phi(static_cast<long double>(z) + static_cast<long double>(dz));
  CHECK(agree(actual.value, end.value - at.value, std::abs(at.value) + std::abs(end.value),
              kDigits<Phi>));
  CHECK(agree(actual.slope, end.slope - at.slope, std::abs(at.slope) + std::abs(end.slope),
              kDigits<Phi>));
}

}  // namespace

TEST_CASE("differences of activations have digits of their own, however short or long the step") {
  for (const Activation& activation : all_activations()) {
    CAPTURE(activation.index());
    with_smooth_activation(activation, [](const auto& phi) {
      for (const double point : kPoints) {
        for (const double step : kSteps) {
          for (const double z : {point, -point}) {
            for (const double dz : {step, -step}) check(phi, z, dz);
          }
        }
      }
    });
  }
}

TEST_CASE("differences of activations over steps that vanish beside the point") {
  for (const Activation& activation : all_activations()) {
    CAPTURE(activation.index());
    with_smooth_activation(activation, [](const auto& phi) {
      for (const double z : {0.75, -0.75, 5.25, -5.25, 100.5, -100.5}) {
        CAPTURE(z);
        for (const double dz : {0x1p-60, -0x1p-60, 0x1p-200}) {
          const auto actual = difference_of(phi, z, dz);
          const double slope = phi(z).slope * dz;
          const double curvature = phi.curvature(z) * dz;
          CHECK(actual.value == doctest::Approx(slope).epsilon(1e-13));
          CHECK(actual.slope == doctest::Approx(curvature).epsilon(1e-11));
        }
      }
    });
  }
}

TEST_CASE("differences of a custom activation") {
  const activation::Custom cube{[](double x) { return x * x * x; },
                                [](double x) { return 3.0 * x * x; }};
  const auto close = difference_of(cube, 2.0, 0x1p-40);
  CHECK(close.value == doctest::Approx(12.0 * 0x1p-40).epsilon(1e-11));
  const auto far = difference_of(cube, 2.0, 1.0);
  CHECK(far.value == 19.0);
  CHECK(far.slope == 15.0);
  // Where φ may have a kink in between, the difference of values is all there is.
  const auto across = difference_of(cube, 0x1p-40, -0x1p-39);
  CHECK(across.value == -0x1p-119);
}

}  // namespace fastntk::test

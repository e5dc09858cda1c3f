// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <variant>

#include "fastntk/activation.hpp"

// These are φ and φ' as one writes them down. In long double, with its large exponents, these
// formulas neither overflow nor cancel for any float64 of moderate size.
namespace fastntk::test {

template <class Real>
struct ReferenceActivation {
  Real z;
  bool on = z > Real(0);

  static Real sigmoid(Real x) { return Real(1) / (Real(1) + std::exp(-x)); }

  ValueAndSlope<Real> operator()(activation::Identity /*phi*/) const { return {z, Real(1)}; }
  ValueAndSlope<Real> operator()(activation::Relu /*phi*/) const {
    return {on ? z : Real(0), on ? Real(1) : Real(0)};
  }
  ValueAndSlope<Real> operator()(activation::PiecewiseLinear phi) const {
    const auto slope = static_cast<Real>(on ? phi.positive : phi.negative);
    return {slope * z, slope};
  }
  ValueAndSlope<Real> operator()(activation::RectifiedMonomial phi) const {
    if (!on) return {Real(0), Real(0)};
    const auto degree = static_cast<Real>(phi.degree);
    return {std::pow(z, degree), degree * std::pow(z, degree - Real(1))};
  }
  ValueAndSlope<Real> operator()(activation::Gelu /*phi*/) const {
    const Real below = std::erfc(-z / std::numbers::sqrt2_v<Real>) / Real(2);
    const Real density = std::exp(-z * z / Real(2)) / std::sqrt(Real(2) * std::numbers::pi_v<Real>);
    return {z * below, below + z * density};
  }
  ValueAndSlope<Real> operator()(activation::Sigmoid /*phi*/) const {
    return {sigmoid(z), sigmoid(z) * sigmoid(-z)};
  }
  ValueAndSlope<Real> operator()(activation::Silu /*phi*/) const {
    return {z * sigmoid(z), sigmoid(z) + z * sigmoid(z) * sigmoid(-z)};
  }
  ValueAndSlope<Real> operator()(activation::Elu phi) const {
    const auto alpha = static_cast<Real>(phi.alpha);
    const auto positive = static_cast<Real>(phi.positive);
    const auto rate = static_cast<Real>(phi.rate);
    if (on) return {positive * z, positive};
    return {alpha * std::expm1(rate * z), alpha * rate * std::exp(rate * z)};
  }
  ValueAndSlope<Real> operator()(activation::Softplus phi) const {
    const auto beta = static_cast<Real>(phi.beta);
    return {std::log1p(std::exp(beta * z)) / beta, sigmoid(beta * z)};
  }
  ValueAndSlope<Real> operator()(activation::Tanh /*phi*/) const {
    return {std::tanh(z), Real(1) / (std::cosh(z) * std::cosh(z))};
  }
  ValueAndSlope<Real> operator()(activation::Erf phi) const {
    const auto rate = static_cast<Real>(phi.rate);
    const Real x = rate * z;
    return {std::erf(x) + static_cast<Real>(phi.offset),
            rate * Real(2) * std::numbers::inv_sqrtpi_v<Real> * std::exp(-x * x)};
  }
  ValueAndSlope<Real> operator()(activation::Sine phi) const {
    const auto frequency = static_cast<Real>(phi.frequency);
    const Real x = frequency * z + static_cast<Real>(phi.phase);
    return {std::sin(x), frequency * std::cos(x)};
  }
  ValueAndSlope<Real> operator()(activation::Cosine phi) const {
    const auto frequency = static_cast<Real>(phi.frequency);
    const Real x = frequency * z + static_cast<Real>(phi.phase);
    return {std::cos(x), -frequency * std::sin(x)};
  }
  ValueAndSlope<Real> operator()(activation::Softsign /*phi*/) const {
    const Real sum = Real(1) + std::abs(z);
    return {z / sum, Real(1) / (sum * sum)};
  }
  ValueAndSlope<Real> operator()(activation::Squareplus phi) const {
    const auto bend = static_cast<Real>(phi.bend);
    const Real r = std::sqrt(z * z + bend);
    // In the far tail long double cancels as well.
    const Real value = on ? (z + r) / Real(2) : bend / (r - z) / Real(2);
    return {value, value / r};
  }
  ValueAndSlope<Real> operator()(activation::Mish /*phi*/) const {
    const Real x = std::log1p(std::exp(z));
    const Real slope = sigmoid(z) / (std::cosh(x) * std::cosh(x));
    return {z * std::tanh(x), std::tanh(x) + z * slope};
  }
  ValueAndSlope<Real> operator()(activation::GeluTanh /*phi*/) const {
    const Real rate = std::sqrt(Real(8) / std::numbers::pi_v<Real>);
    const auto cubic = static_cast<Real>(0.044715L);
    const Real y = rate * (z + cubic * z * z * z);
    const Real slope = rate * (Real(1) + Real(3) * cubic * z * z);
    return {z * sigmoid(y), sigmoid(y) + z * slope * sigmoid(y) * sigmoid(-y)};
  }
  ValueAndSlope<Real> operator()(activation::Clipped phi) const {
    const auto rate = static_cast<Real>(phi.rate);
    const auto low = static_cast<Real>(phi.below);
    const auto high = static_cast<Real>(phi.above);
    const Real g = rate * std::min(std::max(z, low), high) + static_cast<Real>(phi.offset);
    const Real slope = z > low && z <= high ? rate : Real(0);
    if (phi.is_gate) return {z * g, g + z * slope};
    return {g, slope};
  }
  ValueAndSlope<Real> operator()(activation::Square /*phi*/) const { return {z * z, z + z}; }
  ValueAndSlope<Real> operator()(activation::Custom phi) const {
    const auto x = static_cast<double>(z);
    return {static_cast<Real>(phi.function(x)), static_cast<Real>(phi.derivative(x))};
  }
};

template <class Real>
ValueAndSlope<Real> reference_activation(const Activation& activation, Real z) {
  return std::visit(ReferenceActivation<Real>{z}, activation);
}

}  // namespace fastntk::test

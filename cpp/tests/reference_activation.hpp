// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cmath>
#include <numbers>
#include <stdexcept>

#include "fastntk/activation.hpp"

// φ and φ' as one writes them down. In long double, with its large exponents, these formulas
// neither overflow nor cancel for any float64 of moderate size.
namespace fastntk::test {

template <class Real>
ValueAndSlope<Real> reference_activation(const Activation& activation, Real z) {
  const auto first = static_cast<Real>(activation.parameters[0]);
  const auto second = static_cast<Real>(activation.parameters[1]);
  const bool on = z > Real(0);
  const auto sigmoid = [](Real x) { return Real(1) / (Real(1) + std::exp(-x)); };
  switch (activation.kind) {
    case ActivationKind::identity:
      return {z, Real(1)};
    case ActivationKind::relu:
      return {on ? z : Real(0), on ? Real(1) : Real(0)};
    case ActivationKind::piecewise_linear:
      return {on ? second * z : first * z, on ? second : first};
    case ActivationKind::rectified_monomial:
      if (!on) return {Real(0), Real(0)};
      return {std::pow(z, first), first * std::pow(z, first - Real(1))};
    case ActivationKind::gelu: {
      const Real below = std::erfc(-z / std::numbers::sqrt2_v<Real>) / Real(2);
      const Real density =
          std::exp(-z * z / Real(2)) / std::sqrt(Real(2) * std::numbers::pi_v<Real>);
      return {z * below, below + z * density};
    }
    case ActivationKind::sigmoid:
      return {sigmoid(z), sigmoid(z) * sigmoid(-z)};
    case ActivationKind::silu:
      return {z * sigmoid(z), sigmoid(z) + z * sigmoid(z) * sigmoid(-z)};
    case ActivationKind::elu:
      return {on ? z : first * std::expm1(z), on ? Real(1) : first * std::exp(z)};
    case ActivationKind::softplus:
      return {std::log1p(std::exp(first * z)) / first, sigmoid(first * z)};
    case ActivationKind::tanh:
      return {std::tanh(z), Real(1) / (std::cosh(z) * std::cosh(z))};
    case ActivationKind::erf: {
      const Real x = first * z;
      return {std::erf(x) + second,
              first * Real(2) * std::numbers::inv_sqrtpi_v<Real> * std::exp(-x * x)};
    }
    case ActivationKind::sin:
      return {std::sin(first * z + second), first * std::cos(first * z + second)};
    case ActivationKind::cos:
      return {std::cos(first * z + second), -first * std::sin(first * z + second)};
    case ActivationKind::custom: {
      const auto x = static_cast<double>(z);
      return {static_cast<Real>(activation.custom.function(x)),
              static_cast<Real>(activation.custom.derivative(x))};
    }
  }
  throw std::invalid_argument("unknown activation");
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cmath>
#include <limits>
#include <span>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <variant>

#include "fastntk/portability.hpp"

namespace fastntk {

// The activation functions φ: each functor gives φ(z) and φ'(z), as the passes need them together,
// and φ''(z) on its own. Where φ has a kink, the derivatives are those from the left.
//
// Where φ' depends on the sign of z alone, and φ keeps that sign, φ'(φ(z)) = φ'(z). The functors of
// which some are so have a member slope_is_that_of_value() that says whether this one is.

template <class T>
struct ValueAndSlope {
  T value;  // φ(z)
  T slope;  // φ'(z)
};

namespace activation {

template <class T>
constexpr T kInvSqrt2 = static_cast<T>(0.70710678118654752440);
template <class T>
constexpr T kInvSqrt2Pi = static_cast<T>(0.39894228040143267794);
template <class T>
constexpr T kTwoInvSqrtPi = static_cast<T>(1.12837916709551257390);
template <class T>
constexpr T kTwiceSqrt2OverPi = static_cast<T>(1.59576912160573071176);
template <class T>
constexpr T kGeluCubic = static_cast<T>(0.044715);  // of its form by a tanh
template <class T>
constexpr T kLargestNumber = std::numeric_limits<T>::max();

// A positive z times any factor from this one upwards is positive again, but for some of the
// subnormal numbers.
constexpr double kNotTiny = 1.0 / 1024.0;

// This is 1 / (1 + exp(−z)) with its derivative, without overflow and without cancellation in the
// tails.
template <class T>
FASTNTK_HOST_DEVICE ValueAndSlope<T> logistic(T z) {
  const T e = std::exp(-std::abs(z));
  const T larger = T(1) / (T(1) + e);
  return {z < T(0) ? e * larger : larger, e * larger * larger};
}

struct Identity {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    return {z, T(1)};
  }
  static bool slope_is_that_of_value() { return true; }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T /*z*/) const {
    return T(0);
  }
};

// φ(z) = z².
struct Square {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    return {z * z, T(2) * z};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T /*z*/) const {
    return T(2);
  }
};

// Returns the slope of a function that is linear on either side of 0. A NaN stays one, here and in
// values: it is not hidden behind a number.
template <class T>
FASTNTK_HOST_DEVICE T slope_by_side(T z, T negative, T positive) {
  const T otherwise = z <= T(0) ? negative : z;
  return z > T(0) ? positive : otherwise;
}

struct Relu {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    return {z < T(0) ? T(0) : z, slope_by_side(z, T(0), T(1))};
  }
  static bool slope_is_that_of_value() { return true; }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T /*z*/) const {
    return T(0);
  }
};

// Leaky ReLU and the absolute value are of this kind: φ(z) is negative · z for z < 0 and positive ·
// z for z > 0.
struct PiecewiseLinear {
  double negative;
  double positive;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T slope = slope_by_side(z, static_cast<T>(negative), static_cast<T>(positive));
    return {slope == T(0) ? T(0) : slope * z, slope};  // 0 at infinity, too
  }
  bool slope_is_that_of_value() const { return negative >= 0.0 && positive >= kNotTiny; }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T /*z*/) const {
    return T(0);
  }
};

// φ(z) = max(z, 0)^degree, for degree ≥ 1.
struct RectifiedMonomial {
  int degree;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    if (!(z > T(0))) return {z < T(0) ? T(0) : z, z <= T(0) ? T(0) : z};
    const T below = power(z, degree - 1);
    return {below * z, static_cast<T>(degree) * below};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    if (degree < 2 || !(z > T(0))) return T(0);
    return static_cast<T>(degree) * static_cast<T>(degree - 1) * power(z, degree - 2);
  }
  bool slope_is_that_of_value() const { return degree == 1; }

 private:
  template <class T>
  FASTNTK_HOST_DEVICE static T power(T z, int exponent) {
    T result = T(1);
    for (int i = 0; i < exponent; ++i) result *= z;
    return result;
  }
};

// φ(z) = z P(u ≤ z) for a standard normal u.
struct Gelu {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T below = std::erfc(-z * kInvSqrt2<T>) / T(2);
    return {z * below, below + z * density(z)};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T d = density(z);
    return d == T(0) ? T(0) : d * (T(2) - z * z);  // far from 0, z² may be infinite
  }

 private:
  template <class T>
  FASTNTK_HOST_DEVICE static T density(T z) {
    return kInvSqrt2Pi<T> * std::exp(-z * z / T(2));
  }
};

struct Sigmoid {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    return logistic(z);
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    return -logistic(z).slope * std::tanh(z / T(2));
  }
};

// φ(z) = z / (1 + exp(−z)).
struct Silu {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const auto s = logistic(z);
    return {z * s.value, s.value + z * s.slope};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    return logistic(z).slope * (T(2) - z * std::tanh(z / T(2)));
  }
};

// φ(z) is positive · z for z > 0 and alpha (exp(rate z) − 1) for z < 0: ELU, SELU and CELU.
struct Elu {
  double alpha;
  double positive = 1.0;
  double rate = 1.0;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    if (z > T(0)) return {static_cast<T>(positive) * z, static_cast<T>(positive)};
    const T a = static_cast<T>(alpha);
    const T r = static_cast<T>(rate);
    return {a * std::expm1(r * z), a * r * std::exp(r * z)};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    if (z > T(0)) return T(0);
    const T r = static_cast<T>(rate);
    return static_cast<T>(alpha) * r * r * std::exp(r * z);
  }
};

// φ(z) = log(1 + exp(beta z)) / beta, for beta > 0.
struct Softplus {
  double beta;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T b = static_cast<T>(beta);
    const T bend = std::log1p(std::exp(-std::abs(b * z))) / b;
    return {(z > T(0) ? z : T(0)) + bend, logistic(b * z).value};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T b = static_cast<T>(beta);
    return b * logistic(b * z).slope;
  }
};

struct Tanh {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    // 1 − tanh² would cancel where the function saturates.
    return {std::tanh(z), T(4) * logistic(T(2) * z).slope};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const auto [value, slope] = (*this)(z);
    return T(-2) * value * slope;
  }
};

// φ(z) = erf(rate · z) + offset.
struct Erf {
  double rate;
  double offset;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T x = static_cast<T>(rate) * z;
    return {std::erf(x) + static_cast<T>(offset),
            static_cast<T>(rate) * kTwoInvSqrtPi<T> * std::exp(-x * x)};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T a = static_cast<T>(rate);
    const T slope = (*this)(z).slope;
    return slope == T(0) ? T(0) : T(-2) * a * a * z * slope;  // far from 0, a² z may be infinite
  }
};

// φ(z) = sin(frequency · z + phase).
struct Sine {
  double frequency;
  double phase;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T f = static_cast<T>(frequency);
    const T x = f * z + static_cast<T>(phase);
    return {std::sin(x), f * std::cos(x)};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T f = static_cast<T>(frequency);
    return -f * f * (*this)(z).value;
  }
};

// φ(z) = cos(frequency · z + phase).
struct Cosine {
  double frequency;
  double phase;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T f = static_cast<T>(frequency);
    const T x = f * z + static_cast<T>(phase);
    return {std::cos(x), -f * std::sin(x)};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T f = static_cast<T>(frequency);
    return -f * f * (*this)(z).value;
  }
};

// φ(z) = z / (1 + |z|).
struct Softsign {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T inverse = T(1) / (T(1) + std::abs(z));
    return {z * inverse, inverse * inverse};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T inverse = T(1) / (T(1) + std::abs(z));
    return (z > T(0) ? T(-2) : T(2)) * inverse * inverse * inverse;
  }
};

// φ(z) = (z + √(z² + bend)) / 2, for bend > 0.
struct Squareplus {
  double bend;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T r = root(z);
    // Below 0 the sum would cancel.
    const T value = z > T(0) ? (z + r) / T(2) : static_cast<T>(bend) / (T(2) * (r - z));
    return {value, value / r};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T r = root(z);
    return static_cast<T>(bend) / (T(2) * r) / r / r;
  }
  // Returns √(z² + bend), which is |z| where the square is beyond all numbers.
  template <class T>
  FASTNTK_HOST_DEVICE T root(T z) const {
    const T sum = z * z + static_cast<T>(bend);
    return sum <= kLargestNumber<T> ? std::sqrt(sum) : std::abs(z);
  }
};

// φ(z) = z tanh(log(1 + exp(z))).
struct Mish {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const auto [gate, slope] = this->gate(z);
    return {z * gate, gate + z * slope};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T w = std::exp(-std::abs(z));
    const bool right = z > T(0);
    const T sum = right ? T(1) + w * (T(2) + T(2) * w) : T(2) + w * (T(2) + w);
    const T bend = right ? w * (w * (w * (T(2) * w + T(2)) - T(3)) - T(2))
                         : T(2) + w * (T(2) - w * (T(3) + T(2) * w));
    return T(2) * gate(z).slope + z * (T(4) * w * bend / (sum * sum * sum));
  }
  // Returns tanh(log(1 + exp(z))) = (y² + 2y)/(y² + 2y + 2), y = exp(z), and its derivative
  // 4 (y² + y)/(y² + 2y + 2)², in w = exp(−|z|).
  template <class T>
  FASTNTK_HOST_DEVICE static ValueAndSlope<T> gate(T z) {
    const T w = std::exp(-std::abs(z));
    if (z > T(0)) {
      const T inverse = T(1) / (T(1) + w * (T(2) + T(2) * w));
      return {(T(1) + T(2) * w) * inverse, T(4) * w * w * (T(1) + w) * inverse * inverse};
    }
    const T inverse = T(1) / (T(2) + w * (T(2) + w));
    return {w * (T(2) + w) * inverse, T(4) * w * (T(1) + w) * inverse * inverse};
  }
};

// This is GELU's form by a tanh, φ(z) = z (1 + tanh(√(2/π) (z + 0.044715 z³)))/2 = z σ(y).
struct GeluTanh {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const auto s = logistic(argument(z));
    return {z * s.value, s.slope == T(0) ? s.value : s.value + product(z) * s.slope};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const T y = argument(z);
    const T s = logistic(y).slope;
    if (s == T(0)) return T(0);  // far from 0, where the other factors may be infinite
    const T slope = kTwiceSqrt2OverPi<T> * (T(1) + T(3) * kGeluCubic<T> * z * z);
    return s * (T(2) * slope + z * (kTwiceSqrt2OverPi<T> * T(6) * kGeluCubic<T> * z -
                                    slope * slope * std::tanh(y / T(2))));
  }
  // Returns y, and z y'.
  template <class T>
  FASTNTK_HOST_DEVICE static T argument(T z) {
    return kTwiceSqrt2OverPi<T> * z * (T(1) + kGeluCubic<T> * z * z);
  }
  template <class T>
  FASTNTK_HOST_DEVICE static T product(T z) {
    return kTwiceSqrt2OverPi<T> * z * (T(1) + T(3) * kGeluCubic<T> * z * z);
  }
};

// This is a line between two kinks and constant beyond them, g(z) = rate · z + offset between
// below and above: hardtanh, ReLU6 and the hard sigmoid. If it is a gate, φ(z) = z g(z), and 0
// for z < below: the hard swish.
struct Clipped {
  double below;
  double above;
  double rate = 1.0;
  double offset = 0.0;
  bool is_gate = false;

  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    const T g = line(inside(z));
    // At a kink the slope is that from the left.
    const bool bends = z > static_cast<T>(below) && z <= static_cast<T>(above);
    const T slope = bends ? static_cast<T>(rate) : T(0);
    if (!is_gate) return {g, slope};
    if (z <= static_cast<T>(below)) return {T(0), T(0)};
    return {z * g, bends ? g + z * slope : g};
  }
  template <class T>
  FASTNTK_HOST_DEVICE T curvature(T z) const {
    const bool bends = z > static_cast<T>(below) && z <= static_cast<T>(above);
    return is_gate && bends ? T(2) * static_cast<T>(rate) : T(0);
  }
  // Returns the nearest number between the kinks; of a NaN, itself.
  template <class T>
  FASTNTK_HOST_DEVICE T inside(T z) const {
    const T from_below = z < static_cast<T>(below) ? static_cast<T>(below) : z;
    return from_below > static_cast<T>(above) ? static_cast<T>(above) : from_below;
  }
  template <class T>
  FASTNTK_HOST_DEVICE T line(T z) const {
    return static_cast<T>(rate) * z + static_cast<T>(offset);
  }
};

// A custom activation is any function that was compiled elsewhere. The pointers must stay valid and
// be safe to call from several threads; only the processor can call them.
struct Custom {
  using Function = double (*)(double);
  Function function = nullptr;
  Function derivative = nullptr;
  Function second_derivative = nullptr;  // may be missing: then there are no Hessians

  template <class T>
  ValueAndSlope<T> operator()(T z) const {
    const auto x = static_cast<double>(z);
    return {static_cast<T>(function(x)), static_cast<T>(derivative(x))};
  }
  template <class T>
  T curvature(T z) const {
    return static_cast<T>(second_derivative(static_cast<double>(z)));
  }
};

// This is softmax, p = exp(z)/Σ exp(z), which is no function of single elements: of the outputs of
// a network alone (softmax.hpp).
struct Softmax {};

}  // namespace activation

// An activation is chosen at run time. The first is that of networks for which none is chosen.
using Activation =
    std::variant<activation::Relu, activation::Identity, activation::PiecewiseLinear,
                 activation::RectifiedMonomial, activation::Gelu, activation::Sigmoid,
                 activation::Silu, activation::Elu, activation::Softplus, activation::Tanh,
                 activation::Erf, activation::Sine, activation::Cosine, activation::Square,
                 activation::Softsign, activation::Squareplus, activation::Mish,
                 activation::GeluTanh, activation::Clipped, activation::Custom>;

// This is what makes outputs f = ψ(g) of the linear outputs g: nothing, a function of each, or of
// all outputs of a sample.
using OutputActivation = std::variant<std::monostate, Activation, activation::Softmax>;

// This is how callers choose an activation by its name. The functors above say what the parameters
// are; a parameter that the activation does not have is ignored.
struct NamedActivation {
  std::string_view name;
  int parameters;  // 0, 1 or 2
  Activation (*make)(double first, double second);
};

// Returns all of them, each name once; several names may stand for one functor. A custom activation
// has no name, as it is two functions.
std::span<const NamedActivation> named_activations();

// Calls `use` with the functor of an activation that is not custom; for a custom one, the error
// says why. The loop over elements is compiled once for each functor and holds no branch on it.
template <class Use>
auto with_built_in_activation(const Activation& chosen, const char* error, Use use) {
  using Result = decltype(use(activation::Relu{}));
  return std::visit(
      [&](const auto& phi) -> Result {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(phi)>, activation::Custom>) {
          throw std::invalid_argument(error);
        } else {
          return use(phi);
        }
      },
      chosen);
}

// Calls `use` with the functor of any activation that a device can call: custom ones are functions
// of the processor, and no other device can call them.
template <bool on_host = true, class Use>
auto with_activation(const Activation& chosen, Use use) {
  if constexpr (on_host) {
    return std::visit(use, chosen);
  } else {
    return with_built_in_activation(chosen, "a custom activation runs on the processor alone", use);
  }
}

// The same for an activation that has all derivatives.
template <bool on_host = true, class Use>
auto with_smooth_activation(const Activation& chosen, Use use) {
  const auto* const custom = std::get_if<activation::Custom>(&chosen);
  if (custom != nullptr && custom->second_derivative == nullptr) {
    throw std::invalid_argument("this activation has no second derivative");
  }
  return with_activation<on_host>(chosen, use);
}

template <class Phi>
concept MayTellSlopeFromValue = requires(const Phi& phi) { phi.slope_is_that_of_value(); };

inline bool slope_is_that_of_value(const Activation& chosen) {
  return with_activation(chosen, [](const auto& phi) {
    if constexpr (MayTellSlopeFromValue<std::remove_cvref_t<decltype(phi)>>) {
      return phi.slope_is_that_of_value();
    } else {
      return false;
    }
  });
}

}  // namespace fastntk

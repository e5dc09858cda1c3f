// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "fastntk/activation.hpp"

// These are φ(z + dz) − φ(z) and φ'(z + dz) − φ'(z), for any step dz: to nearly all digits of their
// own, where the difference of two values has only those of the values. Nothing cancels in them but
// where the true difference is small beside all of its terms, as around a minimum of φ.
namespace fastntk {

namespace difference {

// Returns σ(b) − σ(a) = σ(−a) σ(b) (1 − e^{a − b}) of the logistic function σ, b = a + step.
template <class T>
T logistic(T a, T step) {
  if (step < T(0)) return -logistic(a + step, -step);
  return activation::logistic(-a).value * activation::logistic(a + step).value * -std::expm1(-step);
}

// Returns σ'(b) − σ'(a) = (σ(b) − σ(a)) (1 − σ(a) − σ(b)), where 1 − σ(a) = σ(−a).
template <class T>
T logistic_slope(T a, T step) {
  return logistic(a, step) * -logistic(-a, a + (a + step));
}

// This is the density of the standard normal distribution.
template <class T>
T density(T a) {
  return activation::kInvSqrt2Pi<T> * std::exp(-a * a / T(2));
}

// Returns its difference ρ(b) − ρ(a), where ρ(b) = ρ(a) exp(−(a + b)(b − a)/2). The larger of both
// stands before the bracket, so that nothing overflows.
template <class T>
T density(T a, T step) {
  const T exponent = -(a + step / T(2)) * step;
  return exponent < T(0) ? density(a) * std::expm1(exponent)
                         : -density(a + step) * std::expm1(-exponent);
}

// Returns the difference Φ(b) − Φ(a) of its distribution function. Over a short step that is an
// integral by Gauss's rule with five points, whose relative error is below 1e-15 where the step
// times 1 + |a| is below 1/4. Over longer ones, two values of the tail on the side of a, where they
// are smallest, differ by enough.
template <class T>
T normal(T a, T step) {
  if (std::abs(step) * (T(1) + std::abs(a)) < T(0.25)) {
    constexpr std::array<T, 3> kPoints = {T(0), T(0.53846931010568309104),
                                          T(0.90617984593866399280)};
    constexpr std::array<T, 3> kWeights = {T(0.56888888888888888889), T(0.47862867049936646804),
                                           T(0.23692688505618908751)};
    const T half = step / T(2);
    const T middle = a + half;
    T sum = kWeights[0] * density(middle);
    for (std::size_t i = 1; i < kPoints.size(); ++i) {
      sum +=
          kWeights[i] * (density(middle - half * kPoints[i]) + density(middle + half * kPoints[i]));
    }
    return half * sum;
  }
  const T from = a * activation::kInvSqrt2<T>;
  const T to = (a + step) * activation::kInvSqrt2<T>;
  return a > T(0) ? (std::erfc(from) - std::erfc(to)) / T(2)
                  : (std::erfc(-to) - std::erfc(-from)) / T(2);
}

template <class T>
T softplus(T a) {
  return (a > T(0) ? a : T(0)) + std::log1p(std::exp(-std::abs(a)));
}

// Returns log(1 + e^b) − log(1 + e^a) = log(1 + σ(a) (e^step − 1)), b = a + step, which for a long
// step is step + log(1 − σ(−a) (1 − e^−step)).
template <class T>
T softplus(T a, T step) {
  if (step < T(0)) return -softplus(a + step, -step);
  if (step < T(1)) return std::log1p(activation::logistic(a).value * std::expm1(step));
  if (a > T(0)) return step + std::log1p(activation::logistic(-a).value * std::expm1(-step));
  return softplus(a + step) - softplus(a);
}

// Returns the difference of two values, which is all there is to say where φ has a kink between
// them, and of functions of which nothing is known.
template <class Phi, class T>
ValueAndSlope<T> of_values(const Phi& phi, T z, T dz) {
  const auto at = phi(z);
  const auto beyond = phi(z + dz);
  return {beyond.value - at.value, beyond.slope - at.slope};
}

}  // namespace difference

template <class T>
ValueAndSlope<T> difference_of(const activation::Identity& /*phi*/, T /*z*/, T dz) {
  return {dz, T(0)};
}

template <class T>
ValueAndSlope<T> difference_of(const activation::Relu& phi, T z, T dz) {
  if ((z > T(0)) != (z + dz > T(0))) return difference::of_values(phi, z, dz);
  return {z > T(0) ? dz : T(0), T(0)};
}

template <class T>
ValueAndSlope<T> difference_of(const activation::PiecewiseLinear& phi, T z, T dz) {
  if ((z > T(0)) != (z + dz > T(0))) return difference::of_values(phi, z, dz);
  return {phi(z).slope * dz, T(0)};
}

// b^k − a^k = (b − a) Σ_i b^i a^{k−1−i}, a sum of positive numbers.
template <class T>
ValueAndSlope<T> difference_of(const activation::RectifiedMonomial& phi, T z, T dz) {
  const T end = z + dz;
  if (!(z > T(0) && end > T(0))) return difference::of_values(phi, z, dz);
  T sum = T(1);        // of degree − 1
  T sum_below = T(0);  // of degree − 2
  T power = T(1);      // of z
  for (int k = 1; k < phi.degree; ++k) {
    power *= z;
    sum_below = sum;
    sum = sum * end + power;
  }
  return {sum * dz, static_cast<T>(phi.degree) * sum_below * dz};
}

// This is for functions that are products with z, and fall to 0 on the left: a difference from
// there is that of two values, as both terms of the difference of a product are large beside it.
template <class T>
bool is_long_from_the_left(T z, T dz) {
  return std::abs(dz) >= T(1) && (z < T(0) || z + dz < T(0));
}

// φ = z Φ(z), φ' = Φ(z) + z ρ(z).
template <class T>
ValueAndSlope<T> difference_of(const activation::Gelu& phi, T z, T dz) {
  if (is_long_from_the_left(z, dz)) return difference::of_values(phi, z, dz);
  const T end = z + dz;
  const T normal = difference::normal(z, dz);
  const T normal_at_end = std::erfc(-end * activation::kInvSqrt2<T>) / T(2);
  return {z * normal + dz * normal_at_end,
          normal + z * difference::density(z, dz) + dz * difference::density(end)};
}

template <class T>
ValueAndSlope<T> difference_of(const activation::Sigmoid& /*phi*/, T z, T dz) {
  return {difference::logistic(z, dz), difference::logistic_slope(z, dz)};
}

// φ = z σ(z), φ' = σ(z) + z σ'(z).
template <class T>
ValueAndSlope<T> difference_of(const activation::Silu& phi, T z, T dz) {
  if (is_long_from_the_left(z, dz)) return difference::of_values(phi, z, dz);
  const auto end = activation::logistic(z + dz);
  const T logistic = difference::logistic(z, dz);
  return {z * logistic + dz * end.value,
          logistic + z * difference::logistic_slope(z, dz) + dz * end.slope};
}

template <class T>
ValueAndSlope<T> difference_of(const activation::Elu& phi, T z, T dz) {
  if ((z > T(0)) != (z + dz > T(0))) return difference::of_values(phi, z, dz);
  if (z > T(0)) return {static_cast<T>(phi.positive) * dz, T(0)};
  const T rate = static_cast<T>(phi.rate);
  const T from = rate * z;
  const T step = rate * dz;
  const T change =
      dz > T(0) ? std::exp(from + step) * -std::expm1(-step) : std::exp(from) * std::expm1(step);
  return {static_cast<T>(phi.alpha) * change, static_cast<T>(phi.alpha) * rate * change};
}

template <class T>
ValueAndSlope<T> difference_of(const activation::Softplus& phi, T z, T dz) {
  const T beta = static_cast<T>(phi.beta);
  return {difference::softplus(beta * z, beta * dz) / beta,
          difference::logistic(beta * z, beta * dz)};
}

// tanh(z) = 2 σ(2z) − 1.
template <class T>
ValueAndSlope<T> difference_of(const activation::Tanh& /*phi*/, T z, T dz) {
  return {T(2) * difference::logistic(T(2) * z, T(2) * dz),
          T(4) * difference::logistic_slope(T(2) * z, T(2) * dz)};
}

// erf(x) = 2 Φ(√2 x) − 1.
template <class T>
ValueAndSlope<T> difference_of(const activation::Erf& phi, T z, T dz) {
  const T factor = static_cast<T>(phi.rate) / activation::kInvSqrt2<T>;
  return {T(2) * difference::normal(factor * z, factor * dz),
          T(2) * factor * difference::density(factor * z, factor * dz)};
}

template <class T>
ValueAndSlope<T> difference_of(const activation::Sine& phi, T z, T dz) {
  const T frequency = static_cast<T>(phi.frequency);
  const T half = frequency * dz / T(2);
  const T middle = (frequency * z + static_cast<T>(phi.phase)) + half;
  const T twice = T(2) * std::sin(half);
  return {twice * std::cos(middle), -frequency * twice * std::sin(middle)};
}

template <class T>
ValueAndSlope<T> difference_of(const activation::Cosine& phi, T z, T dz) {
  const T frequency = static_cast<T>(phi.frequency);
  const T half = frequency * dz / T(2);
  const T middle = (frequency * z + static_cast<T>(phi.phase)) + half;
  const T twice = T(2) * std::sin(half);
  return {-twice * std::sin(middle), -frequency * twice * std::cos(middle)};
}

template <class T>
ValueAndSlope<T> difference_of(const activation::Square& /*phi*/, T z, T dz) {
  return {dz * (T(2) * z + dz), T(2) * dz};
}

// With a and b for 1 + |z| at both ends: φ' = 1/a², and on one side of 0 φ = ±(1 − 1/a).
template <class T>
ValueAndSlope<T> difference_of(const activation::Softsign& phi, T z, T dz) {
  const T end = z + dz;
  const T a = T(1) + std::abs(z);
  const T b = T(1) + std::abs(end);
  const bool across = (z > T(0)) != (end > T(0));
  const T side = z > T(0) ? T(1) : T(-1);
  const T nearer = side * (across ? z + end : -dz);  // |z| − |end|
  return {across ? difference::of_values(phi, z, dz).value : dz / a / b,
          nearer / a / b * ((a + b) / a / b)};
}

// With r = √(z² + bend) and s at the other end: s − r = dz (z + end)/(r + s).
template <class T>
ValueAndSlope<T> difference_of(const activation::Squareplus& phi, T z, T dz) {
  const T end = z + dz;
  const T r = phi.root(z);
  const T s = phi.root(end);
  // φ' = (1 + z/r)/2, and end · r − z · s has its digits from its square where it would cancel.
  const bool cancels = (z > T(0) && end > T(0)) || (z < T(0) && end < T(0));
  const T apart =
      cancels ? static_cast<T>(phi.bend) * dz * (z + end) / (end * r + z * s) : end * r - z * s;
  return {dz * ((phi(z).value + phi(end).value) / (r + s)), apart / r / s / T(2)};
}

// φ = z g(z), φ' = g + z g', where g = tanh(x), x = log(1 + exp(z)), and g' = (1 − g²) σ(z).
template <class T>
ValueAndSlope<T> difference_of(const activation::Mish& phi, T z, T dz) {
  if (is_long_from_the_left(z, dz)) return difference::of_values(phi, z, dz);
  const T x = T(2) * difference::softplus(z);
  const T dx = T(2) * difference::softplus(z, dz);
  const T gate = T(2) * difference::logistic(x, dx);
  const T slope = T(4) * (difference::logistic_slope(x, dx) * activation::logistic(z + dz).value +
                          activation::logistic(x).slope * difference::logistic(z, dz));
  const auto end = activation::Mish::gate(z + dz);
  return {z * gate + dz * end.value, gate + z * slope + dz * end.slope};
}

// φ = z σ(y), φ' = σ(y) + z y' σ'(y), where y is a polynomial of z of degree 3.
template <class T>
ValueAndSlope<T> difference_of(const activation::GeluTanh& phi, T z, T dz) {
  if (is_long_from_the_left(z, dz)) return difference::of_values(phi, z, dz);
  using activation::GeluTanh;
  const T end = z + dz;
  const T squares = activation::kGeluCubic<T> * (end * end + end * z + z * z);
  const T y = GeluTanh::argument(z);
  const T dy = activation::kTwiceSqrt2OverPi<T> * dz * (T(1) + squares);
  const T logistic = difference::logistic(y, dy);
  const auto at_end = activation::logistic(GeluTanh::argument(end));
  return {z * logistic + dz * at_end.value,
          logistic + GeluTanh::product(z) * difference::logistic_slope(y, dy) +
              activation::kTwiceSqrt2OverPi<T> * dz * (T(1) + T(3) * squares) * at_end.slope};
}

// The parts of the step below, between and above the kinks, each with a slope of its own.
template <class T>
ValueAndSlope<T> difference_of(const activation::Clipped& phi, T z, T dz) {
  const T end = z + dz;
  const T low = static_cast<T>(phi.below);
  const T high = static_cast<T>(phi.above);
  const T from = phi.inside(z);
  const T to = phi.inside(end);
  const bool inside = from == z && to == end;
  const T between = inside ? dz : to - from;
  const T rate = static_cast<T>(phi.rate);
  if (!phi.is_gate) return {rate * between, phi(end).slope - phi(z).slope};
  const bool beyond = z > high && end > high;
  const T above = beyond ? dz : (end > high ? end - high : T(0)) - (z > high ? z - high : T(0));
  const T value = between * phi.line(from + to) + phi.line(high) * above;
  const bool bends = z > low && z <= high && end > low && end <= high;
  return {value, bends ? T(2) * rate * dz : phi(end).slope - phi(z).slope};
}

// Of a custom activation φ' is known. A short step takes it at the midpoint: the relative error, of
// the order of the square of the step, is then below the 1e-11 (float32: 3e-5) or so to which a
// difference of two values, with an error of ε over the step, is good.
template <class T>
ValueAndSlope<T> difference_of(const activation::Custom& phi, T z, T dz) {
  constexpr T kShort = static_cast<T>(std::is_same_v<T, float> ? 4e-3 : 1e-5);
  ValueAndSlope<T> result = difference::of_values(phi, z, dz);
  if ((z > T(0)) == (z + dz > T(0)) && std::abs(dz) < kShort) {
    result.value = phi(z + dz / T(2)).slope * dz;
  }
  return result;
}

}  // namespace fastntk

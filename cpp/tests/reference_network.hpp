// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "fastntk/network.hpp"
#include "reference_activation.hpp"

// This is a network by its definition: one sample, one loop for each sum, float64.
namespace fastntk::test {

// Real is the precision of everything but the parameters and the samples themselves.
template <class Real>
struct ReferencePassOf {
  std::vector<std::vector<Real>> h;         // [l], l = 0 … L
  std::vector<std::vector<Real>> slopes;    // [l], l = 1 … L: c_φ φ'(zˡ); h of a softmax
  std::vector<std::vector<bool>> positive;  // [l], l = 1 … L: zˡ > 0
  std::vector<std::vector<Real>> f;         // [readout]
};
using ReferencePass = ReferencePassOf<double>;

// This is a change of one preactivation zˡ, or of one input for l = 0.
struct Nudge {
  Index layer = 0;
  Index unit = 0;
  double by = 0.0;
};

template <class Real, class T>
std::vector<Real> reference_layer(const Layer<T>& layer, const std::vector<Real>& below) {
  std::vector<Real> z;
  for (Index i = 0; i < layer.outputs(); ++i) {
    Real sum = 0.0;
    for (Index j = 0; j < layer.inputs(); ++j) {
      sum += static_cast<Real>(layer.weights(i, j)) * below[static_cast<std::size_t>(j)];
    }
    const Real bias = layer.bias == nullptr ? Real(0) : static_cast<Real>(layer.bias[i]);
    z.push_back(layer.weight_scale * sum + layer.bias_scale * bias);
  }
  return z;
}

template <class Real = double, class T>
ReferencePassOf<Real> reference_pass(const Network<T>& network, const T* sample, Nudge nudge = {}) {
  ReferencePassOf<Real> pass;
  pass.h.emplace_back(sample, sample + network.input_width);
  pass.slopes.emplace_back();
  pass.positive.emplace_back();
  const auto nudged = [&](Index l, std::vector<Real>& values) {
    if (l == nudge.layer) values[static_cast<std::size_t>(nudge.unit)] += nudge.by;
  };
  nudged(0, pass.h[0]);
  for (Index l = 1; l <= network.depth(); ++l) {
    std::vector<Real> values = reference_layer(network.layer(l), pass.h.back());
    nudged(l, values);
    std::vector<Real> slopes;
    std::vector<bool> positive;
    Real exponentials = 0.0;
    for (const Real value : values) exponentials += std::exp(value);
    for (Real& value : values) {
      positive.push_back(value > Real(0));
      if (network.is_softmax(l)) {
        value = std::exp(value) / exponentials;
        slopes.push_back(value);
        continue;
      }
      const auto phi = reference_activation(network.activation_of(l), value);
      slopes.push_back(network.activation_scale_of(l) * phi.slope);
      value = network.activation_scale_of(l) * phi.value;
    }
    pass.positive.push_back(positive);
    pass.h.push_back(values);
    pass.slopes.push_back(slopes);
  }
  for (const Readout<T>& readout : network.readouts) {
    const auto depth = static_cast<std::size_t>(readout.depth);
    pass.f.push_back(reference_layer(readout.layer, pass.h[depth]));
  }
  return pass;
}

inline constexpr double kStep = 1.0 / (1U << 20U);

// Returns the central difference of an output of a readout, from the passes half a distance to
// either side. With the same signs of zˡ on both sides there is no kink in between.
inline double central_difference(const ReferencePass& above, const ReferencePass& below,
                                 double distance, std::size_t readout, Index output) {
  if (above.positive != below.positive)
    throw std::logic_error("a kink within the step: change seed");
  const auto c = static_cast<std::size_t>(output);
  return (above.f[readout][c] - below.f[readout][c]) / distance;
}

// Returns ∂f/∂zˡ of one unit, or ∂f/∂x for l = 0.
template <class T>
double numerical_delta(const Network<T>& network, const T* sample, Index l, Index unit,
                       std::size_t readout, Index output) {
  return central_difference(reference_pass(network, sample, {l, unit, kStep}),
                            reference_pass(network, sample, {l, unit, -kStep}), 2.0 * kStep,
                            readout, output);
}

// Returns √ω ∂f/∂parameter of one output of the first readout, in the order W¹ row-major, b¹, W²,
// b², …
template <class Real = double, class T>
std::vector<Real> reference_gradient(const Network<T>& network, Index output, const T* sample) {
  const ReferencePassOf<Real> pass = reference_pass<Real>(network, sample);
  const Readout<T>& readout = network.readouts.front();
  std::vector<Real> delta(static_cast<std::size_t>(readout.layer.outputs()), Real(0));
  delta[static_cast<std::size_t>(output)] = Real(1);
  std::vector<Real> gradient;  // from the back
  for (Index l = readout.depth + 1; l >= 1; --l) {
    const Layer<T>& layer = l > readout.depth ? readout.layer : network.layer(l);
    const std::vector<Real>& below = pass.h[static_cast<std::size_t>(l - 1)];
    const Real root = std::sqrt(static_cast<Real>(layer.kernel_weight));
    const Real bias_root = std::sqrt(static_cast<Real>(layer.kernel_bias_weight));
    const bool has_parameters = l <= network.layers_with_parameters(readout);
    if (layer.bias != nullptr) {
      for (std::size_t i = delta.size(); i-- > 0;) {
        gradient.push_back(bias_root * layer.bias_scale * delta[i]);
      }
    }
    for (std::size_t i = delta.size(); has_parameters && i-- > 0;) {
      for (std::size_t j = below.size(); j-- > 0;) {
        gradient.push_back(root * layer.weight_scale * delta[i] * below[j]);
      }
    }
    if (l == 1) break;
    std::vector<Real> next(below.size(), Real(0));
    const std::vector<Real>& slopes = pass.slopes[static_cast<std::size_t>(l - 1)];
    Real mean = 0.0;  // of a softmax
    for (std::size_t j = 0; j < next.size(); ++j) {
      for (std::size_t i = 0; i < delta.size(); ++i) {
        next[j] += delta[i] * static_cast<Real>(layer.weights.row(static_cast<Index>(i))[j]);
      }
      next[j] *= layer.weight_scale * slopes[j];
      mean += next[j];
    }
    for (std::size_t j = 0; network.is_softmax(l - 1) && j < next.size(); ++j) {
      next[j] -= slopes[j] * mean;
    }
    delta = next;
  }
  std::ranges::reverse(gradient);
  return gradient;
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <stdexcept>
#include <vector>

#include "fastntk/network.hpp"

// A network by its definition: one sample, one loop a sum, float64.
namespace fastntk::test {

struct ReferencePass {
  std::vector<std::vector<double>> h;       // [l], l = 0 … L
  std::vector<std::vector<double>> slopes;  // [l], l = 1 … L: c_φ φ'(zˡ)
  std::vector<std::vector<double>> f;       // [readout]
};

// A change of one preactivation zˡ, or of one input for l = 0.
struct Nudge {
  Index layer = 0;
  Index unit = 0;
  double by = 0.0;
};

template <class T>
std::vector<double> reference_layer(const Layer<T>& layer, const std::vector<double>& below) {
  std::vector<double> z;
  for (Index i = 0; i < layer.outputs(); ++i) {
    double sum = 0.0;
    for (Index j = 0; j < layer.inputs(); ++j) {
      sum += static_cast<double>(layer.weights.row(i)[j]) * below[static_cast<std::size_t>(j)];
    }
    const double bias = layer.bias == nullptr ? 0.0 : static_cast<double>(layer.bias[i]);
    z.push_back(layer.weight_scale * sum + layer.bias_scale * bias);
  }
  return z;
}

template <class T>
ReferencePass reference_pass(const Network<T>& network, const T* sample, Nudge nudge = {}) {
  ReferencePass pass;
  pass.h.emplace_back(sample, sample + network.input_width);
  pass.slopes.emplace_back();
  const auto nudged = [&](Index l, std::vector<double>& values) {
    if (l == nudge.layer) values[static_cast<std::size_t>(nudge.unit)] += nudge.by;
  };
  nudged(0, pass.h[0]);
  for (Index l = 1; l <= network.depth(); ++l) {
    std::vector<double> values = reference_layer(network.layer(l), pass.h.back());
    nudged(l, values);
    std::vector<double> slopes;
    for (double& value : values) {
      const bool off = network.activation == Activation::relu && value <= 0.0;
      value = off ? 0.0 : network.activation_scale * value;
      slopes.push_back(off ? 0.0 : network.activation_scale);
    }
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

// The central difference of an output of a readout, from the passes half a distance to either side.
// With the same gates on both sides there is no kink in between: every zˡ is linear there.
inline double central_difference(const ReferencePass& above, const ReferencePass& below,
                                 double distance, std::size_t readout, Index output) {
  if (above.slopes != below.slopes) throw std::logic_error("a kink within the step: change seed");
  const auto c = static_cast<std::size_t>(output);
  return (above.f[readout][c] - below.f[readout][c]) / distance;
}

// ∂f/∂zˡ of one unit, or ∂f/∂x for l = 0.
template <class T>
double numerical_delta(const Network<T>& network, const T* sample, Index l, Index unit,
                       std::size_t readout, Index output) {
  return central_difference(reference_pass(network, sample, {l, unit, kStep}),
                            reference_pass(network, sample, {l, unit, -kStep}), 2.0 * kStep,
                            readout, output);
}

}  // namespace fastntk::test

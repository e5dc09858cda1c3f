// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "fastntk/activation.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/network.hpp"

// This describes networks that are more than a chain: with skip connections, and with layers that
// normalize. They are computed in steps, each of which makes a vector, or *node*, of one node or
// two that were there before. No weight is used twice, so that the gradient of every weight matrix
// is an outer product and the kernel a sum over them, as for a chain (kernel_terms.hpp).
//
// What is in the namespace `wired` does for these networks what functions of the same names do for
// chains.
namespace fastntk::wired {

// z = weight_scale · W h + bias_scale · b.
template <class T>
struct Linear {
  Layer<T> layer;
};

// h = scale · φ(z).
struct Activate {
  Activation phi;
  double scale = 1.0;
};

// h' = h + scale · u: what a block of layers makes is added to what goes by it.
struct Add {
  std::size_t branch = 0;  // the node u
  double scale = 1.0;
};

// ĥ = √n z/√(‖z‖² + n ε), where `centred` of z less the mean of its elements: RMSNorm and LayerNorm
// of n elements. Without ε, a z (or what is left of it) that is 0 has no direction: all of ĥ is
// NaN.
struct Normalize {
  bool centred = false;
  double epsilon = 0.0;
};

// y = γ ∘ ĥ + β, where either may be missing. Each is a layer without inputs whose bias it is.
template <class T>
struct GainShift {
  Layer<T> gain;
  Layer<T> shift;
};

// Returns the layer whose only parameters are these, with their ω; null for none.
template <class T>
Layer<T> vector_layer(const T* parameters, Index width, double kernel_weight) {
  Layer<T> layer;
  layer.weights = {nullptr, width, 0};
  layer.bias = parameters;
  layer.bias_scale = 1.0;
  layer.kernel_bias_weight = kernel_weight;
  return layer;
}

template <class T>
using Operation = std::variant<Linear<T>, Activate, Add, Normalize, GainShift<T>>;

template <class T>
struct Step {
  std::size_t source;  // the node that it reads; of a sum, the one that goes by the block
  Operation<T> operation;
};

// Node 0 is the inputs, and node k what step k makes. The last node is the outputs. For the kernels
// of several networks that share their first steps, there are nodes of outputs before it.
template <class T>
struct Wiring {
  Index input_width = 0;
  std::vector<Step<T>> steps;            // steps[k − 1] is step k
  std::vector<Index> widths;             // of the nodes
  std::vector<std::size_t> before_last;  // the nodes of outputs but the last, ascending

  explicit Wiring(Index inputs) : input_width(inputs), widths{inputs} {}

  void add(std::size_t source, Operation<T> operation) {
    const auto* const linear = std::get_if<Linear<T>>(&operation);
    widths.push_back(linear != nullptr ? linear->layer.outputs() : widths[source]);
    steps.push_back({source, std::move(operation)});
  }

  std::size_t top() const { return steps.size(); }
  // Returns the nodes of outputs of all networks.
  std::vector<std::size_t> tops() const {
    std::vector<std::size_t> nodes = before_last;
    nodes.push_back(top());
    return nodes;
  }
  const Step<T>& step(std::size_t node) const { return steps[node - 1]; }
  Index outputs() const { return widths.back(); }
  // Returns which nodes outputs depend on, these included.
  std::vector<bool> leads_to(std::size_t outputs_node) const {
    std::vector<bool> leads(top() + 1, false);
    leads[outputs_node] = true;
    for (std::size_t node = outputs_node; node >= 1; --node) {
      if (!leads[node]) continue;
      leads[step(node).source] = true;
      const auto* const add = std::get_if<Add>(&step(node).operation);
      if (add != nullptr) leads[add->branch] = true;
    }
    return leads;
  }

  // Calls use(node, layer) for every layer that has parameters, in the order of the steps.
  template <class Use>
  void for_each_layer(Use use) const {
    for (std::size_t node = 1; node <= top(); ++node) {
      const Operation<T>& operation = step(node).operation;
      if (const auto* const linear = std::get_if<Linear<T>>(&operation)) use(node, linear->layer);
      if (const auto* const both = std::get_if<GainShift<T>>(&operation)) {
        if (both->gain.bias != nullptr) use(node, both->gain);
        if (both->shift.bias != nullptr) use(node, both->shift);
      }
    }
  }

  Index parameters() const {
    Index sum = 0;
    for_each_layer([&](std::size_t, const Layer<T>& layer) { sum += layer.parameters(); });
    return sum;
  }
  // Returns the multiply-adds of the forward pass of one sample.
  double multiply_adds() const { return static_cast<double>(parameters()); }
};

// These networks have linear outputs: an activation of theirs would be a step.
template <class T>
Wiring<T> linear_outputs(Wiring<T> wiring) {
  return wiring;
}

// A matrix is written at the time `first` and read until the time `last`.
struct Lifetime {
  std::size_t first;
  std::size_t last;
};

// Returns a place for each matrix. Those that share one do not live at the same time; one may be
// written at the time at which another is read for the last time, never before.
inline std::vector<std::size_t> shared_places(const std::vector<Lifetime>& lives) {
  std::vector<std::size_t> order(lives.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return lives[i].first; });
  std::vector<std::size_t> places(lives.size());
  std::vector<std::size_t> free_from;  // of each place
  for (const std::size_t i : order) {
    const auto found =
        std::ranges::find_if(free_from, [&](std::size_t time) { return time < lives[i].first; });
    places[i] = static_cast<std::size_t>(found - free_from.begin());
    if (found == free_from.end()) free_from.push_back(0);
    free_from[places[i]] = lives[i].last;
  }
  return places;
}

}  // namespace fastntk::wired

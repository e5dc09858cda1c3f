// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "fastntk/wired/wiring.hpp"
#include "random_network.hpp"

namespace fastntk::test {

// These are networks of steps that own their parameters. Scales and ω differ from layer to layer.
template <class T>
class RandomWiring {
 public:
  explicit RandomWiring(Index inputs, std::uint64_t seed = 3) : wiring_(inputs), random_(seed) {}
  RandomWiring(const RandomWiring&) = delete;
  RandomWiring& operator=(const RandomWiring&) = delete;
  RandomWiring(RandomWiring&&) = delete;
  RandomWiring& operator=(RandomWiring&&) = delete;
  ~RandomWiring() = default;

  const wired::Wiring<T>& get() const { return wiring_; }
  std::size_t top() const { return wiring_.top(); }

  // Each adds a step that reads `source`, by default the node on top, and returns the new node.
  std::size_t linear(Index outputs, bool bias = true, std::optional<std::size_t> source = {}) {
    const std::size_t from = source.value_or(top());
    const Index inputs = wiring_.widths[from];
    const auto position = static_cast<double>(arrays_.size());
    Layer<T> layer;
    layer.weights = {numbers(outputs * inputs), outputs, inputs};
    layer.weight_scale = (1.0 + position / 8.0) / std::sqrt(static_cast<double>(inputs));
    layer.kernel_weight = 0.25 + position / 4.0;
    if (bias) {
      layer.bias = numbers(outputs);
      layer.bias_scale = 0.5 + position / 16.0;
      layer.kernel_bias_weight = 3.0 / (1.0 + position);
    }
    return add(from, wired::Linear<T>{layer});
  }
  std::size_t activate(const Activation& phi, std::optional<std::size_t> source = {}) {
    return add(source.value_or(top()), wired::Activate{phi, 1.3});
  }
  // The last node is the outputs of a network of its own.
  void end_network() { wiring_.before_last.push_back(top()); }
  std::size_t sum(std::size_t skip, double scale) { return add(skip, wired::Add{top(), scale}); }
  std::size_t normalize(bool centred, double epsilon = 0.0) {
    return add(top(), wired::Normalize{centred, epsilon});
  }
  std::size_t gain_shift(bool gain, bool shift) {
    const Index width = wiring_.widths.back();
    wired::GainShift<T> both{wired::vector_layer<T>(nullptr, width, 0.0),
                             wired::vector_layer<T>(nullptr, width, 0.0)};
    if (gain) both.gain = wired::vector_layer<T>(numbers(width), width, 1.75);
    if (shift) both.shift = wired::vector_layer<T>(numbers(width), width, 0.5);
    return add(top(), both);
  }

  // Returns the parameters in their order.
  std::vector<T*> parameters() {
    std::vector<T*> result;
    for (auto& array : arrays_) {
      for (T& parameter : array) result.push_back(&parameter);
    }
    return result;
  }
  // Returns ω of each of them.
  std::vector<double> kernel_weights() const {
    std::vector<double> result;
    wiring_.for_each_layer([&](std::size_t, const Layer<T>& layer) {
      const Index weights = layer.outputs() * layer.inputs();
      result.insert(result.end(), static_cast<std::size_t>(weights), layer.kernel_weight);
      const Index biases = layer.parameters() - weights;
      result.insert(result.end(), static_cast<std::size_t>(biases), layer.kernel_bias_weight);
    });
    return result;
  }

 private:
  std::size_t add(std::size_t source, wired::Operation<T> operation) {
    wiring_.add(source, std::move(operation));
    return top();
  }
  const T* numbers(Index count) {
    arrays_.push_back(random_.template vector<T>(count));
    return arrays_.back().data();
  }

  wired::Wiring<T> wiring_;
  Random random_;
  std::deque<std::vector<T>> arrays_;
};

inline const std::vector<std::string>& wiring_names() {
  static const std::vector<std::string> names = {"chain", "before", "after", "inputs", "sum"};
  return names;
}

// Builds one of them, with 4 inputs and 3 outputs.
template <class T>
void build(RandomWiring<T>& net, const std::string& name) {
  if (name == "chain") {
    net.linear(7);
    net.activate(kTanh);
    net.linear(3, false);
  } else if (name == "before") {  // a block that is normalized before, one that changes the width
    net.linear(6, false);
    const std::size_t first = net.top();
    net.normalize(true);
    net.gain_shift(true, true);
    net.linear(5);
    net.activate(kGelu);
    net.linear(6);
    const std::size_t second = net.sum(first, 0.5);
    net.linear(7, true, second);
    net.activate(kTanh);
    const std::size_t branch = net.linear(4, false);
    static_cast<void>(branch);
    // The branch is on top when the projection begins: the sum takes them the other way round.
    net.linear(4, true, second);
    net.sum(branch, 1.25);
    net.normalize(false);
    net.linear(3);
  } else if (name == "after") {  // normalized after the sum, activations between the blocks
    net.linear(6);
    const std::size_t first = net.top();
    net.activate(kTanh);  // reads a node that goes by the block, too
    net.linear(6, false);
    net.sum(first, -0.75);
    net.normalize(false, 0.25);
    const std::size_t second = net.gain_shift(true, false);
    net.activate(activation::Silu{});
    net.normalize(true, 0.125);
    net.gain_shift(false, true);
    net.linear(6);
    net.sum(second, 2.0);
    net.activate(kGelu);
    net.linear(3);
  } else if (name == "inputs") {  // normalized inputs and outputs
    net.normalize(true);
    net.gain_shift(true, true);
    net.linear(5);
    net.activate(kSoftplus);
    net.linear(3);
    net.normalize(true, 0.5);
    net.gain_shift(true, true);
  } else {  // outputs that are a sum, and a block without layers
    net.linear(3);
    const std::size_t first = net.top();
    net.activate(kTanh);
    const std::size_t second = net.sum(first, 0.5);
    net.linear(5, false);
    net.normalize(false);
    net.linear(3, false);
    const std::size_t third = net.sum(second, 0.75);
    net.sum(third, 0.25);
  }
}

// Returns f of a sample, computed slowly, in float64.
template <class T>
std::vector<double> reference_outputs(const wired::Wiring<T>& wiring, const T* sample) {
  std::vector<std::vector<double>> nodes(1);
  for (Index j = 0; j < wiring.input_width; ++j) {
    nodes[0].push_back(static_cast<double>(sample[j]));
  }
  for (const wired::Step<T>& step : wiring.steps) {
    const std::vector<double>& from = nodes[step.source];
    std::vector<double> made = from;
    const auto n = static_cast<double>(from.size());
    if (const auto* const linear = std::get_if<wired::Linear<T>>(&step.operation)) {
      const Layer<T>& layer = linear->layer;
      made.assign(static_cast<std::size_t>(layer.outputs()), 0.0);
      for (std::size_t u = 0; u < made.size(); ++u) {
        for (std::size_t j = 0; j < from.size(); ++j) {
          const T weight = layer.weights(static_cast<Index>(u), static_cast<Index>(j));
          made[u] += layer.weight_scale * static_cast<double>(weight) * from[j];
        }
        if (layer.bias != nullptr) made[u] += layer.bias_scale * static_cast<double>(layer.bias[u]);
      }
    } else if (const auto* const activate = std::get_if<wired::Activate>(&step.operation)) {
      with_activation(activate->phi, [&](const auto& phi) {
        for (double& value : made) value = activate->scale * phi(value).value;
      });
    } else if (const auto* const add = std::get_if<wired::Add>(&step.operation)) {
      for (std::size_t j = 0; j < made.size(); ++j) made[j] += add->scale * nodes[add->branch][j];
    } else if (const auto* const normalize = std::get_if<wired::Normalize>(&step.operation)) {
      double mean = 0.0;
      for (const double value : from) mean += normalize->centred ? value / n : 0.0;
      double squares = 0.0;
      for (const double value : from) squares += (value - mean) * (value - mean) / n;
      for (double& value : made) value = (value - mean) / std::sqrt(squares + normalize->epsilon);
    } else if (const auto* const both = std::get_if<wired::GainShift<T>>(&step.operation)) {
      for (std::size_t j = 0; j < made.size(); ++j) {
        if (both->gain.bias != nullptr) made[j] *= static_cast<double>(both->gain.bias[j]);
        if (both->shift.bias != nullptr) made[j] += static_cast<double>(both->shift.bias[j]);
      }
    }
    nodes.push_back(made);
  }
  return nodes.back();
}

}  // namespace fastntk::test

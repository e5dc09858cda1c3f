// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "array_args.hpp"
#include "fastntk/gradient_features.hpp"
#include "fastntk/network.hpp"

namespace fastntk::python {

// Returns the activation of a name, with its parameters, or for "custom" that of the addresses of
// two functions, or of three with the second derivative.
inline Activation activation_named(const std::string& name, std::array<double, 2> parameters,
                                   std::array<std::uintptr_t, 3> functions) {
  if (name == "custom") {
    if (functions[0] == 0 || functions[1] == 0) throw bad_argument("activation", "two functions");
    // NOLINTBEGIN(performance-no-int-to-ptr): Python has no other way to hand over a function.
    return activation::Custom{reinterpret_cast<activation::Custom::Function>(functions[0]),
                              reinterpret_cast<activation::Custom::Function>(functions[1]),
                              reinterpret_cast<activation::Custom::Function>(functions[2])};
    // NOLINTEND(performance-no-int-to-ptr)
  }
  const auto all = named_activations();
  const auto found = std::ranges::find(all, name, &NamedActivation::name);
  if (found == all.end()) throw bad_argument("activation", "one that the core has");
  return found->make(parameters[0], parameters[1]);
}

// This is a layer with the arrays of the host that hold its parameters.
template <class T>
struct PyLayer {
  Array<T> weights;
  std::optional<Array<T>> bias;
  double weight_scale;
  double bias_scale;
  double kernel_weight;
  double kernel_bias_weight;

  // Returns the layer, of so many inputs, and has `arrays` keep what it points to.
  Layer<T> keep(Index inputs, std::vector<py::object>& arrays) const {
    Layer<T> result;
    result.weights = input_matrix<T>(weights, inputs, "weights");
    result.weight_scale = weight_scale;
    result.kernel_weight = kernel_weight;
    arrays.push_back(weights);
    if (bias) {
      result.bias = input_vector<T>(*bias, result.outputs(), "bias");
      result.bias_scale = bias_scale;
      result.kernel_bias_weight = kernel_bias_weight;
      arrays.push_back(*bias);
    }
    return result;
  }
};

// Has a layer point to copies of its parameters on the device.
template <class Device, class Copies, class T>
void put_on_device(const Device& device, Copies& copies, Layer<T>& layer) {
  if (layer.inputs() > 0) {
    layer.weights.data =
        copies.add(device, layer.weights.data, layer.weights.rows, layer.weights.cols);
    layer.weights.stride = layer.weights.cols;
  }
  if (layer.bias != nullptr) layer.bias = copies.add(device, layer.bias, layer.outputs(), 1);
}

// Returns a range of the outputs of a network.
inline Range range_of_outputs(Index first, Index count, Index outputs) {
  if (first < 0 || count < 1 || first + count > outputs) {
    throw bad_argument("outputs", "a range of outputs that exist");
  }
  return {first, count};
}

// This is a network together with the arrays of the host that hold its weights. P is OnHost or
// OnGpu.
template <class P, class T>
class PyNetwork {
 public:
  using Device = typename P::Device;

  PyNetwork(Index input_width, Activation activation, double activation_scale) {
    network_.input_width = input_width;
    network_.activation = activation;
    network_.activation_scale = activation_scale;
  }

  void add_hidden(const PyLayer<T>& layer) {
    network_.hidden.push_back(keep(layer, network_.width(network_.depth())));
  }

  void add_readout(Index depth, const PyLayer<T>& layer) {
    if (!network_.has_linear_outputs()) throw bad_argument("network", "no readout yet");
    if (depth < 0 || depth > network_.depth()) throw bad_argument("depth", "a layer that exists");
    Layer<T> kept = keep(layer, network_.width(depth));
    if (!network_.readouts.empty() && kept.outputs() != network_.readouts.front().layer.outputs()) {
      throw bad_argument("weights", "as many outputs as the other readouts have");
    }
    network_.readouts.push_back({depth, kept});
  }

  // Adds a readout on top whose outputs have an activation, to a network without any.
  void add_activated_readout(const PyLayer<T>& layer, const OutputActivation& activation) {
    if (!network_.readouts.empty()) throw bad_argument("network", "no readout yet");
    add_readout(network_.depth(), layer);
    const Index c = outputs();
    identity_.assign(static_cast<std::size_t>(c * c), T(0));
    for (Index i = 0; i < c; ++i) identity_[static_cast<std::size_t>(i * (c + 1))] = T(1);
    network_ = with_output_activation<T>(network_, activation, {identity_.data(), c, c});
  }

  // Returns the same network with parameters in other arrays, one entry for each layer. Only for a
  // single readout.
  std::unique_ptr<PyNetwork> with_parameters(
      const std::vector<std::pair<Array<T>, std::optional<Array<T>>>>& arrays) const {
    const Network<T> net = linear_outputs(get());
    if (net.readouts.size() != 1 || static_cast<Index>(arrays.size()) != net.depth() + 1) {
      throw bad_argument("arrays", "one entry for each layer of a network of a single readout");
    }
    auto result =
        std::make_unique<PyNetwork>(net.input_width, net.activation, net.activation_scale);
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      const Layer<T>& before = k < net.hidden.size() ? net.hidden[k] : net.readouts.front().layer;
      const PyLayer<T> layer{arrays[k].first,   arrays[k].second,     before.weight_scale,
                             before.bias_scale, before.kernel_weight, before.kernel_bias_weight};
      if (k < net.hidden.size()) {
        result->add_hidden(layer);
      } else if (network_.has_linear_outputs()) {
        result->add_readout(net.depth(), layer);
      } else {
        result->add_activated_readout(layer, network_.output_activation);
      }
    }
    return result;
  }

  // Returns the network with its weights on the host.
  const Network<T>& get() const {
    if (network_.readouts.empty()) throw bad_argument("network", "at least one readout");
    return network_;
  }
  // Returns the network with its weights on the device. They are put there when it is first asked
  // for: before that, their arrays may change. Where they are used as they lie, several threads may
  // ask at once.
  const Network<T>& on(const Device& device) const {
    if constexpr (!P::kCopies) return get();
    if (!on_device_) {
      Network<T> network = get();
      for (Layer<T>& layer : network.hidden) put_on_device(device, copies_, layer);
      for (Readout<T>& readout : network.readouts) put_on_device(device, copies_, readout.layer);
      on_device_ = std::move(network);
    }
    return *on_device_;
  }
  // Returns the weights as the device sees them, after on().
  const typename P::template Copies<T>& copies() const { return copies_; }

  Index outputs() const { return get().readouts.front().layer.outputs(); }

  Index parameters() const { return parameter_count(get(), get().readouts.front()); }

  Range output_range(Index first, Index count) const {
    return range_of_outputs(first, count, outputs());
  }

 private:
  Layer<T> keep(const PyLayer<T>& layer, Index inputs) {
    if (on_device_) throw bad_argument("network", "one that was not used yet");
    return layer.keep(inputs, arrays_);
  }

  Network<T> network_;
  std::vector<T> identity_;  // the weights of a readout without parameters
  std::vector<py::object> arrays_;
  mutable std::optional<Network<T>> on_device_;
  mutable typename P::template Copies<T> copies_;
};

}  // namespace fastntk::python

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "array_args.hpp"
#include "fastntk/network.hpp"

namespace fastntk::python {

// The activation of a name, with its parameters; "custom" with the addresses of two functions.
inline Activation activation_named(const std::string& name, std::array<double, 2> parameters,
                                   std::uintptr_t function, std::uintptr_t derivative) {
  static const std::map<std::string, ActivationKind> known = {
      {"identity", ActivationKind::identity},
      {"relu", ActivationKind::relu},
      {"piecewise_linear", ActivationKind::piecewise_linear},
      {"rectified_monomial", ActivationKind::rectified_monomial},
      {"gelu", ActivationKind::gelu},
      {"sigmoid", ActivationKind::sigmoid},
      {"silu", ActivationKind::silu},
      {"elu", ActivationKind::elu},
      {"softplus", ActivationKind::softplus},
      {"tanh", ActivationKind::tanh},
      {"erf", ActivationKind::erf},
      {"sin", ActivationKind::sin},
      {"cos", ActivationKind::cos},
      {"custom", ActivationKind::custom}};
  const auto found = known.find(name);
  if (found == known.end()) throw bad_argument("activation", "one that the core has");
  Activation result{found->second, parameters, {}};
  if (result.kind == ActivationKind::custom) {
    if (function == 0 || derivative == 0) throw bad_argument("activation", "two functions");
    // NOLINTBEGIN(performance-no-int-to-ptr): Python has no other way to hand over a function.
    result.custom.function = reinterpret_cast<activation::Custom::Function>(function);
    result.custom.derivative = reinterpret_cast<activation::Custom::Function>(derivative);
    // NOLINTEND(performance-no-int-to-ptr)
  }
  return result;
}

// A network together with the arrays that hold its weights.
template <class T>
class PyNetwork {
 public:
  struct PyLayer {
    Array<T> weights;
    std::optional<Array<T>> bias;
    double weight_scale;
    double bias_scale;
    double kernel_weight;
    double kernel_bias_weight;
  };

  PyNetwork(Index input_width, Activation activation, double activation_scale) {
    network_.input_width = input_width;
    network_.activation = activation;
    network_.activation_scale = activation_scale;
  }

  void add_hidden(const PyLayer& layer) {
    network_.hidden.push_back(keep(layer, network_.width(network_.depth())));
  }

  void add_readout(Index depth, const PyLayer& layer) {
    if (depth < 0 || depth > network_.depth()) throw bad_argument("depth", "a layer that exists");
    Layer<T> kept = keep(layer, network_.width(depth));
    if (!network_.readouts.empty() && kept.outputs() != network_.readouts.front().layer.outputs()) {
      throw bad_argument("weights", "as many outputs as the other readouts have");
    }
    network_.readouts.push_back({depth, kept});
  }

  const Network<T>& get() const {
    if (network_.readouts.empty()) throw bad_argument("network", "at least one readout");
    return network_;
  }
  Index outputs() const { return get().readouts.front().layer.outputs(); }

  Range output_range(Index first, Index count) const {
    if (first < 0 || count < 1 || first + count > outputs()) {
      throw bad_argument("outputs", "a range of outputs that exist");
    }
    return {first, count};
  }

 private:
  Layer<T> keep(const PyLayer& layer, Index inputs) {
    Layer<T> result;
    result.weights = input_matrix<T>(layer.weights, inputs, "weights");
    result.weight_scale = layer.weight_scale;
    result.kernel_weight = layer.kernel_weight;
    arrays_.push_back(layer.weights);
    if (layer.bias) {
      result.bias = input_vector<T>(*layer.bias, result.outputs(), "bias");
      result.bias_scale = layer.bias_scale;
      result.kernel_bias_weight = layer.kernel_bias_weight;
      arrays_.push_back(*layer.bias);
    }
    return result;
  }

  Network<T> network_;
  std::vector<py::object> arrays_;
};

}  // namespace fastntk::python

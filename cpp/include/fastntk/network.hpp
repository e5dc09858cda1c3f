// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <variant>
#include <vector>

#include "fastntk/activation.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/partition.hpp"

namespace fastntk {

// A layer is an affine map, z = weight_scale · W h + bias_scale · b. In the NTK parametrization the
// scales are σ_w/√n_in and σ_b.
template <class T>
struct Layer {
  Matrix<const T> weights;  // (n_out, n_in), the raw W of the formulas
  const T* bias = nullptr;  // (n_out), or null when bias_scale is 0
  double weight_scale = 1.0;
  double bias_scale = 0.0;
  // ω is what the layer's own part of a tangent kernel is multiplied by, such as a learning rate.
  double kernel_weight = 1.0;
  double kernel_bias_weight = 1.0;

  Index inputs() const { return weights.cols; }
  Index outputs() const { return weights.rows; }
  // Returns the same map to some of the outputs.
  Layer units(Range range) const {
    Layer part = *this;
    part.weights = weights.row_block(range.first, range.count);
    if (bias != nullptr) part.bias = bias + range.first;
    return part;
  }

  Index parameters() const { return weights.rows * weights.cols + (bias ? weights.rows : 0); }
};

// A readout is an affine map from the activations of hidden layer `depth` (0: from the inputs) to
// the outputs.
template <class T>
struct Readout {
  Index depth = 0;
  Layer<T> layer;
};

// A network has hidden layers 1 … L and one readout or more. A single network has one, on top; a
// depth sweep has one for each depth, and all these networks share their hidden layers.
//
// Where the outputs have an activation ψ, the linear outputs are those of the last hidden layer,
// whose φ is ψ, without a scale. The readout on top of it hands its activations on: its weights are
// the identity matrix, and no parameters. So passes, kernels and derivatives of f = ψ(g) are those
// of any network; linear_outputs() has g.
template <class T>
struct Network {
  Index input_width = 0;
  std::vector<Layer<T>> hidden;  // hidden[l − 1] is layer l
  std::vector<Readout<T>> readouts;
  Activation activation;
  double activation_scale = 1.0;  // c_φ
  OutputActivation output_activation;

  bool has_linear_outputs() const {
    return std::holds_alternative<std::monostate>(output_activation);
  }
  // Whether layer l is the softmax of the outputs.
  bool is_softmax(Index l) const {
    return l == depth() && std::holds_alternative<activation::Softmax>(output_activation);
  }
  // Returns the activation of layer l, unless that is a softmax, and its scale.
  const Activation& activation_of(Index l) const {
    const auto* const of_outputs = std::get_if<Activation>(&output_activation);
    return l == depth() && of_outputs != nullptr ? *of_outputs : activation;
  }
  double activation_scale_of(Index l) const {
    return l == depth() && !has_linear_outputs() ? 1.0 : activation_scale;
  }
  // Returns how many layers of the network with this readout have parameters.
  Index layers_with_parameters(const Readout<T>& readout) const {
    return readout.depth + (has_linear_outputs() ? 1 : 0);
  }

  Index depth() const { return static_cast<Index>(hidden.size()); }
  // Returns n_l, for l = 0 … L.
  Index width(Index l) const { return l == 0 ? input_width : layer(l).outputs(); }
  const Layer<T>& layer(Index l) const { return hidden[static_cast<std::size_t>(l - 1)]; }
  // Returns the multiply-adds of the forward pass of one sample, to all readouts.
  double multiply_adds() const {
    Index sum = 0;
    for (const Layer<T>& layer : hidden) sum += layer.parameters();
    for (const Readout<T>& readout : readouts) sum += readout.layer.parameters();
    return static_cast<double>(sum);
  }
};

// Returns the network of f = ψ(g), for one of linear outputs g with a single readout on top;
// `identity` is the identity matrix (C, C).
template <class T>
Network<T> with_output_activation(Network<T> network, const OutputActivation& psi,
                                  Matrix<const T> identity) {
  network.hidden.push_back(network.readouts.front().layer);
  Layer<T> top;
  top.weights = identity;
  network.readouts = {{network.depth(), top}};
  network.output_activation = psi;
  return network;
}

// Returns the network of the linear outputs g, which f = ψ(g) is made of.
template <class T>
Network<T> linear_outputs(Network<T> network) {
  if (network.has_linear_outputs()) return network;
  network.readouts = {{network.depth() - 1, network.hidden.back()}};
  network.hidden.pop_back();
  network.output_activation = {};
  return network;
}

}  // namespace fastntk

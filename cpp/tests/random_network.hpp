// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "fastntk/network.hpp"
#include "padded_matrix.hpp"

namespace fastntk::test {

// These are numbers of variance about 1 that are the same on every platform and exact in every
// precision, so that a seed names the same network in float32 and in float64.
class Random {
 public:
  explicit Random(std::uint64_t seed) : bits_(seed) {}

  template <class T>
  T number() {
    constexpr double kHalf = 1U << 20U;
    return static_cast<T>(1.75 * (static_cast<double>(bits_() >> 43U) / kHalf - 1.0));
  }

  template <class T>
  std::vector<T> vector(Index size) {
    std::vector<T> result;
    for (Index i = 0; i < size; ++i) result.push_back(number<T>());
    return result;
  }

  // The matrix is for reading only: its margin is NaN.
  template <class T>
  PaddedMatrix<T> matrix(Index rows, Index cols) {
    PaddedMatrix<T> result(rows, cols, PaddedMatrix<T>::kNan);
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < cols; ++j) result(i, j) = number<T>();
    }
    return result;
  }

 private:
  std::mt19937_64 bits_;
};

template <class T>
PaddedMatrix<T> random_samples(Index rows, Index cols, std::uint64_t seed = 7) {
  return Random(seed).matrix<T>(rows, cols);
}

inline constexpr Activation kIdentity = activation::Identity{};
inline constexpr Activation kRelu = activation::Relu{};
inline constexpr Activation kTanh = activation::Tanh{};
inline constexpr Activation kGelu = activation::Gelu{};
inline constexpr Activation kSoftplus = activation::Softplus{1.5};

inline constexpr Activation kSquare = activation::Square{};

// These are all activations but the custom ones.
inline constexpr std::array<Activation, 14> kBuiltInActivations = {{
    kIdentity,
    kRelu,
    activation::PiecewiseLinear{0.2, 1.5},
    activation::RectifiedMonomial{2},
    kGelu,
    activation::Sigmoid{},
    activation::Silu{},
    activation::Elu{0.7},
    kSoftplus,
    kTanh,
    activation::Erf{0.9, 0.1},
    activation::Sine{1.1, 0.2},
    activation::Cosine{1.2, 0.3},
    kSquare,
}};

// These are activations of outputs.
inline constexpr std::array<OutputActivation, 5> kOutputActivations = {
    {kSquare, kTanh, Activation(activation::Sigmoid{}), kSoftplus, activation::Softmax{}}};

struct Shape {
  Index inputs = 4;
  std::vector<Index> hidden = {7, 3, 5};
  Index outputs = 1;
  std::vector<Index> readouts = {3};  // their depths
  Activation activation = kRelu;
  double activation_scale = 1.3;
  bool biases = true;
  bool kernel_weights = false;  // ω other than 1
  // With a single readout, on top.
  // NOLINTNEXTLINE(readability-redundant-member-init): without, GCC would miss it in lists.
  OutputActivation output_activation = {};
};

// This network owns its parameters. The scales differ from layer to layer and from what is usual.
template <class T>
class RandomNetwork {
 public:
  explicit RandomNetwork(const Shape& shape, std::uint64_t seed = 1) : random_(seed) {
    network_.input_width = shape.inputs;
    network_.activation = shape.activation;
    network_.activation_scale = shape.activation_scale;
    for (const Index width : shape.hidden) {
      network_.hidden.push_back(
          make_layer(hidden_, width, network_.width(network_.depth()), shape));
    }
    for (const Index depth : shape.readouts) {
      network_.readouts.push_back(
          {depth, make_layer(readouts_, shape.outputs, network_.width(depth), shape)});
    }
    if (std::holds_alternative<std::monostate>(shape.output_activation)) return;
    identity_.assign(static_cast<std::size_t>(shape.outputs * shape.outputs), T(0));
    for (Index c = 0; c < shape.outputs; ++c) {
      identity_[static_cast<std::size_t>(c * (shape.outputs + 1))] = T(1);
    }
    network_ = with_output_activation<T>(network_, shape.output_activation,
                                         {identity_.data(), shape.outputs, shape.outputs});
  }
  RandomNetwork(const RandomNetwork&) = delete;
  RandomNetwork& operator=(const RandomNetwork&) = delete;
  RandomNetwork(RandomNetwork&&) = delete;
  RandomNetwork& operator=(RandomNetwork&&) = delete;
  ~RandomNetwork() = default;

  const Network<T>& get() const { return network_; }

  // Returns the network that has readout r alone.
  Network<T> single(std::size_t r) const {
    Network<T> result = network_;
    result.readouts = {network_.readouts[r]};
    return result;
  }

  // Returns the parameters of the network with its first readout: W¹ row-major, b¹, W², b², …
  std::vector<T*> parameters() {
    std::vector<T*> result;
    const auto append = [&](std::vector<T>& array) {
      for (T& parameter : array) result.push_back(&parameter);
    };
    const auto depth = static_cast<std::size_t>(linear_outputs(network_).readouts.front().depth);
    for (std::size_t l = 0; l < depth; ++l) {
      append(hidden_[l].weights);
      append(hidden_[l].bias);
    }
    append(readouts_.front().weights);
    append(readouts_.front().bias);
    return result;
  }

 private:
  struct Arrays {
    std::vector<T> weights;
    std::vector<T> bias;
  };

  Layer<T> make_layer(std::vector<Arrays>& arrays, Index outputs, Index inputs,
                      const Shape& shape) {
    Arrays& own = arrays.emplace_back();
    own.weights = random_.vector<T>(outputs * inputs);
    own.bias = random_.vector<T>(shape.biases ? outputs : 0);
    const auto position = static_cast<double>(hidden_.size() + 3 * readouts_.size());
    Layer<T> layer;
    layer.weights = {own.weights.data(), outputs, inputs};
    layer.weight_scale = (1.0 + position / 8.0) / std::sqrt(static_cast<double>(inputs));
    if (shape.kernel_weights) {
      layer.kernel_weight = 0.25 + position / 2.0;
      layer.kernel_bias_weight = 3.0 - position / 4.0;
    }
    if (shape.biases) {
      layer.bias = own.bias.data();
      layer.bias_scale = 0.5 + position / 16.0;
    }
    return layer;
  }

  Random random_;
  std::vector<Arrays> hidden_;
  std::vector<Arrays> readouts_;
  std::vector<T> identity_;
  Network<T> network_;
};

}  // namespace fastntk::test

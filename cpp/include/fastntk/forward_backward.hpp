// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/network.hpp"
#include "fastntk/softmax.hpp"

// These are the forward pass and its adjoint, for a block of samples. With h⁰ = x and l = 1 … L,
//
//   zˡ = (σ_w/√n_{l−1}) Wˡ hˡ⁻¹ + σ_b bˡ,    hˡ = c_φ φ(zˡ),    f = (σ_w/√n_L) Wᴸ⁺¹ hᴸ + σ_b bᴸ⁺¹,
//
// and, for the chosen output of f, Δˡ = ∂f/∂zˡ:
//
//   Δᴸ⁺¹ = 1,      Δˡ = c_φ φ'(zˡ) ∘ [ (σ_w/√n_l) Δˡ⁺¹ Wˡ⁺¹ ].
//
// Where outputs have an activation ψ, f = ψ(g) is hᴸ⁺¹, with zᴸ⁺¹ = g and φ = ψ without a scale;
// see network.hpp.
//
// Row-major with one sample a row, W h becomes H Wᵀ, and Δ W stays Δ W.
namespace fastntk {

namespace element {

// h = c_φ φ(z) and, if it is kept, slope = c_φ φ'(z). z and h may be the same array.
template <class Phi, class T, bool keep_slope = true>
struct Activate {
  Phi phi;
  T activation_scale;
  T bias_scale;
  const T* bias;  // null: z is complete
  Matrix<T> z_to_h;
  Matrix<T> slope;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    T& h = z_to_h(i, j);
    const auto [value, derivative] = phi(bias == nullptr ? h : h + bias_scale * bias[j]);
    h = activation_scale * value;
    if constexpr (keep_slope) slope(i, j) = activation_scale * derivative;
  }
};

template <class T>
struct AddBias {
  T bias_scale;
  const T* bias;
  Matrix<T> f;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const { f(i, j) += bias_scale * bias[j]; }
};

// Δ = slope ∘ (scale · w): the first step back, from a single output with weights w.
template <class T>
struct GateReadout {
  T scale;
  const T* weights;
  Matrix<const T> slope;
  Matrix<T> delta;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    delta(i, j) = slope(i, j) * (scale * weights[j]);
  }
};

// Δ = slope ∘ U, with U in the place of Δ (or, as the product has no order, the slope in it).
template <class T>
struct Gate {
  Matrix<const T> slope;
  Matrix<T> delta;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const { delta(i, j) *= slope(i, j); }
};

// Δ = slope ∘ U, with U in the place of Δ and the slope at h: only for activations whose slope at h
// is that at z.
template <class Phi, class T>
struct GateByValue {
  Phi phi;
  T activation_scale;
  Matrix<const T> h;
  Matrix<T> delta;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    const T slope = activation_scale * phi(h(i, j)).slope;
    delta(i, j) *= slope;
  }
};

}  // namespace element

// Whether c_φ φ'(z) is as well computed from h = c_φ φ(z), so that no slopes need be kept.
template <class T>
bool slopes_follow(const Network<T>& network) {
  return network.activation_scale >= activation::kNotTiny &&
         slope_is_that_of_value(network.activation);
}

// Computes h (rows, n_out) and slope (rows, n_out) of one hidden layer from the activations below
// it. A slope that is null is not kept, which is allowed only where slopes follow from h.
template <class Lane, class T>
void hidden_layer(const Lane& lane, const Network<T>& network, const Layer<T>& layer,
                  ConstMatrix<T> below, Matrix<T> h, Matrix<T> slope) {
  lane.template gemm<T>(Op::none, Op::transpose, static_cast<T>(layer.weight_scale), below,
                        layer.weights, Write::overwrite, h);
  const auto scale = static_cast<T>(network.activation_scale);
  const auto bias_scale = static_cast<T>(layer.bias_scale);
  with_activation<Lane::kOnHost>(network.activation, [&](auto phi) {
    using Phi = decltype(phi);
    if constexpr (MayTellSlopeFromValue<Phi>) {
      if (slope.data == nullptr) {
        lane.for_each(h.rows, h.cols,
                      element::Activate<Phi, T, false>{phi, scale, bias_scale, layer.bias, h, {}});
        return;
      }
    }
    lane.for_each(h.rows, h.cols,
                  element::Activate<Phi, T>{phi, scale, bias_scale, layer.bias, h, slope});
  });
}

// Puts f = ψ(g) in the place of the linear outputs g (rows, C) without their bias, which may be
// null, and leaves what gate_outputs() needs in `slope` (rows, C): ψ'(g), or f itself of a softmax.
// There is an output activation.
template <class Lane, class T>
void activate_outputs(const Lane& lane, const OutputActivation& psi, T bias_scale, const T* bias,
                      Matrix<T> g_to_f, Matrix<T> slope) {
  if (const auto* const by_element = std::get_if<Activation>(&psi)) {
    with_activation<Lane::kOnHost>(*by_element, [&](auto phi) {
      lane.for_each(
          g_to_f.rows, g_to_f.cols,
          element::Activate<decltype(phi), T>{phi, T(1), bias_scale, bias, g_to_f, slope});
    });
    return;
  }
  lane.for_each(g_to_f.rows, 1, element::Softmax<T>{bias_scale, bias, g_to_f, slope});
}

// Puts ∂/∂g in the place of ∂/∂f.
template <class Lane, class T>
void gate_outputs(const Lane& lane, const OutputActivation& psi, ConstMatrix<T> slope,
                  Matrix<T> delta) {
  if (std::holds_alternative<activation::Softmax>(psi)) {
    lane.for_each(delta.rows, 1, element::SoftmaxGate<T>{slope, delta});
  } else {
    lane.for_each(delta.rows, delta.cols, element::Gate<T>{slope, delta});
  }
}

// Δ = c_φ φ'(z) ∘ U, with U in the place of Δ, from the activations h: only where slopes follow
// from them.
template <class Lane, class T>
void gate_by_value(const Lane& lane, const Network<T>& network, ConstMatrix<T> h, Matrix<T> delta) {
  with_activation<Lane::kOnHost>(network.activation, [&](auto phi) {
    using Phi = decltype(phi);
    if constexpr (MayTellSlopeFromValue<Phi>) {
      const auto scale = static_cast<T>(network.activation_scale);
      lane.for_each(delta.rows, delta.cols, element::GateByValue<Phi, T>{phi, scale, h, delta});
    }
  });
}

// This is for passes whose layers are all kept where they are computed.
struct KeepInPlace {
  void operator()(std::size_t /*layer*/) const {}
};

// Fills activations[l] (rows, n_l) and slopes[l] (rows, n_l) with hˡ and c_φ φ'(zˡ) for l = 1 … L;
// activations[0] and slopes[0] are not used. Calls keep(l) when hˡ is there: after that only the
// next layer reads it, so that the layer after the next may lie in its place.
template <class Lane, class T, class Keep = KeepInPlace>
void forward(const Lane& lane, const Network<T>& network, const std::vector<Matrix<T>>& slopes,
             Matrix<const T> inputs, const std::vector<Matrix<T>>& activations, Keep keep = {}) {
  Matrix<const T> below = inputs;
  for (Index l = 1; l <= network.depth() && !lane.stopped(); ++l) {
    const Matrix<T> h = activations[static_cast<std::size_t>(l)];
    const Matrix<T> slope = slopes[static_cast<std::size_t>(l)];
    const Layer<T>& layer = network.layer(l);
    if (l == network.depth() && !network.has_linear_outputs()) {
      lane.template gemm<T>(Op::none, Op::transpose, static_cast<T>(layer.weight_scale), below,
                            layer.weights, Write::overwrite, h);
      activate_outputs(lane, network.output_activation, static_cast<T>(layer.bias_scale),
                       layer.bias, h, slope);
    } else {
      hidden_layer(lane, network, layer, below, h, slope);
    }
    keep(static_cast<std::size_t>(l));
    below = h;
  }
}

// Computes f (rows, C) from the activations of the readout's own layer.
template <class Lane, class T>
void read_out(const Lane& lane, const Readout<T>& readout, ConstMatrix<T> top, Matrix<T> f) {
  const Layer<T>& layer = readout.layer;
  lane.template gemm<T>(Op::none, Op::transpose, static_cast<T>(layer.weight_scale), top,
                        layer.weights, Write::overwrite, f);
  if (layer.bias != nullptr) {
    lane.for_each(f.rows, f.cols,
                  element::AddBias<T>{static_cast<T>(layer.bias_scale), layer.bias, f});
  }
}

// Fills deltas[l] (rows, n_l) with Δˡ of one output, for l = 1 … depth of the readout, given the
// slopes that the forward pass left behind. Calls keep(l) when Δˡ is there, as forward does.
template <class Lane, class T, class Keep = KeepInPlace>
void backward(const Lane& lane, const Network<T>& network, const Readout<T>& readout, Index output,
              const std::vector<Matrix<T>>& slopes, const std::vector<Matrix<T>>& deltas,
              Keep keep = {}) {
  for (Index l = readout.depth; l >= 1 && !lane.stopped(); --l) {
    const auto at = static_cast<std::size_t>(l);
    const Matrix<T> delta = deltas[at];
    if (l == readout.depth) {
      const auto scale = static_cast<T>(readout.layer.weight_scale);
      const T* const weights = readout.layer.weights.row(output);
      if (network.is_softmax(l)) {
        lane.for_each(delta.rows, 1,
                      element::SoftmaxGateReadout<T>{scale, weights, slopes[at], delta});
      } else {
        lane.for_each(delta.rows, delta.cols,
                      element::GateReadout<T>{scale, weights, slopes[at], delta});
      }
    } else {
      const Layer<T>& above = network.layer(l + 1);
      lane.template gemm<T>(Op::none, Op::none, static_cast<T>(above.weight_scale), deltas[at + 1],
                            above.weights, Write::overwrite, delta);
      lane.for_each(delta.rows, delta.cols, element::Gate<T>{slopes[at], delta});
    }
    keep(at);
  }
}

}  // namespace fastntk

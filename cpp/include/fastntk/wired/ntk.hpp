// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <optional>
#include <vector>

#include "fastntk/gradient_features.hpp"
#include "fastntk/gram_tiles.hpp"
#include "fastntk/jacobian_products.hpp"
#include "fastntk/wired/features.hpp"
#include "fastntk/wired/products.hpp"

// This computes the outputs, the derivatives and the tangent kernels of a network of steps.
namespace fastntk::wired {

// Computes f (samples, C).
template <class Device, class T>
void evaluate(const Device& device, const Wiring<T>& wiring, Matrix<const T> samples, Matrix<T> f,
              const Monitor& monitor) {
  BlockPasses<Device, T> passes(device, wiring, Extent::forward, samples);
  passes.run("outputs", static_cast<double>(samples.rows) * wiring.multiply_adds(), monitor,
             [&](const auto& lane, const auto& /*workspace*/, const auto& pass, Range rows) {
               pass.forward([&](std::size_t node, Matrix<const T> values) {
                 if (node != wiring.top()) return;
                 convert(lane, values, f.row_block(rows.first, rows.count));
               });
             });
}

// jacobians[c] (samples, d) = ∂f_c/∂x, for every output c.
template <class Device, class T>
void input_jacobians(const Device& device, const Wiring<T>& wiring, Matrix<const T> samples,
                     const std::vector<Matrix<T>>& jacobians, const Monitor& monitor) {
  BlockPasses<Device, T> passes(device, wiring, Extent::to_inputs, samples);
  passes.run("input Jacobians",
             static_cast<double>(samples.rows) * static_cast<double>(1 + jacobians.size()) *
                 wiring.multiply_adds(),
             monitor,
             [&](const auto& lane, const auto& /*workspace*/, const auto& pass, Range rows) {
               pass.forward([](std::size_t, Matrix<const T>) {});
               for (std::size_t c = 0; c < jacobians.size() && !lane.stopped(); ++c) {
                 pass.backward(static_cast<Index>(c), [&](std::size_t node, Matrix<const T> delta) {
                   if (node != 0) return;
                   convert(lane, delta, jacobians[c].row_block(rows.first, rows.count));
                 });
               }
             });
}

// Returns the place of each layer in a vector over the parameters, in the order of the steps; a
// gain comes before its shift.
template <class T>
std::vector<ParameterBlock<T>> parameter_blocks(const FeatureLayout<T>& layout) {
  std::vector<ParameterBlock<T>> blocks;
  Index first = 0;
  for (const FeatureLayer<T>& layer : layout.last().layers) {
    blocks.push_back({layer.layer, first, layer.activation.value_or(0),
                      layer.delta.value_or(layout.last().delta_widths.size())});
    first += layer.layer->parameters();
  }
  return blocks;
}

// Fills features (samples, P) with the gradient of one output, in the order of the steps: of each
// its weights row-major and its bias, or its gain and its shift.
template <class Device, class T>
void gradient_features(const Device& device, const Wiring<T>& wiring, Index output,
                       Matrix<const T> samples, Matrix<T> features, const Monitor& monitor) {
  const Range outputs{output, 1};
  const auto of_samples =
      compute_features<T>(device, wiring, outputs, samples, FeatureUse::products, monitor);
  const FeatureLayout<T> layout(wiring);
  const auto parameters = parameter_blocks(layout);
  const Partition blocks{samples.rows, device.row_blocks()};
  device.run(
      "gradients", blocks.blocks(), monitor,
      [&] { return ProductWorkspace<Device, T>{{}, {blocks.size(), wiring.outputs()}}; },
      [&](const auto& lane, const ProductWorkspace<Device, T>& workspace, Index block) {
        const Range rows = blocks[block];
        const Matrix<T> unit = workspace.unit_rows(lane, output);
        for (const ParameterBlock<T>& part : parameters) {
          if (lane.stopped()) return;
          const Matrix<const T> delta = delta_rows(of_samples, part.delta, outputs, 0, rows, unit);
          const Matrix<const T> below =
              part.layer->inputs() == 0
                  ? Matrix<const T>(nullptr, rows.count, 0)
                  : Matrix<const T>(
                        of_samples.activations[part.below].row_block(rows.first, rows.count));
          put_gradients(
              lane, *part.layer, delta, below,
              features.block(rows.first, rows.count, part.first, part.layer->parameters()));
        }
      });
}

// See fastntk::transposed_jacobian_products.
template <class Device, class T, class G>
void transposed_jacobian_products(const Device& device, const Wiring<T>& wiring,
                                  const Features<Device, G>& features, Range outputs, Index output,
                                  Matrix<const G> vectors, Matrix<G> result,
                                  const Monitor& monitor) {
  transposed_products_of_blocks(device, parameter_blocks(FeatureLayout<T>(wiring)),
                                wiring.outputs(), features, outputs, output, vectors, result,
                                monitor);
}

// See fastntk::jacobian_products.
template <class Device, class T, class G>
void jacobian_products(const Device& device, const Wiring<T>& wiring,
                       const Features<Device, G>& features, Range outputs, Index output,
                       bool weighted, Matrix<const G> vectors, Matrix<G> result,
                       const Monitor& monitor) {
  products_of_blocks(device, parameter_blocks(FeatureLayout<T>(wiring)), wiring.outputs(), features,
                     outputs, output, weighted, vectors, result, monitor);
}

// Computes the kernels that `split` says, of the chosen outputs: kernels[k] is (x.rows, x.rows)
// without z, and (x.rows, z.rows) with it.
template <class Device, class T, class G>
void ntk(const Device& device, const Wiring<T>& wiring, Range outputs, Split split,
         Matrix<const T> x, const std::optional<Matrix<const T>>& z,
         const std::vector<Matrix<G>>& kernels, const Monitor& monitor) {
  kernels_of_features(
      device,
      [&](Matrix<const T> samples) {
        return compute_features<G>(device, wiring, outputs, samples, FeatureUse::grams, monitor);
      },
      [&](const auto& a, const auto& b) { return kernel_terms(wiring, outputs, split, a, b); }, x,
      z, kernels, monitor);
}

}  // namespace fastntk::wired

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <optional>
#include <vector>

#include "fastntk/features.hpp"
#include "fastntk/gram_tiles.hpp"

// This computes the outputs and the tangent kernels of a network, from samples to results.
namespace fastntk {

// Computes f (samples, C) of the network's first readout.
template <class Device, class T>
void evaluate(const Device& device, const Network<T>& network, Matrix<const T> samples, Matrix<T> f,
              const Monitor& monitor) {
  const Readout<T>& readout = network.readouts.front();
  const Partition blocks{samples.rows, device.row_blocks()};
  device.run(
      "outputs", {blocks.blocks(), static_cast<double>(samples.rows) * network.multiply_adds()},
      monitor, [&] { return ForwardWorkspace<Device, T>(network, blocks.size()); },
      [&](const auto& lane, const ForwardWorkspace<Device, T>& workspace, Index block) {
        const Range rows = blocks[block];
        const Range scratch{0, rows.count};
        const Matrix<const T> inputs = samples.row_block(rows.first, rows.count);
        const auto activations = workspace.activations.views(scratch);
        forward(lane, network, workspace.slopes.views(scratch), inputs, activations);
        if (lane.stopped()) return;
        const auto depth = static_cast<std::size_t>(readout.depth);
        const Matrix<const T> top = depth == 0 ? inputs : Matrix<const T>(activations[depth]);
        read_out(lane, readout, top, f.row_block(rows.first, rows.count));
      });
}

// jacobians[c] (samples, d) = ∂f_c/∂x of the network's first readout, for every output c.
template <class Device, class T>
void input_jacobians(const Device& device, const Network<T>& network, Matrix<const T> samples,
                     const std::vector<Matrix<T>>& jacobians, const Monitor& monitor) {
  const Readout<T>& readout = network.readouts.front();
  const Layer<T>& first = readout.depth == 0 ? readout.layer : network.layer(1);
  const Partition blocks{samples.rows, device.row_blocks()};
  struct Workspace {
    PassWorkspace<Device, T> pass;
    typename Device::template Buffer<T> unit;
  };
  device.run(
      "input Jacobians", blocks.blocks(), monitor,
      [&] { return Workspace{{network, blocks.size()}, {blocks.size(), readout.layer.outputs()}}; },
      [&](const auto& lane, const Workspace& workspace, Index block) {
        const Range rows = blocks[block];
        const Range scratch{0, rows.count};
        const auto slopes = workspace.pass.slopes.views(scratch);
        const auto deltas = workspace.pass.deltas.views(scratch);
        forward(lane, network, slopes, samples.row_block(rows.first, rows.count),
                workspace.pass.activations.views(scratch));
        for (std::size_t c = 0; c < jacobians.size() && !lane.stopped(); ++c) {
          const auto output = static_cast<Index>(c);
          backward(lane, network, readout, output, slopes, deltas);
          Matrix<T> delta = workspace.unit.view().row_block(0, rows.count);
          if (readout.depth == 0) {
            lane.for_each(delta.rows, delta.cols, element::Indicator<T>{output, delta});
          } else {
            delta = deltas[1];
          }
          lane.template gemm<T>(Op::none, Op::none, static_cast<T>(first.weight_scale), delta,
                                first.weights, Write::overwrite,
                                jacobians[c].row_block(rows.first, rows.count));
        }
      });
}

// kernels[k] is K(x, x) without z, and K(x, z) with it, for all that the terms make up, given how
// features and terms are found.
template <class Device, class T, class G, class FeaturesOf, class TermsOf>
void kernels_of_features(const Device& device, FeaturesOf features_of, TermsOf terms_of,
                         Matrix<const T> x, const std::optional<Matrix<const T>>& z,
                         const std::vector<Matrix<G>>& kernels, const Monitor& monitor) {
  const Features<Device, G> x_features = features_of(x);
  if (!z) {
    symmetric_kernels(device, terms_of(x_features, x_features), x_features, {0, x.rows}, kernels,
                      monitor);
    return;
  }
  const Features<Device, G> z_features = features_of(*z);
  cross_kernels(device, terms_of(x_features, z_features), x_features, {0, x.rows}, z_features,
                {0, z->rows}, kernels, monitor);
}

// Computes the kernels that `split` says, of the chosen outputs: kernels[k] is (x.rows, x.rows)
// without z, and (x.rows, z.rows) with it. G is the precision of the Gram matrices and of the
// result, T that of the passes through the network.
template <class Device, class T, class G>
void ntk(const Device& device, const Network<T>& network, Range outputs, Split split,
         Matrix<const T> x, const std::optional<Matrix<const T>>& z,
         const std::vector<Matrix<G>>& kernels, const Monitor& monitor) {
  kernels_of_features(
      device,
      [&](Matrix<const T> samples) {
        return compute_features<G>(device, network, outputs, samples, FeatureUse::grams, monitor);
      },
      [&](const auto& a, const auto& b) { return kernel_terms(network, outputs, split, a, b); }, x,
      z, kernels, monitor);
}

}  // namespace fastntk

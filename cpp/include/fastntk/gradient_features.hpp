// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>

#include "fastntk/elements.hpp"
#include "fastntk/features.hpp"

// This computes the gradients themselves, for small networks and for whoever wants to look at them.
namespace fastntk {

namespace element {

// ∂f/∂W = s δ ⊗ h has one row of W for each pair (sample, unit): row = sample · units + unit.
template <class T>
struct OuterProduct {
  T scale;
  Index units;
  Matrix<const T> delta;
  Matrix<const T> h;
  Matrix<T> gradients;  // (samples, units · n_in)

  FASTNTK_HOST_DEVICE void operator()(Index row, Index k) const {
    const Index sample = row / units;
    const Index unit = row % units;
    gradients(sample, unit * h.cols + k) = scale * delta(sample, unit) * h(sample, k);
  }
};

}  // namespace element

// So many gradients are written before the next look at whether to stop: where memory is slow to
// come, they take a tenth of a second.
constexpr Index kGradientsAtOnce = Index{4} * 1024 * 1024;

// Fills gradients (samples, parameters of the layer) with those of one layer: of its weights
// row-major, s δ ⊗ h, and of its bias, if it has one.
template <class Lane, class T>
void put_gradients(const Lane& lane, const Layer<T>& layer, ConstMatrix<T> delta,
                   ConstMatrix<T> below, Matrix<T> gradients) {
  const Index size = layer.outputs() * layer.inputs();
  // A shift is the bias of a layer without inputs.
  const Index some = std::max<Index>(1, kGradientsAtOnce / std::max<Index>(1, size));
  for (Index row = 0; row < gradients.rows; row += some) {
    if (lane.stopped()) return;
    const Index count = std::min(some, gradients.rows - row);
    lane.for_each(count * layer.outputs(), layer.inputs(),
                  element::OuterProduct<T>{static_cast<T>(layer.weight_scale), layer.outputs(),
                                           delta.row_block(row, count), below.row_block(row, count),
                                           gradients.block(row, count, 0, size)});
  }
  if (layer.bias == nullptr) return;
  lane.for_each(gradients.rows, layer.outputs(),
                element::Scale<T>{static_cast<T>(layer.bias_scale), delta,
                                  gradients.col_block(size, layer.outputs())});
}

// Returns the number of parameters of the network with the given readout.
template <class T>
Index parameter_count(const Network<T>& network, const Readout<T>& readout) {
  Index count = network.has_linear_outputs() ? readout.layer.parameters() : 0;
  for (Index l = 1; l <= readout.depth; ++l) count += network.layer(l).parameters();
  return count;
}

// Fills features (samples, P) with the gradient of one output of the network's first readout, in
// the order W¹ row-major, b¹, W², b², …. Biases take part where there are any.
template <class Device, class T>
void gradient_features(const Device& device, const Network<T>& network, Index output,
                       Matrix<const T> samples, Matrix<T> features, const Monitor& monitor) {
  const Readout<T>& readout = network.readouts.front();
  const Partition blocks{samples.rows, device.row_blocks()};
  struct Workspace {
    PassWorkspace<Device, T> pass;
    typename Device::template Buffer<T> readout_delta;
  };
  device.run(
      "gradients", blocks.blocks(), monitor,
      [&] {
        return Workspace{PassWorkspace<Device, T>(network, blocks.size()),
                         {blocks.size(), readout.layer.outputs()}};
      },
      [&](const auto& lane, const Workspace& workspace, Index block) {
        const Range rows = blocks[block];
        const Range scratch{0, rows.count};
        const Matrix<const T> inputs = samples.row_block(rows.first, rows.count);
        const auto slopes = workspace.pass.slopes.views(scratch);
        const auto activations = workspace.pass.activations.views(scratch);
        const auto deltas = workspace.pass.deltas.views(scratch);
        forward(lane, network, slopes, inputs, activations);
        backward(lane, network, readout, output, slopes, deltas);
        const Matrix<T> readout_delta = workspace.readout_delta.view().row_block(0, rows.count);
        lane.for_each(rows.count, readout_delta.cols, element::Indicator<T>{output, readout_delta});

        Index column = 0;
        const auto put_layer = [&](const Layer<T>& layer, ConstMatrix<T> delta,
                                   ConstMatrix<T> below) {
          put_gradients(lane, layer, delta, below,
                        features.block(rows.first, rows.count, column, layer.parameters()));
          column += layer.parameters();
        };
        Matrix<const T> below = inputs;
        for (Index l = 1; l <= readout.depth && !lane.stopped(); ++l) {
          put_layer(network.layer(l), deltas[static_cast<std::size_t>(l)], below);
          below = activations[static_cast<std::size_t>(l)];
        }
        if (network.has_linear_outputs()) put_layer(readout.layer, readout_delta, below);
      });
}

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <optional>
#include <vector>

#include "fastntk/features.hpp"
#include "fastntk/gram_tiles.hpp"

// The outputs and the tangent kernels of a network, from samples to results.
namespace fastntk {

// f (samples, C) of the network's first readout.
template <class Device, class T>
void evaluate(const Device& device, const Network<T>& network, Matrix<const T> samples, Matrix<T> f,
              const Monitor& monitor) {
  const Readout<T>& readout = network.readouts.front();
  const Partition blocks = row_blocks(samples.rows);
  device.run(
      "outputs", blocks.blocks(), monitor,
      [&] { return PassWorkspace<Device, T>(network, blocks.size(), false); },
      [&](const auto& lane, const PassWorkspace<Device, T>& workspace, Index block) {
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

// kernels[r] = the kernel of the network with readout r, summed over the chosen outputs: of
// (x.rows, x.rows) without z, of (x.rows, z.rows) with it. G is the precision of the Gram matrices
// and of the result, T that of the passes through the network.
template <class Device, class T, class G>
void ntk(const Device& device, const Network<T>& network, Range outputs, Matrix<const T> x,
         const std::optional<Matrix<const T>>& z, const std::vector<Matrix<G>>& kernels,
         const Monitor& monitor) {
  const Features<Device, G> x_features = compute_features<G>(device, network, outputs, x, monitor);
  if (!z) {
    symmetric_kernels(device, network, outputs.count, x_features, kernels, monitor);
    return;
  }
  const Features<Device, G> z_features = compute_features<G>(device, network, outputs, *z, monitor);
  cross_kernels(device, network, outputs.count, x_features, z_features, kernels, monitor);
}

}  // namespace fastntk

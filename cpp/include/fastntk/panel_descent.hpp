// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "fastntk/descent.hpp"
#include "fastntk/elements.hpp"
#include "fastntk/features.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/network.hpp"
#include "fastntk/panel_passes.hpp"
#include "fastntk/panel_products.hpp"
#include "fastntk/panels.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/tiling.hpp"

// This takes the steps of sgd.hpp on processors that panel_products.hpp was written for. Weights
// are packed once, and a step is two phases:
//
//   blocks of samples go forward, to their losses and back, each without waiting for the others;
//   tiles of all weights change by Δˡᵀ Hˡ⁻¹ and are packed anew while they are in a cache.
//
// A pass reads H and Δ as panels of samples, of which it keeps but its own; Δᵀ H reads them as
// panels of units, which are kept for the batch. In memory there are the weights three times, as
// they are and packed for both directions, and one batch of H and Δ of the layers that are trained.
namespace fastntk {

// A descent in panels (see descend_in_batches), on a device of the processor.
template <class Device, class T>
class PanelDescent {
 public:
  // `layers` has one entry for each layer 1 … L + 1 of the network with its first readout, which is
  // on top; at least one of them is trained.
  PanelDescent(const Device& device, const Network<T>& network,
               const std::vector<TrainedLayer<T>>& layers, SgdOptions options,
               const TrainingSamples<T>& samples)
      : network_(network),
        layers_(layers),
        options_(options),
        samples_(samples),
        panel_rows_(panel_kernel<T>()->panel_rows),
        full_(device.row_tiling(options.batch)),
        last_(device.row_tiling((samples.count - 1) % options.batch + 1)),
        trained_(trained(layers)),
        updates_(device.panel_tiling(shapes_of_trained())),
        block_(Partition::round_up(Tiling::larger(full_.largest(), last_.largest()).first,
                                   panel_rows_)),
        passes_(network, all_layers(network), panel_rows_, block_, true),
        packing_({{passes_.packing_tasks(), 1}}, 1, {1, 1}),
        ones_(options.batch, panel_rows_),
        activations_(layers.size()),
        deltas_(layers.size() + 1) {
    for (Index i = 0; i < options.batch; ++i) {
      std::fill_n(ones_.view().row(i), panel_rows_, T(0));
      ones_.view()(i, 0) = T(1);
    }
    for (const std::size_t l : trained_) {
      activations_[l - 1] = {padded(layer(l).inputs()), options.batch};
      deltas_[l] = {padded(layer(l).outputs()), options.batch};
    }
  }

  // Returns how many numbers there are in memory, but for what the lanes have of their own, where
  // all layers are trained in batches of so many samples.
  static Index numbers(const Network<T>& network, Index batch) {
    const Index panel_rows = panel_kernel<T>()->panel_rows;
    const auto padded = [&](Index rows) { return Partition::round_up(rows, panel_rows); };
    Index result = batch * panel_rows;
    for (std::size_t l = 1; l <= network.hidden.size() + 1; ++l) {
      const Index outputs = layer_or_readout(network, l).outputs();
      const Index inputs = layer_or_readout(network, l).inputs();
      result += batch * (padded(inputs) + padded(outputs)) + padded(outputs) * inputs;
      if (l > 1) result += padded(inputs) * outputs;
    }
    return result;
  }

  struct Workspace {
    typename PanelPasses<T>::Workspace pass;
    LayerBuffers<Device, T> slopes;
    // All else passes through these.
    typename Device::template Buffer<T> gathered;
    typename Device::template Buffer<T> inputs;
    PassingLayers<Device, T> layers;
    typename Device::template Buffer<T> outputs;
    typename Device::template Buffer<T> output_rows;
    typename Device::template Buffer<T> output_slopes;  // none of linear outputs
    typename Device::template Buffer<T> products;
    typename Device::template Buffer<T> sums;
  };
  Workspace make_workspace() const {
    const std::vector<Index> widths = layer_widths(network_, 1, network_.depth());
    const Index outputs = network_.readouts.front().layer.outputs();
    const Tiling::Shape update = updates_.largest();
    return {passes_.make_workspace(),
            {block_, 1, widths},
            {samples_.order == nullptr ? 0 : panel_rows_, network_.input_width},
            {block_, network_.input_width},
            {block_, widths},
            {block_, outputs},
            {block_, outputs},
            {block_, output_slopes(options_, outputs)},
            {padded(update.first), padded(update.second)},
            {update.first, 1}};
  }
  Index squares() const { return updates_.count(); }
  Index lanes() const {
    return descending_lanes(pass_size(network_), options_.batch,
                            std::max(full_.count(), updates_.count()));
  }

  template <class Team>
  bool begin(const Team& team) const {
    return team.tiles(packing_, Phase::within_step,
                      [&](const auto& /*lane*/, const Workspace& /*workspace*/, const Tile& tile) {
                        passes_.pack(tile.rows.first);
                      });
  }

  template <class Team>
  bool step(const Team& team, Range rows, Matrix<double> outcomes, double* norm) const {
    const Tiling& blocks = rows.count == options_.batch ? full_ : last_;
    return team.tiles(blocks, Phase::within_step,
                      [&](const auto& lane, const Workspace& workspace, const Tile& tile) {
                        pass(lane, workspace, rows, tile.rows,
                             outcomes.row_block(tile.rows.first, tile.rows.count));
                      }) &&
           team.tiles(updates_, Phase::end_of_step,
                      [&](const auto& lane, const Workspace& workspace, const Tile& tile) {
                        descend(lane, workspace, trained_[tile.matrix], rows.count, tile,
                                norm == nullptr ? nullptr : norm + tile.index);
                      });
  }

 private:
  using Phase = typename Device::Phase;
  using Layers = typename PanelPasses<T>::Layers;

  static std::vector<Layer<T>> all_layers(const Network<T>& network) {
    std::vector<Layer<T>> result = network.hidden;
    result.push_back(network.readouts.front().layer);
    return result;
  }
  const Layer<T>& layer(std::size_t l) const { return layer_or_readout(network_, l); }
  static std::vector<std::size_t> trained(const std::vector<TrainedLayer<T>>& layers) {
    std::vector<std::size_t> result;
    for (std::size_t l = 1; l <= layers.size(); ++l) {
      if (layers[l - 1].any()) result.push_back(l);
    }
    return result;
  }
  std::vector<Tiling::Shape> shapes_of_trained() const {
    std::vector<Tiling::Shape> result(trained_.size());
    std::ranges::transform(trained_, result.begin(), [&](std::size_t l) {
      return Tiling::Shape{layer(l).outputs(), layer(l).inputs()};
    });
    return result;
  }
  Index padded(Index rows) const { return Partition::round_up(rows, panel_rows_); }

  // Returns H or Δ as units, each with a batch of so many samples.
  Panels<T> units(const typename Device::template Buffer<T>& buffer, Index units,
                  Index batch) const {
    return {buffer.view().data, units, batch, 1, panel_rows_};
  }
  Panels<T> activation_units(std::size_t l, Index batch) const {
    return units(activations_[l], layer(l + 1).inputs(), batch);
  }
  Panels<T> delta_units(std::size_t l, Index batch) const {
    return units(deltas_[l], layer(l).outputs(), batch);
  }

  // Passes a block of the samples of a batch forward and back.
  template <class Lane>
  void pass(const Lane& lane, const Workspace& workspace, Range batch, Range block,
            Matrix<double> outcomes) const {
    const auto in_panels = [&](const Matrix<T>& scratch) {
      return panel_rows_of(Panels<T>(scratch.data, block_, scratch.cols, 1, panel_rows_),
                           {0, block.count});
    };
    const auto all_in_panels = [&](const std::vector<Matrix<T>>& scratch) {
      Layers layers(scratch.size());
      std::ranges::transform(scratch, layers.begin(), in_panels);
      return layers;
    };
    const Layers slopes = all_in_panels(workspace.slopes.views({0, block_}));
    Layers layers = all_in_panels(workspace.layers.views(block_));
    layers.push_back(in_panels(workspace.outputs.view()));

    const auto keep_activation = [&](std::size_t l) {
      if (!layers_[l].any()) return;
      transpose_panels<T>(layers[l].all, block.count, activation_units(l, batch.count),
                          block.first);
    };
    const auto keep_delta = [&](std::size_t l) {
      if (!layers_[l - 1].any()) return;
      transpose_panels<T>(layers[l].all, block.count, delta_units(l, batch.count), block.first);
    };

    layers[0] = in_panels(workspace.inputs.view());
    pack_inputs(lane, workspace, {batch.first + block.first, block.count}, layers[0].all);
    keep_activation(0);
    passes_.forward(lane, workspace.pass, layers, slopes, keep_activation);
    const std::size_t top = layers.size() - 1;
    passes_.read_out(lane, workspace.pass, layers[top - 1], layers[top]);
    if (lane.stopped()) return;
    const Matrix<T> f = workspace.output_rows.view().row_block(0, block.count);
    unpack<T>(layers[top].all, 0, f);
    samples_.compare(lane, options_, batch.count, {batch.first + block.first, block.count}, f,
                     workspace.output_slopes.view(), outcomes);
    pack<T>(f, 0, 0, layers[top].all);
    keep_delta(top);
    const auto lowest = static_cast<Index>(trained_.front());
    passes_.propagate(lane, workspace.pass, {lowest, static_cast<Index>(top) - lowest}, slopes,
                      layers, keep_delta);
  }

  // Packs some of the samples, gathered a panel at a time where they have an order.
  template <class Lane>
  void pack_inputs(const Lane& lane, const Workspace& workspace, Range rows,
                   const Panels<T>& to) const {
    if (samples_.order == nullptr) {
      pack<T>(samples_.inputs.row_block(rows.first, rows.count), 0, 0, to);
      return;
    }
    for (Index first = 0; first < rows.count; first += panel_rows_) {
      const Matrix<T> gathered =
          workspace.gathered.view().row_block(0, std::min(panel_rows_, rows.count - first));
      lane.for_each(
          gathered.rows, gathered.cols,
          element::Gather<T>{samples_.order + rows.first + first, samples_.inputs, gathered});
      pack<T>(gathered, first, 0, to);
    }
  }

  // Changes a tile of Wˡ and, beside its first column, of bˡ.
  template <class Lane>
  void descend(const Lane& lane, const Workspace& workspace, std::size_t l, Index batch,
               const Tile& tile, double* square) const {
    const TrainedLayer<T>& trained = layers_[l - 1];
    const Panels<const T> delta = delta_units(l, batch);
    if (trained.weights.data != nullptr) {
      const Matrix<T> products =
          multiply_panels<T>(delta, tile.rows, activation_units(l - 1, batch), tile.cols, false,
                             workspace.products.view());
      descend_tile(lane, workspace, {trained.rate, layer(l).weight_scale}, products, tile,
                   trained.velocity, trained.weights, square);
    }
    if (trained.bias.data != nullptr && tile.cols.first == 0) {
      const Matrix<T> sums = multiply_panels<T>(
          delta, tile.rows, Panels<const T>(ones_.view().data, 1, batch, 1, panel_rows_), {0, 1},
          false, workspace.products.view());
      descend_tile(lane, workspace, {trained.bias_rate, layer(l).bias_scale}, sums,
                   {tile.index, tile.matrix, tile.rows, {0, 1}}, trained.bias_velocity,
                   trained.bias, square);
    }
    passes_.take_over(static_cast<Index>(l), tile.rows, tile.cols);
  }

  // Changes a tile: W ← W − rate · scale · Δᵀ H.
  template <class Lane>
  void descend_tile(const Lane& lane, const Workspace& workspace,
                    std::pair<double, double> rate_and_scale, const Matrix<T>& products,
                    const Tile& tile, const Matrix<T>& velocity, const Matrix<T>& parameters,
                    double* square) const {
    auto [rate, scale] = rate_and_scale;
    if (velocity.data == nullptr && square == nullptr) {
      rate *= scale;
    } else {
      lane.for_each(products.rows, products.cols,
                    element::Scale<T>{static_cast<T>(scale), products, products});
    }
    descend_along(lane,
                  element::Descend<T>{
                      static_cast<T>(rate), static_cast<T>(options_.momentum), products,
                      velocity.data == nullptr ? velocity : tile.of(velocity), tile.of(parameters)},
                  workspace.sums.view(), square);
  }

  const Network<T>& network_;
  const std::vector<TrainedLayer<T>>& layers_;
  SgdOptions options_;
  TrainingSamples<T> samples_;
  Index panel_rows_;
  Tiling full_;                       // blocks of a batch
  Tiling last_;                       // those of a last, smaller one, which may be larger
  std::vector<std::size_t> trained_;  // [tile.matrix] of updates_: l
  Tiling updates_;
  Index block_;
  mutable PanelPasses<T> passes_;  // whose weights change as the network's do
  Tiling packing_;
  typename Device::template Buffer<T> ones_;                      // a panel
  std::vector<typename Device::template Buffer<T>> activations_;  // [l]
  std::vector<typename Device::template Buffer<T>> deltas_;       // [l]
};

}  // namespace fastntk

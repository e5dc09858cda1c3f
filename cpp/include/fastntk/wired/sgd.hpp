// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "fastntk/descent.hpp"
#include "fastntk/elements.hpp"
#include "fastntk/features.hpp"
#include "fastntk/layer_descent.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/tiling.hpp"
#include "fastntk/wired/features.hpp"
#include "fastntk/wired/passes.hpp"
#include "fastntk/wired/products.hpp"
#include "fastntk/wired/wiring.hpp"

// This descends the gradient of networks of steps on batches of samples. With Δ = ∂loss/∂z for a
// batch, z the node that a step makes,
//
//   W ← W − η s Δᵀ H,   b ← b − η σ_b Δᵀ 1,   γ ← γ − η (Δ ∘ Ĥ)ᵀ 1,   β ← β − η Δᵀ 1.
//
// A step is two phases:
//
//   blocks of samples go forward, to their losses and back, each without waiting for the others;
//   tiles of all parameters change.
//
// No parameter changes before all that read it are done, and samples never meet but in the products
// of the second phase. In memory there are the parameters and, of one batch, what these products
// are made of: H and Δ of the layers that are trained. All else is there for a block of each lane.
namespace fastntk::wired {

template <class T>
PassSize pass_size(const Wiring<T>& wiring) {
  PassSize size;
  wiring.for_each_layer([&](std::size_t /*node*/, const Layer<T>& layer) {
    size.multiply_adds += layer.outputs() * layer.inputs();
  });
  for (std::size_t node = 1; node <= wiring.top(); ++node) size.units += wiring.widths[node];
  return size;
}

// Cuts a batch into the blocks that pass through a network together.
template <class Device>
Tiling sample_blocks(const Device& device, Index rows) {
  // For fewer rows, GEMM takes too long to pack the weights.
  constexpr Index kSmallest = 64;
  BlockLimits limits = device.row_blocks();
  limits.smallest = std::max(limits.smallest, std::min(kSmallest, limits.largest));
  return {{{rows, 1}}, Partition(rows, limits).size(), {1, 1}};
}

// A descent (see descend_in_batches).
template <class Device, class T>
class Sgd {
 public:
  // `layers` has one entry for each layer of the network, in the order of for_each_layer; at least
  // one of them is trained.
  Sgd(const Device& device, const Wiring<T>& wiring, const std::vector<TrainedLayer<T>>& layers,
      SgdOptions options, const TrainingSamples<T>& samples)
      : wiring_(wiring),
        trained_(layers),
        options_(options),
        samples_(samples),
        layout_(wiring),
        route_(wiring, Extent::to_parameters, wanted()),
        full_(sample_blocks(device, options.batch)),
        last_(sample_blocks(device, (samples.count - 1) % options.batch + 1)),
        updates_(device.tiling(update_shapes())),
        gradient_(gradient_shape(device, options, updates_.largest())),
        gathered_(samples.order == nullptr ? 0 : options.batch, wiring.input_width),
        activations_(options.batch, 0, activation_widths()),
        deltas_(options.batch, 0, delta_widths()),
        ones_(options.batch, 1) {}

  struct Workspace {
    wired::Workspace<Device, T> pass;
    typename Device::template Buffer<T> gradient;
    typename Device::template Buffer<T> sums;
  };
  Workspace make_workspace() const {
    const Index rows = Tiling::larger(full_.largest(), last_.largest()).first;
    return {{wiring_, route_, Extent::to_parameters, rows},
            {gradient_.first, gradient_.second},
            {gradient_.first, 1}};
  }
  Index squares() const { return updates_.count(); }
  Index lanes() const {
    return descending_lanes(pass_size(wiring_), options_.batch,
                            std::max(full_.count(), updates_.count()));
  }

  template <class Team>
  bool begin(const Team& team) const {
    return team.tiles(full_, Phase::within_step,
                      [&](const auto& lane, const Workspace& /*workspace*/, const Tile& tile) {
                        const auto [first, count] = tile.rows;
                        lane.for_each(
                            count, 1,
                            fastntk::element::Fill<T>{T(1), ones_.view().row_block(first, count)});
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
                        change(lane, workspace, rows, tile,
                               norm == nullptr ? nullptr : norm + tile.index);
                      });
  }

  // Returns how many numbers there are in memory for each sample of a batch where all layers are
  // trained, but for what the lanes have of their own.
  static Index numbers(const Wiring<T>& wiring, bool gathered) {
    const FeatureLayout<T> layout(wiring);
    Index sum = 1 + (gathered ? wiring.input_width : 0);
    for (const std::size_t node : layout.activations) sum += node == 0 ? 0 : wiring.widths[node];
    for (const FeatureLayer<T>& layer : layout.last().layers) sum += layer.layer->outputs();
    return sum;
  }

 private:
  using Phase = typename Device::Phase;

  // Returns the nodes whose Δ is wanted.
  std::vector<bool> wanted() const {
    std::vector<bool> result(wiring_.top() + 1, false);
    for (std::size_t k = 0; k < trained_.size(); ++k) {
      if (trained_[k].any()) result[layout_.last().layers[k].node] = true;
    }
    return result;
  }
  // Layers that are not trained have no tiles.
  std::vector<Tiling::Shape> update_shapes() const {
    std::vector<Tiling::Shape> result(trained_.size(), {0, 0});
    for (std::size_t k = 0; k < trained_.size(); ++k) {
      const Layer<T>& layer = *layout_.last().layers[k].layer;
      if (trained_[k].any()) result[k] = {layer.outputs(), std::max<Index>(layer.inputs(), 1)};
    }
    return result;
  }
  // The inputs lie elsewhere.
  std::vector<Index> activation_widths() const {
    std::vector<Index> result(layout_.activations.size(), 0);
    for (std::size_t k = 0; k < trained_.size(); ++k) {
      const std::optional<std::size_t> number = layout_.last().layers[k].activation;
      if (trained_[k].weights.data == nullptr || !number) continue;
      const std::size_t node = layout_.activations[*number];
      if (node != 0) result[*number] = wiring_.widths[node];
    }
    return result;
  }
  std::vector<Index> delta_widths() const {
    std::vector<Index> result(trained_.size(), 0);
    for (std::size_t k = 0; k < trained_.size(); ++k) {
      if (trained_[k].any()) result[k] = layout_.last().layers[k].layer->outputs();
    }
    return result;
  }

  // Returns the inputs of a batch.
  Matrix<const T> inputs(Range batch) const {
    if (samples_.order == nullptr) return samples_.inputs.row_block(batch.first, batch.count);
    return gathered_.view().row_block(0, batch.count);
  }

  // Passes a block of the samples of a batch forward and back.
  template <class Lane>
  void pass(const Lane& lane, const Workspace& workspace, Range batch, Range block,
            Matrix<double> outcomes) const {
    const Range rows{batch.first + block.first, block.count};
    if (samples_.order != nullptr) {
      lane.for_each(
          block.count, wiring_.input_width,
          fastntk::element::Gather<T>{samples_.order + rows.first, samples_.inputs,
                                      gathered_.view().row_block(block.first, block.count)});
    }
    const LaneProducts products;
    const Pass pass(lane, wiring_, route_, workspace.pass, products,
                    inputs(batch).row_block(block.first, block.count));
    pass.forward([&](std::size_t node, Matrix<const T> values) {
      const auto found = std::ranges::find(layout_.activations, node);
      if (found == layout_.activations.end()) return;
      const auto number = static_cast<std::size_t>(found - layout_.activations.begin());
      keep(lane, values, activations_[number], block);
    });
    if (lane.stopped()) return;
    const Matrix<T> f = pass.output_delta();
    convert(lane, pass.value(wiring_.top()), f);
    samples_.compare(lane, options_, batch.count, rows, f, {}, outcomes);
    pass.backward([&](std::size_t node, Matrix<const T> delta) {
      for (std::size_t k = 0; k < trained_.size(); ++k) {
        const FeatureLayer<T>& layer = layout_.last().layers[k];
        if (layer.node != node || !trained_[k].any()) continue;
        if (!layer.times_value) {
          keep(lane, delta, deltas_[k], block);
          continue;
        }
        lane.for_each(
            delta.rows, delta.cols,
            element::Multiply<T, Write::overwrite>{pass.value(wiring_.step(node).source), delta,
                                                   deltas_[k].row_block(block.first, block.count)});
      }
    });
  }

  // Keeps the rows of a block for the second phase, where that is asked for.
  template <class Lane>
  void keep(const Lane& lane, Matrix<const T> rows, Matrix<T> batch, Range block) const {
    if (batch.cols > 0) convert(lane, rows, batch.row_block(block.first, block.count));
  }

  // Changes a tile of the parameters of a layer.
  template <class Lane>
  void change(const Lane& lane, const Workspace& workspace, Range batch, const Tile& tile,
              double* square) const {
    const std::size_t k = tile.matrix;
    const FeatureLayer<T>& layer = layout_.last().layers[k];
    Matrix<const T> below;
    if (layer.activation) {
      below = layout_.activations[*layer.activation] == 0
                  ? inputs(batch)
                  : Matrix<const T>(activations_[*layer.activation].row_block(0, batch.count));
    }
    const LayerDescent<T> of_layer{*layer.layer,
                                   trained_[k],
                                   options_.momentum,
                                   deltas_[k].row_block(0, batch.count),
                                   below,
                                   ones_.view().row_block(0, batch.count)};
    of_layer.change(lane, {workspace.gradient.view(), workspace.sums.view()}, tile, square);
  }

  const Wiring<T>& wiring_;
  const std::vector<TrainedLayer<T>>& trained_;
  SgdOptions options_;
  TrainingSamples<T> samples_;
  FeatureLayout<T> layout_;
  Route route_;
  Tiling full_;     // blocks of a batch
  Tiling last_;     // those of a last, smaller one
  Tiling updates_;  // [layer]
  Tiling::Shape gradient_;
  typename Device::template Buffer<T> gathered_;
  LayerBuffers<Device, T> activations_;  // [H]; none of what is not needed
  LayerBuffers<Device, T> deltas_;       // [layer]
  typename Device::template Buffer<T> ones_;
};

// See fastntk::training_bytes.
template <class Device, class T>
Index training_bytes(const Device& device, const Wiring<T>& wiring, Index batch, bool gathered) {
  const Route route(wiring, Extent::to_parameters);
  const Tiling blocks = sample_blocks(device, batch);
  const Index at_once = std::min(device.phase_lanes(), blocks.count()) * blocks.largest().first;
  const Index numbers =
      batch * Sgd<Device, T>::numbers(wiring, gathered) +
      at_once * Workspace<Device, T>::numbers(wiring, route, Extent::to_parameters);
  return numbers * static_cast<Index>(sizeof(T));
}

// See fastntk::sgd.
template <class Device, class T>
double sgd(const Device& device, const Wiring<T>& wiring,
           const std::vector<TrainedLayer<T>>& layers, SgdOptions options, Matrix<const T> inputs,
           Matrix<const T> targets, const Index* order, Matrix<double> outcomes,
           const Monitor& monitor) {
  const TrainingSamples<T> samples{inputs, targets, order, outcomes.rows};
  const double operations = descending_operations(pass_size(wiring), options.batch, outcomes.rows);
  const Sgd<Device, T> descent(device, wiring, layers, options, samples);
  return descend_in_batches(device, descent, options, operations, outcomes, monitor);
}

}  // namespace fastntk::wired

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "fastntk/descent.hpp"
#include "fastntk/features.hpp"
#include "fastntk/forward_backward.hpp"
#include "fastntk/layer_descent.hpp"
#include "fastntk/panel_descent.hpp"
#include "fastntk/tiling.hpp"

// This descends the gradient on batches of samples. With Δᴸ⁺¹ = ∂loss/∂f (rows, C) for a batch,
//
//   Δˡ = c_φ φ'(zˡ) ∘ [ (σ_w/√n_l) Δˡ⁺¹ Wˡ⁺¹ ],
//   Wˡ ← Wˡ − η (σ_w/√n_{l−1}) Δˡᵀ Hˡ⁻¹,      bˡ ← bˡ − η σ_b Δˡᵀ 1.
//
// An output activation ψ stands between f and the linear outputs g, with Δᴸ⁺¹ = ∂loss/∂g: the
// network here is that of g, and options say what ψ is.
//
// In memory there are the weights and one batch of activations Hˡ, with one Δᴸ more or, for some φ,
// as many slopes. The products Δᵀ H are accumulated into the weights themselves: there is no
// gradient, but for a part of a tile of it where there is momentum (v ← μ v + g, W ← W − η v) or
// its norm is wanted.
//
// Where φ' can be told from Hˡ (slopes_follow), Δˡ has no memory of its own either: there is a row
// of L + 1 slots, slot l holds Hˡ and, later, slot l + 1 holds Δˡ. On the way back weights change
// as soon as they may, in phases, from l = L down,
//
//   Δˡ     (reads Δˡ⁺¹ in slot l + 2, Wˡ⁺¹ and Hˡ in slot l; writes slot l + 1),
//   Wˡ⁺¹   (reads Δˡ⁺¹ in slot l + 2 and Hˡ in slot l),
//
// so that slot l is free for Δˡ⁻¹. The last phase changes the two lowest layers. For any other φ
// the slopes are kept, Δˡ takes their place, and the last phase changes all weights.
namespace fastntk {

// A step takes matrices of these columns, with a row for each sample of a batch; `lowest` is the
// lowest layer that is trained. A vector of ones, for the sums over a batch, comes to them.
struct SgdWidths {
  std::vector<Index> slots;   // [l − 1]
  std::vector<Index> slopes;  // [l − 1]; none where they follow from the activations
  Index outputs;
  Index gathered = 0;  // of the samples, where they are brought into an order

  template <class T>
  SgdWidths(const Network<T>& network, std::size_t lowest, bool in_order)
      : slots(layer_widths(network, 1, network.depth())),
        outputs(network.readouts.front().layer.outputs()) {
    if (in_order) gathered = network.input_width;
    if (!slopes_follow(network)) {
      slopes = slots;
      return;
    }
    slots.push_back(0);
    for (std::size_t l = network.hidden.size(); l >= lowest; --l) {
      slots[l] = std::max(slots[l], slots[l - 1]);  // slot l + 1, which Δˡ comes to
    }
  }

  // Returns how many numbers there are for each sample of a batch.
  Index total() const {
    return std::reduce(slots.begin(), slots.end()) + std::reduce(slopes.begin(), slopes.end()) +
           outputs + gathered;
  }
};

// This is a step on a batch of so many rows, as phases of tiles.
template <class Device, class T>
class SgdPhases {
 public:
  using Phase = typename Device::Phase;
  struct Backward {
    bool update = false;              // Wˡ and bˡ change; otherwise Δˡ is computed
    std::vector<std::size_t> layers;  // [tile.matrix]: l
    Tiling tiling;
    Phase kind = Phase::within_step;
    Index first_square = 0;  // where the first tile's part of ‖gradient‖² belongs
  };

  SgdPhases(const Device& device, const Network<T>& network,
            const std::vector<TrainedLayer<T>>& layers, Index rows)
      : gather(device.tiling({{rows, network.input_width}})), readout(device.row_tiling(rows)) {
    for (Index l = 1; l <= network.depth(); ++l) {
      hidden.push_back(device.tiling({{rows, network.width(l)}}));
      largest_delta = Tiling::larger(largest_delta, hidden.back().largest());
    }
    const auto trained = [&](std::size_t l) { return layers[l - 1].any(); };
    std::vector<Index> squares_below;  // [l − 1]
    for (std::size_t l = 1; l <= layers.size(); ++l) {
      squares_below.push_back(squares);
      if (!trained(l)) continue;
      const Tiling update = device.tiling({weights_shape(network, l)});
      squares += update.count();
      largest_update = Tiling::larger(largest_update, update.largest());
    }

    const auto update = [&](const std::vector<std::size_t>& of, Phase kind) {
      std::vector<Tiling::Shape> shapes(of.size());
      std::ranges::transform(of, shapes.begin(),
                             [&](std::size_t l) { return weights_shape(network, l); });
      backward.push_back({true, of, device.tiling(shapes), kind, squares_below[of.front() - 1]});
    };
    const std::size_t lowest = lowest_trained(layers);
    const bool changes_on_the_way = slopes_follow(network);
    auto kind = Phase::within_step;
    for (std::size_t l = network.hidden.size(); l >= lowest; --l) {
      backward.push_back({false, {l}, hidden[l - 1], kind, 0});
      if (changes_on_the_way && l > lowest && trained(l + 1)) {
        kind = Phase::changing;
        update({l + 1}, kind);
      }
    }
    std::vector<std::size_t> left = {lowest};
    for (std::size_t l = lowest + 1; l <= layers.size(); ++l) {
      if (trained(l) && (l == lowest + 1 || !changes_on_the_way)) left.push_back(l);
    }
    update(left, Phase::end_of_step);
  }

  Index widest() const {
    Index result = std::max(gather.count(), readout.count());
    for (const Tiling& tiling : hidden) result = std::max(result, tiling.count());
    for (const Backward& phase : backward) result = std::max(result, phase.tiling.count());
    return result;
  }

  Tiling gather;
  std::vector<Tiling> hidden;  // [l − 1]
  Tiling readout;
  std::vector<Backward> backward;
  Index squares = 0;  // tiles of all that is trained
  // These are rows and columns that hold any tile of a Δ, and of a W that is trained.
  Tiling::Shape largest_delta{0, 0};
  Tiling::Shape largest_update{0, 0};

 private:
  static Tiling::Shape weights_shape(const Network<T>& network, std::size_t l) {
    const Layer<T>& layer = layer_or_readout(network, l);
    return {layer.outputs(), layer.inputs()};
  }
};

// A descent on matrices of rows (see descend_in_batches).
template <class Device, class T>
class Sgd {
 public:
  // `layers` has one entry for each layer 1 … L + 1 of the network with its first readout, which is
  // on top; at least one of them is trained.
  Sgd(const Device& device, const Network<T>& network, const std::vector<TrainedLayer<T>>& layers,
      SgdOptions options, const TrainingSamples<T>& samples)
      : device_(device),
        network_(network),
        layers_(layers),
        options_(options),
        samples_(samples),
        full_(device, network, layers, options.batch),
        last_(device, network, layers, (samples.count - 1) % options.batch + 1),
        workspace_(workspace_shape()),
        ones_(options.batch, 1) {
    const bool in_order = samples.order != nullptr;
    const SgdWidths widths(network, lowest_trained(layers), in_order);
    slots_ = {options.batch, 1, widths.slots};
    if (!widths.slopes.empty()) slopes_ = {options.batch, 1, widths.slopes};
    outputs_ = {options.batch, widths.outputs};
    output_slopes_ = {options.batch, output_slopes(options, widths.outputs)};
    if (in_order) gathered_ = {options.batch, widths.gathered};
  }

  struct Workspace {
    typename Device::template Buffer<T> tile;
    typename Device::template Buffer<T> sums;

    explicit Workspace(Tiling::Shape shape)
        : tile(shape.first, shape.second), sums(shape.first, 1) {}
  };
  Workspace make_workspace() const { return Workspace(workspace_); }
  Index squares() const { return last_.squares; }
  Index lanes() const {
    return descending_lanes(pass_size(network_), options_.batch,
                            std::max(full_.widest(), last_.widest()));
  }

  template <class Team>
  bool begin(const Team& /*team*/) const {
    return true;
  }

  template <class Team>
  bool step(const Team& team, Range rows, Matrix<double> outcomes, double* norm) const {
    const Phases& phases = rows.count == options_.batch ? full_ : last_;
    const Batch at = batch(rows);
    if (samples_.order != nullptr) {
      const bool more = team.tiles(
          phases.gather, Phase::within_step,
          [&](const auto& lane, const Workspace& /*workspace*/, const Tile& tile) {
            lane.for_each(
                tile.rows.count, tile.cols.count,
                element::Gather<T>{samples_.order + rows.first + tile.rows.first,
                                   samples_.inputs.col_block(tile.cols.first, tile.cols.count),
                                   tile.of(gathered_.view())});
          });
      if (!more) return false;
    }
    for (std::size_t l = 1; l <= network_.hidden.size(); ++l) {
      const bool more = team.tiles(
          phases.hidden[l - 1], Phase::within_step,
          [&](const auto& lane, const Workspace& /*workspace*/, const Tile& tile) {
            hidden_layer(lane, network_, layer(l).units(tile.cols),
                         at.below[l - 1].row_block(tile.rows.first, tile.rows.count),
                         tile.of(at.h[l]), at.slopes.empty() ? Matrix<T>() : tile.of(at.slopes[l]));
          });
      if (!more) return false;
    }
    if (!read_out_and_compare(team, phases, rows, at.below.back(), outcomes)) return false;
    for (const auto& phase : phases.backward) {
      const bool more = team.tiles(
          phase.tiling, phase.kind,
          [&](const auto& lane, const Workspace& workspace, const Tile& tile) {
            const std::size_t l = phase.layers[tile.matrix];
            if (phase.update) {
              descend(lane, workspace, at, l, tile,
                      norm == nullptr ? nullptr : norm + phase.first_square + tile.index);
            } else {
              propagate_back(lane, workspace, at, l, tile);
            }
          });
      if (!more) return false;
    }
    return true;
  }

 private:
  using Phases = SgdPhases<Device, T>;
  using Phase = typename Device::Phase;
  // These are the matrices of a batch on its way through the network.
  struct Batch {
    std::vector<Matrix<T>> h;            // [l]; [0] is not used
    std::vector<Matrix<T>> slopes;       // [l], empty where they follow from h
    std::vector<Matrix<T>> deltas;       // [l], up to L + 1
    std::vector<Matrix<const T>> below;  // [l − 1]: what layer l reads
  };

  // The workspace holds a Δ before it meets the slopes that are in its place, and as much of a
  // gradient as there is at a time.
  Tiling::Shape workspace_shape() const {
    Tiling::Shape result = gradient_shape(device_, options_, full_.largest_update);
    if (slopes_follow(network_)) return result;
    result = Tiling::larger(result, full_.largest_delta);
    return Tiling::larger(result, last_.largest_delta);
  }

  Batch batch(Range rows) const {
    const Range block{0, rows.count};
    const auto slots = slots_.views(block);
    Batch result{std::vector<Matrix<T>>(1), slopes_.views(block), std::vector<Matrix<T>>(1), {}};
    for (Index l = 1; l <= network_.depth(); ++l) {
      const auto at = static_cast<std::size_t>(l);
      const Index width = network_.width(l);
      result.h.push_back(slots[at].col_block(0, width));
      result.deltas.push_back(result.slopes.empty() ? slots[at + 1].col_block(0, width)
                                                    : result.slopes[at]);
    }
    result.deltas.push_back(outputs_.view().row_block(0, rows.count));
    result.below.assign(result.h.begin(), result.h.end());
    result.below[0] = samples_.order == nullptr ? samples_.inputs.row_block(rows.first, rows.count)
                                                : gathered_.view().row_block(0, rows.count);
    return result;
  }

  // Computes f and, in its place, Δᴸ⁺¹.
  template <class Team>
  bool read_out_and_compare(const Team& team, const Phases& phases, Range rows, Matrix<const T> top,
                            Matrix<double> outcomes) const {
    return team.tiles(phases.readout, Phase::within_step,
                      [&](const auto& lane, const Workspace& /*workspace*/, const Tile& tile) {
                        const auto [first, count] = tile.rows;
                        const Matrix<T> f = outputs_.view().row_block(first, count);
                        read_out(lane, network_.readouts.front(), top.row_block(first, count), f);
                        samples_.compare(lane, options_, rows.count, {rows.first + first, count}, f,
                                         output_slopes_.view().row_block(first, count),
                                         outcomes.row_block(first, count));
                        const Matrix<T> ones = ones_.view().row_block(first, count);
                        lane.for_each(count, 1, element::Fill<T>{T(1), ones});
                      });
  }

  // Computes a tile of Δˡ.
  template <class Lane>
  void propagate_back(const Lane& lane, const Workspace& workspace, const Batch& at, std::size_t l,
                      const Tile& tile) const {
    const bool follow = at.slopes.empty();
    const Matrix<T> delta = tile.of(at.deltas[l]);
    const Matrix<T> u = follow ? delta : workspace.tile.view().block(0, delta.rows, 0, delta.cols);
    const Layer<T>& above = layer(l + 1);
    lane.template gemm<T>(Op::none, Op::none, static_cast<T>(above.weight_scale),
                          at.deltas[l + 1].row_block(tile.rows.first, tile.rows.count),
                          above.weights.col_block(tile.cols.first, tile.cols.count),
                          Write::overwrite, u);
    if (follow) {
      gate_by_value<Lane, T>(lane, network_, tile.of(at.h[l]), delta);
    } else {
      lane.for_each(u.rows, u.cols, element::Gate<T>{u, delta});
    }
  }

  // Changes a tile of Wˡ and, beside its first column, of bˡ.
  template <class Lane>
  void descend(const Lane& lane, const Workspace& workspace, const Batch& at, std::size_t l,
               const Tile& tile, double* square) const {
    const Index rows = at.deltas[l].rows;
    const LayerDescent<T> of_layer{layer(l),     layers_[l - 1],  options_.momentum,
                                   at.deltas[l], at.below[l - 1], ones_.view().row_block(0, rows)};
    of_layer.change(lane, {workspace.tile.view(), workspace.sums.view()}, tile, square);
  }

  const Layer<T>& layer(std::size_t l) const { return layer_or_readout(network_, l); }

  const Device& device_;
  const Network<T>& network_;
  const std::vector<TrainedLayer<T>>& layers_;
  SgdOptions options_;
  TrainingSamples<T> samples_;
  Phases full_;
  Phases last_;  // for a last batch that is smaller
  Tiling::Shape workspace_;
  typename Device::template Buffer<T> gathered_;
  LayerBuffers<Device, T> slots_;
  LayerBuffers<Device, T> slopes_;  // none where they follow from the activations
  typename Device::template Buffer<T> outputs_;
  typename Device::template Buffer<T> output_slopes_;
  typename Device::template Buffer<T> ones_;
};

// Whether steps on batches of so many samples are taken in panels.
template <class T, class Device>
bool descends_in_panels(const Device& device, Index batch) {
  if constexpr (Device::Lane::kOnHost) {
    // With fewer, packing weights that change with every step takes too much of its time.
    constexpr Index kWorthPacking = 64;
    return device.template panel_rows<T>() != 0 && batch >= kWorthPacking;
  }
  return false;
}

// Returns the memory, in bytes, of training all layers of a network in batches of so many samples.
// Samples that are taken in an order are gathered first. An output activation takes a number more
// for each output.
template <class Device, class T>
Index training_bytes(const Device& device, const Network<T>& network, Index batch, bool gathered) {
  const auto bytes = [](Index numbers) { return numbers * static_cast<Index>(sizeof(T)); };
  if (!network.has_linear_outputs()) {
    return training_bytes(device, linear_outputs(network), batch, gathered) +
           bytes(batch * network.width(network.depth()));
  }
  if constexpr (Device::Lane::kOnHost) {
    if (descends_in_panels<T>(device, batch)) {
      return bytes(PanelDescent<Device, T>::numbers(network, batch));
    }
  }
  return bytes(batch * SgdWidths(network, 1, gathered).total());
}

// Descends the gradient over the samples order[0], order[1], … in batches; without an order over
// all samples, one after the other. See descend_in_batches.
template <class Device, class T>
double sgd(const Device& device, const Network<T>& network,
           const std::vector<TrainedLayer<T>>& layers, SgdOptions options, Matrix<const T> inputs,
           Matrix<const T> targets, const Index* order, Matrix<double> outcomes,
           const Monitor& monitor) {
  const TrainingSamples<T> samples{inputs, targets, order, outcomes.rows};
  const double operations = descending_operations(pass_size(network), options.batch, outcomes.rows);
  if constexpr (Device::Lane::kOnHost) {
    if (descends_in_panels<T>(device, options.batch)) {
      const PanelDescent<Device, T> descent(device, network, layers, options, samples);
      return descend_in_batches(device, descent, options, operations, outcomes, monitor);
    }
  }
  const Sgd<Device, T> descent(device, network, layers, options, samples);
  return descend_in_batches(device, descent, options, operations, outcomes, monitor);
}

}  // namespace fastntk

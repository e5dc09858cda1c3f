// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "fastntk/features.hpp"
#include "fastntk/forward_backward.hpp"
#include "fastntk/loss.hpp"
#include "fastntk/tiling.hpp"

// Gradient descent on batches of samples. With Δᴸ⁺¹ = ∂loss/∂f (rows, C) for a batch,
//
//   Δˡ = c_φ φ'(zˡ) ∘ [ (σ_w/√n_l) Δˡ⁺¹ Wˡ⁺¹ ],
//   Wˡ ← Wˡ − η (σ_w/√n_{l−1}) Δˡᵀ Hˡ⁻¹,      bˡ ← bˡ − η σ_b Δˡᵀ 1.
//
// The products Δᵀ H are accumulated into the weights themselves: there is no gradient in memory,
// but for a tile of it where there is momentum (v ← μ v + g, W ← W − η v) or its norm is wanted.
// All weights of a step change in its last phase, after all Δ are known.
namespace fastntk {

// What is trained of a layer. The arrays are those that the network reads; null: left alone.
template <class T>
struct TrainedLayer {
  Matrix<T> weights;
  Matrix<T> bias;     // (n_out, 1)
  double rate = 0.0;  // η
  double bias_rate = 0.0;
  Matrix<T> velocity;  // v of the weights; null without momentum
  Matrix<T> bias_velocity;

  bool any() const { return weights.data != nullptr || bias.data != nullptr; }
};

struct SgdOptions {
  Loss loss = Loss::cross_entropy;
  Index batch = 1;
  double momentum = 0.0;
  bool measure_gradient = false;  // of the last batch
};

namespace element {

template <class T>
struct Gather {
  const Index* order;
  Matrix<const T> from;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    to.data[i * to.stride + j] = from.data[order[i] * from.stride + j];
  }
};

template <class T>
struct Descend {
  T rate;
  T momentum;
  Matrix<const T> gradient;
  Matrix<T> velocity;  // null: the gradient itself
  Matrix<T> parameters;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    T step = gradient.data[i * gradient.stride + j];
    if (velocity.data != nullptr) {
      T& v = velocity.data[i * velocity.stride + j];
      v = momentum * v + step;
      step = v;
    }
    parameters.data[i * parameters.stride + j] -= rate * step;
  }
};

// total += Σ_i sums(i)
template <class T>
struct AddUp {
  Matrix<const T> sums;
  double* total;

  FASTNTK_HOST_DEVICE void operator()(Index /*i*/, Index /*j*/) const {
    for (Index i = 0; i < sums.rows; ++i) *total += static_cast<double>(*sums.row(i));
  }
};

}  // namespace element

// A step on a batch of so many rows, as phases of tiles.
template <class Device, class T>
class SgdPhases {
 public:
  SgdPhases(const Device& device, const Network<T>& network,
            const std::vector<TrainedLayer<T>>& layers, Index rows)
      : gather(device.tiling({{rows, network.input_width}})),
        readout(device.row_tiling(rows)),
        update(device.tiling(weight_shapes(network, layers, updated))) {
    for (Index l = 1; l <= network.depth(); ++l) {
      hidden.push_back(device.tiling({{rows, network.width(l)}}));
    }
  }

  Index widest() const {
    Index result = std::max({gather.count(), readout.count(), update.count()});
    for (const Tiling& tiling : hidden) result = std::max(result, tiling.count());
    return result;
  }

  // Rows and columns of a workspace for any of the tiles of a layer.
  Tiling::Shape largest_tile() const {
    Tiling::Shape result = update.largest();
    for (const Tiling& tiling : hidden) {
      const auto [rows, cols] = tiling.largest();
      result = {std::max(result.first, rows), std::max(result.second, cols)};
    }
    return result;
  }

  std::vector<std::size_t> updated;  // l − 1 of the layers that `update` cuts
  Tiling gather;
  std::vector<Tiling> hidden;  // [l − 1]: forward and backward
  Tiling readout;
  Tiling update;

 private:
  static std::vector<Tiling::Shape> weight_shapes(const Network<T>& network,
                                                  const std::vector<TrainedLayer<T>>& layers,
                                                  std::vector<std::size_t>& updated) {
    std::vector<Tiling::Shape> shapes;
    for (std::size_t k = 0; k < layers.size(); ++k) {
      if (!layers[k].any()) continue;
      const Layer<T>& layer =
          k < network.hidden.size() ? network.hidden[k] : network.readouts.front().layer;
      shapes.emplace_back(layer.outputs(), layer.inputs());
      updated.push_back(k);
    }
    return shapes;
  }
};

template <class Device, class T>
class Sgd {
 public:
  // `layers` has one entry for each layer 1 … L + 1 of the network with its first readout, which is
  // on top; at least one of them is trained.
  Sgd(const Network<T>& network, const std::vector<TrainedLayer<T>>& layers, SgdOptions options,
      Matrix<const T> inputs, Matrix<const T> targets, const Index* order)
      : network_(network),
        layers_(layers),
        options_(options),
        inputs_(inputs),
        targets_(targets),
        order_(order),
        activations_(options.batch, 1, layer_widths(network, 1, network.depth())),
        deltas_(options.batch, 1, layer_widths(network, 1, network.depth())),
        outputs_(options.batch, readout().layer.outputs()),
        ones_(options.batch, 1) {
    if (order != nullptr) gathered_ = {options.batch, network.input_width};
    while (!layers[lowest_].any()) ++lowest_;
  }

  // Passes over the samples once, a row of `outcomes` (samples, 2) for each: its loss before the
  // step of its batch, and whether it was recognized. Returns ‖gradient‖² of the last batch.
  double run(const Device& device, Matrix<double> outcomes, const Monitor& monitor) {
    const Index samples = outcomes.rows;
    const Index steps = (samples + options_.batch - 1) / options_.batch;
    const Index last_rows = samples - (steps - 1) * options_.batch;
    const Phases full(device, network_, layers_, options_.batch);
    const Phases last(device, network_, layers_, last_rows);
    std::vector<double> squares(static_cast<std::size_t>(last.update.count()), 0.0);
    const typename Device::template Buffer<double> device_squares(1, last.update.count());
    device.write(squares.data(), device_squares.view());
    Index work = 0;
    for (std::size_t l = 1; l <= layers_.size(); ++l) {
      work += options_.batch * layer(l).outputs() * layer(l).inputs();
    }
    device.run_phases(
        "training", steps, std::min(full.widest(), 1 + work / kLaneWork), monitor,
        [&] { return Workspace(full.largest_tile(), last.largest_tile()); },
        [&](const auto& team) {
          for (Index step = 0; step < steps; ++step) {
            const bool at_end = step == steps - 1;
            const Range rows{step * options_.batch, at_end ? last_rows : options_.batch};
            double* const norm =
                at_end && options_.measure_gradient ? device_squares.view().data : nullptr;
            if (!do_step(team, at_end ? last : full, rows,
                         outcomes.row_block(rows.first, rows.count), norm)) {
              return;
            }
          }
        });
    device.read(device_squares.view(), squares.data());
    double sum = 0.0;
    for (const double square : squares) sum += square;
    return sum;
  }

 private:
  using Phases = SgdPhases<Device, T>;
  using DevicePhase = typename Device::Phase;
  // Multiply-adds of a step's forward pass that are worth a lane of their own: below it, lanes
  // would wait for each other for longer than they compute.
  static constexpr Index kLaneWork = 2'000'000;

  struct Workspace {
    typename Device::template Buffer<T> tile;
    typename Device::template Buffer<T> sums;

    Workspace(Tiling::Shape a, Tiling::Shape b)
        : tile(std::max(a.first, b.first), std::max(a.second, b.second)),
          sums(std::max(a.first, b.first), 1) {}
  };

  // One step; `norm`, if not null, gets a sum of squares for each tile of the gradient. Returns
  // whether to go on.
  template <class Team>
  bool do_step(const Team& team, const Phases& phases, Range rows, Matrix<double> outcomes,
               double* norm) const {
    const Range block{0, rows.count};
    const Index* const order = order_ == nullptr ? nullptr : order_ + rows.first;
    const auto deltas = deltas_.views(block);
    auto h = activations_.views(block);
    std::vector<Matrix<const T>> below(h.begin(), h.end());  // [l − 1]: what layer l reads
    below[0] = inputs_.row_block(rows.first, rows.count);

    if (order != nullptr) {
      const Matrix<T> gathered = gathered_.view().row_block(0, rows.count);
      below[0] = gathered;
      const bool more = team.tiles(
          phases.gather, DevicePhase::within_step,
          [&](const auto& lane, const Workspace& /*workspace*/, const Tile& tile) {
            lane.for_each(tile.rows.count, tile.cols.count,
                          element::Gather<T>{order + tile.rows.first,
                                             inputs_.col_block(tile.cols.first, tile.cols.count),
                                             tile.of(gathered)});
          });
      if (!more) return false;
    }
    for (Index l = 1; l <= network_.depth(); ++l) {
      const auto at = static_cast<std::size_t>(l);
      const bool more =
          team.tiles(phases.hidden[at - 1], DevicePhase::within_step,
                     [&](const auto& lane, const Workspace& /*workspace*/, const Tile& tile) {
                       hidden_layer(lane, network_, network_.layer(l).units(tile.cols),
                                    below[at - 1].row_block(tile.rows.first, tile.rows.count),
                                    tile.of(h[at]), tile.of(deltas[at]));
                     });
      if (!more) return false;
    }
    return read_out_and_compare(team, phases, rows, below.back(), outcomes) &&
           propagate_back(team, phases, rows.count, deltas) &&
           descend(team, phases, rows.count, below, deltas, norm);
  }

  // f and, in its place, Δᴸ⁺¹.
  template <class Team>
  bool read_out_and_compare(const Team& team, const Phases& phases, Range rows, Matrix<const T> top,
                            Matrix<double> outcomes) const {
    return team.tiles(phases.readout, DevicePhase::within_step,
                      [&](const auto& lane, const Workspace& /*workspace*/, const Tile& tile) {
                        const auto [first, count] = tile.rows;
                        const Matrix<T> f = outputs_.view().row_block(first, count);
                        read_out(lane, network_.readouts.front(), top.row_block(first, count), f);
                        const Index sample = rows.first + first;
                        sample_losses(
                            lane, options_.loss, T(1) / static_cast<T>(rows.count),
                            order_ == nullptr ? nullptr : order_ + sample,
                            order_ == nullptr ? targets_.row_block(sample, count) : targets_, f,
                            outcomes.row_block(first, count));
                        const Matrix<T> ones = ones_.view().row_block(first, count);
                        lane.for_each(count, 1, element::Fill<T>{T(1), ones});
                      });
  }

  // Δˡ in the place of the slopes, down to the lowest layer that is trained.
  template <class Team>
  bool propagate_back(const Team& team, const Phases& phases, Index rows,
                      const std::vector<Matrix<T>>& deltas) const {
    for (std::size_t l = deltas.size() - 1; l > lowest_; --l) {
      const Matrix<const T> delta_above = delta(l + 1, rows, deltas);
      const Layer<T>& above = layer(l + 1);
      const bool more = team.tiles(
          phases.hidden[l - 1], DevicePhase::within_step,
          [&](const auto& lane, const Workspace& workspace, const Tile& tile) {
            const Matrix<T> u = workspace.tile.view().block(0, tile.rows.count, 0, tile.cols.count);
            lane.template gemm<T>(Op::none, Op::none, static_cast<T>(above.weight_scale),
                                  delta_above.row_block(tile.rows.first, tile.rows.count),
                                  above.weights.col_block(tile.cols.first, tile.cols.count),
                                  Write::overwrite, u);
            lane.for_each(u.rows, u.cols, element::Gate<T>{u, tile.of(deltas[l])});
          });
      if (!more) return false;
    }
    return true;
  }

  template <class Team>
  bool descend(const Team& team, const Phases& phases, Index rows,
               const std::vector<Matrix<const T>>& below, const std::vector<Matrix<T>>& deltas,
               double* norm) const {
    return team.tiles(phases.update, DevicePhase::end_of_step,
                      [&](const auto& lane, const Workspace& workspace, const Tile& tile) {
                        const std::size_t k = phases.updated[tile.matrix];
                        const TrainedLayer<T>& trained = layers_[k];
                        const Matrix<const T> delta_units =
                            delta(k + 1, rows, deltas).col_block(tile.rows.first, tile.rows.count);
                        double* const square = norm == nullptr ? nullptr : norm + tile.index;
                        if (trained.weights.data != nullptr) {
                          descend_tile(lane, workspace, trained.rate, layer(k + 1).weight_scale,
                                       delta_units,
                                       below[k].col_block(tile.cols.first, tile.cols.count), tile,
                                       trained.velocity, trained.weights, square);
                        }
                        if (trained.bias.data != nullptr && tile.cols.first == 0) {
                          const Tile column{tile.index, tile.matrix, tile.rows, {0, 1}};
                          descend_tile(lane, workspace, trained.bias_rate, layer(k + 1).bias_scale,
                                       delta_units, ones_.view().row_block(0, rows), column,
                                       trained.bias_velocity, trained.bias, square);
                        }
                      });
  }

  // A tile of W ← W − rate · scale · Δᵀ H.
  template <class Lane>
  void descend_tile(const Lane& lane, const Workspace& workspace, double rate, double scale,
                    Matrix<const T> delta, Matrix<const T> h, const Tile& tile, Matrix<T> velocity,
                    Matrix<T> parameters, double* square) const {
    const Matrix<T> target = tile.of(parameters);
    if (velocity.data == nullptr && square == nullptr) {
      lane.template gemm<T>(Op::transpose, Op::none, static_cast<T>(-rate * scale), delta, h,
                            Write::accumulate, target);
      return;
    }
    const Matrix<T> g = workspace.tile.view().block(0, target.rows, 0, target.cols);
    lane.template gemm<T>(Op::transpose, Op::none, static_cast<T>(scale), delta, h,
                          Write::overwrite, g);
    if (square != nullptr) {
      const Matrix<T> sums = workspace.sums.view().row_block(0, g.rows);
      lane.template row_dots<T>(T(1), g, g, Write::overwrite, sums);
      lane.for_each(1, 1, element::AddUp<T>{sums, square});
    }
    lane.for_each(
        g.rows, g.cols,
        element::Descend<T>{static_cast<T>(rate), static_cast<T>(options_.momentum), g,
                            velocity.data == nullptr ? velocity : tile.of(velocity), target});
  }

  const Readout<T>& readout() const { return network_.readouts.front(); }
  const Layer<T>& layer(std::size_t l) const {
    return l <= network_.hidden.size() ? network_.hidden[l - 1] : readout().layer;
  }
  Matrix<const T> delta(std::size_t l, Index rows, const std::vector<Matrix<T>>& deltas) const {
    return l < deltas.size() ? deltas[l] : outputs_.view().row_block(0, rows);
  }

  const Network<T>& network_;
  const std::vector<TrainedLayer<T>>& layers_;
  SgdOptions options_;
  Matrix<const T> inputs_;
  Matrix<const T> targets_;
  const Index* order_;
  std::size_t lowest_ = 0;  // l − 1 of the lowest layer that is trained
  typename Device::template Buffer<T> gathered_;
  LayerBuffers<Device, T> activations_;
  LayerBuffers<Device, T> deltas_;  // the slopes before
  typename Device::template Buffer<T> outputs_;
  typename Device::template Buffer<T> ones_;
};

// Gradient descent over the samples order[0], order[1], … (without an order: all, one after the
// other), in batches; see Sgd.
template <class Device, class T>
double sgd(const Device& device, const Network<T>& network,
           const std::vector<TrainedLayer<T>>& layers, SgdOptions options, Matrix<const T> inputs,
           Matrix<const T> targets, const Index* order, Matrix<double> outcomes,
           const Monitor& monitor) {
  return Sgd<Device, T>(network, layers, options, inputs, targets, order)
      .run(device, outcomes, monitor);
}

}  // namespace fastntk

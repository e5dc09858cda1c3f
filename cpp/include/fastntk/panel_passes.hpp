// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "fastntk/activation.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/matrix_buffer.hpp"
#include "fastntk/network.hpp"
#include "fastntk/packed_weights.hpp"
#include "fastntk/panels.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/portability.hpp"

// These are the passes of forward_backward.hpp for samples that lie in panels, on processors that
// panel_products.hpp was written for. With the samples as columns,
//
//   (Hˡ)ᵀ = c_φ φ( s Wˡ (Hˡ⁻¹)ᵀ + σ_b bˡ ),      (Δˡ)ᵀ = slopeᵀ ∘ ( s (Wˡ⁺¹)ᵀ (Δˡ⁺¹)ᵀ ),
//
// the rows of a product are units, and a panel of it is, unit by unit, a panel of Hˡ or Δˡ but for
// what is done to its elements: nothing is packed but the samples and the weights. The bits of a
// sample's numbers do not depend on the samples around it.
namespace fastntk {

// Calls f(column, row) for so many columns of a panel.
template <Index panel_rows, class F>
FASTNTK_MULTIVERSION void for_each_of_panel(Index columns, F f) {
  for (Index u = 0; u < columns; ++u) {
    FASTNTK_INDEPENDENT_ITERATIONS
    for (Index i = 0; i < panel_rows; ++i) f(u, i);
  }
}

namespace element {

// The functors see panels column by column: u is a unit, i a sample. h = c_φ φ(scale · z + offset),
// slope = c_φ φ'(scale · z + offset).
template <class Phi, class T>
struct ActivateColumns {
  Phi phi;
  T activation_scale;
  T weight_scale;
  const T* offsets;
  Matrix<const T> z;
  Matrix<T> h;
  Matrix<T> slope;

  void operator()(Index u, Index i) const {
    const auto [value, derivative] = phi(weight_scale * z(u, i) + offsets[u]);
    h(u, i) = activation_scale * value;
    slope(u, i) = activation_scale * derivative;
  }
};

// f = scale · z + offset.
template <class T>
struct ShiftColumns {
  T weight_scale;
  const T* offsets;
  Matrix<const T> z;
  Matrix<T> f;

  void operator()(Index u, Index i) const { f(u, i) = weight_scale * z(u, i) + offsets[u]; }
};

// Δ = slope ∘ (scale · w), from a single output with weights w.
template <class T>
struct GateReadoutColumns {
  T scale;
  const T* weights;
  Matrix<const T> slope;
  Matrix<T> delta;

  void operator()(Index u, Index i) const { delta(u, i) = slope(u, i) * (scale * weights[u]); }
};

// Δ = slope ∘ (scale · U).
template <class T>
struct GateColumns {
  T scale;
  Matrix<const T> product;
  Matrix<const T> slope;
  Matrix<T> delta;

  void operator()(Index u, Index i) const { delta(u, i) = slope(u, i) * (scale * product(u, i)); }
};

}  // namespace element

// Returns what passes forward multiply with, Wˡ for l = 1, 2, …, and then what those back do, (Wˡ)ᵀ
// for l = 2, 3, …
template <class T>
std::vector<WeightOperand<T>> operands_of(const std::vector<Layer<T>>& layers) {
  std::vector<WeightOperand<T>> result;
  result.reserve(2 * layers.size());
  for (const Layer<T>& layer : layers) result.push_back({layer.weights, false});
  for (std::size_t l = 2; l <= layers.size(); ++l) result.push_back({layers[l - 1].weights, true});
  return result;
}

// These are the passes of blocks of at most so many samples through a network. Where the weights
// are packed ahead, tasks of their own do it, all of which begin before the passes do.
template <class T>
class PanelPasses {
 public:
  using Layers = std::vector<PanelRows<T>>;  // [l]; what is not used is empty

  // The passes go through these layers: the hidden ones of the network and, for passes that begin
  // or end with all outputs, a readout on top of them.
  PanelPasses(const Network<T>& network, std::vector<Layer<T>> layers, Index panel_rows,
              Index block, bool pack_ahead)
      : network_(network),
        layers_(std::move(layers)),
        panel_rows_(panel_rows),
        block_(block),
        weights_(operands_of(layers_), panel_rows, pack_ahead) {
    for (const Layer<T>& layer : layers_) {
      offsets_.emplace_back(static_cast<std::size_t>(layer.outputs()), T(0));
      set_offsets(static_cast<Index>(offsets_.size()), {0, layer.outputs()});
    }
  }

  Index packing_tasks() const { return weights_.tasks(); }
  void pack(Index task) { weights_.pack(task); }

  // Takes over these rows and columns of Wˡ and, beside the first column, of bˡ, which have changed
  // since they were packed ahead.
  void take_over(Index l, Range rows, Range cols) {
    weights_.repack(forward_operand(l), rows, cols);
    if (l > 1) weights_.repack(backward_operand(l), rows, cols);
    if (cols.first == 0) set_offsets(l, rows);
  }

  // A lane has one of these.
  struct Workspace {
    typename PackedWeights<T>::Buffer weights;
    typename PackedWeights<T>::Buffer product;  // of the units of a slab with a block
  };
  Workspace make_workspace() const {
    return {weights_.make_workspace(), {Panels<T>::kSlab, block_}};
  }

  // Fills activations[l] and slopes[l] with hˡ and c_φ φ'(zˡ), for l = 1 … L, given activations[0].
  // Calls keep(l) when hˡ is there, as the passes of forward_backward.hpp do.
  template <class Lane, class Keep>
  void forward(const Lane& lane, const Workspace& workspace, const Layers& activations,
               const Layers& slopes, Keep keep) const {
    for (Index l = 1; l <= network_.depth() && !lane.stopped(); ++l) {
      const auto at = static_cast<std::size_t>(l);
      const PanelRows<T>& h = activations[at];
      const PanelRows<T>& slope = slopes[at];
      products(lane, workspace, forward_operand(l), activations[at - 1], h,
               [&](Range units, Index panel, const Matrix<const T>& z) {
                 with_activation(network_.activation_of(l), [&](auto phi) {
                   for_each(units.count, element::ActivateColumns<decltype(phi), T>{
                                             phi, static_cast<T>(network_.activation_scale_of(l)),
                                             static_cast<T>(layer(l).weight_scale),
                                             offsets_[at - 1].data() + units.first, z,
                                             h.columns(units, panel), slope.columns(units, panel)});
                 });
               });
      keep(at);
    }
  }

  // Fills f with all outputs of the readout, given the activations below it.
  template <class Lane>
  void read_out(const Lane& lane, const Workspace& workspace, const PanelRows<T>& top,
                const PanelRows<T>& f) const {
    const auto l = static_cast<Index>(layers_.size());
    products(lane, workspace, forward_operand(l), top, f,
             [&](Range units, Index panel, const Matrix<const T>& z) {
               for_each(units.count, element::ShiftColumns<T>{static_cast<T>(layer(l).weight_scale),
                                                              offsets_.back().data() + units.first,
                                                              z, f.columns(units, panel)});
             });
  }

  // Fills deltas[l] with Δˡ of one output, for l = 1 … depth of the readout, given the slopes.
  template <class Lane, class Keep>
  void backward(const Lane& lane, const Workspace& workspace,
                const std::pair<const Readout<T>&, Index>& output, const Layers& slopes,
                const Layers& deltas, Keep keep) const {
    const Readout<T>& readout = output.first;
    if (readout.depth == 0 || lane.stopped()) return;
    const auto top = static_cast<std::size_t>(readout.depth);
    const Partition slabs = deltas[top].all.slabs();
    const T* const weights = readout.layer.weights.row(output.second);
    for (Index s = 0; s < slabs.blocks(); ++s) {
      for (Index panel = 0; panel < deltas[top].panels.count; ++panel) {
        for_each(slabs[s].count,
                 element::GateReadoutColumns<T>{
                     static_cast<T>(readout.layer.weight_scale), weights + slabs[s].first,
                     slopes[top].columns(slabs[s], panel), deltas[top].columns(slabs[s], panel)});
      }
    }
    keep(top);
    propagate(lane, workspace, {1, readout.depth - 1}, slopes, deltas, keep);
  }

  // Fills deltas[l] with Δˡ for these layers, given the slopes and the Δ above the last of them.
  template <class Lane, class Keep>
  void propagate(const Lane& lane, const Workspace& workspace, Range layers, const Layers& slopes,
                 const Layers& deltas, Keep keep) const {
    for (Index l = layers.first + layers.count - 1; l >= layers.first && !lane.stopped(); --l) {
      const auto at = static_cast<std::size_t>(l);
      const PanelRows<T>& delta = deltas[at];
      const auto scale = static_cast<T>(layer(l + 1).weight_scale);
      products(lane, workspace, backward_operand(l + 1), deltas[at + 1], delta,
               [&](Range units, Index panel, const Matrix<const T>& product) {
                 for_each(units.count,
                          element::GateColumns<T>{scale, product, slopes[at].columns(units, panel),
                                                  delta.columns(units, panel)});
               });
      keep(at);
    }
  }

 private:
  const Layer<T>& layer(Index l) const { return layers_[static_cast<std::size_t>(l - 1)]; }
  // See operands_of().
  static std::size_t forward_operand(Index l) { return static_cast<std::size_t>(l) - 1; }
  std::size_t backward_operand(Index l) const {
    return layers_.size() + static_cast<std::size_t>(l) - 2;
  }

  void set_offsets(Index l, Range units) {
    const Layer<T>& of = layer(l);
    if (of.bias == nullptr) return;
    auto& offsets = offsets_[static_cast<std::size_t>(l - 1)];
    for (Index u = units.first; u < units.first + units.count; ++u) {
      offsets[static_cast<std::size_t>(u)] = static_cast<T>(of.bias_scale) * of.bias[u];
    }
  }

  // Calls store(units, panel, product) for all slabs of `to` and the panels of `from`, with the
  // product of the weights of these units and the samples of this panel.
  template <class Lane, class Store>
  void products(const Lane& lane, const Workspace& workspace, std::size_t operand,
                const PanelRows<const T>& from, const PanelRows<T>& to, Store store) const {
    const Partition slabs = to.all.slabs();
    for (Index s = 0; s < slabs.blocks(); ++s) {
      const Range units = slabs[s];
      const Matrix<const T> product = weights_.units_by_samples(
          lane, operand, units, from, workspace.weights, workspace.product.view());
      if (product.data == nullptr) return;
      for (Index panel = 0; panel < from.panels.count; ++panel) {
        store(units, panel, product.col_block(panel * panel_rows_, panel_rows_));
      }
    }
  }

  template <class F>
  void for_each(Index columns, F f) const {
    with_panel_rows(panel_rows_,
                    [&](auto rows) { for_each_of_panel<decltype(rows)::value>(columns, f); });
  }

  const Network<T>& network_;
  std::vector<Layer<T>> layers_;
  Index panel_rows_;
  Index block_;
  PackedWeights<T> weights_;
  std::vector<std::vector<T>> offsets_;  // [l − 1]: σ_b bˡ, or 0
};

}  // namespace fastntk

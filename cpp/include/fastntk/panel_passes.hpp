// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/activation.hpp"
#include "fastntk/finished.hpp"
#include "fastntk/host_memory.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/matrix_buffer.hpp"
#include "fastntk/network.hpp"
#include "fastntk/panel_products.hpp"
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

// This is some panels of a matrix: those of a block of samples.
template <class T>
struct PanelRows {
  Panels<T> all;
  Range panels{0, 0};

  PanelRows() = default;
  PanelRows(Panels<T> all_, Range panels_) : all(all_), panels(panels_) {}
  template <class Writable>
    requires(std::is_same_v<const Writable, T>)
  // NOLINTNEXTLINE(google-explicit-constructor)
  PanelRows(const PanelRows<Writable>& other) : PanelRows(other.all, other.panels) {}

  // Returns the columns of a slab of one of these panels, as rows.
  Matrix<T> columns(Range slab, Index panel) const {
    return {all.panel(0, slab, panels.first + panel), slab.count, all.panel_rows};
  }
};

// Returns the panels that hold these samples, the first of which is that of a panel.
template <class T>
PanelRows<T> panel_rows_of(const Panels<T>& all, Range samples) {
  return {all,
          {samples.first / all.panel_rows,
           Partition::round_up(samples.count, all.panel_rows) / all.panel_rows}};
}

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

// These are the weights of some layers, the first, the second, …, as products read them. Those that
// many blocks of samples use are packed ahead, once, by tasks; those that few use, by each of them.
template <class T>
class PackedWeights {
 public:
  // These are Wˡ, l = 1, 2, …, or (Wˡ)ᵀ, l = 2, 3, …
  enum class Use : std::uint8_t { forward, backward };
  using Buffer = MatrixBuffer<T, HostMemory>;

  PackedWeights(const std::vector<Layer<T>>& layers, Index panel_rows, bool ahead)
      : panel_rows_(panel_rows),
        operands_(operands(layers)),
        tasks_(tasks_of(operands_, ahead)),
        finished_(static_cast<Index>(tasks_.size())) {
    if (!ahead) return;
    memory_ = {1, numbers(layers, panel_rows)};
    T* place = memory_.view().data;
    for (Operand& operand : operands_) {
      operand.packed = {place, operand.rows(), operand.terms(), 1, panel_rows};
      place += padded(operand.rows()) * operand.terms();
    }
  }

  // Returns how many numbers the weights of these layers are, packed ahead.
  static Index numbers(const std::vector<Layer<T>>& layers, Index panel_rows) {
    Index result = 0;
    for (const Operand& operand : operands(layers)) {
      result += Partition::round_up(operand.rows(), panel_rows) * operand.terms();
    }
    return result;
  }

  Index tasks() const { return static_cast<Index>(tasks_.size()); }
  void pack(Index index) {
    const Task& task = tasks_[static_cast<std::size_t>(index)];
    pack_rows(operands_[task.operand], task.rows, task.rows.first, operands_[task.operand].packed);
    finished_.mark(index);
  }

  // Packs these rows and columns of Wˡ anew, where they have changed since they were packed ahead:
  // they begin with a panel, and end with one or with the last of all.
  void repack(Index l, Range rows, Range cols) const {
    const Operand& forward = operands_[index(Use::forward, l)];
    const Matrix<const T> block =
        forward.weights.block(rows.first, rows.count, cols.first, cols.count);
    fastntk::pack<T>(block, rows.first, 0, forward.packed, cols.first);
    if (l == 1) return;
    pack_transposed<T>(block, cols.first, operands_[index(Use::backward, l)].packed, rows.first);
  }

  // Returns a buffer for what multiply() packs itself.
  Buffer make_workspace() const {
    Index numbers = 0;
    for (const Operand& operand : operands_) {
      if (operand.packed.data != nullptr) continue;
      numbers = std::max(numbers, padded(std::min(kTaskRows, operand.rows())) * operand.terms());
    }
    return {1, numbers};
  }

  // Returns the products of at most kTaskRows units with these samples, in `product`; or an empty
  // matrix, if the work was stopped.
  template <class Lane>
  Matrix<const T> multiply(const Lane& lane, Use use, Index l, Range units,
                           const PanelRows<const T>& samples, const Buffer& workspace,
                           const Matrix<T>& product) const {
    const Operand& operand = operands_[index(use, l)];
    const Range columns{samples.panels.first * panel_rows_, samples.panels.count * panel_rows_};
    if (lane.stopped()) return {};
    if (operand.packed.data != nullptr) {
      const Index last = (units.first + units.count - 1) / kTaskRows;
      for (Index task = units.first / kTaskRows; task <= last; ++task) {
        if (!finished_.wait(lane, operand.first_task + task)) return {};
      }
      return multiply_panels<T>(operand.packed, units, samples.all, columns, false, product);
    }
    const Panels<T> own(workspace.view().data, units.count, operand.terms(), 1, panel_rows_);
    pack_rows(operand, units, 0, own);
    return multiply_panels<T>(own, {0, units.count}, samples.all, columns, false, product);
  }

 private:
  struct Operand {
    Matrix<const T> weights;
    bool transposed = false;
    Panels<T> packed;
    Index first_task = 0;

    Index rows() const { return transposed ? weights.cols : weights.rows; }
    Index terms() const { return transposed ? weights.rows : weights.cols; }
  };
  struct Task {
    std::size_t operand;
    Range rows;
  };
  static constexpr Index kTaskRows = Panels<T>::kSlab;

  static std::vector<Operand> operands(const std::vector<Layer<T>>& layers) {
    std::vector<Operand> result(layers.size());
    std::ranges::transform(layers, result.begin(),
                           [](const Layer<T>& layer) { return Operand{layer.weights, false, {}}; });
    for (std::size_t l = 2; l <= layers.size(); ++l) {
      result.push_back({layers[l - 1].weights, true, {}});
    }
    return result;
  }
  static std::vector<Task> tasks_of(std::vector<Operand>& operands, bool ahead) {
    std::vector<Task> result;
    for (std::size_t i = 0; ahead && i < operands.size(); ++i) {
      operands[i].first_task = static_cast<Index>(result.size());
      for (Index first = 0; first < operands[i].rows(); first += kTaskRows) {
        result.push_back({i, {first, std::min(kTaskRows, operands[i].rows() - first)}});
      }
    }
    return result;
  }
  static void pack_rows(const Operand& operand, Range rows, Index first, const Panels<T>& to) {
    if (operand.transposed) {
      pack_transposed<T>(operand.weights.col_block(rows.first, rows.count), first, to);
    } else {
      fastntk::pack<T>(operand.weights.row_block(rows.first, rows.count), first, 0, to);
    }
  }
  Index padded(Index rows) const { return Partition::round_up(rows, panel_rows_); }
  std::size_t index(Use use, Index l) const {
    const auto forward = static_cast<std::size_t>(l) - 1;
    return use == Use::forward ? forward : (operands_.size() + 1) / 2 + forward - 1;
  }

  Index panel_rows_;
  std::vector<Operand> operands_;
  std::vector<Task> tasks_;
  Finished finished_;
  Buffer memory_;
};

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
        weights_(layers_, panel_rows, pack_ahead) {
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
    weights_.repack(l, rows, cols);
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
      products(lane, workspace, {PackedWeights<T>::Use::forward, l}, activations[at - 1], h,
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
    products(lane, workspace, {PackedWeights<T>::Use::forward, l}, top, f,
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
      products(lane, workspace, {PackedWeights<T>::Use::backward, l + 1}, deltas[at + 1], delta,
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
  void products(const Lane& lane, const Workspace& workspace,
                std::pair<typename PackedWeights<T>::Use, Index> weights,
                const PanelRows<const T>& from, const PanelRows<T>& to, Store store) const {
    const Partition slabs = to.all.slabs();
    for (Index s = 0; s < slabs.blocks(); ++s) {
      const Range units = slabs[s];
      const Matrix<const T> product =
          weights_.multiply(lane, weights.first, weights.second, units, from, workspace.weights,
                            workspace.product.view());
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

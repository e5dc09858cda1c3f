// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <variant>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/elements.hpp"
#include "fastntk/features.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/network.hpp"
#include "fastntk/packed_weights.hpp"
#include "fastntk/panels.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/wired/passes.hpp"
#include "fastntk/wired/wiring.hpp"

// This multiplies samples with the weights of a map, in rows, on the way to the outputs and back:
//
//   z = s h Wᵀ + σ_b b,        Δ_h = s Δ_z W.
//
// The matrix product of a lane does it everywhere; but the last bits of a row may then depend on
// how many rows are multiplied at once. Where there are products of panels they do not.
namespace fastntk::wired {

namespace element {

using fastntk::element::put;

// to (+)= scale · product + bias_scale · bias; the bias may be null.
template <class T, Write write>
struct PutProduct {
  T scale;
  Matrix<const T> product;
  T bias_scale;
  const T* bias;
  Matrix<T> to;

  void operator()(Index i, Index j) const {
    const T scaled = scale * product(i, j);
    put<write>(to(i, j), bias == nullptr ? scaled : scaled + bias_scale * bias[j]);
  }
};

}  // namespace element

// The products of a lane's own. Training and products with Hessians take them on all devices: their
// results are sums over samples, which are always cut alike.
struct LaneProducts {
  template <class Lane, class T>
  static void forward(const Lane& lane, std::size_t /*node*/, const Layer<T>& layer,
                      Matrix<const T> h, Matrix<T> z) {
    lane.template gemm<T>(Op::none, Op::transpose, static_cast<T>(layer.weight_scale), h,
                          layer.weights, Write::overwrite, z);
    if (layer.bias == nullptr) return;
    lane.for_each(z.rows, z.cols,
                  fastntk::element::AddBias<T>{static_cast<T>(layer.bias_scale), layer.bias, z});
  }
  template <class Lane, class T>
  static void backward(const Lane& lane, std::size_t /*node*/, const Layer<T>& layer,
                       Matrix<const T> above, Matrix<T> below, Write write) {
    lane.template gemm<T>(Op::none, Op::none, static_cast<T>(layer.weight_scale), above,
                          layer.weights, write, below);
  }
};

// The weights that blocks of samples are multiplied with in panels, forward and as far back as the
// route goes.
template <class T>
class PanelWeights {
 public:
  PanelWeights(const Wiring<T>& wiring, const Route& route, Index panel_rows, bool ahead)
      : panel_rows_(panel_rows),
        forward_(wiring.widths.size(), 0),
        backward_(wiring.widths.size(), 0),
        widest_(widest(wiring.widths)),
        packed_(operands(wiring, route), panel_rows, ahead) {
    std::size_t next = 0;
    for_each_operand(wiring, route, [&](std::size_t node, const WeightOperand<T>& operand) {
      (operand.transposed ? backward_ : forward_)[node] = next++;
    });
  }

  // Returns how many numbers they are, packed ahead.
  static Index numbers(const Wiring<T>& wiring, const Route& route, Index panel_rows) {
    return PackedWeights<T>::numbers(operands(wiring, route), panel_rows);
  }

  Index packing_tasks() const { return packed_.tasks(); }
  void pack(Index task) { packed_.pack(task); }

  // A lane has one of these, for blocks of at most so many samples.
  struct Workspace {
    typename PackedWeights<T>::Buffer weights;
    typename PackedWeights<T>::Buffer samples;
    typename PackedWeights<T>::Buffer product;  // with the units of a slab
  };
  Workspace make_workspace(Index rows) const {
    const Index padded = Partition::round_up(rows, panel_rows_);
    return {packed_.make_workspace(), {padded, widest_}, {padded, PackedWeights<T>::kUnits}};
  }

  // These are the products of a lane.
  template <class Lane>
  void forward(const Lane& lane, const Workspace& workspace, std::size_t node,
               const Layer<T>& layer, Matrix<const T> h, Matrix<T> z) const {
    multiply<Write::overwrite>(lane, workspace, forward_[node], layer, layer.bias, h, z);
  }
  template <class Lane>
  void backward(const Lane& lane, const Workspace& workspace, std::size_t node,
                const Layer<T>& layer, Matrix<const T> above, Matrix<T> below, Write write) const {
    with_write(write, [&](auto how) {
      multiply<decltype(how)::value>(lane, workspace, backward_[node], layer, nullptr, above,
                                     below);
    });
  }

 private:
  // Calls use(node, operand) for all maps, for the way to the outputs and the one back.
  template <class Use>
  static void for_each_operand(const Wiring<T>& wiring, const Route& route, Use use) {
    for (std::size_t node = 1; node <= wiring.top(); ++node) {
      const auto* const linear = std::get_if<Linear<T>>(&wiring.step(node).operation);
      if (linear == nullptr) continue;
      use(node, WeightOperand<T>{linear->layer.weights, false});
      if (route.reaches(wiring.step(node).source)) {
        use(node, WeightOperand<T>{linear->layer.weights, true});
      }
    }
  }
  static std::vector<WeightOperand<T>> operands(const Wiring<T>& wiring, const Route& route) {
    std::vector<WeightOperand<T>> result;
    for_each_operand(wiring, route, [&](std::size_t /*node*/, const WeightOperand<T>& operand) {
      result.push_back(operand);
    });
    return result;
  }

  template <Write write, class Lane>
  void multiply(const Lane& lane, const Workspace& workspace, std::size_t operand,
                const Layer<T>& layer, const T* bias, Matrix<const T> from, Matrix<T> to) const {
    const Panels<T> samples(workspace.samples.view().data, from.rows, from.cols, 1, panel_rows_);
    fastntk::pack<T>(from, 0, 0, samples);
    for (Index first = 0; first < to.cols; first += PackedWeights<T>::kUnits) {
      const Range units{first, std::min(PackedWeights<T>::kUnits, to.cols - first)};
      const Matrix<const T> product =
          packed_.samples_by_units(lane, operand, units, panel_rows_of(samples, {0, from.rows}),
                                   workspace.weights, workspace.product.view());
      if (product.data == nullptr) return;
      lane.for_each(to.rows, units.count,
                    element::PutProduct<T, write>{static_cast<T>(layer.weight_scale), product,
                                                  static_cast<T>(layer.bias_scale),
                                                  bias == nullptr ? nullptr : bias + first,
                                                  to.col_block(units.first, units.count)});
    }
  }

  Index panel_rows_;
  std::vector<std::size_t> forward_;   // [node]: the number of the operand that makes it
  std::vector<std::size_t> backward_;  // and of that which leads back from it
  Index widest_;
  PackedWeights<T> packed_;
};

// The passes of blocks of samples through a network, where the last bits of a row do not depend on
// the block that it is in; but for devices without products of panels.
template <class Device, class T>
class BlockPasses {
 public:
  // For matrix products of a lane, blocks are large; for those of panels, they stay in the
  // second-level cache.
  BlockPasses(const Device& device, const Wiring<T>& wiring, Extent extent, Matrix<const T> samples)
      : device_(device),
        wiring_(wiring),
        extent_(extent),
        samples_(samples),
        route_(wiring, extent),
        blocks_(blocks(device, samples.rows)) {
    if (const Index panel_rows = passing_panel_rows(device); panel_rows != 0) {
      weights_.emplace(wiring, route_, panel_rows, packs_ahead(extent, blocks_));
    }
  }

  // Returns the memory, in bytes, of the weights that are packed for so many samples.
  static Index packed_weight_bytes(const Device& device, const Wiring<T>& wiring, Extent extent,
                                   Index samples) {
    const Index panel_rows = passing_panel_rows(device);
    if (panel_rows == 0 || !packs_ahead(extent, blocks(device, samples))) return 0;
    return PanelWeights<T>::numbers(wiring, Route(wiring, extent), panel_rows) *
           static_cast<Index>(sizeof(T));
  }

  // Calls use(lane, workspace, pass, rows) for all blocks of rows of the samples.
  template <class Use>
  void run(const char* stage, double operations, const Monitor& monitor, Use use) {
    struct Memory {
      Workspace<Device, T> nodes;
      typename PanelWeights<T>::Workspace products;
    };
    const Index packing = weights_ ? weights_->packing_tasks() : 0;
    device_.run(
        stage, {packing + blocks_.blocks(), operations}, monitor,
        [&] {
          Memory memory{{wiring_, route_, extent_, blocks_.size()}, {}};
          if (weights_) memory.products = weights_->make_workspace(blocks_.size());
          return memory;
        },
        [&](const auto& lane, const Memory& memory, Index task) {
          if (task < packing) {
            weights_->pack(task);
            return;
          }
          const Range rows = blocks_[task - packing];
          const Matrix<const T> inputs = samples_.row_block(rows.first, rows.count);
          const Products products{weights_, memory.products};
          use(lane, memory.nodes, Pass(lane, wiring_, route_, memory.nodes, products, inputs),
              rows);
        });
  }

 private:
  struct Products {
    const std::optional<PanelWeights<T>>& weights;
    const typename PanelWeights<T>::Workspace& workspace;

    template <class Lane>
    void forward(const Lane& lane, std::size_t node, const Layer<T>& layer, Matrix<const T> h,
                 Matrix<T> z) const {
      if constexpr (Lane::kOnHost) {
        if (weights) {
          weights->forward(lane, workspace, node, layer, h, z);
          return;
        }
      }
      LaneProducts::forward(lane, node, layer, h, z);
    }
    template <class Lane>
    void backward(const Lane& lane, std::size_t node, const Layer<T>& layer, Matrix<const T> above,
                  Matrix<T> below, Write write) const {
      if constexpr (Lane::kOnHost) {
        if (weights) {
          weights->backward(lane, workspace, node, layer, above, below, write);
          return;
        }
      }
      LaneProducts::backward(lane, node, layer, above, below, write);
    }
  };

  static Index passing_panel_rows(const Device& device) {
    if constexpr (Device::Lane::kOnHost) return device.template panel_rows<T>();
    return 0;
  }
  // Whoever wants features plans for their memory, beside which the weights are little.
  static bool packs_ahead(Extent extent, const Partition& blocks) {
    return extent == Extent::to_parameters && packs_weights_ahead(blocks);
  }
  static Partition blocks(const Device& device, Index samples) {
    if constexpr (Device::Lane::kOnHost) {
      if (passing_panel_rows(device) != 0) return {samples, device.panel_tile_blocks()};
    }
    return {samples, device.row_blocks()};
  }

  const Device& device_;
  const Wiring<T>& wiring_;
  Extent extent_;
  Matrix<const T> samples_;
  Route route_;
  Partition blocks_;
  std::optional<PanelWeights<T>> weights_;  // none where lanes multiply by themselves
};

}  // namespace fastntk::wired

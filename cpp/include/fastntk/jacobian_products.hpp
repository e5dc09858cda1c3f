// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <vector>

#include "fastntk/features.hpp"

// This multiplies with the Jacobian F (samples × parameters) of one output, from H and Δ, without
// F:
//
//   (Fᵀ u)ˡ = s Δˡᵀ diag(u) Hˡ⁻¹,      (F v) = Σ_l s rowsum( (Δˡ Vˡ) ∘ Hˡ⁻¹ ),      s =
//   σ_w/√n_{l−1},
//
// for biases σ_b Δˡᵀ u and σ_b Δˡ v. Each is the adjoint of the other, and one after the other they
// are a product with the tangent kernel: two GEMMs a layer and nothing of size samples². A vector
// over the parameters lies in memory as the features do: W¹ row-major, b¹, W², b², ….
namespace fastntk {

// This is the place of one layer in a vector over the parameters, and what its gradients are made
// of. A layer without inputs has a bias alone.
template <class T>
struct ParameterBlock {
  const Layer<T>* layer;
  Index first;        // of the weights; the bias follows them
  std::size_t below;  // the number of the activations that the layer reads
  std::size_t
      delta;  // that of its Δ, beyond the last where it is 1 for one output and 0 for others

  Index bias() const { return first + layer->outputs() * layer->inputs(); }
};

// Returns those of the first readout's network.
template <class T>
std::vector<ParameterBlock<T>> parameter_blocks(const Network<T>& network) {
  const Readout<T>& readout = network.readouts.front();
  std::vector<ParameterBlock<T>> blocks;
  Index first = 0;
  for (Index l = 1; l <= network.layers_with_parameters(readout); ++l) {
    const Layer<T>& layer = l <= readout.depth ? network.layer(l) : readout.layer;
    blocks.push_back({&layer, first, static_cast<std::size_t>(l - 1), static_cast<std::size_t>(l)});
    first += layer.parameters();
  }
  return blocks;
}

// This is a block of rows of one layer's weights, with the bias of these units, in one of several
// vectors over the parameters.
template <class T>
struct ParameterPiece {
  Index vector;
  ParameterBlock<T> block;
  Range units;

  template <class G>
  Matrix<G> weights(Matrix<G> vectors) const {
    return {vectors.row(vector) + block.first + units.first * block.layer->inputs(), units.count,
            block.layer->inputs()};
  }
  // May be asked for only where the layer has a bias.
  template <class G>
  Matrix<G> bias(Matrix<G> vectors) const {
    return {vectors.row(vector) + block.bias() + units.first, units.count, 1};
  }
};

// Cuts so many vectors over the parameters into pieces of at most so many units.
template <class T>
std::vector<ParameterPiece<T>> parameter_pieces(const std::vector<ParameterBlock<T>>& blocks,
                                                Index vectors, Index unit_block) {
  std::vector<ParameterPiece<T>> pieces;
  for (Index v = 0; v < vectors; ++v) {
    for (const ParameterBlock<T>& block : blocks) {
      for (Index unit = 0; unit < block.layer->outputs(); unit += unit_block) {
        pieces.push_back({v, block, {unit, std::min(unit_block, block.layer->outputs() - unit)}});
      }
    }
  }
  return pieces;
}

namespace element {

template <class G>
struct ScaleRows {
  const G* factors;
  Matrix<const G> from;
  Matrix<G> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    to(i, j) = factors[i] * from(i, j);
  }
};

}  // namespace element

// Returns the Δ of a number, of the samples in `rows`, for output `output` of those that the
// features hold. Above the top, Δ is 1 for the output itself and 0 for the others, whatever the
// sample: `unit` holds such rows.
template <class Device, class G>
Matrix<const G> delta_rows(const Features<Device, G>& features, std::size_t number, Range outputs,
                           Index output, Range rows, const Matrix<G>& unit) {
  if (number >= features.deltas.front().size()) return unit.row_block(0, rows.count);
  const Matrix<G> all = features.deltas.front()[number];
  const Index width = all.cols / outputs.count;
  return all.block(rows.first, rows.count, output * width, width);
}

// Samples are taken so many at a time, in their order, so that no sum depends on who computes it.
template <class Device, class G>
Index samples_at_once(const Device& device, const Features<Device, G>& features) {
  return std::clamp<Index>(features.rows, 1, device.sample_block());
}

template <class Device, class G>
struct ProductWorkspace {
  typename Device::template Buffer<G> scratch;
  typename Device::template Buffer<G> unit;

  template <class Lane>
  Matrix<G> unit_rows(const Lane& lane, Index output) const {
    const Matrix<G> rows = unit.view();
    lane.for_each(rows.rows, rows.cols, element::Indicator<G>{output, rows});
    return rows;
  }
};

// result (vectors, P) = Fᵀ u for each row u of `vectors` (vectors, samples), of a network with
// these parameters and `width` outputs; F is the Jacobian of output number `output` among
// `outputs`, those that the features were computed for.
template <class Device, class T, class G>
void transposed_products_of_blocks(const Device& device,
                                   const std::vector<ParameterBlock<T>>& blocks, Index width,
                                   const Features<Device, G>& features, Range outputs, Index output,
                                   Matrix<const G> vectors, Matrix<G> result,
                                   const Monitor& monitor) {
  const Index sample_block = samples_at_once(device, features);
  Index unit_block = 1;
  for (const ParameterBlock<T>& block : blocks) {
    unit_block = std::max(unit_block, std::min(device.unit_block(), block.layer->outputs()));
  }
  const auto pieces = parameter_pieces(blocks, vectors.rows, unit_block);
  device.run(
      "transposed products", static_cast<Index>(pieces.size()), monitor,
      [&] {
        return ProductWorkspace<Device, G>{{sample_block, unit_block}, {sample_block, width}};
      },
      [&](const auto& lane, const ProductWorkspace<Device, G>& workspace, Index index) {
        const ParameterPiece<T>& piece = pieces[static_cast<std::size_t>(index)];
        const Layer<T>& layer = *piece.block.layer;
        const Range units = piece.units;
        const Matrix<G> unit = workspace.unit_rows(lane, outputs.first + output);
        Write write = Write::overwrite;
        Index first = 0;
        do {  // once also without samples: the products are then 0
          const Range rows{first, std::min(sample_block, features.rows - first)};
          const Matrix<const G> u(vectors.row(piece.vector) + first, rows.count, 1);
          const Matrix<const G> delta =
              delta_rows(features, piece.block.delta, outputs, output, rows, unit)
                  .col_block(units.first, units.count);
          if (layer.inputs() > 0) {
            const Matrix<G> weighted =
                workspace.scratch.view().block(0, rows.count, 0, units.count);
            lane.for_each(rows.count, units.count, element::ScaleRows<G>{u.data, delta, weighted});
            lane.template gemm<G>(
                Op::transpose, Op::none, static_cast<G>(layer.weight_scale), weighted,
                features.activations[piece.block.below].row_block(first, rows.count), write,
                piece.weights(result));
          }
          if (layer.bias != nullptr) {
            lane.template gemm<G>(Op::transpose, Op::none, static_cast<G>(layer.bias_scale), delta,
                                  u, write, piece.bias(result));
          }
          write = Write::accumulate;
          first += sample_block;
        } while (first < features.rows && !lane.stopped());
      });
}

template <class Device, class T, class G>
void transposed_jacobian_products(const Device& device, const Network<T>& network,
                                  const Features<Device, G>& features, Range outputs, Index output,
                                  Matrix<const G> vectors, Matrix<G> result,
                                  const Monitor& monitor) {
  transposed_products_of_blocks(device, parameter_blocks(network),
                                network.readouts.front().layer.outputs(), features, outputs, output,
                                vectors, result, monitor);
}

// result (vectors, samples) = F v for each row v of `vectors` (vectors, P), or F diag(ω) v; see
// transposed_products_of_blocks.
template <class Device, class T, class G>
void products_of_blocks(const Device& device, const std::vector<ParameterBlock<T>>& blocks,
                        Index width, const Features<Device, G>& features, Range outputs,
                        Index output, bool weighted, Matrix<const G> vectors, Matrix<G> result,
                        const Monitor& monitor) {
  Index widest = 1;
  for (const ParameterBlock<T>& block : blocks) widest = std::max(widest, block.layer->inputs());
  const Index sample_block = samples_at_once(device, features);
  const Index row_blocks = (features.rows + sample_block - 1) / sample_block;
  device.run(
      "products", vectors.rows * row_blocks, monitor,
      [&] { return ProductWorkspace<Device, G>{{sample_block, widest}, {sample_block, width}}; },
      [&](const auto& lane, const ProductWorkspace<Device, G>& workspace, Index index) {
        const Index vector = index / row_blocks;
        const Index first = index % row_blocks * sample_block;
        const Range rows{first, std::min(sample_block, features.rows - first)};
        const Matrix<G> sums(result.row(vector) + first, rows.count, 1);
        const Matrix<G> unit = workspace.unit_rows(lane, outputs.first + output);
        Write write = Write::overwrite;
        for (const ParameterBlock<T>& block : blocks) {
          if (lane.stopped()) return;
          const Layer<T>& layer = *block.layer;
          const Matrix<const G> delta =
              delta_rows(features, block.delta, outputs, output, rows, unit);
          if (layer.inputs() > 0) {
            const Matrix<const G> weights(vectors.row(vector) + block.first, layer.outputs(),
                                          layer.inputs());
            const Matrix<G> product =
                workspace.scratch.view().block(0, rows.count, 0, weights.cols);
            lane.template gemm<G>(Op::none, Op::none, G(1), delta, weights, Write::overwrite,
                                  product);
            const double omega = weighted ? layer.kernel_weight : 1.0;
            lane.row_dots(static_cast<G>(omega * layer.weight_scale), product,
                          features.activations[block.below].row_block(first, rows.count), write,
                          sums);
            write = Write::accumulate;
          }
          if (layer.bias == nullptr) continue;
          const double bias_omega = weighted ? layer.kernel_bias_weight : 1.0;
          const Matrix<const G> bias(vectors.row(vector) + block.bias(), layer.outputs(), 1);
          lane.template gemm<G>(Op::none, Op::none, static_cast<G>(bias_omega * layer.bias_scale),
                                delta, bias, write, sums);
          write = Write::accumulate;
        }
      });
}

template <class Device, class T, class G>
void jacobian_products(const Device& device, const Network<T>& network,
                       const Features<Device, G>& features, Range outputs, Index output,
                       bool weighted, Matrix<const G> vectors, Matrix<G> result,
                       const Monitor& monitor) {
  products_of_blocks(device, parameter_blocks(network), network.readouts.front().layer.outputs(),
                     features, outputs, output, weighted, vectors, result, monitor);
}

}  // namespace fastntk

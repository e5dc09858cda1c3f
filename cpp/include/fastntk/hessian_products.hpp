// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <vector>

#include "fastntk/features.hpp"
#include "fastntk/jacobian_products.hpp"

// This multiplies with the Hessian of Σ_i Σ_c u_ic f_c(x_i) with respect to the parameters, of the
// outputs f of the first readout, without the Hessian and without a gradient of any sample: it
// takes the derivative R of the gradient along V, forward over reverse (B. A. Pearlmutter, "Fast
// exact multiplication by the Hessian", Neural Computation 6, 1994). With Δᴸ⁺¹ = u, h⁰ = x, Rh⁰ =
// 0, RΔᴸ⁺¹ = 0, and s the weight scale of the layer that is multiplied with,
//
//   Uˡ  = s Δˡ⁺¹ Wˡ⁺¹,                     Δˡ  = c_φ φ'(zˡ) ∘ Uˡ,
//   Rzˡ = s (Vˡ hˡ⁻¹ + Wˡ Rhˡ⁻¹) + σ_b vˡ,   Rhˡ = c_φ φ'(zˡ) ∘ Rzˡ,
//   RUˡ = s (Δˡ⁺¹ Vˡ⁺¹ + RΔˡ⁺¹ Wˡ⁺¹),        RΔˡ = c_φ φ''(zˡ) ∘ Uˡ ∘ Rzˡ + c_φ φ'(zˡ) ∘ RUˡ,
//   (H V)ˡ = s Σ_i ( RΔˡ ⊗ hˡ⁻¹ + Δˡ ⊗ Rhˡ⁻¹ ),      for biases σ_b Σ_i RΔˡ.
//
// For a softmax of the outputs, φ' ∘, φ'' ∘ U and the like are what softmax.hpp says.
//
// At a kink of φ, φ'' is that from the left: the point mass of the second derivative counts as 0.
// Vectors over the parameters lie in memory as the features do: W¹ row-major, b¹, W², b², ….
namespace fastntk {

namespace element {

// This is the argument of φ, from z without its bias.
template <class T>
struct Argument {
  T bias_scale;
  const T* bias;  // null: z is complete
  Matrix<const T> z;
  Matrix<T> argument;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    const T value = z(i, j);
    argument(i, j) = bias == nullptr ? value : value + bias_scale * bias[j];
  }
};

// Puts c_φ φ''(z) in the place of z. It stands by itself: beside φ, φ' and the biases, sines in
// float64 would take more registers than a GPU gives them.
template <class Phi, class T>
struct Curvature {
  Phi phi;
  T activation_scale;
  Matrix<T> z_to_curvature;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    T& place = z_to_curvature(i, j);
    place = activation_scale * phi.curvature(place);
  }
};

// Puts Δ = slope ∘ U in the place of U, and curvature ∘ U in that of the curvature.
template <class T>
struct GateWithCurvature {
  Matrix<const T> slope;
  Matrix<T> u_to_delta;
  Matrix<T> curvature_to_bend;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    T& delta = u_to_delta(i, j);
    curvature_to_bend(i, j) *= delta;
    delta *= slope(i, j);
  }
};

// Computes Rh = slope ∘ Rz, and puts bend ∘ Rz in the place of Rz without its bias.
template <class T>
struct ActivateTangent {
  T bias_scale;
  const T* bias;  // v; null: Rz is complete
  Matrix<const T> slope;
  Matrix<const T> bend;
  Matrix<T> rz_to_bent;
  Matrix<T> rh;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    T& bent = rz_to_bent(i, j);
    const T rz = bias == nullptr ? bent : bent + bias_scale * bias[j];
    rh(i, j) = slope(i, j) * rz;
    bent = bend(i, j) * rz;
  }
};

// RΔ = bend ∘ Rz + slope ∘ RU, where the first term is in the place of RΔ already.
template <class T>
struct GateTangent {
  Matrix<const T> slope;
  Matrix<const T> ru;
  Matrix<T> rdelta;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    rdelta(i, j) += slope(i, j) * ru(i, j);
  }
};

}  // namespace element

// These are the results of the forward and the backward pass of some samples, with what their
// derivatives need: for l = 1 … depth of the first readout, [l] is a matrix (samples, n_l); [0] is
// not used.
template <class T>
struct CurvedPasses {
  std::vector<Matrix<T>> activations;  // Hˡ
  std::vector<Matrix<T>> slopes;       // c_φ φ'(zˡ)
  std::vector<Matrix<T>> deltas;       // Δˡ
  std::vector<Matrix<T>> bends;        // c_φ φ''(zˡ) ∘ Uˡ

  CurvedPasses row_block(Range rows) const {
    const auto cut = [rows](std::vector<Matrix<T>> all) {
      for (std::size_t l = 1; l < all.size(); ++l)
        all[l] = all[l].row_block(rows.first, rows.count);
      return all;
    };
    return {cut(activations), cut(slopes), cut(deltas), cut(bends)};
  }
};

// Fills `passes` from the inputs (rows, d) and from u (rows, C).
template <class Lane, class T>
void pass_with_curvature(const Lane& lane, const Network<T>& network, Matrix<const T> inputs,
                         Matrix<const T> coefficients, const CurvedPasses<T>& passes) {
  const Readout<T>& readout = network.readouts.front();
  Matrix<const T> below = inputs;
  for (Index l = 1; l <= readout.depth && !lane.stopped(); ++l) {
    const auto at = static_cast<std::size_t>(l);
    const Layer<T>& layer = network.layer(l);
    const auto bias_scale = static_cast<T>(layer.bias_scale);
    const Matrix<T> h = passes.activations[at];
    const Matrix<T> slope = passes.slopes[at];
    lane.template gemm<T>(Op::none, Op::transpose, static_cast<T>(layer.weight_scale), below,
                          layer.weights, Write::overwrite, h);
    below = h;
    if (network.is_softmax(l)) {
      lane.for_each(h.rows, 1, element::Softmax<T>{bias_scale, layer.bias, h, slope});
      continue;
    }
    with_smooth_activation<Lane::kOnHost>(network.activation_of(l), [&](auto phi) {
      using Phi = decltype(phi);
      const auto scale = static_cast<T>(network.activation_scale_of(l));
      const Matrix<T> bend = passes.bends[at];
      lane.for_each(h.rows, h.cols, element::Argument<T>{bias_scale, layer.bias, h, bend});
      lane.for_each(h.rows, h.cols, element::Curvature<Phi, T>{phi, scale, bend});
      lane.for_each(h.rows, h.cols,
                    element::Activate<Phi, T>{phi, scale, bias_scale, layer.bias, h, slope});
    });
  }
  Matrix<const T> above = coefficients;
  for (Index l = readout.depth; l >= 1 && !lane.stopped(); --l) {
    const auto at = static_cast<std::size_t>(l);
    const Layer<T>& layer = l == readout.depth ? readout.layer : network.layer(l + 1);
    const Matrix<T> delta = passes.deltas[at];
    lane.template gemm<T>(Op::none, Op::none, static_cast<T>(layer.weight_scale), above,
                          layer.weights, Write::overwrite, delta);
    if (network.is_softmax(l)) {
      lane.for_each(
          delta.rows, 1,
          element::SoftmaxGateWithCurvature<T>{passes.slopes[at], delta, passes.bends[at]});
    } else {
      lane.for_each(delta.rows, delta.cols,
                    element::GateWithCurvature<T>{passes.slopes[at], delta, passes.bends[at]});
    }
    above = delta;
  }
}

// Fills `passes` for all samples, in blocks of rows.
template <class Device, class T>
void passes_with_curvature(const Device& device, const Network<T>& network, Matrix<const T> inputs,
                           Matrix<const T> coefficients, const CurvedPasses<T>& passes,
                           const Monitor& monitor) {
  for (Index l = 1; l <= network.depth(); ++l) {  // an error before any work
    with_smooth_activation(network.activation_of(l), [](auto /*phi*/) {});
  }
  const Partition blocks{inputs.rows, device.row_blocks()};
  device.run(
      "passes", blocks.blocks(), monitor, [] { return 0; },
      [&](const auto& lane, int /*no workspace*/, Index block) {
        const Range rows = blocks[block];
        pass_with_curvature(lane, network, inputs.row_block(rows.first, rows.count),
                            coefficients.row_block(rows.first, rows.count), passes.row_block(rows));
      });
}

// These are the steps of hessian_products, which is below.
template <class Device, class T>
class HessianProducts {
 public:
  // Takes memory for at most so many samples, and vectors, at a time.
  HessianProducts(const Network<T>& network, Index samples, Index vectors)
      : network_(network), blocks_(parameter_blocks(network)), vectors_(vectors) {
    const auto widths = layer_widths(network, 1, depth());
    for (auto* const buffers : {&activations_, &slopes_, &deltas_, &bends_}) {
      *buffers = {samples, 1, widths};
    }
    for (auto* const buffers : {&tangents_, &delta_tangents_}) {
      *buffers = {samples, 1, layer_widths(network, 1, depth(), vectors)};
    }
    for (const Index width : widths) widest_ = std::max(widest_, width);
  }

  // Makes the passes of the samples that the next products are about.
  void pass(const Device& device, Matrix<const T> inputs, Matrix<const T> coefficients,
            const Monitor& monitor) {
    inputs_ = inputs;
    coefficients_ = coefficients;
    passes_ = {activations_.views(all()), slopes_.views(all()), deltas_.views(all()),
               bends_.views(all())};
    passes_with_curvature(device, network_, inputs, coefficients, passes_, monitor);
  }

  // Computes Rh and RΔ of these samples along `vectors`.
  void differentiate(const Device& device, Matrix<const T> vectors, const Monitor& monitor) {
    using Scratch = typename Device::template Buffer<T>;
    const Partition cut = partition(device);
    device.run(
        "tangents", cut.blocks() * vectors.rows, monitor,
        [&] { return Scratch{cut.size(), widest_}; },
        [&](const auto& lane, const Scratch& scratch, Index index) {
          const Range rows = cut[index / vectors.rows];
          const Index vector = index % vectors.rows;
          const CurvedPasses<T> passes = passes_.row_block(rows);
          const T* const v = vectors.row(vector);
          forward_tangent(lane, passes, rows, vector, v);
          backward_tangent(lane, passes, rows, vector, v, scratch.view());
        });
  }

  // Adds what these samples contribute to result (vectors, P), a row for each of the vectors
  // before, or puts it there.
  void add_up(const Device& device, Write write, Matrix<T> result, const Monitor& monitor) const {
    using Scratch = typename Device::template Buffer<T>;
    const auto pieces = parameter_pieces(blocks_, result.rows, device.unit_block());
    device.run(
        "sums", static_cast<Index>(pieces.size()), monitor,
        [&] { return Scratch{inputs_.rows, 1}; },
        [&](const auto& lane, const Scratch& ones, Index index) {
          add_piece(lane, pieces[static_cast<std::size_t>(index)], write, ones.view(), result);
        });
  }

 private:
  Index depth() const { return network_.readouts.front().depth; }
  std::size_t top() const { return static_cast<std::size_t>(depth()); }
  Range all() const { return {0, inputs_.rows}; }
  Partition partition(const Device& device) const { return {inputs_.rows, device.row_blocks()}; }
  // These are Hˡ and Δˡ of some rows, with the inputs for l = 0 and u for l = depth + 1.
  Matrix<const T> activations(std::size_t l, Range rows) const {
    const Matrix<const T> h = l == 0 ? inputs_ : Matrix<const T>(passes_.activations[l]);
    return h.row_block(rows.first, rows.count);
  }
  Matrix<const T> deltas(std::size_t l, Range rows) const {
    const Matrix<const T> delta = l > top() ? coefficients_ : Matrix<const T>(passes_.deltas[l]);
    return delta.row_block(rows.first, rows.count);
  }
  // Returns Vˡ in the vector that starts there.
  static Matrix<const T> direction(const ParameterBlock<T>& block, const T* vector) {
    return {vector + block.first, block.layer->outputs(), block.layer->inputs()};
  }

  // Computes Rhˡ, and puts c_φ φ''(zˡ) ∘ Uˡ ∘ Rzˡ in the place of RΔˡ.
  template <class Lane>
  void forward_tangent(const Lane& lane, const CurvedPasses<T>& passes, Range rows, Index vector,
                       const T* v) const {
    const auto rh = tangents_.views(rows, vector, vectors_);
    const auto rz = delta_tangents_.views(rows, vector, vectors_);
    for (std::size_t l = 1; l <= top() && !lane.stopped(); ++l) {
      const ParameterBlock<T>& block = blocks_[l - 1];
      const Layer<T>& layer = *block.layer;
      const auto scale = static_cast<T>(layer.weight_scale);
      lane.template gemm<T>(Op::none, Op::transpose, scale, activations(l - 1, rows),
                            direction(block, v), Write::overwrite, rz[l]);
      if (l > 1) {
        lane.template gemm<T>(Op::none, Op::transpose, scale, rh[l - 1], layer.weights,
                              Write::accumulate, rz[l]);
      }
      const T* const bias = layer.bias == nullptr ? nullptr : v + block.bias();
      const auto bias_scale = static_cast<T>(layer.bias_scale);
      if (network_.is_softmax(static_cast<Index>(l))) {
        lane.for_each(rows.count, 1,
                      element::SoftmaxTangent<T>{bias_scale, bias, passes.slopes[l],
                                                 passes.bends[l], rz[l], rh[l]});
      } else {
        lane.for_each(rows.count, layer.outputs(),
                      element::ActivateTangent<T>{bias_scale, bias, passes.slopes[l],
                                                  passes.bends[l], rz[l], rh[l]});
      }
    }
  }

  template <class Lane>
  void backward_tangent(const Lane& lane, const CurvedPasses<T>& passes, Range rows, Index vector,
                        const T* v, Matrix<T> scratch) const {
    const auto rdelta = delta_tangents_.views(rows, vector, vectors_);
    // A readout without parameters adds nothing to RΔ of the layer below it.
    for (std::size_t l = blocks_.size() - 1; l >= 1 && !lane.stopped(); --l) {
      const ParameterBlock<T>& above = blocks_[l];
      const auto scale = static_cast<T>(above.layer->weight_scale);
      const Matrix<T> ru = scratch.block(0, rows.count, 0, rdelta[l].cols);
      lane.template gemm<T>(Op::none, Op::none, scale, deltas(l + 1, rows), direction(above, v),
                            Write::overwrite, ru);
      if (l < top()) {
        lane.template gemm<T>(Op::none, Op::none, scale, rdelta[l + 1], above.layer->weights,
                              Write::accumulate, ru);
      }
      lane.for_each(rows.count, ru.cols, element::GateTangent<T>{passes.slopes[l], ru, rdelta[l]});
    }
  }

  template <class Lane>
  void add_piece(const Lane& lane, const ParameterPiece<T>& piece, Write write, Matrix<T> ones,
                 Matrix<T> result) const {
    const Layer<T>& layer = *piece.block.layer;
    const Range units = piece.units;
    const std::size_t l = piece.block.below + 1;
    const Matrix<T> sum = piece.weights(result);
    const auto scale = static_cast<T>(layer.weight_scale);
    // The result is first set to 0, because not every layer has both terms, and without hidden
    // layers there is none.
    if (write == Write::overwrite) {
      lane.for_each(sum.rows, sum.cols, element::Fill<T>{T(0), sum});
      if (layer.bias != nullptr) {
        lane.for_each(units.count, 1, element::Fill<T>{T(0), piece.bias(result)});
      }
    }
    if (l <= top()) {
      const Matrix<T> rdelta = delta_tangents_.views(all(), piece.vector, vectors_)[l].col_block(
          units.first, units.count);
      lane.template gemm<T>(Op::transpose, Op::none, scale, rdelta, activations(l - 1, all()),
                            Write::accumulate, sum);
      if (layer.bias != nullptr) {
        lane.for_each(ones.rows, 1, element::Fill<T>{T(1), ones});
        lane.template gemm<T>(Op::transpose, Op::none, static_cast<T>(layer.bias_scale), rdelta,
                              ones, Write::accumulate, piece.bias(result));
      }
    }
    if (l > 1) {
      lane.template gemm<T>(
          Op::transpose, Op::none, scale, deltas(l, all()).col_block(units.first, units.count),
          tangents_.views(all(), piece.vector, vectors_)[l - 1], Write::accumulate, sum);
    }
  }

  const Network<T>& network_;
  std::vector<ParameterBlock<T>> blocks_;  // [l − 1], of the layers that have parameters
  Index vectors_;                          // that lie side by side in the tangents
  Index widest_ = 1;
  Matrix<const T> inputs_;
  Matrix<const T> coefficients_;
  CurvedPasses<T> passes_;
  LayerBuffers<Device, T> activations_;
  LayerBuffers<Device, T> slopes_;
  LayerBuffers<Device, T> deltas_;
  LayerBuffers<Device, T> bends_;
  LayerBuffers<Device, T> tangents_;        // [l], l = 1 … depth: Rhˡ
  LayerBuffers<Device, T> delta_tangents_;  // RΔˡ
};

// Products with Hessians take so many samples and vectors at a time.
struct HessianGroups {
  static constexpr Index kVectors = 4;

  Index samples;
  Index vectors;

  template <class Device>
  HessianGroups(const Device& device, Index all_samples, Index all_vectors)
      : samples(std::clamp<Index>(all_samples, 1, 2 * device.sample_block())),
        vectors(std::clamp<Index>(all_vectors, 1, kVectors)) {}
};

// Adds up the products of all samples with all vectors; `products`, of any kind of network, have
// memory for one group of each.
template <class Device, class Products, class T>
void add_up_hessian_products(const Device& device, HessianGroups at_once, Products& products,
                             Matrix<const T> samples, Matrix<const T> coefficients,
                             Matrix<const T> vectors, Matrix<T> result, const Monitor& monitor) {
  Write write = Write::overwrite;
  Index first = 0;
  do {  // once also without samples: the products are then 0
    const Index count = std::min(at_once.samples, samples.rows - first);
    products.pass(device, samples.row_block(first, count), coefficients.row_block(first, count),
                  monitor);
    for (Index v = 0; v < vectors.rows; v += at_once.vectors) {
      const Index group = std::min(at_once.vectors, vectors.rows - v);
      products.differentiate(device, vectors.row_block(v, group), monitor);
      products.add_up(device, write, result.row_block(v, group), monitor);
    }
    write = Write::accumulate;
    first += at_once.samples;
  } while (first < samples.rows);
}

// result (vectors, P) = Σ_i Σ_c u_ic ∇²f_c(x_i) v for each row v of `vectors` (vectors, P); the
// rows of `coefficients` (samples, C) are the u_i. At most so many samples and vectors are taken at
// a time, for which 4 + 2 kVectors numbers a unit and sample are kept. The sums over samples have
// one order, so that the result has the same bits for any number of threads.
template <class Device, class T>
void hessian_products(const Device& device, const Network<T>& network, Matrix<const T> samples,
                      Matrix<const T> coefficients, Matrix<const T> vectors, Matrix<T> result,
                      const Monitor& monitor) {
  const HessianGroups at_once(device, samples.rows, vectors.rows);
  HessianProducts<Device, T> products(network, at_once.samples, at_once.vectors);
  add_up_hessian_products(device, at_once, products, samples, coefficients, vectors, result,
                          monitor);
}

}  // namespace fastntk

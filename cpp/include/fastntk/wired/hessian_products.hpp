// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <type_traits>
#include <variant>
#include <vector>

#include "fastntk/features.hpp"
#include "fastntk/hessian_products.hpp"
#include "fastntk/jacobian_products.hpp"
#include "fastntk/wired/passes.hpp"
#include "fastntk/wired/products.hpp"
#include "fastntk/wired/wiring.hpp"

// This multiplies with the Hessian of Σ_i Σ_c u_ic f_c(x_i) with respect to the parameters of a
// network of steps, as fastntk/hessian_products.hpp does of a chain: it takes the derivative R of
// the forward pass and its adjoint along V. With Rx = 0, Δ = u and RΔ = 0 of the outputs, each step
// of passes.hpp has
//
//   z = s W h + σ_b b          Rz = s (V h + W Rh) + σ_b v
//                              RΔ_h = s (Δ_z V + RΔ_z W)
//   h = c φ(z)                 Rh = c φ'(z) ∘ Rz
//                              RΔ_z = c φ''(z) ∘ Δ_h ∘ Rz + c φ'(z) ∘ RΔ_h
//   h' = h + α u               Rh' = Rh + α Ru,  RΔ_h = RΔ_h',  RΔ_u = α RΔ_h'
//   y = γ ∘ ĥ + β              Ry = γ ∘ Rĥ + v_γ ∘ ĥ + v_β
//                              RΔ_ĥ = γ ∘ RΔ_y + v_γ ∘ Δ_y
//
// and ĥ = r C z, where C takes the mean away or is 1 and r = √n/√(‖C z‖² + n ε), whose derivative
// is Rr = −(r³/n) ⟨C z, C Rz⟩ = −r t with t = ⟨ĥ, r C Rz⟩/n, with or without ε:
//
//   Rĥ   = r C Rz − t ĥ
//   Δ_z  = r C (Δ − a ĥ),                                    a = ⟨ĥ, Δ⟩/n
//   RΔ_z = r C (RΔ − t Δ − a Rĥ − (Ra − t a) ĥ),   Ra = (⟨Rĥ, Δ⟩ + ⟨ĥ, RΔ⟩)/n
//
// with Δ of ĥ on the right. What r² or ‖Rz‖² would take out of the range of the numbers is never
// formed. A node that several steps read has the sum of what comes back from them. The product is
//
//   of a map         s Σ_i (RΔ_z ⊗ h + Δ_z ⊗ Rh),  and σ_b Σ_i RΔ_z for its bias,
//   of γ and β       Σ_i (RΔ_y ∘ ĥ + Δ_y ∘ Rĥ)  and  Σ_i RΔ_y.
//
// R of a node is 0 where no parameter lies before it, which is where no way back comes to. At a
// kink of φ, φ'' is that from the left. Vectors over the parameters lie in memory as gradients do.
namespace fastntk::wired {

namespace element {

// Computes Rĥ and t of each sample, a row each. Rz and Rĥ may be the same array.
template <class T>
struct NormalizeTangent {
  bool centred;
  Matrix<const T> unit;   // ĥ
  Matrix<const T> rates;  // r (rows, 1)
  Matrix<const T> z_tangent;
  Matrix<T> unit_tangent;
  Matrix<T> falls;  // t (rows, 1)

  template <class Threads>
  FASTNTK_DEVICE void operator()(const Threads& threads, Index i) const {
    const T* const h = unit.row(i);
    const T* const from = z_tangent.row(i);
    T* const to = unit_tangent.row(i);
    const Index width = unit.cols;
    const T n = static_cast<T>(width);
    const T rate = rates(i, 0);
    const T mean = centred ? threads.sum(width, [&](Index j) { return rate * from[j]; }) / n : T(0);
    const T fall = threads.sum(width, [&](Index j) { return h[j] * (rate * from[j] - mean); }) / n;
    threads.each(width, [&](Index j) { to[j] = (rate * from[j] - mean) - h[j] * fall; });
    threads.once([&] { falls(i, 0) = fall; });
  }
};

// Computes RΔ_z, or adds it. Both RΔ may be the same array where one is written in the place of the
// other.
template <class T, Write write>
struct NormalizeTangentBack {
  bool centred;
  Matrix<const T> unit;
  Matrix<const T> rates;
  Matrix<const T> unit_tangent;
  Matrix<const T> falls;
  Matrix<const T> delta;          // Δ_ĥ
  Matrix<const T> delta_tangent;  // RΔ_ĥ
  Matrix<T> below;

  template <class Threads>
  FASTNTK_DEVICE void operator()(const Threads& threads, Index i) const {
    const T* const h = unit.row(i);
    const T* const moved = unit_tangent.row(i);
    const T* const d = delta.row(i);
    const T* const from = delta_tangent.row(i);
    T* const to = below.row(i);
    const Index width = unit.cols;
    const T n = static_cast<T>(width);
    const T fall = falls(i, 0);
    const T along = threads.sum(width, [&](Index j) { return h[j] * d[j]; }) / n;
    const T along_tangent =
        threads.sum(width, [&](Index j) { return h[j] * from[j] + moved[j] * d[j]; }) / n;
    const T mean =
        centred ? threads.sum(width, [&](Index j) { return from[j] - fall * d[j]; }) / n : T(0);
    const T of_unit = along_tangent - fall * along;
    const T rate = rates(i, 0);
    threads.each(width, [&](Index j) {
      const T across = from[j] - fall * d[j] - mean;
      put<write>(to[j], rate * (across - moved[j] * along - h[j] * of_unit));
    });
  }
};

// Ry = γ ∘ Rĥ + v_γ ∘ ĥ + v_β, where Rĥ may be missing, and either of γ and β with its direction.
template <class T>
struct GainShiftTangent {
  const T* gain;
  const T* along_gain;
  const T* along_shift;
  Matrix<const T> unit;
  Matrix<const T> unit_tangent;
  Matrix<T> y_tangent;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    T sum = along_shift == nullptr ? T(0) : along_shift[j];
    if (gain != nullptr) sum += along_gain[j] * unit(i, j);
    if (unit_tangent.data != nullptr) {
      sum += gain == nullptr ? unit_tangent(i, j) : gain[j] * unit_tangent(i, j);
    }
    y_tangent(i, j) = sum;
  }
};

// RΔ_ĥ (+)= γ ∘ RΔ_y + v_γ ∘ Δ_y.
template <class T, Write write>
struct GainTangentBack {
  const T* gain;  // null: 1
  const T* along_gain;
  Matrix<const T> delta;
  Matrix<const T> delta_tangent;
  Matrix<T> below;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    const T above = delta_tangent(i, j);
    put<write>(below(i, j),
               gain == nullptr ? above : gain[j] * above + along_gain[j] * delta(i, j));
  }
};

}  // namespace element

// These are the places of matrices of the nodes, one for each that is used, or for several that do
// not live at the same time.
template <class Device, class T>
class NodeBuffers {
 public:
  // A node of width 0 is not used. Those of so many vectors lie side by side.
  NodeBuffers(Index rows, const std::vector<Lifetime>& lives, const std::vector<Index>& widths,
              Index vectors = 1)
      : widths_(widths), vectors_(vectors), places_(widths.size(), 0) {
    std::vector<std::size_t> used;
    std::vector<Lifetime> lives_of_used;
    for (std::size_t node = 0; node < widths.size(); ++node) {
      if (widths[node] == 0) continue;
      used.push_back(node);
      lives_of_used.push_back(lives[node]);
    }
    const std::vector<std::size_t> found = shared_places(lives_of_used);
    std::vector<Index> widest;
    for (std::size_t k = 0; k < used.size(); ++k) {
      const std::size_t place = places_[used[k]] = found[k];
      if (place >= widest.size()) widest.resize(place + 1, 0);
      widest[place] = std::max(widest[place], vectors * widths[used[k]]);
    }
    buffers_ = {rows, 0, widest};
  }

  Matrix<T> view(std::size_t node, Range rows, Index vector = 0) const {
    const Matrix<T> all = buffers_[places_[node]];
    return all.block(rows.first, rows.count, vector * (all.cols / vectors_), widths_[node]);
  }

 private:
  std::vector<Index> widths_;
  Index vectors_;
  std::vector<std::size_t> places_;
  LayerBuffers<Device, T> buffers_;
};

// What products with the Hessian of a network keep of its passes and of their derivatives, and
// where the parameters of its steps begin in a vector over all of them.
template <class T>
struct CurvatureLayout {
  Lifetimes passes;           // of values and Δ
  Lifetimes tangents;         // of R of both
  std::vector<Index> kept;    // the widths of slopes and of rates
  std::vector<Index> bends;   // those of c φ''(z) ∘ Δ_h
  std::vector<Index> falls;   // those of t
  std::vector<Index> widths;  // of what has a derivative or a Δ: 0 where there is none
  std::vector<Index> first_parameters;
  std::vector<ParameterBlock<T>> blocks;  // `below` and `delta` are the nodes of the step

  CurvatureLayout(const Wiring<T>& wiring, const Route& route)
      : passes(wiring),
        tangents(wiring),
        kept(wiring.top() + 1, 0),
        bends(kept),
        falls(kept),
        widths(kept),
        first_parameters(kept) {
    for (std::size_t node = 1; node <= wiring.top(); ++node) {
      const auto& [source, operation] = wiring.step(node);
      const bool moves = route.reaches(source);
      if (route.reaches(node)) widths[node] = wiring.widths[node];
      if (std::holds_alternative<Linear<T>>(operation) ||
          std::holds_alternative<GainShift<T>>(operation)) {
        keep_of_layer(source, node);
      } else if (std::holds_alternative<Activate>(operation)) {
        kept[node] = wiring.widths[node];
        if (moves) bends[node] = wiring.widths[node];
        tangents.keep(tangents.values[source]);
      } else if (std::holds_alternative<Normalize>(operation)) {
        kept[node] = 1;
        if (moves) falls[node] = 1;
        passes.keep(passes.values[node]);
        passes.keep(passes.deltas[node]);
        tangents.keep(tangents.values[node]);
      }
    }
    Index first = 0;
    wiring.for_each_layer([&](std::size_t node, const Layer<T>& layer) {
      if (blocks.empty() || blocks.back().delta != node) first_parameters[node] = first;
      blocks.push_back({&layer, first, wiring.step(node).source, node});
      first += layer.parameters();
    });
  }

 private:
  void keep_of_layer(std::size_t source, std::size_t node) {
    passes.keep(passes.values[source]);
    passes.keep(passes.deltas[node]);
    tangents.keep(tangents.values[source]);
    tangents.keep(tangents.deltas[node]);
  }
};

// These are the steps of hessian_products, which is below.
template <class Device, class T>
class HessianProducts {
 public:
  // Takes memory for at most so many samples, and vectors, at a time.
  HessianProducts(const Wiring<T>& wiring, Index samples, Index vectors)
      : wiring_(wiring),
        route_(wiring, Extent::to_parameters),
        layout_(wiring, route_),
        values_(samples, layout_.passes.values, without_inputs(wiring.widths)),
        deltas_(samples, layout_.passes.deltas, layout_.widths),
        kept_(samples, 0, layout_.kept),
        bends_(samples, 0, layout_.bends),
        tangents_(samples, layout_.tangents.values, layout_.widths, vectors),
        delta_tangents_(samples, layout_.tangents.deltas, layout_.widths, vectors),
        falls_(samples, 0, times(layout_.falls, vectors)) {}

  // Makes the passes of the samples that the next products are about.
  void pass(const Device& device, Matrix<const T> inputs, Matrix<const T> coefficients,
            const Monitor& monitor) {
    inputs_ = inputs;
    const Partition cut = partition(device);
    device.run(
        "passes", cut.blocks(), monitor, [] { return 0; },
        [&](const auto& lane, int /*no workspace*/, Index block) {
          const Range rows = cut[block];
          const Memory memory{*this, rows};
          const LaneProducts products;
          const Pass of_rows(lane, wiring_, route_, memory, products,
                             inputs.row_block(rows.first, rows.count));
          of_rows.forward([&](std::size_t node, Matrix<const T> z) { bend(lane, node, z, rows); });
          if (!route_.reaches(wiring_.top())) return;
          convert(lane, coefficients.row_block(rows.first, rows.count), of_rows.output_delta());
          of_rows.backward([&](std::size_t node, Matrix<const T> delta) {
            if (layout_.bends[node] == 0) return;
            const Matrix<T> bends = part(bends_[node], rows);
            lane.for_each(rows.count, bends.cols,
                          element::Multiply<T, Write::overwrite>{bends, delta, bends});
          });
        });
  }

  // Computes R of the values and of Δ of these samples along `vectors`.
  void differentiate(const Device& device, Matrix<const T> vectors, const Monitor& monitor) {
    const Partition cut = partition(device);
    device.run(
        "tangents", cut.blocks() * vectors.rows, monitor, [] { return 0; },
        [&](const auto& lane, int /*no workspace*/, Index index) {
          const Index vector = index % vectors.rows;
          const Tangent<std::remove_cvref_t<decltype(lane)>> tangent(
              lane, *this, cut[index / vectors.rows], vector, vectors.row(vector));
          tangent.forward();
          tangent.backward();
        });
  }

  // Adds what these samples contribute to result (vectors, P), a row for each of the vectors
  // before, or puts it there.
  void add_up(const Device& device, Write write, Matrix<T> result, const Monitor& monitor) const {
    const Index most = device.unit_block();
    const auto pieces = parameter_pieces(layout_.blocks, result.rows, most);
    Index widest = 0;  // of the gains that are taken at a time
    for (const ParameterBlock<T>& block : layout_.blocks) {
      if (is_gain(block)) widest = std::max(widest, std::min(most, block.layer->outputs()));
    }
    device.run(
        "sums", static_cast<Index>(pieces.size()), monitor,
        [&] { return Sums{{inputs_.rows, 1}, {inputs_.rows, widest}}; },
        [&](const auto& lane, const Sums& sums, Index index) {
          add_piece(lane, pieces[static_cast<std::size_t>(index)], write, sums, result);
        });
  }

 private:
  struct Sums {
    typename Device::template Buffer<T> ones;
    typename Device::template Buffer<T> products;
  };

  // This is the memory of a Pass, for some of the samples.
  struct Memory {
    const HessianProducts& all;
    Range rows;

    Matrix<T> value(std::size_t node, Index /*rows*/) const { return all.values_.view(node, rows); }
    Matrix<T> delta(std::size_t node, Index /*rows*/) const { return all.deltas_.view(node, rows); }
    Matrix<T> kept(std::size_t node, Index /*rows*/) const { return part(all.kept_[node], rows); }
  };

  // The derivative of the passes of some samples along a vector over the parameters.
  template <class Lane>
  class Tangent {
   public:
    Tangent(const Lane& lane, const HessianProducts& all, Range rows, Index vector, const T* v)
        : lane_(lane), all_(all), rows_(rows), vector_(vector), v_(v) {}

    void forward() const {
      for (std::size_t node = 1; node <= all_.wiring_.top() && !lane_.stopped(); ++node) {
        if (!moves(node)) continue;
        std::visit([&](const auto& operation) { make(node, operation, tangent(node)); },
                   all_.wiring_.step(node).operation);
      }
    }

    void backward() const {
      const std::size_t top = all_.wiring_.top();
      if (!moves(top)) return;
      std::vector<bool> begun(top + 1, false);
      const Matrix<T> first = delta_tangent(top);
      lane_.for_each(first.rows, first.cols, fastntk::element::Fill<T>{T(0), first});
      const auto write_to = [&](std::size_t source) {
        const Write write = begun[source] ? Write::accumulate : Write::overwrite;
        begun[source] = true;
        return write;
      };
      for (std::size_t node = top; node >= 1 && !lane_.stopped(); --node) {
        if (!moves(node)) continue;
        const std::size_t source = all_.wiring_.step(node).source;
        std::visit(
            [&](const auto& operation) {
              if (moves(source)) back(node, operation, delta_tangent(source), write_to(source));
              if constexpr (std::is_same_v<std::remove_cvref_t<decltype(operation)>, Add>) {
                const std::size_t branch = operation.branch;
                if (!moves(branch)) return;
                put_multiple(operation.scale, delta_tangent(node), delta_tangent(branch),
                             write_to(branch));
              }
            },
            all_.wiring_.step(node).operation);
      }
    }

   private:
    bool moves(std::size_t node) const { return all_.route_.reaches(node); }
    std::size_t source(std::size_t node) const { return all_.wiring_.step(node).source; }
    Matrix<const T> value(std::size_t node) const { return all_.value(node, rows_); }
    Matrix<const T> delta(std::size_t node) const { return all_.deltas_.view(node, rows_); }
    Matrix<const T> kept(std::size_t node) const { return part(all_.kept_[node], rows_); }
    Matrix<T> tangent(std::size_t node) const { return all_.tangents_.view(node, rows_, vector_); }
    Matrix<T> delta_tangent(std::size_t node) const {
      return all_.delta_tangents_.view(node, rows_, vector_);
    }
    Matrix<T> falls(std::size_t node) const {
      return part(all_.falls_[node], rows_).col_block(vector_, 1);
    }
    // Returns the part of the vector that belongs to a step.
    const T* along(std::size_t node) const { return v_ + all_.layout_.first_parameters[node]; }
    // Returns V of the weights of a step.
    Matrix<const T> direction(std::size_t node, const Layer<T>& layer) const {
      return {along(node), layer.outputs(), layer.inputs()};
    }

    void make(std::size_t node, const Linear<T>& linear, Matrix<T> rz) const {
      const Layer<T>& layer = linear.layer;
      const auto scale = static_cast<T>(layer.weight_scale);
      lane_.template gemm<T>(Op::none, Op::transpose, scale, value(source(node)),
                             direction(node, layer), Write::overwrite, rz);
      if (moves(source(node))) {
        lane_.template gemm<T>(Op::none, Op::transpose, scale, tangent(source(node)), layer.weights,
                               Write::accumulate, rz);
      }
      if (layer.bias == nullptr) return;
      const T* const bias = along(node) + layer.outputs() * layer.inputs();
      lane_.for_each(rz.rows, rz.cols,
                     fastntk::element::AddBias<T>{static_cast<T>(layer.bias_scale), bias, rz});
    }
    void back(std::size_t node, const Linear<T>& linear, Matrix<T> below, Write write) const {
      const Layer<T>& layer = linear.layer;
      const auto scale = static_cast<T>(layer.weight_scale);
      lane_.template gemm<T>(Op::none, Op::none, scale, delta(node), direction(node, layer), write,
                             below);
      lane_.template gemm<T>(Op::none, Op::none, scale, delta_tangent(node), layer.weights,
                             Write::accumulate, below);
    }

    void make(std::size_t node, const Activate& /*activate*/, Matrix<T> rh) const {
      lane_.for_each(rh.rows, rh.cols,
                     element::Multiply<T, Write::overwrite>{kept(node), tangent(source(node)), rh});
    }
    void back(std::size_t node, const Activate& /*activate*/, Matrix<T> below, Write write) const {
      with_write(write, [&](auto how) {
        lane_.for_each(
            below.rows, below.cols,
            element::Multiply<T, decltype(how)::value>{kept(node), delta_tangent(node), below});
      });
      const Matrix<T> bends = part(all_.bends_[node], rows_);
      lane_.for_each(below.rows, below.cols,
                     element::Multiply<T, Write::accumulate>{bends, tangent(source(node)), below});
    }

    void make(std::size_t node, const Add& add, Matrix<T> sum) const {
      if (!moves(source(node))) {
        put_multiple(add.scale, tangent(add.branch), sum, Write::overwrite);
      } else if (!moves(add.branch)) {
        put_multiple(1.0, tangent(source(node)), sum, Write::overwrite);
      } else {
        lane_.for_each(sum.rows, sum.cols,
                       element::AddMultiple<T>{static_cast<T>(add.scale), tangent(source(node)),
                                               tangent(add.branch), sum});
      }
    }
    void back(std::size_t node, const Add& /*add*/, Matrix<T> below, Write write) const {
      put_multiple(1.0, delta_tangent(node), below, write);
    }
    void put_multiple(double scale, Matrix<const T> from, Matrix<T> to, Write write) const {
      with_write(write, [&](auto how) {
        lane_.for_each(
            to.rows, to.cols,
            element::PutMultiple<T, decltype(how)::value>{static_cast<T>(scale), from, to});
      });
    }

    void make(std::size_t node, const Normalize& normalize, Matrix<T> unit_tangent) const {
      lane_.template for_each_row<T>(
          unit_tangent.rows,
          element::NormalizeTangent<T>{normalize.centred, value(node), kept(node),
                                       tangent(source(node)), unit_tangent, falls(node)});
    }
    void back(std::size_t node, const Normalize& normalize, Matrix<T> below, Write write) const {
      with_write(write, [&](auto how) {
        lane_.template for_each_row<T>(
            below.rows, element::NormalizeTangentBack<T, decltype(how)::value>{
                            normalize.centred, value(node), kept(node), tangent(node), falls(node),
                            delta(node), delta_tangent(node), below});
      });
    }

    void make(std::size_t node, const GainShift<T>& both, Matrix<T> y_tangent) const {
      const T* const gain = both.gain.bias;
      const T* const of_gain = gain == nullptr ? nullptr : along(node);
      const T* of_shift = nullptr;
      if (both.shift.bias != nullptr) {
        of_shift = gain == nullptr ? along(node) : along(node) + y_tangent.cols;
      }
      const Matrix<const T> unit_tangent =
          moves(source(node)) ? Matrix<const T>(tangent(source(node))) : Matrix<const T>();
      lane_.for_each(y_tangent.rows, y_tangent.cols,
                     element::GainShiftTangent<T>{gain, of_gain, of_shift, value(source(node)),
                                                  unit_tangent, y_tangent});
    }
    void back(std::size_t node, const GainShift<T>& both, Matrix<T> below, Write write) const {
      const T* const gain = both.gain.bias;
      const T* const of_gain = gain == nullptr ? nullptr : along(node);
      with_write(write, [&](auto how) {
        lane_.for_each(below.rows, below.cols,
                       element::GainTangentBack<T, decltype(how)::value>{
                           gain, of_gain, delta(node), delta_tangent(node), below});
      });
    }

    const Lane& lane_;
    const HessianProducts& all_;
    Range rows_;
    Index vector_;
    const T* v_;
  };

  static std::vector<Index> without_inputs(std::vector<Index> widths) {
    widths[0] = 0;
    return widths;
  }
  static std::vector<Index> times(std::vector<Index> widths, Index vectors) {
    for (Index& width : widths) width *= vectors;
    return widths;
  }
  static Matrix<T> part(const Matrix<T>& all, Range rows) {
    return all.row_block(rows.first, rows.count);
  }
  Range all() const { return {0, inputs_.rows}; }
  Partition partition(const Device& device) const { return {inputs_.rows, device.row_blocks()}; }
  Matrix<const T> value(std::size_t node, Range rows) const {
    return node == 0 ? inputs_.row_block(rows.first, rows.count)
                     : Matrix<const T>(values_.view(node, rows));
  }
  bool is_gain(const ParameterBlock<T>& block) const {
    const auto* const both = std::get_if<GainShift<T>>(&wiring_.step(block.delta).operation);
    return both != nullptr && block.layer == &both->gain;
  }

  // Computes c φ''(z) for the activations of a node, before any of them takes its place.
  template <class Lane>
  void bend(const Lane& lane, std::size_t node, Matrix<const T> z, Range rows) const {
    for (std::size_t after = node + 1; after <= wiring_.top(); ++after) {
      if (layout_.bends[after] == 0 || wiring_.step(after).source != node) continue;
      const auto& activate = std::get<Activate>(wiring_.step(after).operation);
      const Matrix<T> bends = part(bends_[after], rows);
      convert(lane, z, bends);
      with_smooth_activation<Lane::kOnHost>(activate.phi, [&](auto phi) {
        lane.for_each(bends.rows, bends.cols,
                      fastntk::element::Curvature<decltype(phi), T>{
                          phi, static_cast<T>(activate.scale), bends});
      });
    }
  }

  template <class Lane>
  void add_piece(const Lane& lane, const ParameterPiece<T>& piece, Write write, const Sums& sums,
                 Matrix<T> result) const {
    const Layer<T>& layer = *piece.block.layer;
    const Range units = piece.units;
    const std::size_t source = piece.block.below;
    const std::size_t node = piece.block.delta;
    const auto of_units = [units](const Matrix<T>& of_all) {
      return Matrix<const T>(of_all.col_block(units.first, units.count));
    };
    const Matrix<const T> delta = of_units(deltas_.view(node, all()));
    const Matrix<const T> rdelta = of_units(delta_tangents_.view(node, all(), piece.vector));
    const bool moves = route_.reaches(source);
    if (layer.inputs() > 0) {
      const auto scale = static_cast<T>(layer.weight_scale);
      lane.template gemm<T>(Op::transpose, Op::none, scale, rdelta, value(source, all()), write,
                            piece.weights(result));
      if (moves) {
        lane.template gemm<T>(Op::transpose, Op::none, scale, delta,
                              tangents_.view(source, all(), piece.vector), Write::accumulate,
                              piece.weights(result));
      }
    }
    if (layer.bias == nullptr) return;
    Matrix<const T> terms = rdelta;
    if (is_gain(piece.block)) {
      const Matrix<T> products = sums.products.view().col_block(0, units.count);
      const auto columns = [units](Matrix<const T> of_all) {
        return of_all.col_block(units.first, units.count);
      };
      lane.for_each(
          products.rows, products.cols,
          element::Multiply<T, Write::overwrite>{rdelta, columns(value(source, all())), products});
      if (moves) {
        lane.for_each(products.rows, products.cols,
                      element::Multiply<T, Write::accumulate>{
                          delta, columns(tangents_.view(source, all(), piece.vector)), products});
      }
      terms = products;
    }
    const Matrix<T> ones = sums.ones.view();
    lane.for_each(ones.rows, 1, fastntk::element::Fill<T>{T(1), ones});
    lane.template gemm<T>(Op::transpose, Op::none, static_cast<T>(layer.bias_scale), terms, ones,
                          write, piece.bias(result));
  }

  const Wiring<T>& wiring_;
  Route route_;
  CurvatureLayout<T> layout_;
  Matrix<const T> inputs_;
  NodeBuffers<Device, T> values_;
  NodeBuffers<Device, T> deltas_;
  LayerBuffers<Device, T> kept_;
  LayerBuffers<Device, T> bends_;
  NodeBuffers<Device, T> tangents_;
  NodeBuffers<Device, T> delta_tangents_;
  LayerBuffers<Device, T> falls_;  // of all vectors, side by side
};

// result (vectors, P) = Σ_i Σ_c u_ic ∇²f_c(x_i) v for each row v of `vectors` (vectors, P); the
// rows of `coefficients` (samples, C) are the u_i. At most so many samples and vectors are taken at
// a time, for which 4 + 3 kVectors numbers are kept a sample and unit with an activation, and as
// many a unit that is normalized, with gain and shift; what else nodes have shares a few places.
// The sums over samples have one order, so that the result has the same bits for any number of
// threads.
template <class Device, class T>
void hessian_products(const Device& device, const Wiring<T>& wiring, Matrix<const T> samples,
                      Matrix<const T> coefficients, Matrix<const T> vectors, Matrix<T> result,
                      const Monitor& monitor) {
  for (const Step<T>& step : wiring.steps) {  // an error before any work
    if (const auto* const activate = std::get_if<Activate>(&step.operation)) {
      with_smooth_activation(activate->phi, [](auto /*phi*/) {});
    }
  }
  const HessianGroups at_once(device, samples.rows, vectors.rows);
  HessianProducts<Device, T> products(wiring, at_once.samples, at_once.vectors);
  add_up_hessian_products(device, at_once, products, samples, coefficients, vectors, result,
                          monitor);
}

}  // namespace fastntk::wired

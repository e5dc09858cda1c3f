// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>
#include <variant>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/elements.hpp"
#include "fastntk/features.hpp"
#include "fastntk/forward_backward.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/wired/wiring.hpp"

// These are the forward pass of a network of steps and its adjoint, for a block of samples. Each
// step has its adjoint beside it: with Δ of a node the derivatives of an output by it,
//
//   z = s W h + σ_b b          Δ_h = s Δ_z W
//   h = c φ(z)                 Δ_z = c φ'(z) ∘ Δ_h
//   h' = h + α u               Δ_h = Δ_h',  Δ_u = α Δ_h'
//   ĥ = r (z − mean z)         Δ_z = r (Δ_ĥ − mean Δ_ĥ − ĥ ⟨ĥ, Δ_ĥ⟩/n),  r = √n/√(‖z − mean z‖² + n
//   ε) y = γ ∘ ĥ + β              Δ_ĥ = γ ∘ Δ_y
//
// where the means are left out of an RMSNorm. A node that several steps read has the sum of what
// comes back from them.
namespace fastntk::wired {

namespace element {

using fastntk::element::put;

// Returns the power of two that brings a size about to 1: products with it are exact. Of numbers
// below the smallest normal one it leaves them small, but far from where their squares vanish.
template <class T>
FASTNTK_HOST_DEVICE T power_to_one(T size) {
  int exponent = 0;
  static_cast<void>(std::frexp(size, &exponent));
  constexpr int kLeast = std::numeric_limits<T>::min_exponent;
  return std::ldexp(T(1), -(exponent < kLeast ? kLeast : exponent));
}

// Computes ĥ and r of each sample, a row each. z and ĥ may be the same array.
template <class T>
struct Normalize {
  bool centred;
  T floor;  // √(n ε)
  Matrix<const T> z;
  Matrix<T> unit;   // ĥ
  Matrix<T> rates;  // r (rows, 1)

  template <class Threads>
  FASTNTK_DEVICE void operator()(const Threads& threads, Index i) const {
    const T* const from = z.row(i);
    T* const to = unit.row(i);
    const Index width = z.cols;
    const T n = static_cast<T>(width);
    // The squares of what is large would overflow, and those of what is small vanish.
    const T largest = threads.largest(floor, width, [&](Index j) { return std::abs(from[j]); });
    const T power = power_to_one(largest);
    const T mean =
        centred ? threads.sum(width, [&](Index j) { return power * from[j]; }) / n : T(0);
    const T squares = threads.sum(width, [&](Index j) {
      const T difference = power * from[j] - mean;
      return difference * difference;
    });
    const T least = power * floor;
    const T size = std::sqrt(squares + least * least);
    // All of a vector of size 0 is 0/0: there is no direction that it could be given.
    const T rate = size > T(0) ? std::sqrt(n) / size : T(0) / size;
    threads.each(width, [&](Index j) { to[j] = rate * (power * from[j] - mean); });
    threads.once([&] { rates(i, 0) = rate * power; });
  }
};

// Δ_z (+)= r (Δ_ĥ − mean Δ_ĥ − ĥ ⟨ĥ, Δ_ĥ⟩/n). Both Δ may be the same array where one is written in
// the place of the other.
template <class T, Write write>
struct NormalizeBack {
  bool centred;
  Matrix<const T> unit;
  Matrix<const T> rates;
  Matrix<const T> above;
  Matrix<T> below;

  template <class Threads>
  FASTNTK_DEVICE void operator()(const Threads& threads, Index i) const {
    const T* const h = unit.row(i);
    const T* const from = above.row(i);
    T* const to = below.row(i);
    const Index width = unit.cols;
    const T n = static_cast<T>(width);
    const T along = threads.sum(width, [&](Index j) { return h[j] * from[j]; }) / n;
    const T mean = centred ? threads.sum(width, [&](Index j) { return from[j]; }) / n : T(0);
    const T rate = rates(i, 0);
    threads.each(width,
                 [&](Index j) { put<write>(to[j], rate * ((from[j] - mean) - h[j] * along)); });
  }
};

// h = c φ(z) and slope = c φ'(z). z and h may be the same array.
template <class Phi, class T>
struct Apply {
  Phi phi;
  T scale;
  Matrix<const T> z;
  Matrix<T> h;
  Matrix<T> slope;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    const auto [value, derivative] = phi(z(i, j));
    h(i, j) = scale * value;
    slope(i, j) = scale * derivative;
  }
};

// c (+)= a ∘ b, where any of them may be the same array.
template <class T, Write write>
struct Multiply {
  Matrix<const T> a;
  Matrix<const T> b;
  Matrix<T> c;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    put<write>(c(i, j), a(i, j) * b(i, j));
  }
};

// to (+)= scale · from.
template <class T, Write write>
struct PutMultiple {
  T scale;
  Matrix<const T> from;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    put<write>(to(i, j), scale * from(i, j));
  }
};

template <class T>
struct AddMultiple {
  T scale;
  Matrix<const T> skip;
  Matrix<const T> branch;
  Matrix<T> sum;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    sum(i, j) = skip(i, j) + scale * branch(i, j);
  }
};

// y = γ ∘ ĥ + β; either may be null.
template <class T>
struct GainShift {
  const T* gain;
  const T* shift;
  Matrix<const T> unit;
  Matrix<T> y;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    const T scaled = gain == nullptr ? unit(i, j) : gain[j] * unit(i, j);
    y(i, j) = shift == nullptr ? scaled : scaled + shift[j];
  }
};

// Δ_ĥ (+)= γ ∘ Δ_y.
template <class T, Write write>
struct GainBack {
  const T* gain;  // null: 1
  Matrix<const T> above;
  Matrix<T> below;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    put<write>(below(i, j), gain == nullptr ? above(i, j) : gain[j] * above(i, j));
  }
};

}  // namespace element

// Calls use(std::integral_constant<Write, …>) with what is known at run time.
template <class Use>
void with_write(Write write, Use use) {
  if (write == Write::overwrite) {
    use(std::integral_constant<Write, Write::overwrite>{});
  } else {
    use(std::integral_constant<Write, Write::accumulate>{});
  }
}

// How far a pass goes.
enum class Extent : std::uint8_t {
  forward,        // to the outputs
  to_parameters,  // and back to every layer that has parameters
  to_inputs,      // and back to the inputs
};

// When the values and the Δ of the nodes live while samples pass through a network, and back to the
// inputs, where nothing is kept for later.
//
// In units of half a step, step k reads at the time 2 k and writes at 2 k + 1. A matrix product
// reads until it has written; other steps may write in the place of what they read. On the way back
// time runs backwards.
struct Lifetimes {
  std::vector<Lifetime> values;
  std::vector<Lifetime> deltas;

  template <class T>
  explicit Lifetimes(const Wiring<T>& wiring)
      : values(wiring.top() + 1), deltas(wiring.top() + 1), end_(2 * wiring.top() + 2) {
    const std::size_t top = wiring.top();
    for (std::size_t node = 1; node <= top; ++node) {
      const Step<T>& step = wiring.step(node);
      const bool is_product = std::holds_alternative<Linear<T>>(step.operation);
      values[node] = {2 * node + 1, 2 * node + 1};
      values[step.source].last = 2 * node + (is_product ? 1 : 0);
      deltas[node] = {2 * (top - node), 2 * (top - node) + (is_product ? 1 : 0)};
      // The first that writes on the way back is the last that reads on the way there.
      deltas[step.source].first = 2 * (top - node) + 1;
      if (const auto* const add = std::get_if<Add>(&step.operation)) {
        values[add->branch].last = 2 * node;
        deltas[add->branch].first = 2 * (top - node) + 1;
      }
    }
    deltas[0].last = end_;
    deltas[top].first = 0;
  }

  // Has a matrix, once it is written, live for as long as anything does.
  void keep(Lifetime& life) const { life.last = end_; }

 private:
  std::size_t end_;
};

// This says where the nodes of a network lie while a block of samples passes through it, and which
// of them the way back comes to.
class Route {
 public:
  template <class T>
  Route(const Wiring<T>& wiring, Extent extent) : Route(wiring, extent, nodes_of_layers(wiring)) {}
  // The way back comes to the nodes that are `wanted`, and to what lies before them.
  template <class T>
  Route(const Wiring<T>& wiring, Extent extent, const std::vector<bool>& wanted)
      : values_(wiring.top() + 1), deltas_(wiring.top() + 1), reached_(wiring.top() + 1, false) {
    const std::size_t top = wiring.top();
    Lifetimes lives(wiring);
    reached_[0] = extent == Extent::to_inputs;
    for (std::size_t node = 1; node <= top; ++node) {
      const Step<T>& step = wiring.step(node);
      const auto* const add = std::get_if<Add>(&step.operation);
      const auto* const gain_shift = std::get_if<GainShift<T>>(&step.operation);
      if (extent == Extent::forward) continue;
      reached_[node] =
          wanted[node] || reached_[step.source] || (add != nullptr && reached_[add->branch]);
      // The way back wants them again.
      if (std::holds_alternative<Normalize>(step.operation)) lives.keep(lives.values[node]);
      if (gain_shift != nullptr && gain_shift->gain.bias != nullptr) {
        lives.keep(lives.values[step.source]);
      }
    }
    assign(lives.values, values_, value_places_);
    if (extent != Extent::forward) assign(lives.deltas, deltas_, delta_places_);
  }

  std::size_t value_places() const { return value_places_; }
  std::size_t delta_places() const { return delta_places_; }
  std::size_t value_place(std::size_t node) const { return values_[node]; }
  std::size_t delta_place(std::size_t node) const { return deltas_[node]; }
  // Returns whether there is a way back that comes to this node.
  bool reaches(std::size_t node) const { return reached_[node]; }

 private:
  // Returns which nodes are made by steps with parameters.
  template <class T>
  static std::vector<bool> nodes_of_layers(const Wiring<T>& wiring) {
    std::vector<bool> result(wiring.top() + 1, false);
    wiring.for_each_layer(
        [&](std::size_t node, const Layer<T>& /*layer*/) { result[node] = true; });
    return result;
  }
  static void assign(const std::vector<Lifetime>& lives, std::vector<std::size_t>& places,
                     std::size_t& count) {
    places = shared_places(lives);
    count = *std::ranges::max_element(places) + 1;
  }

  std::vector<std::size_t> values_;
  std::vector<std::size_t> deltas_;
  std::vector<bool> reached_;
  std::size_t value_places_ = 0;
  std::size_t delta_places_ = 0;
};

// This is the memory in which a block of samples passes through a network.
template <class Device, class T>
class Workspace {
 public:
  Workspace(const Wiring<T>& wiring, const Route& route, Extent extent, Index rows)
      : wiring_(wiring),
        route_(route),
        values_(rows, 0, std::vector<Index>(route.value_places(), widest(wiring.widths))),
        deltas_(rows, 0, std::vector<Index>(route.delta_places(), widest(wiring.widths))),
        kept_(rows, 0, kept_widths(wiring, extent)),
        shared_(rows, widest(wiring.widths)) {}

  // Returns how many numbers it has for each sample.
  static Index numbers(const Wiring<T>& wiring, const Route& route, Extent extent) {
    const std::vector<Index> kept = kept_widths(wiring, extent);
    const auto places = static_cast<Index>(route.value_places() + route.delta_places() + 1);
    return places * widest(wiring.widths) + std::reduce(kept.begin(), kept.end());
  }

  Matrix<T> value(std::size_t node, Index rows) const {
    return part(values_[route_.value_place(node)], rows, wiring_.widths[node]);
  }
  Matrix<T> delta(std::size_t node, Index rows) const {
    return part(deltas_[route_.delta_place(node)], rows, wiring_.widths[node]);
  }
  // Returns what the way back needs of a step: the slopes of an activation, the rates of a
  // normalization. On a way that does not come back nothing is kept for long.
  Matrix<T> kept(std::size_t node, Index rows) const {
    const Matrix<T> own = kept_[node];
    if (own.cols > 0) return part(own, rows, own.cols);
    const bool rate = std::holds_alternative<Normalize>(wiring_.step(node).operation);
    return scratch(rows, rate ? 1 : wiring_.widths[node]);
  }
  // Returns memory that nothing is kept in.
  Matrix<T> scratch(Index rows, Index cols) const { return part(shared_.view(), rows, cols); }

 private:
  static std::vector<Index> kept_widths(const Wiring<T>& wiring, Extent extent) {
    std::vector<Index> result(wiring.widths.size(), 0);
    if (extent == Extent::forward) return result;
    for (std::size_t node = 1; node <= wiring.top(); ++node) {
      const Operation<T>& operation = wiring.step(node).operation;
      if (std::holds_alternative<Activate>(operation)) result[node] = wiring.widths[node];
      if (std::holds_alternative<Normalize>(operation)) result[node] = 1;
    }
    return result;
  }
  static Matrix<T> part(const Matrix<T>& all, Index rows, Index cols) {
    return {all.data, rows, cols};
  }

  const Wiring<T>& wiring_;
  const Route& route_;
  LayerBuffers<Device, T> values_;
  LayerBuffers<Device, T> deltas_;
  LayerBuffers<Device, T> kept_;
  typename Device::template Buffer<T> shared_;
};

// One block of samples on its way through a network. The memory is a Workspace, or what says where
// values, Δ and the rest lie as one does; products.hpp has what multiplies with weights.
template <class Lane, class Memory, class Products, class T>
class Pass {
 public:
  Pass(const Lane& lane, const Wiring<T>& wiring, const Route& route, const Memory& workspace,
       const Products& products, Matrix<const T> inputs)
      : lane_(lane),
        wiring_(wiring),
        route_(route),
        workspace_(workspace),
        products_(products),
        inputs_(inputs) {}

  // Returns the values of a node, as long as they are there.
  Matrix<const T> value(std::size_t node) const {
    return node == 0 ? inputs_ : Matrix<const T>(workspace_.value(node, inputs_.rows));
  }

  // Computes all nodes, and calls keep(node, values) when one is there.
  template <class Keep>
  void forward(Keep keep) const {
    for (std::size_t node = 1; node <= wiring_.top() && !lane_.stopped(); ++node) {
      const Step<T>& step = wiring_.step(node);
      const Matrix<const T> source = value(step.source);
      const Matrix<T> target = workspace_.value(node, inputs_.rows);
      std::visit([&](const auto& operation) { make(node, operation, source, target); },
                 step.operation);
      keep(node, Matrix<const T>(target));
    }
  }

  // Goes back from one output, after forward() to the parameters or the inputs, and calls
  // keep(node, Δ) when that of a node is complete.
  template <class Keep>
  void backward(Index output, Keep keep) const {
    backward(wiring_.top(), output, keep);
  }
  // The same from one of the nodes of outputs. Of a node that does not lead to it nothing is kept.
  template <class Keep>
  void backward(std::size_t top, Index output, Keep keep) const {
    const Matrix<T> first = workspace_.delta(top, inputs_.rows);
    lane_.for_each(first.rows, first.cols, fastntk::element::Indicator<T>{output, first});
    backward_from(top, keep);
  }
  // Returns where Δ of the outputs is to be put for a way back from any of them.
  Matrix<T> output_delta() const { return workspace_.delta(wiring_.top(), inputs_.rows); }
  // Does the same from there.
  template <class Keep>
  void backward(Keep keep) const {
    backward_from(wiring_.top(), keep);
  }

 private:
  template <class Keep>
  void backward_from(std::size_t top, Keep keep) const {
    std::vector<bool> begun(top + 1, false);
    begun[top] = true;
    for (std::size_t node = top; node >= 1 && !lane_.stopped(); --node) {
      if (!begun[node]) continue;  // the way back does not come to it
      const Matrix<T> delta = workspace_.delta(node, inputs_.rows);
      keep(node, Matrix<const T>(delta));
      // Returns how what comes back is put to a node, the first time that this is asked of it.
      const auto write_to = [&](std::size_t source) {
        const Write write = begun[source] ? Write::accumulate : Write::overwrite;
        begun[source] = true;
        return write;
      };
      const std::size_t source = wiring_.step(node).source;
      std::visit(
          [&](const auto& operation) {
            if (route_.reaches(source)) {
              back(node, operation, delta, workspace_.delta(source, inputs_.rows),
                   write_to(source));
            }
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(operation)>, Add>) {
              const std::size_t branch = operation.branch;
              if (!route_.reaches(branch)) return;
              back_to_branch(operation, delta, workspace_.delta(branch, inputs_.rows),
                             write_to(branch));
            }
          },
          wiring_.step(node).operation);
    }
    if (route_.reaches(0) && !lane_.stopped()) {
      keep(0, Matrix<const T>(workspace_.delta(0, inputs_.rows)));
    }
  }

  void make(std::size_t node, const Linear<T>& linear, Matrix<const T> h, Matrix<T> z) const {
    products_.forward(lane_, node, linear.layer, h, z);
  }
  void back(std::size_t node, const Linear<T>& linear, Matrix<const T> above, Matrix<T> below,
            Write write) const {
    products_.backward(lane_, node, linear.layer, above, below, write);
  }

  void make(std::size_t node, const Activate& activate, Matrix<const T> z, Matrix<T> h) const {
    const Matrix<T> slope = workspace_.kept(node, z.rows);
    with_activation<Lane::kOnHost>(activate.phi, [&](auto phi) {
      lane_.for_each(
          h.rows, h.cols,
          element::Apply<decltype(phi), T>{phi, static_cast<T>(activate.scale), z, h, slope});
    });
  }
  void back(std::size_t node, const Activate& /*activate*/, Matrix<const T> above, Matrix<T> below,
            Write write) const {
    const Matrix<const T> slope = workspace_.kept(node, above.rows);
    with_write(write, [&](auto how) {
      lane_.for_each(below.rows, below.cols,
                     element::Multiply<T, decltype(how)::value>{slope, above, below});
    });
  }

  void make(std::size_t /*node*/, const Add& add, Matrix<const T> skip, Matrix<T> sum) const {
    lane_.for_each(
        sum.rows, sum.cols,
        element::AddMultiple<T>{static_cast<T>(add.scale), skip, value(add.branch), sum});
  }
  void back(std::size_t /*node*/, const Add& /*add*/, Matrix<const T> above, Matrix<T> below,
            Write write) const {
    put_multiple(1.0, above, below, write);
  }
  void back_to_branch(const Add& add, Matrix<const T> above, Matrix<T> below, Write write) const {
    put_multiple(add.scale, above, below, write);
  }
  void put_multiple(double scale, Matrix<const T> from, Matrix<T> to, Write write) const {
    with_write(write, [&](auto how) {
      lane_.for_each(
          to.rows, to.cols,
          element::PutMultiple<T, decltype(how)::value>{static_cast<T>(scale), from, to});
    });
  }

  void make(std::size_t node, const Normalize& normalize, Matrix<const T> z, Matrix<T> unit) const {
    const double floor = std::sqrt(static_cast<double>(z.cols) * normalize.epsilon);
    lane_.template for_each_row<T>(
        z.rows, element::Normalize<T>{normalize.centred, static_cast<T>(floor), z, unit,
                                      workspace_.kept(node, z.rows)});
  }
  void back(std::size_t node, const Normalize& normalize, Matrix<const T> above, Matrix<T> below,
            Write write) const {
    const Matrix<const T> rates = workspace_.kept(node, above.rows);
    with_write(write, [&](auto how) {
      lane_.template for_each_row<T>(above.rows,
                                     element::NormalizeBack<T, decltype(how)::value>{
                                         normalize.centred, value(node), rates, above, below});
    });
  }

  void make(std::size_t /*node*/, const GainShift<T>& both, Matrix<const T> unit,
            Matrix<T> y) const {
    lane_.for_each(y.rows, y.cols, element::GainShift<T>{both.gain.bias, both.shift.bias, unit, y});
  }
  void back(std::size_t /*node*/, const GainShift<T>& both, Matrix<const T> above, Matrix<T> below,
            Write write) const {
    with_write(write, [&](auto how) {
      lane_.for_each(below.rows, below.cols,
                     element::GainBack<T, decltype(how)::value>{both.gain.bias, above, below});
    });
  }

  const Lane& lane_;
  const Wiring<T>& wiring_;
  const Route& route_;
  const Memory& workspace_;
  const Products& products_;
  Matrix<const T> inputs_;
};

}  // namespace fastntk::wired

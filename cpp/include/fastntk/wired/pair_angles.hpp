// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <variant>
#include <vector>

#include "fastntk/pair_angles.hpp"
#include "fastntk/wired/passes.hpp"
#include "fastntk/wired/wiring.hpp"

// This computes the angle between the gradients of a network of steps at two samples, to full
// relative accuracy however close the samples are, as fastntk/pair_angles.hpp does of a chain: both
// passes carry the difference d of the two samples along. Maps and sums are linear, activations as
// there, and of a normalization ĥ = r C z, where C takes the mean away or is 1, r = √n/N and
// N² = ‖C z‖² + n ε, with a prime for what it is at the second sample,
//
//   q    = N'² − N² = ⟨C dz, 2 C z + C dz⟩,       dr = −r q/(N' (N + N')),
//   dĥ   = r C dz + dr C z',
//   da   = (⟨dĥ, Δ'⟩ + ⟨ĥ, dΔ⟩)/n                of a = ⟨ĥ, Δ⟩/n,
//   dv   = C (dΔ − a' dĥ − da ĥ)                  of v = C (Δ − a ĥ),
//   dΔ_z = dr v' + r dv                           of Δ_z = r v.
//
// The gradients of gains and shifts, which are no outer products, are those of a layer with a
// single input, which is 1.
namespace fastntk::wired {

namespace pair {

using fastntk::pair::LayerGradient;
using fastntk::pair::Moved;
using fastntk::pair::Vector;

// Two samples on their way through a network.
template <class Lane, class T>
class MovedPass {
 public:
  MovedPass(const Lane& lane, const Wiring<T>& wiring, const T* x, const T* z)
      : lane_(lane), wiring_(wiring), route_(wiring, Extent::to_parameters) {
    for (const Index width : wiring.widths) nodes_.emplace_back(width);
    for (std::size_t i = 0; i < nodes_[0].at.size(); ++i) {
      nodes_[0].at[i] = x[i];
      nodes_[0].by[i] = z[i] - x[i];
    }
    kept_.resize(nodes_.size(), Moved<T>(0));
    for (std::size_t node = 1; node <= wiring.top(); ++node) {
      const Step<T>& step = wiring.step(node);
      std::visit([&](const auto& operation) { make(node, operation, nodes_[step.source]); },
                 step.operation);
    }
  }

  // Appends the gradients of an output, layer by layer.
  void backward(Index output, std::vector<LayerGradient<T>>& gradients) const {
    std::vector<Moved<T>> deltas;
    deltas.reserve(wiring_.widths.size());
    for (const Index width : wiring_.widths) deltas.emplace_back(width);
    deltas.back().at[static_cast<std::size_t>(output)] = T(1);
    for (std::size_t node = wiring_.top(); node >= 1; --node) {
      if (!route_.reaches(node)) continue;
      const Step<T>& step = wiring_.step(node);
      const Moved<T>& delta = deltas[node];
      std::visit(
          [&](const auto& operation) {
            add_gradients(operation, nodes_[step.source], delta, gradients);
            if (route_.reaches(step.source)) back(node, operation, delta, deltas[step.source]);
          },
          step.operation);
      if (const auto* const add = std::get_if<Add>(&step.operation)) {
        if (route_.reaches(add->branch)) add_multiple(add->scale, delta, deltas[add->branch]);
      }
    }
  }

 private:
  static void add_multiple(double scale, const Moved<T>& from, Moved<T>& to) {
    for (std::size_t i = 0; i < to.at.size(); ++i) {
      to.at[i] += static_cast<T>(scale) * from.at[i];
      to.by[i] += static_cast<T>(scale) * from.by[i];
    }
  }
  static void take_mean(Vector<T>& values) {
    T sum = T(0);
    for (const T value : values) sum += value;
    const T mean = sum / static_cast<T>(values.size());
    for (T& value : values) value -= mean;
  }
  static T mean_product(const Vector<T>& a, const Vector<T>& b) {
    return fastntk::pair::dot(a, b) / static_cast<T>(a.size());
  }
  static Vector<T> sum_of(const Moved<T>& moved) {
    Vector<T> result(moved.at);
    for (std::size_t i = 0; i < result.size(); ++i) result[i] += moved.by[i];
    return result;
  }

  // Returns the gradient δ ⊗ h̄ with δ of size 1: below a normalization, δ is as large as h̄ is
  // small, and their squares would leave the range. Powers of two change no digit.
  static LayerGradient<T> balanced(Moved<T> delta, Moved<T> h) {
    T largest = T(0);
    for (const T d : delta.at) largest = std::max(largest, std::abs(d));
    const int exponent = largest > T(0) && std::isfinite(largest) ? std::ilogb(largest) : 0;
    for (Vector<T>* const part : {&delta.at, &delta.by}) {
      for (T& d : *part) d = std::ldexp(d, -exponent);
    }
    for (Vector<T>* const part : {&h.at, &h.by}) {
      for (T& d : *part) d = std::ldexp(d, exponent);
    }
    return {std::move(delta), std::move(h)};
  }

  void make(std::size_t node, const Linear<T>& linear, const Moved<T>& h) {
    const Layer<T>& layer = linear.layer;
    Moved<T>& z = nodes_[node];
    fastntk::pair::multiply(lane_, Op::transpose, layer, h.at, z.at);
    fastntk::pair::multiply(lane_, Op::transpose, layer, h.by, z.by);
    if (layer.bias == nullptr) return;
    const auto scale = static_cast<T>(layer.bias_scale);
    for (std::size_t i = 0; i < z.at.size(); ++i) z.at[i] += scale * layer.bias[i];
  }
  void back(std::size_t /*node*/, const Linear<T>& linear, const Moved<T>& above,
            Moved<T>& below) const {
    Moved<T> product(below.size());
    fastntk::pair::multiply(lane_, Op::none, linear.layer, above.at, product.at);
    fastntk::pair::multiply(lane_, Op::none, linear.layer, above.by, product.by);
    add_multiple(1.0, product, below);
  }
  static void add_gradients(const Linear<T>& linear, const Moved<T>& h, const Moved<T>& delta,
                            std::vector<LayerGradient<T>>& gradients) {
    gradients.push_back(balanced(delta, fastntk::pair::layer_input(linear.layer, h)));
  }

  void make(std::size_t node, const Activate& activate, const Moved<T>& z) {
    Moved<T>& h = nodes_[node];
    Moved<T> gate(z.size());
    const auto c = static_cast<T>(activate.scale);
    with_activation(activate.phi, [&](auto phi) {
      for (std::size_t i = 0; i < z.at.size(); ++i) {
        const auto here = phi(z.at[i]);
        const auto step = difference_of(phi, z.at[i], z.by[i]);
        h.at[i] = c * here.value;
        h.by[i] = c * step.value;
        gate.at[i] = c * here.slope;
        gate.by[i] = c * step.slope;
      }
    });
    kept_[node] = std::move(gate);
  }
  void back(std::size_t node, const Activate& /*activate*/, const Moved<T>& above,
            Moved<T>& below) const {
    const Moved<T>& gate = kept_[node];
    for (std::size_t i = 0; i < below.at.size(); ++i) {
      below.at[i] += gate.at[i] * above.at[i];
      below.by[i] += gate.by[i] * (above.at[i] + above.by[i]) + gate.at[i] * above.by[i];
    }
  }

  void make(std::size_t node, const Add& add, const Moved<T>& skip) {
    nodes_[node] = skip;
    add_multiple(add.scale, nodes_[add.branch], nodes_[node]);
  }
  static void back(std::size_t /*node*/, const Add& /*add*/, const Moved<T>& above,
                   Moved<T>& below) {
    add_multiple(1.0, above, below);
  }

  void make(std::size_t node, const Normalize& normalize, const Moved<T>& z) {
    const auto floor = static_cast<T>(std::sqrt(static_cast<double>(z.size()) * normalize.epsilon));
    // The squares of what is large would overflow, and those of what is small vanish.
    T largest = floor;
    for (const T value : z.at) largest = std::max(largest, std::abs(value));
    for (const T value : z.by) largest = std::max(largest, std::abs(value));
    const T power = element::power_to_one(largest);
    Moved<T>& unit = nodes_[node];
    for (std::size_t i = 0; i < z.at.size(); ++i) {
      unit.at[i] = power * z.at[i];
      unit.by[i] = power * z.by[i];
    }
    if (normalize.centred) {
      take_mean(unit.at);
      take_mean(unit.by);
    }
    const Vector<T> beyond = sum_of(unit);
    const T least = power * floor;
    const T size = std::sqrt(fastntk::pair::dot(unit.at, unit.at) + least * least);
    const T size_beyond = std::sqrt(fastntk::pair::dot(beyond, beyond) + least * least);
    T grown = T(0);
    for (std::size_t i = 0; i < beyond.size(); ++i) grown += unit.by[i] * (unit.at[i] + beyond[i]);
    Moved<T> rate(1);
    rate.at[0] = std::sqrt(static_cast<T>(z.size())) / size;
    rate.by[0] = -rate.at[0] * (grown / size_beyond / (size + size_beyond));
    for (std::size_t i = 0; i < beyond.size(); ++i) {
      unit.at[i] *= rate.at[0];
      unit.by[i] = rate.at[0] * unit.by[i] + rate.by[0] * beyond[i];
    }
    rate.at[0] *= power;
    rate.by[0] *= power;
    kept_[node] = std::move(rate);
  }
  void back(std::size_t node, const Normalize& normalize, const Moved<T>& above,
            Moved<T>& below) const {
    const Moved<T>& unit = nodes_[node];
    const Moved<T>& rate = kept_[node];
    const T a = mean_product(unit.at, above.at);
    const T a_by = mean_product(unit.by, sum_of(above)) + mean_product(unit.at, above.by);
    Moved<T> v(above.size());
    for (std::size_t i = 0; i < v.at.size(); ++i) {
      v.at[i] = above.at[i] - a * unit.at[i];
      v.by[i] = above.by[i] - (a + a_by) * unit.by[i] - a_by * unit.at[i];
    }
    if (normalize.centred) {
      take_mean(v.at);
      take_mean(v.by);
    }
    for (std::size_t i = 0; i < v.at.size(); ++i) {
      below.at[i] += rate.at[0] * v.at[i];
      below.by[i] += rate.by[0] * (v.at[i] + v.by[i]) + rate.at[0] * v.by[i];
    }
  }

  void make(std::size_t node, const GainShift<T>& both, const Moved<T>& unit) {
    Moved<T>& y = nodes_[node];
    y = unit;
    for (std::size_t i = 0; i < y.at.size(); ++i) {
      if (both.gain.bias != nullptr) {
        y.at[i] *= both.gain.bias[i];
        y.by[i] *= both.gain.bias[i];
      }
      if (both.shift.bias != nullptr) y.at[i] += both.shift.bias[i];
    }
  }
  static void back(std::size_t /*node*/, const GainShift<T>& both, const Moved<T>& above,
                   Moved<T>& below) {
    for (std::size_t i = 0; i < below.at.size(); ++i) {
      const T gain = both.gain.bias == nullptr ? T(1) : both.gain.bias[i];
      below.at[i] += gain * above.at[i];
      below.by[i] += gain * above.by[i];
    }
  }
  static void add_gradients(const GainShift<T>& both, const Moved<T>& unit, const Moved<T>& delta,
                            std::vector<LayerGradient<T>>& gradients) {
    const auto one = [](const Layer<T>& layer) {
      Moved<T> input(1);
      input.at[0] = static_cast<T>(std::sqrt(layer.kernel_bias_weight));
      return input;
    };
    if (both.gain.bias != nullptr) {
      Moved<T> product(delta.size());
      for (std::size_t i = 0; i < product.at.size(); ++i) {
        product.at[i] = delta.at[i] * unit.at[i];
        product.by[i] = delta.by[i] * (unit.at[i] + unit.by[i]) + delta.at[i] * unit.by[i];
      }
      gradients.push_back({product, one(both.gain)});
    }
    if (both.shift.bias != nullptr) gradients.push_back({delta, one(both.shift)});
  }

  // Others have no parameters.
  template <class Operation>
  static void add_gradients(const Operation& /*operation*/, const Moved<T>& /*source*/,
                            const Moved<T>& /*delta*/,
                            std::vector<LayerGradient<T>>& /*gradients*/) {}

  const Lane& lane_;
  const Wiring<T>& wiring_;
  Route route_;
  std::vector<Moved<T>> nodes_;
  std::vector<Moved<T>> kept_;  // slopes of activations, rates of normalizations
};

}  // namespace pair

// See fastntk::pair_angles.
template <class T>
void pair_angles(const HostDevice& device, const Wiring<T>& wiring, Range outputs,
                 Matrix<const T> samples, const std::vector<std::pair<Index, Index>>& pairs,
                 std::vector<T>& angles, const Monitor& monitor) {
  angles_of_pairs(
      device,
      [&](const auto& lane, const T* x, const T* z) {
        const pair::MovedPass pass(lane, wiring, x, z);
        std::vector<pair::LayerGradient<T>> gradients;
        for (Index c = 0; c < outputs.count; ++c) pass.backward(outputs.first + c, gradients);
        return gradients;
      },
      samples, pairs, angles, monitor);
}

}  // namespace fastntk::wired

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "fastntk/activation_differences.hpp"
#include "fastntk/forward_backward.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/partition.hpp"

// This computes the angle between the gradients g and g' = g + dg at two samples, to full relative
// accuracy however close the samples are. Both passes carry the difference of the two samples
// along, instead of subtracting two results:
//
//   dzˡ = s Wˡ dhˡ⁻¹,                   dhˡ = c_φ ( φ(zˡ + dzˡ) − φ(zˡ) ),
//   dΔˡ = dgate ∘ (U + dU) + gate ∘ dU,  U = s Δˡ⁺¹ Wˡ⁺¹,  dU = s dΔˡ⁺¹ Wˡ⁺¹,
//
// with gate = c_φ φ'(zˡ). What activations make of a step has digits of its own, too
// (activation_differences.hpp). The part of dg at right angles to g then follows layer by layer
// from vectors that are small themselves. A pair costs two passes of single samples.
namespace fastntk {

namespace pair {

template <class T>
using Vector = std::vector<T>;

// This is a vector at the first sample, and how much more it is at the second.
template <class T>
struct Moved {
  Vector<T> at;
  Vector<T> by;

  explicit Moved(Index size)
      : at(static_cast<std::size_t>(size)), by(static_cast<std::size_t>(size)) {}
  Index size() const { return static_cast<Index>(at.size()); }
};

template <class T>
T dot(const Vector<T>& a, const Vector<T>& b) {
  return fastntk::dot(static_cast<Index>(a.size()), a.data(), b.data());
}

template <class T>
Matrix<const T> row(const Vector<T>& v) {
  return {v.data(), 1, static_cast<Index>(v.size())};
}
template <class T>
Matrix<T> row(Vector<T>& v) {
  return {v.data(), 1, static_cast<Index>(v.size())};
}

// Returns by which power of two the largest number of a vector is away from 1; 0 for zeros.
template <class T>
int exponent_of(const Vector<T>& v) {
  T largest = T(0);
  for (const T x : v) largest = std::max(largest, std::abs(x));
  return largest > T(0) && std::isfinite(largest) ? std::ilogb(largest) : 0;
}

// Returns ‖v‖. The squares are those of numbers near 1: those of small differences would vanish.
template <class T>
T norm(const Vector<T>& v) {
  const int exponent = exponent_of(v);
  T sum = T(0);
  for (const T x : v) {
    const T scaled = std::ldexp(x, -exponent);
    sum += scaled * scaled;
  }
  return std::ldexp(std::sqrt(sum), exponent);
}

// The angle needs this of one layer, whose gradient is δ ⊗ h̄ with h̄ = (s h, σ_b).
template <class T>
struct LayerGradient {
  Moved<T> delta;
  Moved<T> h;  // h̄

  T squared_norm() const { return dot(delta.at, delta.at) * dot(h.at, h.at); }

  // Returns ⟨dg, g⟩, where dg = dδ ⊗ (h̄ + dh̄) + δ ⊗ dh̄.
  T along() const {
    return dot(delta.by, delta.at) * (dot(h.at, h.at) + dot(h.by, h.at)) +
           dot(delta.at, delta.at) * dot(h.by, h.at);
  }

  // Returns ‖dg − t g‖. With a = 1 + ⟨dδ, δ⟩/‖δ‖² and a b = 1 + t this is
  //   (dδ − (a − 1) δ) ⊗ (h̄ + dh̄)  +  a δ ⊗ (dh̄ − (b − 1) h̄),
  // two parts at right angles, neither a difference of large vectors. Of δ its power of two is
  // taken out, as one output of several may be so small that its square vanishes.
  T rest(T t) const {
    Vector<T> h_beyond(h.at);
    for (std::size_t i = 0; i < h_beyond.size(); ++i) h_beyond[i] += h.by[i];
    const T beyond = norm(h_beyond);
    if (std::ranges::all_of(delta.at, [](T d) { return d == T(0); })) {
      return norm(delta.by) * beyond;
    }
    const int exponent = exponent_of(delta.at);
    const T scale = std::ldexp(T(1), exponent);
    Vector<T> unit(delta.at);  // δ/scale
    for (T& d : unit) d = std::ldexp(d, -exponent);
    const T size = dot(unit, unit);
    const T shift = dot(delta.by, unit) / size;  // scale (a − 1)
    const T a = scale + shift;                   // scale a
    Vector<T> turned(delta.by);
    for (std::size_t i = 0; i < turned.size(); ++i) turned[i] -= shift * unit[i];
    // The second part is the unit times scale (a dh̄ − (t − (a − 1)) h̄).
    Vector<T> moved(h.by);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      moved[i] = a * moved[i] - (scale * t - shift) * h.at[i];
    }
    return std::hypot(norm(turned) * beyond, std::sqrt(size) * norm(moved));
  }
};

// Returns whether one of two samples is so much larger that a sum of one and their difference has
// lost digits of the smaller, as have slopes of a tanh that is steep at one and flat at the other.
template <class T>
bool are_far(Index width, const T* x, const T* z) {
  constexpr T kRatio = T(1024);
  const T of_x = fastntk::dot(width, x, x);
  const T of_z = fastntk::dot(width, z, z);
  return std::max(of_x, of_z) > kRatio * kRatio * std::min(of_x, of_z);
}

// Returns the cosine of the gradients at the first samples of two pairs.
template <class T>
T cosine(const std::vector<LayerGradient<T>>& g, const std::vector<LayerGradient<T>>& other) {
  T product = T(0);
  T size = T(0);
  T other_size = T(0);
  for (std::size_t l = 0; l < g.size(); ++l) {
    product += dot(g[l].delta.at, other[l].delta.at) * dot(g[l].h.at, other[l].h.at);
    size += g[l].squared_norm();
    other_size += other[l].squared_norm();
  }
  return product / (std::sqrt(size) * std::sqrt(other_size));
}

// This is p = softmax(z) at the first sample and at the second.
template <class T>
struct Probabilities {
  Vector<T> at;
  Vector<T> beyond;
  Vector<T> by;  // their difference; empty where the step is so long that two values differ enough
};

// Returns softmax(z) of both samples. With p' ∝ p exp(dz − s), a short step changes p by
// p ∘ C e/(1 + Σ p e), e = exp(dz − s) − 1; see softmax.hpp. The shift s changes nothing, and keeps
// the exponents short.
template <class T>
Probabilities<T> softmax(const Moved<T>& z) {
  const auto of = [&](const auto& exponent) {
    Vector<T> p(z.at.size());
    T largest = exponent(0);
    for (std::size_t c = 1; c < p.size(); ++c) largest = std::max(largest, exponent(c));
    T sum = T(0);
    for (std::size_t c = 0; c < p.size(); ++c) sum += p[c] = std::exp(exponent(c) - largest);
    for (T& probability : p) probability /= sum;
    return p;
  };
  Probabilities<T> p{of([&](std::size_t c) { return z.at[c]; }),
                     of([&](std::size_t c) { return z.at[c] + z.by[c]; }),
                     {}};
  const auto [least, most] = std::ranges::minmax(z.by);
  if (!(most - least < T(1))) return p;
  const auto top = static_cast<std::size_t>(std::ranges::max_element(p.at) - p.at.begin());
  Vector<T> e(p.at.size());
  T mean = T(0);
  for (std::size_t c = 0; c < e.size(); ++c) {
    e[c] = std::expm1(z.by[c] - z.by[top]);
    mean += p.at[c] * e[c];
  }
  p.by.resize(e.size());
  for (std::size_t c = 0; c < e.size(); ++c) p.by[c] = p.at[c] * (e[c] - mean) / (T(1) + mean);
  return p;
}

// Returns Δ = p ∘ (u − ⟨p, u⟩), the same for both samples, for the unit vector u of an output.
//
// Over a long step Δ is computed at both samples: it is a product of p_c and of what is left to the
// others, which may both be near 1 at one of the samples and small beside the difference at the
// other, so that Δ' = Δ + dΔ of differences of p would have lost all digits.
template <class T>
Moved<T> softmax_delta(const Probabilities<T>& p, Index output) {
  const auto c = static_cast<std::size_t>(output);
  const auto of_others = [c](const Vector<T>& of) {  // 1 − p_c
    T sum = T(0);
    for (std::size_t k = 0; k < of.size(); ++k) sum += k == c ? T(0) : of[k];
    return sum;
  };
  const T others = of_others(p.at);
  const T others_beyond = of_others(p.beyond);
  const bool is_short = !p.by.empty();
  const T others_by = of_others(p.by);
  Moved<T> delta(static_cast<Index>(p.at.size()));
  for (std::size_t k = 0; k < p.at.size(); ++k) {
    const T size = k == c ? others : -p.at[c];
    const T size_beyond = k == c ? others_beyond : -p.beyond[c];
    delta.at[k] = p.at[k] * size;
    if (is_short) {
      delta.by[k] = p.by[k] * size_beyond + p.at[k] * (k == c ? others_by : -p.by[c]);
    } else {
      delta.by[k] = p.beyond[k] * size_beyond - delta.at[k];
    }
  }
  return delta;
}

template <class T>
Moved<T> layer_input(const Layer<T>& layer, const Moved<T>& h) {
  const bool has_bias = layer.bias != nullptr;
  Moved<T> result(h.size() + (has_bias ? 1 : 0));
  const T scale = static_cast<T>(std::sqrt(layer.kernel_weight) * layer.weight_scale);
  for (std::size_t i = 0; i < h.at.size(); ++i) {
    result.at[i] = scale * h.at[i];
    result.by[i] = scale * h.by[i];
  }
  if (has_bias) {
    result.at.back() = static_cast<T>(std::sqrt(layer.kernel_bias_weight) * layer.bias_scale);
  }
  return result;
}

// This is what a forward pass of both samples leaves.
template <class T>
struct Passed {
  std::vector<Moved<T>> hs;        // [l], l = 0 … L
  std::vector<Moved<T>> gates;     // [l − 1]: c_φ φ'(zˡ), of a softmax none
  Probabilities<T> probabilities;  // of a softmax
};

// Computes to = s · from · W, or with Wᵀ.
template <class Lane, class T>
void multiply(const Lane& lane, Op op, const Layer<T>& layer, const Vector<T>& from,
              Vector<T>& to) {
  lane.template gemm<T>(Op::none, op, static_cast<T>(layer.weight_scale), row(from), layer.weights,
                        Write::overwrite, row(to));
}

template <class Lane, class T>
Passed<T> forward(const Lane& lane, const Network<T>& network, const T* x, const T* z) {
  Passed<T> passed;
  passed.hs.emplace_back(network.input_width);
  for (Index i = 0; i < network.input_width; ++i) {
    passed.hs[0].at[static_cast<std::size_t>(i)] = x[i];
    passed.hs[0].by[static_cast<std::size_t>(i)] = z[i] - x[i];
  }
  for (Index l = 1; l <= network.readouts.front().depth; ++l) {
    const Layer<T>& layer = network.layer(l);
    Moved<T> h(layer.outputs());
    Moved<T> gate(layer.outputs());
    multiply(lane, Op::transpose, layer, passed.hs.back().at, h.at);
    multiply(lane, Op::transpose, layer, passed.hs.back().by, h.by);
    if (layer.bias != nullptr) {
      const auto bias_scale = static_cast<T>(layer.bias_scale);
      for (std::size_t i = 0; i < h.at.size(); ++i) h.at[i] += bias_scale * layer.bias[i];
    }
    if (network.is_softmax(l)) {
      passed.probabilities = softmax(h);
      break;  // they are the outputs
    }
    const T c = static_cast<T>(network.activation_scale_of(l));
    with_activation(network.activation_of(l), [&](auto phi) {
      for (std::size_t i = 0; i < h.at.size(); ++i) {
        const T at = h.at[i];
        const auto here = phi(at);
        const auto step = difference_of(phi, at, h.by[i]);
        h.at[i] = c * here.value;
        h.by[i] = c * step.value;
        gate.at[i] = c * here.slope;
        gate.by[i] = c * step.slope;
      }
    });
    passed.hs.push_back(std::move(h));
    passed.gates.push_back(std::move(gate));
  }
  return passed;
}

// Returns Δ of the highest layer that has parameters, for one output.
template <class T>
Moved<T> top_delta(const Network<T>& network, const Passed<T>& passed, Index output) {
  if (network.is_softmax(network.depth())) return softmax_delta(passed.probabilities, output);
  const auto at = static_cast<std::size_t>(output);
  Moved<T> delta(network.readouts.front().layer.outputs());
  delta.at[at] = network.has_linear_outputs() ? T(1) : passed.gates.back().at[at];
  if (!network.has_linear_outputs()) delta.by[at] = passed.gates.back().by[at];
  return delta;
}

// Returns the gradients of the chosen outputs, layer by layer, at the samples x and z.
template <class Lane, class T>
std::vector<LayerGradient<T>> gradients_of(const Lane& lane, const Network<T>& network,
                                           Range outputs, const T* x, const T* z) {
  const Readout<T>& readout = network.readouts.front();
  const Passed<T> passed = forward(lane, network, x, z);
  std::vector<LayerGradient<T>> gradients;
  for (Index output = outputs.first; output < outputs.first + outputs.count; ++output) {
    Moved<T> delta = top_delta(network, passed, output);
    const Index top = network.layers_with_parameters(readout) - 1;
    const Layer<T>* above = top == readout.depth ? &readout.layer : &network.layer(top + 1);
    for (Index l = top;; --l) {
      gradients.push_back({delta, layer_input(*above, passed.hs[static_cast<std::size_t>(l)])});
      if (l == 0) break;
      const Moved<T>& gate = passed.gates[static_cast<std::size_t>(l - 1)];
      Moved<T> next(gate.size());
      multiply(lane, Op::none, *above, delta.at, next.at);
      multiply(lane, Op::none, *above, delta.by, next.by);
      for (std::size_t i = 0; i < next.at.size(); ++i) {
        const T u = next.at[i];
        const T du = next.by[i];
        next.at[i] = gate.at[i] * u;
        next.by[i] = gate.by[i] * (u + du) + gate.at[i] * du;
      }
      delta = std::move(next);
      above = &network.layer(l);
    }
  }
  return gradients;
}

}  // namespace pair

// Returns the angle in radians between the gradients g of a network at samples x and z of so many
// numbers, where gradients_of(x, z) returns g layer by layer; it is NaN where one of them is zero,
// or so small that its square vanishes, or where one is so large that its square overflows. It is 0
// where the difference at right angles to g is so small that it has lost digits.
template <class T, class GradientsOf>
T pair_angle(Index width, const GradientsOf& gradients_of, const T* x, const T* z) {
  const auto gradients = gradients_of(x, z);
  if (pair::are_far(width, x, z)) {
    // Large angles need no differences.
    const T cosine = pair::cosine(gradients, gradients_of(z, z));
    if (std::abs(cosine) < static_cast<T>(0.99)) return std::acos(cosine);
  }
  T size = T(0);
  T along = T(0);
  for (const auto& gradient : gradients) {
    size += gradient.squared_norm();
    along += gradient.along();
  }
  const T t = along / size;
  T rest = T(0);
  for (const auto& gradient : gradients) rest = std::hypot(rest, gradient.rest(t));
  constexpr T kLeast = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
  if (!(size >= kLeast) || !(rest <= std::numeric_limits<T>::max())) {
    return std::numeric_limits<T>::quiet_NaN();
  }
  if (rest < kLeast) rest = T(0);
  // g' = (1 + t) g + rest. One that is smaller than g loses digits in the rounding of g + dg.
  const auto smaller = static_cast<T>(0.5);
  if ((T(1) + t) * (T(1) + t) * size + rest * rest < smaller * smaller * size) {
    return pair_angle(width, gradients_of, z, x);
  }
  return std::atan2(rest, (T(1) + t) * std::sqrt(size));
}

// angles[k] = the angle of pairs[k] = (i, j), rows of `samples`, where gradients_of(lane, x, z)
// returns the gradients.
template <class T, class GradientsOf>
void angles_of_pairs(const HostDevice& device, const GradientsOf& gradients_of,
                     Matrix<const T> samples, const std::vector<std::pair<Index, Index>>& pairs,
                     std::vector<T>& angles, const Monitor& monitor) {
  device.run(
      "angles", static_cast<Index>(pairs.size()), monitor, [] { return 0; },
      [&](const auto& lane, int /*no workspace*/, Index index) {
        const auto k = static_cast<std::size_t>(index);
        angles[k] = pair_angle(
            samples.cols, [&](const T* x, const T* z) { return gradients_of(lane, x, z); },
            samples.row(pairs[k].first), samples.row(pairs[k].second));
      });
}

// The same for the chosen outputs of a network, whose gradients are taken as one long vector.
template <class T>
void pair_angles(const HostDevice& device, const Network<T>& network, Range outputs,
                 Matrix<const T> samples, const std::vector<std::pair<Index, Index>>& pairs,
                 std::vector<T>& angles, const Monitor& monitor) {
  angles_of_pairs(
      device,
      [&](const auto& lane, const T* x, const T* z) {
        return pair::gradients_of(lane, network, outputs, x, z);
      },
      samples, pairs, angles, monitor);
}

}  // namespace fastntk

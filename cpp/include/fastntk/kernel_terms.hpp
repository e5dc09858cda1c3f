// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/features.hpp"

// Which sums of products of Gram matrices make up which kernel. A layer's own part of a tangent
// kernel is
//
//   ω (Δ Δᵀ) ∘ ( (σ_w²/n) H Hᵀ + σ_b² ),
//
// for the readout with Δ Δᵀ constant. What is asked for (the whole kernel, one for each layer, one
// for each output or pair of outputs, one for each depth) only decides to which result a term goes.
namespace fastntk {

// ω (scale · H Hᵀ + offset): a layer's Gram matrix for unit Δ.
template <class G>
struct LayerGram {
  G scale;
  G offset;

  template <class T>
  explicit LayerGram(const Layer<T>& layer, double multiple = 1.0)
      : scale(static_cast<G>(multiple * layer.kernel_weight * layer.weight_scale *
                             layer.weight_scale)),
        offset(static_cast<G>(layer.bias == nullptr ? 0.0
                                                    : multiple * layer.kernel_bias_weight *
                                                          layer.bias_scale * layer.bias_scale)) {}

  FASTNTK_HOST_DEVICE G operator()(G h_gram) const { return scale * h_gram + offset; }
};

template <class G>
struct Term {
  std::size_t target;  // the kernel to which it is added
  Write write;         // overwrite for the first term of a kernel
  LayerGram<G> layer;
  bool constant_delta;  // of the readout: Δ Δᵀ is in `layer` already
  Matrix<const G> x_delta;
  Matrix<const G> z_delta;
};

// A kernel is its terms: [l] are those with Hˡ. A kernel without any term is zero.
template <class G>
struct KernelTerms {
  std::vector<std::vector<Term<G>>> of_layer;
  std::vector<std::size_t> zero;  // kernels without terms
  // mirror[k] is the kernel that holds the transpose of kernel k when x and z are the same samples.
  std::vector<std::size_t> mirror;
};

enum class Split : std::uint8_t {
  none,            // one kernel for each readout, summed over the outputs
  layers,          // of the first readout, one for each layer 1 … depth + 1
  outputs,         // of the first readout, one for each output
  output_pairs,    // of the first readout, one for each ordered pair of outputs
};

template <class T>
std::size_t kernel_count(const Network<T>& network, Range outputs, Split split) {
  const auto count = static_cast<std::size_t>(outputs.count);
  switch (split) {
    case Split::none:
      return network.readouts.size();
    case Split::layers:
      return static_cast<std::size_t>(network.readouts.front().depth) + 1;
    case Split::outputs:
      return count;
    case Split::output_pairs:
      return count * count;
  }
  throw std::invalid_argument("unknown split");
}

template <class Device, class T, class G>
KernelTerms<G> kernel_terms(const Network<T>& network, Range outputs, Split split,
                            const Features<Device, G>& x, const Features<Device, G>& z) {
  const std::size_t count = kernel_count(network, outputs, split);
  KernelTerms<G> terms;
  terms.of_layer.resize(static_cast<std::size_t>(network.depth()) + 1);
  std::vector<bool> begun(count, false);
  const auto add = [&](std::size_t l, std::size_t target, LayerGram<G> layer, bool constant,
                       Matrix<const G> x_delta, Matrix<const G> z_delta) {
    const Write write = begun[target] ? Write::accumulate : Write::overwrite;
    begun[target] = true;
    terms.of_layer[l].push_back({target, write, layer, constant, x_delta, z_delta});
  };

  const bool pairs = split == Split::output_pairs;
  // Outputs that are summed are taken at once: their Δ lie side by side.
  const Index groups = split == Split::outputs || pairs ? outputs.count : 1;
  const auto delta_of = [&](const Features<Device, G>& features, std::size_t r, std::size_t l,
                            Index group) {
    const Matrix<G> all = features.deltas[r][l];
    const Index width = all.cols / groups;
    return all.col_block(group * width, width);
  };
  const std::size_t readouts = split == Split::none ? network.readouts.size() : 1;
  for (std::size_t r = 0; r < readouts; ++r) {
    const Readout<T>& readout = network.readouts[r];
    const auto depth = static_cast<std::size_t>(readout.depth);
    for (Index a = 0; a < groups; ++a) {
      for (Index b = pairs ? 0 : a; b < (pairs ? groups : a + 1); ++b) {
        const auto target = [&](std::size_t l) {
          if (split == Split::none) return r;
          if (split == Split::layers) return l;
          return static_cast<std::size_t>(pairs ? a * groups + b : a);
        };
        for (std::size_t l = 0; l < depth; ++l) {
          add(l, target(l), LayerGram<G>(network.layer(static_cast<Index>(l) + 1)), false,
              delta_of(x, r, l + 1, a), delta_of(z, r, l + 1, b));
        }
        // Different outputs share no parameter of the readout.
        if (a == b) {
          const double summed = groups == 1 ? static_cast<double>(outputs.count) : 1.0;
          add(depth, target(depth), LayerGram<G>(readout.layer, summed), true, {}, {});
        }
      }
    }
  }
  for (std::size_t k = 0; k < count; ++k) {
    if (!begun[k]) terms.zero.push_back(k);
    const auto n = static_cast<std::size_t>(groups);
    terms.mirror.push_back(pairs ? k % n * n + k / n : k);
  }
  return terms;
}

}  // namespace fastntk

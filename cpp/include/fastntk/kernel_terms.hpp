// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/features.hpp"

// This says which sums of products of Gram matrices make up which kernel. A layer's own part of a
// tangent kernel is
//
//   ω (Δ Δᵀ) ∘ ( (σ_w²/n) H Hᵀ + σ_b² ),
//
// where Δ Δᵀ is constant for the readout. That of parameters which are added to, or multiplied
// with, each element of a layer (see wired/wiring.hpp) is ω Δ Δᵀ alone. What is asked for (the
// whole kernel, one for each layer, one for each output or pair of outputs, one for each depth)
// only decides to which result a term goes.
namespace fastntk {

// For unit Δ, a layer's Gram matrix is ω (scale · H Hᵀ + offset).
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
  bool constant_h;      // of parameters without a factor H: the offset of `layer` is ω
  FeatureMatrix<G> x_delta;
  FeatureMatrix<G> z_delta;
};

// A kernel is the sum of its terms: of_layer[l] are those with Hˡ, and without_h those that have no
// such factor, which come last. A kernel without any term is zero.
template <class G>
struct KernelTerms {
  std::vector<std::vector<Term<G>>> of_layer;
  std::vector<Term<G>> without_h;
  std::vector<std::size_t> zero;    // kernels without terms
  std::vector<std::size_t> mirror;  // see kernel_mirror
};

enum class Split : std::uint8_t {
  none,          // one kernel for each readout, summed over the outputs
  layers,        // of the first readout, one for each layer that has parameters
  outputs,       // of the first readout, one for each output
  output_pairs,  // of the first readout, one for each ordered pair of outputs
};

template <class T>
std::size_t kernel_count(const Network<T>& network, Range outputs, Split split) {
  const auto count = static_cast<std::size_t>(outputs.count);
  switch (split) {
    case Split::none:
      return network.readouts.size();
    case Split::layers:
      return static_cast<std::size_t>(network.layers_with_parameters(network.readouts.front()));
    case Split::outputs:
      return count;
    case Split::output_pairs:
      return count * count;
  }
  throw std::invalid_argument("unknown split");
}

// Returns how many groups of outputs make up kernels of their own; outputs that are summed are one
// group.
inline Index output_groups(Range outputs, Split split) {
  return split == Split::outputs || split == Split::output_pairs ? outputs.count : 1;
}

// Returns, for each kernel k, which kernel holds its transpose when both sets of samples are the
// same. It is the kernel itself, except for pairs of outputs, where it is that of the pair in the
// other order.
template <class Net>
std::vector<std::size_t> kernel_mirror(const Net& network, Range outputs, Split split) {
  std::vector<std::size_t> mirror(kernel_count(network, outputs, split));
  const auto groups = static_cast<std::size_t>(output_groups(outputs, split));
  for (std::size_t k = 0; k < mirror.size(); ++k) {
    mirror[k] = split == Split::output_pairs ? k % groups * groups + k / groups : k;
  }
  return mirror;
}

// Returns the kernel to which a term of Hˡ is added, for output groups a and b of a readout.
inline std::size_t kernel_index(Split split, std::size_t readout, std::size_t l, Index groups,
                                Index a, Index b) {
  switch (split) {
    case Split::none:
      return readout;
    case Split::layers:
      return l;
    case Split::outputs:
      return static_cast<std::size_t>(a);
    case Split::output_pairs:
      return static_cast<std::size_t>(a * groups + b);
  }
  throw std::invalid_argument("unknown split");
}

// Puts the terms of several kernels together.
template <class G>
class KernelTermsBuilder {
 public:
  KernelTermsBuilder(std::size_t layers, std::size_t kernels) : begun_(kernels, false) {
    terms_.of_layer.resize(layers);
  }

  // Adds the term of a hidden layer.
  void add(std::size_t l, std::size_t target, LayerGram<G> layer, const FeatureMatrix<G>& x_delta,
           const FeatureMatrix<G>& z_delta) {
    terms_.of_layer[l].push_back({target, write(target), layer, false, false, x_delta, z_delta});
  }
  // Adds the term of parameters without a factor H; after all others.
  void add_vector(std::size_t target, LayerGram<G> layer, const FeatureMatrix<G>& x_delta,
                  const FeatureMatrix<G>& z_delta) {
    terms_.without_h.push_back({target, write(target), layer, false, true, x_delta, z_delta});
  }
  // Adds the term of a readout.
  void add_readout(std::size_t l, std::size_t target, LayerGram<G> layer) {
    terms_.of_layer[l].push_back({target, write(target), layer, true, false, {}, {}});
  }

  KernelTerms<G> finish(std::vector<std::size_t> mirror) {
    for (std::size_t k = 0; k < begun_.size(); ++k) {
      if (!begun_[k]) terms_.zero.push_back(k);
    }
    terms_.mirror = std::move(mirror);
    return std::move(terms_);
  }

 private:
  Write write(std::size_t target) {
    const Write first = begun_[target] ? Write::accumulate : Write::overwrite;
    begun_[target] = true;
    return first;
  }

  KernelTerms<G> terms_;
  std::vector<bool> begun_;
};

template <class Device, class T, class G>
KernelTerms<G> kernel_terms(const Network<T>& network, Range outputs, Split split,
                            const Features<Device, G>& x, const Features<Device, G>& z) {
  const bool pairs = split == Split::output_pairs;
  // Outputs that are summed are taken at once: their Δ lie side by side.
  const Index groups = output_groups(outputs, split);
  const auto delta_of = [groups](const FeatureMatrix<G>& all, Index group) {
    return groups == 1 ? all : all.of_output(group, groups);
  };
  const std::size_t readouts = split == Split::none ? network.readouts.size() : 1;
  KernelTermsBuilder<G> builder(static_cast<std::size_t>(network.depth()) + 1,
                                kernel_count(network, outputs, split));
  const auto add_readout = [&](std::size_t r, Index a, Index b) {
    const Readout<T>& readout = network.readouts[r];
    const auto depth = static_cast<std::size_t>(readout.depth);
    for (std::size_t l = 0; l < depth; ++l) {
      builder.add(l, kernel_index(split, r, l, groups, a, b),
                  LayerGram<G>(network.layer(static_cast<Index>(l) + 1)),
                  delta_of(x.delta(r, l + 1), a), delta_of(z.delta(r, l + 1), b));
    }
    // Different outputs share no parameter of the readout, which may have none.
    if (a != b || !network.has_linear_outputs()) return;
    const double summed = groups == 1 ? static_cast<double>(outputs.count) : 1.0;
    builder.add_readout(depth, kernel_index(split, r, depth, groups, a, b),
                        LayerGram<G>(readout.layer, summed));
  };
  for (std::size_t r = 0; r < readouts; ++r) {
    for (Index a = 0; a < groups; ++a) {
      const Range others = pairs ? Range{0, groups} : Range{a, 1};
      for (Index b = others.first; b < others.first + others.count; ++b) add_readout(r, a, b);
    }
  }
  return builder.finish(kernel_mirror(network, outputs, split));
}

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <optional>
#include <variant>
#include <vector>

#include "fastntk/features.hpp"
#include "fastntk/kernel_terms.hpp"
#include "fastntk/wired/passes.hpp"
#include "fastntk/wired/products.hpp"
#include "fastntk/wired/wiring.hpp"

// This computes the features of a network of steps, and says which kernel they make up. Of a
// weight matrix they are H, which is the same for all maps of one node, and Δ; of a gain Δ ∘ Ĥ, and
// of a shift Δ, with a gradient of which these are all.
namespace fastntk::wired {

// A layer that has parameters, and the number of what its gradients, those of the outputs of one
// network, are made of among the features.
template <class T>
struct FeatureLayer {
  const Layer<T>* layer = nullptr;
  std::size_t node = 0;      // that its step makes
  bool times_value = false;  // a gain, whose Δ is multiplied with Ĥ
  // The number of H; none of a gain or a shift, whose gradient has no such factor.
  std::optional<std::size_t> activation;
  // The number of Δ. None of a map to the outputs themselves: Δ is 1 for one of them and 0 for the
  // others.
  std::optional<std::size_t> delta;
};

// These are the features that a network has. Each of them is the number of a matrix. Networks that
// share their first steps share H, and have Δ of their own.
template <class T>
struct FeatureLayout {
  struct OfOutputs {
    std::size_t top = 0;                  // the node of the outputs
    std::vector<FeatureLayer<T>> layers;  // in the order of the parameters
    std::vector<Index> delta_widths;      // [Δ]
  };

  std::vector<std::size_t> activations;  // [H]: its node
  std::vector<OfOutputs> networks;

  explicit FeatureLayout(const Wiring<T>& wiring) {
    for (const std::size_t top : wiring.tops()) {
      OfOutputs network{top, {}, {}};
      const std::vector<bool> leads = wiring.leads_to(top);
      wiring.for_each_layer([&](std::size_t node, const Layer<T>& layer) {
        if (leads[node]) add(network, wiring, node, layer);
      });
      networks.push_back(std::move(network));
    }
  }

  // Returns the layers of the network whose outputs are the last node.
  const OfOutputs& last() const { return networks.back(); }

  std::vector<Index> activation_widths(const Wiring<T>& wiring) const {
    std::vector<Index> widths;
    widths.reserve(activations.size());
    for (const std::size_t node : activations) widths.push_back(wiring.widths[node]);
    return widths;
  }

  // Returns the columns of Δ, [network][Δ], for so many outputs.
  std::vector<std::vector<Index>> delta_widths(Index outputs) const {
    std::vector<std::vector<Index>> widths;
    for (const OfOutputs& network : networks) {
      widths.push_back(network.delta_widths);
      for (Index& width : widths.back()) width *= outputs;
    }
    return widths;
  }

 private:
  void add(OfOutputs& network, const Wiring<T>& wiring, std::size_t node, const Layer<T>& layer) {
    FeatureLayer<T> found{&layer, node, false, {}, {}};
    if (const auto* const both = std::get_if<GainShift<T>>(&wiring.step(node).operation)) {
      found.times_value = &layer == &both->gain;
    } else {
      found.activation = number_of(wiring.step(node).source);
    }
    if (!found.activation || node != network.top) {
      found.delta = network.delta_widths.size();
      network.delta_widths.push_back(layer.outputs());
    }
    network.layers.push_back(found);
  }
  std::size_t number_of(std::size_t node) {
    const auto found = std::ranges::find(activations, node);
    const auto number = static_cast<std::size_t>(found - activations.begin());
    if (found == activations.end()) activations.push_back(node);
    return number;
  }
};

// Returns the memory, in bytes, of the features of so many samples and outputs, in numbers of
// `itemsize` bytes.
template <class T>
Index feature_bytes(const Wiring<T>& wiring, Index samples, Index outputs, Index itemsize) {
  const FeatureLayout<T> layout(wiring);
  Index sum = 0;
  for (const Index width : layout.activation_widths(wiring)) sum += width;
  for (const auto& widths : layout.delta_widths(outputs)) {
    for (const Index width : widths) sum += width;
  }
  return samples * sum * itemsize;
}

// See fastntk::packed_weight_bytes. What the features are kept for makes no difference.
template <class G, class Device, class T>
Index packed_weight_bytes(const Device& device, const Wiring<T>& wiring, Index samples,
                          FeatureUse /*use*/) {
  return BlockPasses<Device, T>::packed_weight_bytes(device, wiring, Extent::to_parameters,
                                                     samples);
}

// Passes the samples (rows, d) through the network in its own precision T and keeps H and Δ in the
// precision G in which the Gram matrices will be formed, for one use.
template <class G, class Device, class T>
Features<Device, G> compute_features(const Device& device, const Wiring<T>& wiring, Range outputs,
                                     Matrix<const T> samples, FeatureUse use,
                                     const Monitor& monitor) {
  const FeatureLayout<T> layout(wiring);
  Features<Device, G> features = allocate_features<G>(device, layout.activation_widths(wiring),
                                                      {0, layout.delta_widths(outputs.count)},
                                                      outputs.count, samples.rows, use);
  const auto passes = static_cast<Index>(layout.networks.size()) * outputs.count;
  const double operations =
      static_cast<double>(samples.rows) * static_cast<double>(1 + passes) * wiring.multiply_adds();
  BlockPasses<Device, T> in_blocks(device, wiring, Extent::to_parameters, samples);
  in_blocks.run(
      "features", operations, monitor,
      [&](const auto& lane, const Workspace<Device, T>& workspace, const auto& pass, Range rows) {
        const auto keep_activation = [&](std::size_t node, Matrix<const T> values) {
          const auto found = std::ranges::find(layout.activations, node);
          if (found == layout.activations.end()) return;
          const auto number = static_cast<std::size_t>(found - layout.activations.begin());
          keep_rows(lane, features, values, rows.first, features.activations[number]);
        };
        keep_activation(0, pass.value(0));
        pass.forward(keep_activation);
        for (Index k = 0; k < passes; ++k) {
          const auto r = static_cast<std::size_t>(k / outputs.count);
          const Index c = k % outputs.count;
          const auto& [top, layers, widths] = layout.networks[r];
          pass.backward(top, outputs.first + c, [&](std::size_t node, Matrix<const T> delta) {
            for (const FeatureLayer<T>& layer : layers) {
              if (layer.node != node || !layer.delta) continue;
              Matrix<const T> factor = delta;
              if (layer.times_value) {
                const Matrix<T> product = workspace.scratch(delta.rows, delta.cols);
                const Matrix<const T> unit = pass.value(wiring.step(node).source);
                lane.for_each(delta.rows, delta.cols,
                              element::Multiply<T, Write::overwrite>{unit, delta, product});
                factor = product;
              }
              keep_rows(lane, features, factor, rows.first, features.deltas[r][*layer.delta],
                        {c, outputs.count});
            }
          });
        }
      });
  return features;
}

template <class T>
std::size_t kernel_count(const Wiring<T>& wiring, Range outputs, Split split) {
  const auto count = static_cast<std::size_t>(outputs.count);
  switch (split) {
    case Split::none:
      return wiring.tops().size();
    case Split::layers:
      return kernel_layers(wiring).size();
    case Split::outputs:
      return count;
    case Split::output_pairs:
      return count * count;
  }
  throw std::invalid_argument("unknown split");
}

// Returns the nodes whose steps have parameters: these are the layers that kernels by layer, of a
// single network, tell apart. A gain and its shift are one layer.
template <class T>
std::vector<std::size_t> kernel_layers(const Wiring<T>& wiring) {
  std::vector<std::size_t> nodes;
  wiring.for_each_layer([&](std::size_t node, const Layer<T>& /*layer*/) {
    if (nodes.empty() || nodes.back() != node) nodes.push_back(node);
  });
  return nodes;
}

// Adds the terms of a layer of a network to a kernel, for groups a and b of the outputs, of which
// there are so many.
template <class Device, class T, class G>
void add_terms(KernelTermsBuilder<G>& builder, std::size_t target, std::size_t network,
               const FeatureLayer<T>& layer, Index a, Index b, Index groups, Range outputs,
               const Features<Device, G>& x, const Features<Device, G>& z) {
  if (!layer.delta) {
    if (a != b || !layer.activation) return;  // different outputs share no parameter
    const double summed = groups == 1 ? static_cast<double>(outputs.count) : 1.0;
    builder.add_readout(*layer.activation, target, LayerGram<G>(*layer.layer, summed));
    return;
  }
  // Outputs that are summed are taken at once: their Δ lie side by side.
  const auto delta_of = [groups](const FeatureMatrix<G>& all, Index group) {
    return groups == 1 ? all : all.of_output(group, groups);
  };
  const FeatureMatrix<G> x_delta = delta_of(x.delta(network, *layer.delta), a);
  const FeatureMatrix<G> z_delta = delta_of(z.delta(network, *layer.delta), b);
  const LayerGram<G> gram(*layer.layer);
  if (layer.activation) {
    builder.add(*layer.activation, target, gram, x_delta, z_delta);
  } else {
    builder.add_vector(target, gram, x_delta, z_delta);
  }
}

template <class Device, class T, class G>
KernelTerms<G> kernel_terms(const Wiring<T>& wiring, Range outputs, Split split,
                            const Features<Device, G>& x, const Features<Device, G>& z) {
  const FeatureLayout<T> layout(wiring);
  const bool pairs = split == Split::output_pairs;
  const Index groups = output_groups(outputs, split);
  const std::vector<std::size_t> nodes = kernel_layers(wiring);
  KernelTermsBuilder<G> builder(layout.activations.size(), kernel_count(wiring, outputs, split));
  const auto add_layer = [&](std::size_t r, const FeatureLayer<T>& layer, Index a, Index b) {
    const auto at = static_cast<std::size_t>(std::ranges::find(nodes, layer.node) - nodes.begin());
    const std::size_t target = kernel_index(split, r, at, groups, a, b);
    add_terms(builder, target, r, layer, a, b, groups, outputs, x, z);
  };
  // Kernels that are split are those of the last network.
  const std::size_t first = split == Split::none ? 0 : layout.networks.size() - 1;
  // Terms are added in the order in which they will be computed: by H, and those without at last.
  const auto add_layers = [&](std::optional<std::size_t> activation) {
    for (std::size_t r = first; r < layout.networks.size(); ++r) {
      for (const FeatureLayer<T>& layer : layout.networks[r].layers) {
        if (layer.activation != activation) continue;
        for (Index a = 0; a < groups; ++a) {
          const Range others = pairs ? Range{0, groups} : Range{a, 1};
          for (Index b = others.first; b < others.first + others.count; ++b) {
            add_layer(r, layer, a, b);
          }
        }
      }
    }
  };
  for (std::size_t h = 0; h < layout.activations.size(); ++h) add_layers(h);
  add_layers({});
  return builder.finish(kernel_mirror(wiring, outputs, split));
}

}  // namespace fastntk::wired

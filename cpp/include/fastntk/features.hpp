// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/elements.hpp"
#include "fastntk/forward_backward.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/network.hpp"
#include "fastntk/panel_passes.hpp"
#include "fastntk/panels.hpp"
#include "fastntk/partition.hpp"

// A kernel needs the features of a set of samples: the factors H and Δ of the gradients ∂f/∂W = s ·
// δ ⊗ h, never the gradients themselves.
namespace fastntk {

// This holds one matrix of `rows` rows for each layer l = first … first + cols.size() − 1; the
// layers below `first` hold none, so that the index is the layer.
template <class Device, class T>
class LayerBuffers {
 public:
  LayerBuffers() = default;
  LayerBuffers(Index rows, std::size_t first, const std::vector<Index>& cols) : buffers_(first) {
    for (const Index c : cols) buffers_.emplace_back(rows, c);
  }

  std::size_t size() const { return buffers_.size(); }
  Matrix<T> operator[](std::size_t l) const { return buffers_[l].view(); }

  // Returns the same rows and columns of every layer. Where the columns of several outputs lie side
  // by side, they are those of output `output` of `outputs`.
  std::vector<Matrix<T>> views(Range rows, Index output = 0, Index outputs = 1) const {
    std::vector<Matrix<T>> result;
    for (const auto& buffer : buffers_) {
      const Matrix<T> all = buffer.view();
      const Index width = all.cols / outputs;
      result.push_back(
          all.data == nullptr ? all : all.block(rows.first, rows.count, output * width, width));
    }
    return result;
  }

 private:
  std::vector<typename Device::template Buffer<T>> buffers_;
};

// Returns n_l for l = first … last, times the number of outputs that lie side by side.
template <class T>
std::vector<Index> layer_widths(const Network<T>& network, Index first, Index last,
                                Index outputs = 1) {
  std::vector<Index> widths;
  for (Index l = first; l <= last; ++l) widths.push_back(outputs * network.width(l));
  return widths;
}

inline Index widest(const std::vector<Index>& widths) {
  return widths.empty() ? 0 : *std::ranges::max_element(widths);
}

// The features of any samples are matrices of these columns, for so many outputs.
struct FeatureWidths {
  std::vector<Index> activations;          // [l], l = 0 … L: n_l
  std::vector<std::vector<Index>> deltas;  // [readout][l − 1], l = 1 … depth: outputs · n_l

  template <class T>
  FeatureWidths(const Network<T>& network, Index outputs)
      : activations(layer_widths(network, 0, network.depth())) {
    for (const Readout<T>& readout : network.readouts) {
      deltas.push_back(layer_widths(network, 1, readout.depth, outputs));
    }
  }

  // Returns how many numbers there are for each sample.
  Index total() const {
    Index sum = std::reduce(activations.begin(), activations.end());
    for (const auto& of_readout : deltas) sum += std::reduce(of_readout.begin(), of_readout.end());
    return sum;
  }
};

// Returns the memory, in bytes, of the features of so many samples and outputs, in numbers of
// `itemsize` bytes.
template <class T>
Index feature_bytes(const Network<T>& network, Index samples, Index outputs, Index itemsize) {
  return samples * FeatureWidths(network, outputs).total() * itemsize;
}

// Features are kept for one of these: Gram matrices, for which a device may want them in panels, or
// products with the Jacobian, which read them row by row.
enum class FeatureUse : std::uint8_t { grams, products };

// This is H or Δ of all samples at a layer, as Gram matrices read it.
template <class G>
struct FeatureMatrix {
  Matrix<const G> rows;       // (samples, outputs · n_l), the outputs side by side;
  Panels<const G> in_panels;  // or, where this has data, one part for each output

  FeatureMatrix of_output(Index output, Index outputs) const {
    if (in_panels.data != nullptr) return {{}, in_panels.part(output)};
    const Index width = rows.cols / outputs;
    return {rows.col_block(output * width, width), {}};
  }
};

template <class Device, class G>
struct Features {
  Index rows = 0;
  Index outputs = 1;
  // The rows of a panel, or 0 where the matrices below are what they seem to be: row-major. In
  // panels (panels.hpp), they have as many rows more as fill the last panel.
  Index panel_rows = 0;
  LayerBuffers<Device, G> activations;  // [l]: Hˡ (rows, n_l), l = 0 … L
  // [readout][l]: Δˡ (rows, outputs · n_l), l = 1 … depth of the readout; the outputs side by side,
  // so that Δˡ Δˡᵀ is already the sum over outputs.
  std::vector<LayerBuffers<Device, G>> deltas;

  // Returns one of these matrices as panels, with one part for each of `parts` outputs.
  Panels<G> panels(const Matrix<G>& all, Index parts) const {
    return {all.data, rows, all.cols / parts, parts, panel_rows};
  }
  FeatureMatrix<G> activation(std::size_t l) const { return matrix(activations[l], 1); }
  FeatureMatrix<G> delta(std::size_t r, std::size_t l) const {
    return matrix(deltas[r][l], outputs);
  }

 private:
  FeatureMatrix<G> matrix(const Matrix<G>& all, Index parts) const {
    if (panel_rows == 0) return {all, {}};
    return {{}, panels(all, parts)};
  }
};

// A pass over a block of rows needs memory of its own. One that writes its results to their final
// place needs nothing but the slopes; a forward pass needs its activations too, and a pass forward
// and back also Δ.
template <class Device, class T>
struct SlopeWorkspace {
  LayerBuffers<Device, T> slopes;

  SlopeWorkspace(const Network<T>& network, Index rows)
      : slopes(rows, 1, layer_widths(network, 1, network.depth())) {}
};

template <class Device, class T>
struct ForwardWorkspace : SlopeWorkspace<Device, T> {
  LayerBuffers<Device, T> activations;

  ForwardWorkspace(const Network<T>& network, Index rows)
      : SlopeWorkspace<Device, T>(network, rows),
        activations(rows, 1, layer_widths(network, 1, network.depth())) {}
};

template <class Device, class T>
struct PassWorkspace : ForwardWorkspace<Device, T> {
  LayerBuffers<Device, T> deltas;

  PassWorkspace(const Network<T>& network, Index rows)
      : ForwardWorkspace<Device, T>(network, rows),
        deltas(rows, 1, layer_widths(network, 1, network.depth())) {}
};

// Layers that are kept elsewhere need no more than two places to pass through: matrices that the
// layers occupy by turns.
template <class Device, class T>
class PassingLayers {
 public:
  PassingLayers(Index rows, std::vector<Index> widths) : widths_(std::move(widths)) {
    for (auto& place : places_) place = typename Device::template Buffer<T>(rows, widest(widths_));
  }

  // Returns the first rows of each layer l = 1, 2, …; that of layer 0 is empty.
  std::vector<Matrix<T>> views(Index rows) const {
    std::vector<Matrix<T>> result(1);
    for (const Index width : widths_) {
      const Matrix<T> place = places_[result.size() % 2].view();
      result.emplace_back(place.data, rows, width);
    }
    return result;
  }

 private:
  std::vector<Index> widths_;
  std::array<typename Device::template Buffer<T>, 2> places_;
};

template <class Device, class T>
struct PassingWorkspace : SlopeWorkspace<Device, T> {
  PassingLayers<Device, T> layers;

  PassingWorkspace(const Network<T>& network, Index rows)
      : SlopeWorkspace<Device, T>(network, rows),
        layers(rows, layer_widths(network, 1, network.depth())) {}
};

// This says how wide the Δ of each readout are, the first of which has the number `first`.
struct DeltaWidths {
  std::size_t first;
  std::vector<std::vector<Index>> of_readouts;
};

// Returns of how many rows the panels are in which features lie for one use, or 0 where they lie in
// rows.
template <class G, class Device>
Index kept_panel_rows(const Device& device, FeatureUse use) {
  return use == FeatureUse::grams ? device.template panel_rows<G>() : 0;
}

// Allocates features of these widths, for so many outputs and samples.
template <class G, class Device>
Features<Device, G> allocate_features(const Device& device, const std::vector<Index>& activations,
                                      const DeltaWidths& deltas, Index outputs, Index samples,
                                      FeatureUse use) {
  Features<Device, G> features;
  features.rows = samples;
  features.outputs = outputs;
  features.panel_rows = kept_panel_rows<G>(device, use);
  const Index rows = Partition::round_up(samples, std::max<Index>(1, features.panel_rows));
  features.activations = {rows, 0, activations};
  for (const auto& widths : deltas.of_readouts) {
    features.deltas.emplace_back(rows, deltas.first, widths);
  }
  return features;
}

// Allocates the features of so many samples.
template <class G, class Device, class T>
Features<Device, G> make_features(const Device& device, const Network<T>& network, Index outputs,
                                  Index samples, FeatureUse use) {
  const FeatureWidths widths(network, outputs);
  return allocate_features<G>(device, widths.activations, {1, widths.deltas}, outputs, samples,
                              use);
}

// Keeps rows of one of several parts of a matrix of features, from sample `first` on.
template <class Lane, class Device, class T, class G>
void keep_rows(const Lane& lane, const Features<Device, G>& features, const Matrix<const T>& from,
               Index first, const Matrix<G>& kept, Range part = {0, 1}) {
  const auto [index, parts] = part;
  if constexpr (Lane::kOnHost) {
    if (features.panel_rows != 0) {
      pack(from, first, index, features.panels(kept, parts));
      return;
    }
  }
  const Index width = kept.cols / parts;
  convert(lane, from, kept.block(first, from.rows, index * width, width));
}

// These are the features of some samples on their way through the network.
template <class Device, class T, class G>
struct FeaturePasses {
  const Device& device;
  const Network<T>& network;
  Range outputs;
  Matrix<const T> samples;
  const Features<Device, G>& features;
  const Monitor& monitor;

  // Returns how many operations there are, with a backward pass for each output.
  double operations() const {
    return static_cast<double>(samples.rows) * static_cast<double>(1 + outputs.count) *
           network.multiply_adds();
  }
  // Calls work(readout number, readout, output, its number among the chosen).
  template <class F>
  void for_each_output(F work) const {
    for (std::size_t r = 0; r < network.readouts.size(); ++r) {
      for (Index c = 0; c < outputs.count; ++c) {
        work(r, network.readouts[r], outputs.first + c, c);
      }
    }
  }
  // Keeps what was computed of layer l, of one of several parts, from sample `first` on.
  template <class Lane>
  void keep(const Lane& lane, const Matrix<const T>& from, Index first,
            const LayerBuffers<Device, G>& kept, std::size_t l, Range part = {0, 1}) const {
    keep_rows(lane, features, from, first, kept[l], part);
  }
};

// Passes samples row by row.
template <class Device, class T, class G>
void pass_rows(const FeaturePasses<Device, T, G>& all) {
  const auto& features = all.features;
  const Partition blocks{all.samples.rows, all.device.row_blocks()};
  const auto run = [&](auto make_workspace, auto pass) {
    all.device.run("features", {blocks.blocks(), all.operations()}, all.monitor, make_workspace,
                   [&](const auto& lane, const auto& workspace, Index block) {
                     const Range rows = blocks[block];
                     pass(lane, workspace, rows, all.samples.row_block(rows.first, rows.count),
                          workspace.slopes.views({0, rows.count}));
                   });
  };

  if constexpr (std::is_same_v<T, G>) {
    if (features.panel_rows == 0) {  // the passes write what is kept
      run([&] { return SlopeWorkspace<Device, T>(all.network, blocks.size()); },
          [&](const auto& lane, const auto& /*workspace*/, Range rows, Matrix<const T> inputs,
              const std::vector<Matrix<T>>& slopes) {
            const auto kept = features.activations.views(rows);
            convert(lane, inputs, kept[0]);
            forward(lane, all.network, slopes, inputs, kept);
            all.for_each_output(
                [&](std::size_t r, const Readout<T>& readout, Index output, Index c) {
                  backward(lane, all.network, readout, output, slopes,
                           features.deltas[r].views(rows, c, all.outputs.count));
                });
          });
      return;
    }
  }
  run([&] { return PassingWorkspace<Device, T>(all.network, blocks.size()); },
      [&](const auto& lane, const auto& workspace, Range rows, Matrix<const T> inputs,
          const std::vector<Matrix<T>>& slopes) {
        const auto layers = workspace.layers.views(rows.count);
        all.keep(lane, inputs, rows.first, features.activations, 0);
        forward(lane, all.network, slopes, inputs, layers, [&](std::size_t l) {
          all.keep(lane, layers[l], rows.first, features.activations, l);
        });
        all.for_each_output([&](std::size_t r, const Readout<T>& readout, Index output, Index c) {
          backward(lane, all.network, readout, output, slopes, layers, [&](std::size_t l) {
            all.keep(lane, layers[l], rows.first, features.deltas[r], l, {c, all.outputs.count});
          });
        });
      });
}

// Returns the rows of a block in the layers that are kept, of a part of the outputs.
template <class T, class Device>
typename PanelPasses<T>::Layers kept_panels(const Features<Device, T>& features,
                                            const LayerBuffers<Device, T>& kept, Range part,
                                            Range block) {
  typename PanelPasses<T>::Layers layers(kept.size());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    if (kept[l].data == nullptr) continue;
    layers[l] = panel_rows_of(features.panels(kept[l], part.count).part(part.first), block);
  }
  return layers;
}

// Returns the rows of the panels in which samples pass through a network, or 0 where they pass row
// by row.
template <class T, class Device>
Index passing_panel_rows(const Device& device, const Network<T>& network) {
  if constexpr (Device::Lane::kOnHost) {
    // A softmax wants all outputs of a sample at once, which lie in several panels.
    if (!network.is_softmax(network.depth())) return device.template panel_rows<T>();
  }
  return 0;
}

// Returns whether the weights are packed for all of these blocks of samples: fewer would be done
// before that.
inline bool packs_weights_ahead(const Partition& blocks) {
  constexpr Index kWorthPacking = 8;
  return blocks.blocks() >= kWorthPacking;
}

// Returns the memory, in bytes, of the weights that are packed for the passes of so many samples,
// whose features are kept in the precision G for one use.
template <class G, class Device, class T>
Index packed_weight_bytes(const Device& device, const Network<T>& network, Index samples,
                          FeatureUse use) {
  if constexpr (Device::Lane::kOnHost) {
    const Index panel_rows = passing_panel_rows(device, network);
    if (panel_rows != 0 && packs_weights_ahead(device.template panel_blocks<T>(
                               samples, kept_panel_rows<G>(device, use)))) {
      return PackedWeights<T>::numbers(operands_of(network.hidden), panel_rows) *
             static_cast<Index>(sizeof(T));
    }
  }
  return 0;
}

// Passes samples in panels of so many rows.
template <class Device, class T, class G>
void pass_panels(const FeaturePasses<Device, T, G>& all, Index panel_rows) {
  const auto& features = all.features;
  const Partition blocks =
      all.device.template panel_blocks<T>(all.samples.rows, features.panel_rows);
  PanelPasses<T> passes(all.network, all.network.hidden, panel_rows, blocks.size(),
                        packs_weights_ahead(blocks));
  const bool in_place = std::is_same_v<T, G> && features.panel_rows == panel_rows;
  const std::vector<Index> widths = layer_widths(all.network, 1, all.network.depth());
  struct Workspace {
    typename PanelPasses<T>::Workspace pass;
    LayerBuffers<Device, T> slopes;
    // What is not kept where it is computed passes through these.
    typename Device::template Buffer<T> inputs;
    PassingLayers<Device, T> layers;
    typename Device::template Buffer<T> rows;
  };
  all.device.run(
      "features", {passes.packing_tasks() + blocks.blocks(), all.operations()}, all.monitor,
      [&] {
        const Index passing = in_place ? 0 : blocks.size();
        return Workspace{passes.make_workspace(),
                         {blocks.size(), 1, widths},
                         {passing, all.network.input_width},
                         {passing, widths},
                         {passing, widest(widths)}};
      },
      [&](const auto& lane, const Workspace& workspace, Index task) {
        if (task < passes.packing_tasks()) {
          passes.pack(task);
          return;
        }
        using Layers = typename PanelPasses<T>::Layers;
        const Range block = blocks[task - passes.packing_tasks()];
        const auto in_panels = [&](const Matrix<T>& scratch) {
          return panel_rows_of(Panels<T>(scratch.data, blocks.size(), scratch.cols, 1, panel_rows),
                               {0, block.count});
        };
        const auto all_in_panels = [&](const std::vector<Matrix<T>>& scratch) {
          Layers layers(scratch.size());
          std::ranges::transform(scratch, layers.begin(), in_panels);
          return layers;
        };
        // Returns where a pass puts its layers: the kept ones themselves, or scratch.
        const auto places = [&](const LayerBuffers<Device, G>& kept, Range part) {
          if constexpr (std::is_same_v<T, G>) {
            if (in_place) return kept_panels<T>(features, kept, part, block);
          }
          return all_in_panels(workspace.layers.views(blocks.size()));
        };
        const auto keep = [&](const PanelRows<T>& layer, const LayerBuffers<Device, G>& kept,
                              std::size_t l, Range part) {
          if (in_place) return;
          const Matrix<T> rows(workspace.rows.view().data, block.count, layer.all.cols);
          unpack<T>(layer.all, 0, rows);
          all.keep(lane, Matrix<const T>(rows), block.first, kept, l, part);
        };

        const Matrix<const T> inputs = all.samples.row_block(block.first, block.count);
        const Layers slopes = all_in_panels(workspace.slopes.views({0, blocks.size()}));
        Layers activations = places(features.activations, {0, 1});
        if (!in_place) {
          activations[0] = in_panels(workspace.inputs.view());
          all.keep(lane, inputs, block.first, features.activations, 0);
        }
        pack(inputs, in_place ? block.first : 0, 0, activations[0].all);
        passes.forward(lane, workspace.pass, activations, slopes, [&](std::size_t l) {
          keep(activations[l], features.activations, l, {0, 1});
        });
        all.for_each_output([&](std::size_t r, const Readout<T>& readout, Index output, Index c) {
          const Range part{c, all.outputs.count};
          const Layers deltas = places(features.deltas[r], part);
          passes.backward(lane, workspace.pass, {readout, output}, slopes, deltas,
                          [&](std::size_t l) { keep(deltas[l], features.deltas[r], l, part); });
        });
      });
}

// Passes the samples (rows, d) through the network in its own precision T and keeps H and Δ in the
// precision G in which the Gram matrices will be formed, for one use.
template <class G, class Device, class T>
Features<Device, G> compute_features(const Device& device, const Network<T>& network, Range outputs,
                                     Matrix<const T> samples, FeatureUse use,
                                     const Monitor& monitor) {
  Features<Device, G> features =
      make_features<G>(device, network, outputs.count, samples.rows, use);
  const FeaturePasses<Device, T, G> passes{device, network, outputs, samples, features, monitor};
  if constexpr (Device::Lane::kOnHost) {
    if (const Index panel_rows = passing_panel_rows(device, network); panel_rows != 0) {
      pass_panels(passes, panel_rows);
      return features;
    }
  }
  pass_rows(passes);
  return features;
}

}  // namespace fastntk

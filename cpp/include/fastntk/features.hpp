// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/elements.hpp"
#include "fastntk/forward_backward.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/network.hpp"
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

template <class Device, class G>
struct Features {
  Index rows = 0;
  LayerBuffers<Device, G> activations;  // [l]: Hˡ (rows, n_l), l = 0 … L
  // [readout][l]: Δˡ (rows, outputs · n_l), l = 1 … depth of the readout; the outputs side by side,
  // so that Δˡ Δˡᵀ is already the sum over outputs.
  std::vector<LayerBuffers<Device, G>> deltas;
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

// Passes the samples (rows, d) through the network in its own precision T and keeps H and Δ in the
// precision G in which the Gram matrices will be formed.
template <class G, class Device, class T>
Features<Device, G> compute_features(const Device& device, const Network<T>& network, Range outputs,
                                     Matrix<const T> samples, const Monitor& monitor) {
  constexpr bool kSame = std::is_same_v<T, G>;
  using Workspace = std::conditional_t<kSame, SlopeWorkspace<Device, T>, PassWorkspace<Device, T>>;
  const FeatureWidths widths(network, outputs.count);
  Features<Device, G> features;
  features.rows = samples.rows;
  features.activations = {samples.rows, 0, widths.activations};
  for (const auto& of_readout : widths.deltas) {
    features.deltas.emplace_back(samples.rows, 1, of_readout);
  }

  const Partition blocks{samples.rows, device.row_blocks()};
  // There is a backward pass for each output.
  const double passes = static_cast<double>(samples.rows) * static_cast<double>(1 + outputs.count);
  device.run(
      "features", {blocks.blocks(), passes * network.multiply_adds()}, monitor,
      [&] { return Workspace(network, blocks.size()); },
      [&](const auto& lane, const Workspace& workspace, Index block) {
        const Range rows = blocks[block];
        const Range scratch{0, rows.count};
        const Matrix<const T> inputs = samples.row_block(rows.first, rows.count);
        const auto slopes = workspace.slopes.views(scratch);

        const auto kept = features.activations.views(rows);
        convert(lane, inputs, kept[0]);
        if constexpr (kSame) {
          forward(lane, network, slopes, inputs, kept);
        } else {
          const auto activations = workspace.activations.views(scratch);
          forward(lane, network, slopes, inputs, activations);
          for (std::size_t l = 1; l < kept.size(); ++l) convert(lane, activations[l], kept[l]);
        }

        for (std::size_t r = 0; r < network.readouts.size(); ++r) {
          const Readout<T>& readout = network.readouts[r];
          for (Index c = 0; c < outputs.count; ++c) {
            const auto kept_deltas = features.deltas[r].views(rows, c, outputs.count);
            if constexpr (kSame) {
              backward(lane, network, readout, outputs.first + c, slopes, kept_deltas);
            } else {
              const auto deltas = workspace.deltas.views(scratch);
              backward(lane, network, readout, outputs.first + c, slopes, deltas);
              for (std::size_t l = 1; l < kept_deltas.size(); ++l) {
                convert(lane, deltas[l], kept_deltas[l]);
              }
            }
          }
        }
      });
  return features;
}

}  // namespace fastntk

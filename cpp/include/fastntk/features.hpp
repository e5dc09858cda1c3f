// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/forward_backward.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/network.hpp"
#include "fastntk/partition.hpp"

// What a kernel needs of a set of samples: the factors H and Δ of the gradients ∂f/∂W = s · δ ⊗ h,
// never the gradients themselves.
namespace fastntk {

namespace element {

template <class From, class To>
struct Convert {
  Matrix<const From> from;
  Matrix<To> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    to.data[i * to.stride + j] = static_cast<To>(from.data[i * from.stride + j]);
  }
};

template <class T>
struct Fill {
  T value;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    to.data[i * to.stride + j] = value;
  }
};

// Δ above the top layer: 1 for the chosen output and 0 for the others.
template <class T>
struct Indicator {
  Index column;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    to.data[i * to.stride + j] = j == column ? T(1) : T(0);
  }
};

}  // namespace element

// One matrix of `rows` rows for each layer l = first … first + cols.size() − 1; the layers below
// `first` hold none, so that the index is the layer.
template <class Device, class T>
class LayerBuffers {
 public:
  LayerBuffers() = default;
  LayerBuffers(Index rows, std::size_t first, const std::vector<Index>& cols) : buffers_(first) {
    for (const Index c : cols) buffers_.emplace_back(rows, c);
  }

  std::size_t size() const { return buffers_.size(); }
  Matrix<T> operator[](std::size_t l) const { return buffers_[l].view(); }

  // The same rows and columns of every layer; a layer's columns are those of output `output` of
  // `outputs` outputs that lie side by side.
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

// n_l for l = first … last, times the number of outputs that lie side by side.
template <class T>
std::vector<Index> layer_widths(const Network<T>& network, Index first, Index last,
                                Index outputs = 1) {
  std::vector<Index> widths;
  for (Index l = first; l <= last; ++l) widths.push_back(outputs * network.width(l));
  return widths;
}

template <class Device, class G>
struct Features {
  Index rows = 0;
  LayerBuffers<Device, G> activations;  // [l]: Hˡ (rows, n_l), l = 0 … L
  // [readout][l]: Δˡ (rows, outputs · n_l), l = 1 … depth of the readout; the outputs side by side,
  // so that Δˡ Δˡᵀ is already the sum over outputs.
  std::vector<LayerBuffers<Device, G>> deltas;
};

// The memory of one pass over a block of rows.
template <class Device, class T>
struct PassWorkspace {
  LayerBuffers<Device, T> activations;
  LayerBuffers<Device, T> slopes;
  LayerBuffers<Device, T> deltas;

  // A pass that writes its results to their final place needs nothing but the slopes.
  PassWorkspace(const Network<T>& network, Index rows, bool only_slopes)
      : slopes(rows, 1, layer_widths(network, 1, network.depth())) {
    if (only_slopes) return;
    activations = {rows, 1, layer_widths(network, 1, network.depth())};
    deltas = {rows, 1, layer_widths(network, 1, network.depth())};
  }
};

template <class Lane, class From, class To>
void convert(const Lane& lane, const Matrix<From>& from, const Matrix<To>& to) {
  lane.for_each(from.rows, from.cols, element::Convert<std::remove_const_t<From>, To>{from, to});
}

// Passes the samples (rows, d) through the network in its own precision T and keeps H and Δ in the
// precision G in which the Gram matrices will be formed.
template <class G, class Device, class T>
Features<Device, G> compute_features(const Device& device, const Network<T>& network, Range outputs,
                                     Matrix<const T> samples, const Monitor& monitor) {
  constexpr bool kSame = std::is_same_v<T, G>;
  Features<Device, G> features;
  features.rows = samples.rows;
  features.activations = {samples.rows, 0, layer_widths(network, 0, network.depth())};
  for (const Readout<T>& readout : network.readouts) {
    features.deltas.emplace_back(samples.rows, 1,
                                 layer_widths(network, 1, readout.depth, outputs.count));
  }

  const Partition blocks{samples.rows, device.row_blocks()};
  device.run(
      "features", blocks.blocks(), monitor,
      [&] { return PassWorkspace<Device, T>(network, blocks.size(), kSame); },
      [&](const auto& lane, const PassWorkspace<Device, T>& workspace, Index block) {
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

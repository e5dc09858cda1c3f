// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/features.hpp"

// The tangent kernel from the features. Rows of the Jacobian are outer products, so that with
// Δᴸ⁺¹ = 1
//
//   K = Σ_{l=1}^{L+1} (Δˡ Δˡᵀ) ∘ ( (σ_w²/n_{l−1}) Hˡ⁻¹ Hˡ⁻¹ᵀ + σ_b² )
//
// and no matrix with a column for each parameter is ever formed. The kernel is computed in tiles:
// two GEMMs into scratch that stays in the cache, multiplied elementwise into the result. Networks
// that share their hidden layers share the Gram matrices of Hˡ.
namespace fastntk {

// Tiles as large as the second-level cache allows: a GEMM packs its operands anew for every tile,
// and the larger the tile, the more that buys.
inline Partition tile_blocks(Index samples) { return {samples, 64, 512}; }

// The Gram matrix of a layer's own parameters for unit Δ: scale · H Hᵀ + offset.
template <class G>
struct LayerGram {
  G scale;
  G offset;

  template <class T>
  explicit LayerGram(const Layer<T>& layer)
      : scale(static_cast<G>(layer.weight_scale * layer.weight_scale)),
        offset(static_cast<G>(layer.bias == nullptr ? 0.0 : layer.bias_scale * layer.bias_scale)) {}

  FASTNTK_HOST_DEVICE G operator()(G h_gram) const { return scale * h_gram + offset; }
};

namespace element {

template <Write write, class G>
FASTNTK_HOST_DEVICE void put(G& target, G value) {
  if constexpr (write == Write::overwrite) {
    target = value;
  } else {
    target += value;
  }
}

// The term of a hidden layer: K (+)= (Δ Δᵀ) ∘ layer(H Hᵀ).
template <Write write, class G>
struct HiddenTerm {
  LayerGram<G> layer;
  Matrix<const G> h_gram;
  Matrix<const G> delta_gram;
  Matrix<G> kernel;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    put<write>(kernel.data[i * kernel.stride + j], delta_gram.data[i * delta_gram.stride + j] *
                                                       layer(h_gram.data[i * h_gram.stride + j]));
  }
};

// The term of the readout, where Δ Δᵀ is the number of outputs that are summed.
template <Write write, class G>
struct ReadoutTerm {
  LayerGram<G> layer;
  G outputs;
  Matrix<const G> h_gram;
  Matrix<G> kernel;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    put<write>(kernel.data[i * kernel.stride + j],
               outputs * layer(h_gram.data[i * h_gram.stride + j]));
  }
};

template <class G>
struct MirrorLowerTriangle {
  Matrix<G> square;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    if (j > i) square.data[i * square.stride + j] = square.data[j * square.stride + i];
  }
};

}  // namespace element

template <class Device, class G>
struct TileWorkspace {
  typename Device::template Buffer<G> h_gram;
  typename Device::template Buffer<G> delta_gram;
};

// One tile of the kernels of all readouts: rows `rows` of x against rows `cols` of z.
template <class Lane, class Device, class T, class G>
void ntk_tile(const Lane& lane, const TileWorkspace<Device, G>& workspace,
              const Network<T>& network, G outputs, const Features<Device, G>& x, Range rows,
              const Features<Device, G>& z, Range cols, const std::vector<Matrix<G>>& tiles) {
  const auto gram = [&](const Matrix<G>& a, const Matrix<G>& b, const auto& buffer) {
    const Matrix<G> result = buffer.view().block(0, rows.count, 0, cols.count);
    lane.template gemm<G>(Op::none, Op::transpose, G(1), a.row_block(rows.first, rows.count),
                          b.row_block(cols.first, cols.count), Write::overwrite, result);
    return result;
  };
  const auto add_layer = [&](auto write, std::size_t l) {
    constexpr Write kWrite = decltype(write)::value;
    const Matrix<G> h_gram = gram(x.activations[l], z.activations[l], workspace.h_gram);
    for (std::size_t r = 0; r < tiles.size() && !lane.stopped(); ++r) {
      const Readout<T>& readout = network.readouts[r];
      const Matrix<G>& tile = tiles[r];
      const auto depth = static_cast<std::size_t>(readout.depth);
      if (l < depth) {
        const LayerGram<G> layer(network.layer(static_cast<Index>(l) + 1));
        const Matrix<G> delta_gram =
            gram(x.deltas[r][l + 1], z.deltas[r][l + 1], workspace.delta_gram);
        lane.for_each(tile.rows, tile.cols,
                      element::HiddenTerm<kWrite, G>{layer, h_gram, delta_gram, tile});
      } else if (l == depth) {
        lane.for_each(
            tile.rows, tile.cols,
            element::ReadoutTerm<kWrite, G>{LayerGram<G>(readout.layer), outputs, h_gram, tile});
      }
    }
  };
  add_layer(std::integral_constant<Write, Write::overwrite>{}, 0);
  for (Index l = 1; l <= network.depth() && !lane.stopped(); ++l) {
    add_layer(std::integral_constant<Write, Write::accumulate>{}, static_cast<std::size_t>(l));
  }
}

// kernels[r] (x.rows, z.rows) = K(x, z) of the network with readout r.
template <class Device, class T, class G>
void cross_kernels(const Device& device, const Network<T>& network, Index outputs,
                   const Features<Device, G>& x, const Features<Device, G>& z,
                   const std::vector<Matrix<G>>& kernels, const Monitor& monitor) {
  const Partition row_tiles = tile_blocks(x.rows);
  const Partition col_tiles = tile_blocks(z.rows);
  device.run(
      "tiles", row_tiles.blocks() * col_tiles.blocks(), monitor,
      [&] {
        return TileWorkspace<Device, G>{{row_tiles.size(), col_tiles.size()},
                                        {row_tiles.size(), col_tiles.size()}};
      },
      [&](const auto& lane, const TileWorkspace<Device, G>& workspace, Index index) {
        const Range rows = row_tiles[index / col_tiles.blocks()];
        const Range cols = col_tiles[index % col_tiles.blocks()];
        std::vector<Matrix<G>> tiles;
        tiles.reserve(kernels.size());
        for (const Matrix<G>& kernel : kernels) {
          tiles.push_back(kernel.block(rows.first, rows.count, cols.first, cols.count));
        }
        ntk_tile(lane, workspace, network, static_cast<G>(outputs), x, rows, z, cols, tiles);
      });
}

// kernels[r] (x.rows, x.rows) = K(x, x), symmetric to the last bit: the tiles on and below the
// diagonal are computed, the others are their mirror images.
template <class Device, class T, class G>
void symmetric_kernels(const Device& device, const Network<T>& network, Index outputs,
                       const Features<Device, G>& x, const std::vector<Matrix<G>>& kernels,
                       const Monitor& monitor) {
  const Partition blocks = tile_blocks(x.rows);
  std::vector<std::pair<Index, Index>> lower;
  for (Index i = 0; i < blocks.blocks(); ++i) {
    for (Index j = 0; j <= i; ++j) lower.emplace_back(i, j);
  }
  device.run(
      "tiles", static_cast<Index>(lower.size()), monitor,
      [&] {
        return TileWorkspace<Device, G>{{blocks.size(), blocks.size()},
                                        {blocks.size(), blocks.size()}};
      },
      [&](const auto& lane, const TileWorkspace<Device, G>& workspace, Index index) {
        const auto [i, j] = lower[static_cast<std::size_t>(index)];
        const Range rows = blocks[i];
        const Range cols = blocks[j];
        std::vector<Matrix<G>> tiles;
        tiles.reserve(kernels.size());
        for (const Matrix<G>& kernel : kernels) {
          tiles.push_back(kernel.block(rows.first, rows.count, cols.first, cols.count));
        }
        ntk_tile(lane, workspace, network, static_cast<G>(outputs), x, rows, x, cols, tiles);
        for (std::size_t r = 0; r < kernels.size() && !lane.stopped(); ++r) {
          if (i == j) {
            lane.for_each(tiles[r].rows, tiles[r].cols, element::MirrorLowerTriangle<G>{tiles[r]});
          } else {
            lane.transpose(tiles[r],
                           kernels[r].block(cols.first, cols.count, rows.first, rows.count));
          }
        }
      });
}

}  // namespace fastntk

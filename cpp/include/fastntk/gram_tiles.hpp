// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <type_traits>
#include <vector>

#include "fastntk/elements.hpp"
#include "fastntk/kernel_terms.hpp"
#include "fastntk/panel_products.hpp"
#include "fastntk/symmetric_storage.hpp"

// This computes the tangent kernel from the features. Rows of the Jacobian are outer products, so
// that with
// Δᴸ⁺¹ = 1
//
//   K = Σ_{l=1}^{L+1} (Δˡ Δˡᵀ) ∘ ( (σ_w²/n_{l−1}) Hˡ⁻¹ Hˡ⁻¹ᵀ + σ_b² )
//
// and no matrix with a column for each parameter is ever formed. The kernel is computed in tiles:
// two Gram matrices in scratch that stays in the cache, multiplied elementwise into the result. On
// processors that panel_products.hpp was written for, they are products of features that lie in
// panels; elsewhere GEMM forms them. Kernels that are asked for together share those of Hˡ.
namespace fastntk {

namespace element {

// The term of a hidden layer is K (+)= (Δ Δᵀ) ∘ layer(H Hᵀ).
template <Write write, class G>
struct HiddenTerm {
  LayerGram<G> layer;
  Matrix<const G> h_gram;
  Matrix<const G> delta_gram;
  Matrix<G> kernel;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    put<write>(kernel(i, j), delta_gram(i, j) * layer(h_gram(i, j)));
  }
};

// The term of a readout is K (+)= layer(H Hᵀ).
template <Write write, class G>
struct ReadoutTerm {
  LayerGram<G> layer;
  Matrix<const G> h_gram;
  Matrix<G> kernel;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    put<write>(kernel(i, j), layer(h_gram(i, j)));
  }
};

// The term of parameters without a factor H is K (+)= ω Δ Δᵀ.
template <Write write, class G>
struct VectorTerm {
  LayerGram<G> layer;
  Matrix<const G> delta_gram;
  Matrix<G> kernel;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    put<write>(kernel(i, j), layer.offset * delta_gram(i, j));
  }
};

// Fills the triangle above the diagonal of `square` with what `lower` holds at the mirrored places.
// With `above` = 1 the diagonal is left as it is; with 0 it is copied too.
template <class G>
struct MirrorLowerTriangle {
  Index above;
  Matrix<const G> lower;
  Matrix<G> square;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    if (j >= i + above) square(i, j) = lower(j, i);
  }
};

}  // namespace element

// Adds the term to the kernel, or puts it there, given those of H Hᵀ and Δ Δᵀ that it is made of,
// at the same places.
template <class Lane, class G>
void add_term(const Lane& lane, const Term<G>& term, const Matrix<G>& h_gram,
              const Matrix<G>& delta_gram, const Matrix<G>& kernel) {
  const auto add = [&](auto write) {
    constexpr Write kWrite = decltype(write)::value;
    if (term.constant_delta) {
      lane.for_each(kernel.rows, kernel.cols,
                    element::ReadoutTerm<kWrite, G>{term.layer, h_gram, kernel});
    } else if (term.constant_h) {
      lane.for_each(kernel.rows, kernel.cols,
                    element::VectorTerm<kWrite, G>{term.layer, delta_gram, kernel});
    } else {
      lane.for_each(kernel.rows, kernel.cols,
                    element::HiddenTerm<kWrite, G>{term.layer, h_gram, delta_gram, kernel});
    }
  };
  if (term.write == Write::overwrite) {
    add(std::integral_constant<Write, Write::overwrite>{});
  } else {
    add(std::integral_constant<Write, Write::accumulate>{});
  }
}

// dots (rows.count, 1) = the squared norms of these rows.
template <class Lane, class G>
void squared_norms(const Lane& lane, const FeatureMatrix<G>& all, Range rows,
                   const Matrix<G>& workspace, const Matrix<G>& dots) {
  if constexpr (Lane::kOnHost) {
    const Index block = all.in_panels.panel_rows;
    if (block != 0) {  // the diagonal of a Gram matrix, to its bits
      for (Index i = 0; i < rows.count; i += block) {
        const Range some{rows.first + i, std::min(block, rows.count - i)};
        const Matrix<G> square =
            multiply_panels(all.in_panels, some, all.in_panels, some, true, workspace);
        for (Index k = 0; k < some.count; ++k) dots(i + k, 0) = square(k, k);
      }
      return;
    }
  }
  const auto part = all.rows.row_block(rows.first, rows.count);
  lane.row_dots(G(1), part, part, Write::overwrite, dots);
}

template <class Device, class G>
struct TileWorkspace {
  typename Device::template Buffer<G> h_gram;
  typename Device::template Buffer<G> delta_gram;

  // Tiles of so many rows and columns, and what else the panels hold in which these lie.
  TileWorkspace(const Features<Device, G>& x, Index rows, Index cols)
      : h_gram(rows + 2 * x.panel_rows, cols + 2 * x.panel_rows),
        delta_gram(rows + 2 * x.panel_rows, cols + 2 * x.panel_rows) {}
};

// Returns the Gram matrix of these rows of a and of b, which lies in the workspace. With `lower`,
// these are the same rows of the same features, and nothing but the lower triangle is wanted.
template <class Lane, class G>
Matrix<G> gram(const Lane& lane, const FeatureMatrix<G>& a, Range rows, const FeatureMatrix<G>& b,
               Range cols, bool lower, const Matrix<G>& workspace) {
  if constexpr (Lane::kOnHost) {
    if (a.in_panels.data != nullptr) {
      return multiply_panels(a.in_panels, rows, b.in_panels, cols, lower, workspace);
    }
  }
  const Matrix<G> result = workspace.block(0, rows.count, 0, cols.count);
  lane.template gemm<G>(Op::none, Op::transpose, G(1), a.rows.row_block(rows.first, rows.count),
                        b.rows.row_block(cols.first, cols.count), Write::overwrite, result);
  return result;
}

// This is where a tile of a kernel lies: at rows `rows` of x and `cols` of z. One on the diagonal
// has the same rows of the same samples, and nothing but its lower triangle is wanted.
struct TilePlace {
  Range rows;
  Range cols;
  bool diagonal = false;
};

// Computes one tile of all kernels.
template <class Lane, class Device, class G>
void ntk_tile(const Lane& lane, const TileWorkspace<Device, G>& workspace,
              const KernelTerms<G>& terms, const Features<Device, G>& x,
              const Features<Device, G>& z, const TilePlace& place,
              const std::vector<Matrix<G>>& tiles) {
  const auto products = [&](const FeatureMatrix<G>& a, const FeatureMatrix<G>& b,
                            const auto& buffer) {
    return gram(lane, a, place.rows, b, place.cols, place.diagonal, buffer.view());
  };
  for (std::size_t l = 0; l < terms.of_layer.size(); ++l) {
    if (terms.of_layer[l].empty()) continue;
    const Matrix<G> h_gram = products(x.activation(l), z.activation(l), workspace.h_gram);
    for (const Term<G>& term : terms.of_layer[l]) {
      if (lane.stopped()) return;
      Matrix<G> delta_gram;
      if (!term.constant_delta) {
        delta_gram = products(term.x_delta, term.z_delta, workspace.delta_gram);
      }
      add_term(lane, term, h_gram, delta_gram, tiles[term.target]);
    }
  }
  for (const Term<G>& term : terms.without_h) {
    if (lane.stopped()) return;
    const Matrix<G> delta_gram = products(term.x_delta, term.z_delta, workspace.delta_gram);
    add_term(lane, term, {}, delta_gram, tiles[term.target]);
  }
  for (const std::size_t k : terms.zero) {
    lane.for_each(tiles[k].rows, tiles[k].cols, element::Fill<G>{G(0), tiles[k]});
  }
}

// Returns the tile (rows, cols) of each of several matrices.
template <class G>
std::vector<Matrix<G>> tiles_of(const std::vector<Matrix<G>>& matrices, Range rows, Range cols) {
  std::vector<Matrix<G>> tiles;
  tiles.reserve(matrices.size());
  for (const Matrix<G>& matrix : matrices) {
    tiles.push_back(matrix.block(rows.first, rows.count, cols.first, cols.count));
  }
  return tiles;
}

// Returns about how many multiplications and additions the kernels take for each pair of samples.
template <class Device, class G>
double operations_of_pair(const KernelTerms<G>& terms, const Features<Device, G>& x) {
  const auto width = [](const FeatureMatrix<G>& features) {
    const Panels<const G>& panels = features.in_panels;
    return panels.data == nullptr ? features.rows.cols : panels.parts * panels.cols;
  };
  Index count = 0;
  for (std::size_t l = 0; l < terms.of_layer.size(); ++l) {
    if (terms.of_layer[l].empty()) continue;
    count += width(x.activation(l));
    for (const Term<G>& term : terms.of_layer[l]) {
      count += term.constant_delta ? 1 : 1 + width(term.x_delta);
    }
  }
  for (const Term<G>& term : terms.without_h) count += 1 + width(term.x_delta);
  return static_cast<double>(count);
}

// Returns how large tiles may be: those of panels, which are packed already, need not be large.
template <class Device, class G>
BlockLimits tile_limits(const Device& device, const Features<Device, G>& features) {
  if constexpr (requires { device.panel_tile_blocks(); }) {
    if (features.panel_rows != 0) return device.panel_tile_blocks();
  }
  return device.tile_blocks();
}

// Returns all tiles.
template <class Blocks>
std::vector<TilePlace> all_tiles(const Blocks& row_blocks, const Blocks& col_blocks) {
  std::vector<TilePlace> tiles;
  tiles.reserve(static_cast<std::size_t>(row_blocks.blocks() * col_blocks.blocks()));
  for (Index i = 0; i < row_blocks.blocks(); ++i) {
    for (Index j = 0; j < col_blocks.blocks(); ++j) tiles.push_back({row_blocks[i], col_blocks[j]});
  }
  return tiles;
}

// kernels[k] (x_rows.count, z_rows.count) = K(x, z) at these rows, for each of the kernels that the
// terms make up.
template <class Device, class G>
void cross_kernels(const Device& device, const KernelTerms<G>& terms, const Features<Device, G>& x,
                   Range x_rows, const Features<Device, G>& z, Range z_rows,
                   const std::vector<Matrix<G>>& kernels, const Monitor& monitor) {
  const BlockLimits limits = tile_limits(device, x);
  const Partition row_blocks{x_rows.count, limits};
  const Partition col_blocks{z_rows.count, limits};
  const auto all = all_tiles(row_blocks, col_blocks);
  device.run(
      "tiles",
      {static_cast<Index>(all.size()),
       static_cast<double>(x_rows.count * z_rows.count) * operations_of_pair(terms, x)},
      monitor, [&] { return TileWorkspace<Device, G>(x, row_blocks.size(), col_blocks.size()); },
      [&](const auto& lane, const TileWorkspace<Device, G>& workspace, Index index) {
        const auto& [rows, cols, diagonal] = all[static_cast<std::size_t>(index)];
        ntk_tile(lane, workspace, terms, x, z,
                 {{x_rows.first + rows.first, rows.count}, {z_rows.first + cols.first, cols.count}},
                 tiles_of(kernels, rows, cols));
      });
}

// Returns the tiles on and below the diagonal. Half of a tile on the diagonal would be computed in
// vain by a GEMM: such a tile is cut into two smaller ones and what lies below them. Products of
// panels compute no more than the lower triangle.
template <class Device, class G, class Blocks>
std::vector<TilePlace> lower_tiles(const Features<Device, G>& features, const Blocks& blocks) {
  const Index uncut = features.panel_rows == 0 ? 256 : blocks.size();
  std::vector<TilePlace> tiles;
  for (Index i = 0; i < blocks.blocks(); ++i) {
    for (Index j = 0; j < i; ++j) tiles.push_back({blocks[i], blocks[j], false});
    const auto [first, count] = blocks[i];
    if (count <= uncut) {
      tiles.push_back({blocks[i], blocks[i], true});
      continue;
    }
    const Range upper{first, count / 2};
    const Range lower{first + count / 2, count - count / 2};
    tiles.push_back({upper, upper, true});
    tiles.push_back({lower, upper, false});
    tiles.push_back({lower, lower, true});
  }
  return tiles;
}

// kernels[k] = K(x, x) at the chosen rows, symmetric to the last bit: the tiles on and below the
// diagonal are computed, the others are their mirror images.
template <class Device, class G>
void symmetric_kernels(const Device& device, const KernelTerms<G>& terms,
                       const Features<Device, G>& x, Range chosen,
                       const std::vector<Matrix<G>>& kernels, const Monitor& monitor) {
  const Partition blocks{chosen.count, tile_limits(device, x)};
  const auto lower = lower_tiles(x, blocks);
  device.run(
      "tiles",
      {static_cast<Index>(lower.size()), elements_of(chosen.count) * operations_of_pair(terms, x)},
      monitor, [&] { return TileWorkspace<Device, G>(x, blocks.size(), blocks.size()); },
      [&](const auto& lane, const TileWorkspace<Device, G>& workspace, Index index) {
        const auto& [rows, cols, diagonal] = lower[static_cast<std::size_t>(index)];
        const std::vector<Matrix<G>> tiles = tiles_of(kernels, rows, cols);
        ntk_tile(lane, workspace, terms, x, x,
                 {{chosen.first + rows.first, rows.count},
                  {chosen.first + cols.first, cols.count},
                  diagonal},
                 tiles);
        // NOLINTNEXTLINE(readability-suspicious-call-argument): the mirrored place
        const std::vector<Matrix<G>> mirrored = tiles_of(kernels, cols, rows);
        for (std::size_t k = 0; k < kernels.size() && !lane.stopped(); ++k) {
          const Matrix<G>& image = mirrored[terms.mirror[k]];
          if (diagonal) {
            // If two kernels mirror each other, the first also gives the diagonal of the second.
            const Index above = k < terms.mirror[k] ? 0 : 1;
            lane.for_each(image.rows, image.cols,
                          element::MirrorLowerTriangle<G>{above, tiles[k], image});
          } else {
            lane.transpose(tiles[k], image);
          }
        }
      });
}

// Computes the lower triangle of K(x, x) in the layout of `kernel`; nothing else is written.
template <class Device, class G>
void lower_kernel(const Device& device, const KernelTerms<G>& terms, const Features<Device, G>& x,
                  const SymmetricStorage<G>& kernel, const Monitor& monitor) {
  const HalvedPartition blocks{x.rows, tile_limits(device, x)};
  const auto lower = lower_tiles(x, blocks);
  struct Workspace {
    TileWorkspace<Device, G> gram;
    typename Device::template Buffer<G> square;  // a tile on the diagonal, with its upper triangle
  };
  device.run(
      "tiles",
      {static_cast<Index>(lower.size()), elements_of(x.rows) * operations_of_pair(terms, x)},
      monitor,
      [&] { return Workspace{{x, blocks.size(), blocks.size()}, {blocks.size(), blocks.size()}}; },
      [&](const auto& lane, const Workspace& workspace, Index index) {
        const auto& [rows, cols, diagonal] = lower[static_cast<std::size_t>(index)];
        const StoredTile<G> target = kernel.tile(rows, cols);
        if (diagonal) {
          const Matrix<G> square = workspace.square.view().block(0, rows.count, 0, rows.count);
          ntk_tile(lane, workspace.gram, terms, x, x, {rows, rows, true}, {square});
          store_triangle(lane, square, target);
        } else if (target.transposed) {
          ntk_tile(lane, workspace.gram, terms, x, x, {cols, rows}, {target.data});
        } else {
          ntk_tile(lane, workspace.gram, terms, x, x, {rows, cols}, {target.data});
        }
      });
}

}  // namespace fastntk

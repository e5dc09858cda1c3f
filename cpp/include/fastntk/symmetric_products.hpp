// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/elements.hpp"
#include "fastntk/finished.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/symmetric_storage.hpp"

// This multiplies with, and solves for, symmetric and triangular matrices, for a few vectors at
// once: the columns of V (n, k). The work is bound by memory: each tile is read once, and what is
// done with it a second time finds it in the cache.
namespace fastntk {

// A tile fits into the second-level cache.
inline HalvedPartition product_blocks(Index n) { return {n, {64, 256}}; }

// to (+)= alpha · tile · vectors, or tileᵀ · vectors.
template <class T, class Lane>
void add_tile_product(const Lane& lane, T alpha, const StoredTile<const T>& tile, bool transpose,
                      ConstMatrix<T> vectors, const Matrix<T>& to) {
  lane.template gemm<T>(tile.transposed == transpose ? Op::none : Op::transpose, Op::none, alpha,
                        tile.data, vectors, Write::accumulate, to);
}

namespace element {

template <class T>
struct SumOfParts {
  const T* parts;
  Index count;
  Index size;  // of one part
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    const Index at = i * to.cols + j;
    T sum = parts[at];
    for (Index p = 1; p < count; ++p) sum += parts[p * size + at];
    to(i, j) = sum;
  }
};

}  // namespace element

// out (n, k) = K V, from the lower triangle of K. The tiles are shared out to a fixed number of
// parts, each with a sum of its own, which are added up in the same order for any number of lanes.
template <class Device, class T>
void symmetric_product(const Device& device, const SymmetricStorage<const T>& matrix,
                       Matrix<const T> vectors, Matrix<T> out, const Monitor& monitor) {
  const HalvedPartition blocks = product_blocks(matrix.n());
  const std::vector<BlockPair> pairs = lower_block_pairs(blocks.blocks());
  const auto tiles = static_cast<Index>(pairs.size());
  const Index parts = std::min<Index>(16, tiles);
  const Index n = vectors.rows;
  const Index k = vectors.cols;
  using Buffer = typename Device::template Buffer<T>;
  const Buffer sums(parts * n, k);
  device.run(
      "product", {parts, elements_of(n) * static_cast<double>(k)}, monitor,
      [&] { return Buffer(blocks.size(), blocks.size()); },
      [&](const auto& lane, const Buffer& workspace, Index part) {
        const Matrix<T> sum = sums.view().row_block(part * n, n);
        lane.for_each(n, k, element::Fill<T>{T(0), sum});
        for (Index t = part * tiles / parts; t < (part + 1) * tiles / parts; ++t) {
          if (lane.stopped()) return;
          const auto [i, j] = pairs[static_cast<std::size_t>(t)];
          const Range rows = blocks[i];
          const Range cols = blocks[j];
          const StoredTile<const T> tile = matrix.tile(rows, cols);
          const Matrix<T> sum_of_rows = sum.row_block(rows.first, rows.count);
          const Matrix<const T> at_cols = vectors.row_block(cols.first, cols.count);
          if (i == j) {
            const Matrix<T> whole = workspace.view().block(0, rows.count, 0, rows.count);
            complete_triangle(lane, tile, true, whole);
            add_tile_product<T>(lane, T(1), {whole, false}, false, at_cols, sum_of_rows);
          } else {
            add_tile_product<T>(lane, T(1), tile, false, at_cols, sum_of_rows);
            add_tile_product<T>(lane, T(1), tile, true, vectors.row_block(rows.first, rows.count),
                                sum.row_block(cols.first, cols.count));
          }
        }
      });
  device.run(
      "sum", {blocks.blocks(), static_cast<double>(parts * n * k)}, monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index block) {
        const auto [first, count] = blocks[block];
        lane.for_each(count, k,
                      element::SumOfParts<T>{sums.view().row(first), parts, n * k,
                                             out.row_block(first, count)});
      });
}

// vectors (n, k) = L⁻¹ vectors, or L⁻ᵀ vectors. A task solves for one block of rows and waits for
// those it needs, in order: the sums of one block overlap with the end of the block before it.
template <class Device>
void triangular_solve(const Device& device, const SymmetricStorage<const double>& factor,
                      bool transpose, Matrix<double> vectors, const Monitor& monitor) {
  const HalvedPartition blocks = product_blocks(factor.n());
  const Index count = blocks.blocks();
  Finished finished(count);
  const auto block_of = [&](Index task) { return transpose ? count - 1 - task : task; };
  device.run(
      transpose ? "backward solve" : "forward solve",
      {count, elements_of(vectors.rows) * static_cast<double>(vectors.cols)}, monitor,
      [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index task) {
        const Range own = blocks[block_of(task)];
        const Matrix<double> target = vectors.row_block(own.first, own.count);
        for (Index earlier = 0; earlier < task; ++earlier) {
          if (!finished.wait(lane, earlier) || lane.stopped()) return;
          const Range other = blocks[block_of(earlier)];
          const StoredTile<const double> tile =
              transpose ? factor.tile(other, own) : factor.tile(own, other);
          add_tile_product<double>(lane, -1.0, tile, transpose,
                                   vectors.row_block(other.first, other.count), target);
        }
        const StoredTile<const double> diagonal = factor.tile(own, own);
        lane.trsm(Side::left, diagonal.transposed ? Triangle::upper : Triangle::lower,
                  diagonal.transposed == transpose ? Op::none : Op::transpose, diagonal.data,
                  target);
        finished.mark(task);
      });
}

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/elements.hpp"
#include "fastntk/few_vectors.hpp"
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

// to = fromᵀ, where one of both has few rows.
template <class T>
void transpose_few(ConstMatrix<T> from, Matrix<T> to) {
  for (Index i = 0; i < to.rows; ++i) {
    for (Index j = 0; j < to.cols; ++j) to(i, j) = from(j, i);
  }
}

namespace element {

// The elements of a part are so far apart.
template <class T>
struct SumOfParts {
  const T* parts;
  Index row_stride;
  Index col_stride;
  Index count;
  Index size;  // of one part
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    const Index at = i * row_stride + j * col_stride;
    T sum = parts[at];
    for (Index p = 1; p < count; ++p) sum += parts[p * size + at];
    to(i, j) = sum;
  }
};

}  // namespace element

// sums += what the tile at these places gives for all vectors, which are rows.
template <class T>
void add_few_products(const StoredTile<const T>& tile, Range rows, Range cols,
                      Matrix<const T> vectors, Matrix<T> sums) {
  if (rows.first == cols.first) {
    few_vectors::multiply_diagonal<T>(tile, vectors.col_block(cols.first, cols.count),
                                      sums.col_block(rows.first, rows.count));
    return;
  }
  if (tile.transposed) std::swap(rows, cols);
  few_vectors::multiply_tile<true, true, T>(
      tile.data,
      {T(1), vectors.col_block(cols.first, cols.count), sums.col_block(rows.first, rows.count)},
      {T(1), vectors.col_block(rows.first, rows.count), sums.col_block(cols.first, cols.count)});
}

// The same for vectors that are columns; the workspace has room for a whole tile.
template <class T, class Lane>
void add_many_products(const Lane& lane, const StoredTile<const T>& tile, Range rows, Range cols,
                       Matrix<const T> vectors, Matrix<T> sums, Matrix<T> workspace) {
  const Matrix<T> sums_of_rows = sums.row_block(rows.first, rows.count);
  const Matrix<const T> at_cols = vectors.row_block(cols.first, cols.count);
  if (rows.first == cols.first) {
    const Matrix<T> whole = workspace.block(0, rows.count, 0, rows.count);
    complete_triangle(lane, tile, true, whole);
    add_tile_product<T>(lane, T(1), {whole, false}, false, at_cols, sums_of_rows);
    return;
  }
  add_tile_product<T>(lane, T(1), tile, false, at_cols, sums_of_rows);
  add_tile_product<T>(lane, T(1), tile, true, vectors.row_block(rows.first, rows.count),
                      sums.row_block(cols.first, cols.count));
}

// What is done with an element takes so much less than a nanosecond.
constexpr double kElementsPerOperation = 8;

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
  const bool few = k <= few_vectors::kMost;
  using Buffer = typename Device::template Buffer<T>;
  const Buffer sums(few ? parts * k : parts * n, few ? n : k);
  const Buffer turned(few ? k : 0, n);
  if (few) transpose_few<T>(vectors, turned.view());
  device.run(
      "product",
      {parts, elements_of(n) * static_cast<double>(k) / (few ? kElementsPerOperation : 1)}, monitor,
      [&] { return Buffer(few ? 0 : blocks.size(), blocks.size()); },
      [&](const auto& lane, const Buffer& workspace, Index part) {
        const Index rows = few ? k : n;
        const Matrix<T> sum = sums.view().row_block(part * rows, rows);
        lane.for_each(sum.rows, sum.cols, element::Fill<T>{T(0), sum});
        for (Index t = part * tiles / parts; t < (part + 1) * tiles / parts; ++t) {
          if (lane.stopped()) return;
          const auto [i, j] = pairs[static_cast<std::size_t>(t)];
          const StoredTile<const T> tile = matrix.tile(blocks[i], blocks[j]);
          if (few) {
            add_few_products<T>(tile, blocks[i], blocks[j], turned.view(), sum);
          } else {
            add_many_products<T>(lane, tile, blocks[i], blocks[j], vectors, sum, workspace.view());
          }
        }
      });
  device.run(
      "sum", {blocks.blocks(), static_cast<double>(parts * n * k)}, monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index block) {
        const auto [first, count] = blocks[block];
        const Index row_stride = few ? 1 : k;
        lane.for_each(
            count, k,
            element::SumOfParts<T>{sums.view().data + first * row_stride, row_stride, few ? n : 1,
                                   parts, n * k, out.row_block(first, count)});
      });
}

// out (m, k) = A V for a matrix A (m, n) and a few vectors V (n, k), or Aᵀ V for one of (n, m). A
// task has some rows of A, or some columns: what it makes of them does not depend on the others.
template <class Device>
void few_products(const Device& device, Matrix<const double> matrix, bool transpose,
                  Matrix<const double> vectors, Matrix<double> out, const Monitor& monitor) {
  const Index k = vectors.cols;
  const typename Device::template Buffer<double> given(k, vectors.rows);
  const typename Device::template Buffer<double> sums(k, out.rows);
  transpose_few<double>(vectors, given.view());
  // Of rows that are cut into short pieces, each piece is read from memory as if by itself.
  const Partition parts(out.rows, transpose ? BlockLimits{512, 512} : BlockLimits{64, 256});
  device.run(
      "product",
      {parts.blocks(), static_cast<double>(matrix.rows) * static_cast<double>(matrix.cols) *
                           static_cast<double>(k) / kElementsPerOperation},
      monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index part) {
        const auto [first, count] = parts[part];
        const Matrix<double> sum = sums.view().col_block(first, count);
        lane.for_each(sum.rows, sum.cols, element::Fill<double>{0.0, sum});
        // Other vectors find what they are multiplied with in the second-level cache.
        constexpr Index kTogether = 64;
        const Index rows = transpose ? matrix.rows : count;
        for (Index row = 0; row < rows; row += kTogether) {
          if (lane.stopped()) return;
          const Index some = std::min(kTogether, rows - row);
          if (transpose) {
            few_vectors::multiply_tile<false, true, double>(
                matrix.block(row, some, first, count), {},
                {1.0, given.view().col_block(row, some), sum});
          } else {
            few_vectors::multiply_tile<true, false, double>(
                matrix.row_block(first + row, some), {1.0, given.view(), sum.col_block(row, some)},
                {});
          }
        }
      });
  transpose_few<double>(sums.view(), out);
}

// target −= tile · vectors, or tileᵀ · vectors; few vectors are rows, many are columns.
template <class Lane>
void subtract_products(const Lane& lane, const StoredTile<const double>& tile, bool transpose,
                       bool few, Matrix<const double> vectors, Matrix<double> target) {
  if (!few) {
    add_tile_product<double>(lane, -1.0, tile, transpose, vectors, target);
  } else if (tile.transposed == transpose) {
    few_vectors::multiply_tile<true, false, double>(tile.data, {-1.0, vectors, target}, {});
  } else {
    few_vectors::multiply_tile<false, true, double>(tile.data, {}, {-1.0, vectors, target});
  }
}

// target = L⁻¹ target, or L⁻ᵀ target, for a tile on the diagonal.
template <class Lane>
void solve_block(const Lane& lane, const StoredTile<const double>& diagonal, bool transpose,
                 bool few, Matrix<double> target) {
  if (few) {
    few_vectors::solve_diagonal<double>(diagonal, transpose, target);
  } else {
    lane.trsm(Side::left, diagonal.transposed ? Triangle::upper : Triangle::lower,
              diagonal.transposed == transpose ? Op::none : Op::transpose, diagonal.data, target);
  }
}

// vectors (n, k) = L⁻¹ vectors, or L⁻ᵀ vectors. A task solves for one block of rows and waits for
// those it needs, in order: the sums of one block overlap with the end of the block before it.
template <class Device>
void triangular_solve(const Device& device, const SymmetricStorage<const double>& factor,
                      bool transpose, Matrix<double> vectors, const Monitor& monitor) {
  const HalvedPartition blocks = product_blocks(factor.n());
  const Index count = blocks.blocks();
  const bool few = vectors.cols <= few_vectors::kMost;
  const typename Device::template Buffer<double> turned(few ? vectors.cols : 0, vectors.rows);
  if (few) transpose_few<double>(vectors, turned.view());
  Finished finished(count);
  const auto block_of = [&](Index task) { return transpose ? count - 1 - task : task; };
  const auto vectors_at = [&](Range range) {
    return few ? turned.view().col_block(range.first, range.count)
               : vectors.row_block(range.first, range.count);
  };
  device.run(
      transpose ? "backward solve" : "forward solve",
      {count, elements_of(vectors.rows) * static_cast<double>(vectors.cols) /
                  (few ? kElementsPerOperation : 1)},
      monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index task) {
        const Range own = blocks[block_of(task)];
        const Matrix<double> target = vectors_at(own);
        for (Index earlier = 0; earlier < task; ++earlier) {
          if (!finished.wait(lane, earlier) || lane.stopped()) return;
          const Range other = blocks[block_of(earlier)];
          subtract_products(lane, transpose ? factor.tile(other, own) : factor.tile(own, other),
                            transpose, few, vectors_at(other), target);
        }
        solve_block(lane, factor.tile(own, own), transpose, few, target);
        finished.mark(task);
      });
  if (few) transpose_few<double>(turned.view(), vectors);
}

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/finished.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/symmetric_storage.hpp"

// This computes the Cholesky decomposition K = L Lᵀ, tile by tile and in place.
namespace fastntk {

// The matrix has a pivot, counted from 0, that is not positive and finite.
class NotPositiveDefinite : public std::runtime_error {
 public:
  explicit NotPositiveDefinite(Index pivot)
      : std::runtime_error("pivot " + std::to_string(pivot) + " is not positive"), pivot_(pivot) {}
  Index pivot() const { return pivot_; }

 private:
  Index pivot_;
};

// Blocks are large enough for GEMM to be efficient, and small enough for the last tiles, which have
// to wait for each other, not to matter.
inline HalvedPartition cholesky_blocks(Index n) { return {n, {64, 512}}; }

// c −= a bᵀ
template <class Lane>
void subtract_product(const Lane& lane, StoredTile<const double> a, StoredTile<const double> b,
                      StoredTile<double> c) {
  if (c.transposed) std::swap(a, b);
  lane.template gemm<double>(a.transposed ? Op::transpose : Op::none,
                             b.transposed ? Op::none : Op::transpose, -1.0, a.data, b.data,
                             Write::accumulate, c.data);
}

// tile = tile L⁻ᵀ, with a lower triangle L. It is solved for in halves, because GEMM is several
// times as fast as the triangular solves of most BLAS.
template <class Lane>
void solve_tile(const Lane& lane, const StoredTile<const double>& triangle,
                const StoredTile<double>& tile) {
  constexpr Index kWhole = 64;
  const Index count = triangle.data.rows;
  if (count > kWhole) {
    const Range rows{0, tile.transposed ? tile.data.cols : tile.data.rows};
    const Range left{0, count / 2};
    const Range right{left.count, count - left.count};
    solve_tile(lane, triangle.part(left, left), tile.part(rows, left));
    subtract_product(lane, tile.part(rows, left), triangle.part(right, left),
                     tile.part(rows, right));
    solve_tile(lane, triangle.part(right, right), tile.part(rows, right));
    return;
  }
  lane.trsm(tile.transposed ? Side::left : Side::right,
            triangle.transposed ? Triangle::upper : Triangle::lower,
            triangle.transposed == tile.transposed ? Op::transpose : Op::none, triangle.data,
            tile.data);
}

// These are the tiles on and below the diagonal, column by column: each comes after those it needs.
class ColumnOrder {
 public:
  explicit ColumnOrder(Index blocks) : blocks_(blocks) {
    for (Index j = 0; j < blocks; ++j) {
      for (Index i = j; i < blocks; ++i) tiles_.push_back({i, j});
    }
  }
  Index tasks() const { return static_cast<Index>(tiles_.size()); }
  BlockPair operator[](Index task) const { return tiles_[static_cast<std::size_t>(task)]; }
  Index task(Index i, Index j) const { return j * blocks_ - j * (j - 1) / 2 + i - j; }

 private:
  Index blocks_;
  std::vector<BlockPair> tiles_;
};

// A piece of the sums of a tile is given by its columns and the block that ends it.
struct Piece {
  Range places;
  Index last_block;
};

// Cuts the blocks before block j into pieces, to wait for as few tiles as possible at a time and to
// look at the stop sign between them; no piece straddles the middle.
inline std::vector<Piece> pieces_before(const HalvedPartition& blocks, Index j) {
  constexpr Index kBlocks = 4;
  std::vector<Piece> pieces;
  for (Index block = 0; block < j; ++block) {
    const auto [first, count] = blocks[block];
    if (block % kBlocks == 0 || blocks.begins_lower_half(block)) pieces.push_back({{first, 0}, 0});
    pieces.back().places.count += count;
    pieces.back().last_block = block;
  }
  return pieces;
}

// Computes the tile (i, j); returns false if the work was stopped meanwhile.
template <class Lane>
bool cholesky_tile(const Lane& lane, const SymmetricStorage<double>& matrix,
                   const HalvedPartition& blocks, const ColumnOrder& order,
                   const Finished& finished, BlockPair tile) {
  const auto [i, j] = tile;
  const Range below = blocks[i];
  const Range across = blocks[j];
  const StoredTile<double> target = matrix.tile(below, across);
  const Triangle triangle = target.transposed ? Triangle::upper : Triangle::lower;
  for (const Piece& piece : pieces_before(blocks, j)) {
    // A tile that is done has waited for those left of it.
    if (!finished.wait(lane, order.task(i, piece.last_block))) return false;
    if (!finished.wait(lane, order.task(j, piece.last_block))) return false;
    const StoredTile<double> left = matrix.tile(below, piece.places);
    if (i == j) {
      const Op op = left.transposed ? Op::transpose : Op::none;
      lane.syrk(triangle, op, -1.0, left.data, target.data);
    } else {
      subtract_product(lane, left, matrix.tile(across, piece.places), target);
    }
    if (lane.stopped()) return false;
  }
  if (i == j) {
    const Index good = lane.potrf(triangle, target.data);
    if (good < below.count) throw NotPositiveDefinite(below.first + good);
    return true;
  }
  if (!finished.wait(lane, order.task(j, j))) return false;
  solve_tile(lane, matrix.tile(across, across), target);
  return true;
}

// The decomposition looks to the left: the tile (I, J) is
//
//   L_IJ = (K_IJ − Σ_{P<J} L_IP L_JPᵀ) L_JJ⁻ᵀ,    L_JJ = chol(K_JJ − Σ_{P<J} L_JP L_JPᵀ).
//
// A task computes one tile and waits for the tiles it needs: while one lane works on a diagonal
// tile, others do the sums of the tiles below it, and no lane waits for the end of a column. The
// elements above the diagonal are not touched. Throws NotPositiveDefinite.
template <class Device>
void cholesky(const Device& device, const SymmetricStorage<double>& matrix,
              const HalvedPartition& blocks, const Monitor& monitor) {
  const ColumnOrder order(blocks.blocks());
  Finished finished(order.tasks());
  // Of n³/3 multiplications and additions, a lane does ten in a nanosecond.
  device.run(
      "cholesky", {order.tasks(), elements_of(matrix.n()) * static_cast<double>(matrix.n()) / 30},
      monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index task) {
        if (cholesky_tile(lane, matrix, blocks, order, finished, order[task])) finished.mark(task);
      });
}

// What follows is what decomposes a matrix in tiles of which not all are in one place needs beside
// cholesky(). A task has some rows of a tile.
inline Partition rows_of_tile(Index rows) { return Partition::even(rows, 1024); }

// tile −= a bᵀ; of a with itself the lower triangle alone.
template <class Device>
void downdate_tile(const Device& device, Matrix<const double> a, Matrix<const double> b,
                   Matrix<double> tile, const Monitor& monitor) {
  const bool symmetric = a.data == b.data && a.rows == b.rows;
  const Partition rows = rows_of_tile(tile.rows);
  device.run(
      "downdate",
      {rows.blocks(), static_cast<double>(a.cols) * static_cast<double>(tile.rows) *
                          static_cast<double>(tile.cols) / 10},
      monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index task) {
        const auto [first, count] = rows[task];
        const Matrix<const double> own = a.row_block(first, count);
        const Index others = symmetric ? first : tile.cols;
        subtract_product(lane, {own, false}, {b.row_block(0, others), false},
                         {tile.block(first, count, 0, others), false});
        if (!symmetric) return;
        lane.syrk(Triangle::lower, Op::none, -1.0, own, tile.block(first, count, first, count));
      });
}

// tile (m, n) = tile L⁻ᵀ, with the lower triangle L (n, n) of a matrix.
template <class Device>
void solve_tile_below(const Device& device, Matrix<const double> triangle, Matrix<double> tile,
                      const Monitor& monitor) {
  const Partition rows = rows_of_tile(tile.rows);
  const Index n = triangle.rows;
  device.run(
      "solve", {rows.blocks(), elements_of(n) * static_cast<double>(tile.rows) / 20}, monitor,
      [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index task) {
        const auto [first, count] = rows[task];
        solve_tile(lane, {triangle, false}, {tile.row_block(first, count), false});
      });
}

}  // namespace fastntk

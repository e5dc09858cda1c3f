// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/finished.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/symmetric_storage.hpp"

// The Cholesky decomposition K = L Lᵀ, tile by tile and in place.
namespace fastntk {

// The pivot, counted from 0, is not positive and finite.
class NotPositiveDefinite : public std::runtime_error {
 public:
  explicit NotPositiveDefinite(Index pivot)
      : std::runtime_error("pivot " + std::to_string(pivot) + " is not positive"), pivot_(pivot) {}
  Index pivot() const { return pivot_; }

 private:
  Index pivot_;
};

// Large enough for GEMM to be efficient, small enough for the last tiles, which have to wait for
// each other, not to matter.
inline HalvedPartition cholesky_blocks(Index n) { return {n, 64, 512}; }

// c −= a bᵀ
template <class Lane>
void subtract_product(const Lane& lane, StoredTile<const double> a, StoredTile<const double> b,
                      StoredTile<double> c) {
  if (c.transposed) std::swap(a, b);
  lane.template gemm<double>(a.transposed ? Op::transpose : Op::none,
                             b.transposed ? Op::none : Op::transpose, -1.0, a.data, b.data,
                             Write::accumulate, c.data);
}

// tile = tile L⁻ᵀ, with the triangle L of `matrix` at the diagonal places `cols`. In halves,
// because GEMM is several times as fast as the triangular solves of most BLAS.
template <class Lane>
void solve_tile(const Lane& lane, const SymmetricStorage<double>& matrix, Range rows, Range cols) {
  constexpr Index kWhole = 64;
  if (cols.count > kWhole) {
    const Range left{cols.first, cols.count / 2};
    const Range right{cols.first + left.count, cols.count - left.count};
    solve_tile(lane, matrix, rows, left);
    subtract_product(lane, matrix.tile(rows, left), matrix.tile(right, left),
                     matrix.tile(rows, right));
    solve_tile(lane, matrix, rows, right);
    return;
  }
  const StoredTile<double> target = matrix.tile(rows, cols);
  lane.trsm(target.transposed ? Side::left : Side::right,
            target.transposed ? Triangle::upper : Triangle::lower, Op::transpose,
            matrix.tile(cols, cols).data, target.data);
}

// Left-looking: the tile (I, J) is
//
//   L_IJ = (K_IJ − Σ_{P<J} L_IP L_JPᵀ) L_JJ⁻ᵀ,    L_JJ = chol(K_JJ − Σ_{P<J} L_JP L_JPᵀ).
//
// A task computes one tile, column by column, and waits for the tiles it needs: while one lane
// works on a diagonal tile, others do the sums of the tiles below it. The elements above the
// diagonal are not touched. Throws NotPositiveDefinite.
template <class Device>
void cholesky(const Device& device, const SymmetricStorage<double>& matrix,
              const HalvedPartition& blocks, const Monitor& monitor) {
  // Sums are cut into pieces of at most so many blocks, to wait for as few tiles as possible at a
  // time and to look at the stop sign between them.
  constexpr Index kPiece = 4;
  const Index count = blocks.blocks();
  const Index n1 = SymmetricStorage<double>::split(matrix.n());
  std::vector<BlockPair> order;
  for (Index j = 0; j < count; ++j) {
    for (Index i = j; i < count; ++i) order.push_back({i, j});
  }
  const auto tasks = static_cast<Index>(order.size());
  const auto task_of = [count](Index i, Index j) { return j * count - j * (j - 1) / 2 + i - j; };
  Finished finished(tasks);
  device.run(
      "cholesky", tasks, monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index task) {
        const auto [i, j] = order[static_cast<std::size_t>(task)];
        const Range rows = blocks[i];
        const Range cols = blocks[j];
        const StoredTile<double> target = matrix.tile(rows, cols);
        const Triangle triangle = target.transposed ? Triangle::upper : Triangle::lower;
        for (Index first = 0; first < j;) {
          Index last = std::min(first + kPiece, j);
          const bool upper_half = blocks[first].first < n1;
          while (upper_half && blocks[last - 1].first >= n1) --last;
          // A tile that is done has waited for those left of it.
          if (!finished.wait(lane, task_of(i, last - 1))) return;
          if (!finished.wait(lane, task_of(j, last - 1))) return;
          const Index begin = blocks[first].first;
          const Range piece{begin, blocks[last - 1].first + blocks[last - 1].count - begin};
          const StoredTile<double> left = matrix.tile(rows, piece);
          if (i == j) {
            lane.syrk(triangle, left.transposed ? Op::transpose : Op::none, -1.0, left.data,
                      target.data);
          } else {
            subtract_product(lane, left, matrix.tile(cols, piece), target);
          }
          if (lane.stopped()) return;
          first = last;
        }
        if (i == j) {
          const Index good = lane.potrf(triangle, target.data);
          if (good < rows.count) throw NotPositiveDefinite(rows.first + good);
        } else {
          if (!finished.wait(lane, task_of(j, j))) return;
          solve_tile(lane, matrix, rows, cols);
        }
        finished.mark(task);
      });
}

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/portability.hpp"

// This says where the lower triangle of a symmetric matrix, or the elements of a lower triangular
// one, lie: in a square array, or in half of its memory.
namespace fastntk {

// This is a tile of a matrix, or its transpose, as it lies in memory.
template <class T>
struct StoredTile {
  Matrix<T> data;
  bool transposed;  // data is the transpose of the tile

  // NOLINTNEXTLINE(google-explicit-constructor): reading through a writable view is always safe.
  operator StoredTile<const T>() const { return {data, transposed}; }

  // Returns a part of the tile.
  StoredTile part(Range rows, Range cols) const {
    if (transposed) std::swap(rows, cols);
    return {data.block(rows.first, rows.count, cols.first, cols.count), transposed};
  }
};

// There are two layouts of n × n elements; those above the diagonal are never touched:
//
//   full     row-major, n × n;
//   packed   LAPACK's rectangular full packed format with TRANSR = 'T', UPLO = 'L', n(n+1)/2
//            elements: with n1 = ⌈n/2⌉ and
//
//                [ T1     ]  n1         a row-major matrix of n1 columns and n (n + 1 if n is even)
//                [ S   T2 ]  n − n1     rows that holds [T1; S] and, in the corner T1 leaves, T2ᵀ:
//
//                n = 4:  22 32          n = 5:  00 33 43
//                        00 33                  10 11 44
//                        10 11                  20 21 22
//                        20 21                  30 31 32
//                        30 31                  40 41 42
//
//            (the Fortran array of dpftrf and its kin, which reads columns, is that transposed).
//            F. G. Gustavson et al., "Rectangular full packed format for Cholesky's algorithm",
//            ACM Transactions on Mathematical Software 37 (2010) 18.
template <class T>
class SymmetricStorage {
 public:
  static SymmetricStorage full(Matrix<T> matrix) { return {matrix, false}; }
  static SymmetricStorage packed(T* data, Index n) {
    return {Matrix<T>(data, n, n, split(n)), true};
  }
  static Index packed_size(Index n) { return n * (n + 1) / 2; }
  // Returns n1. No tile may have rows, or columns, on both sides of it.
  static Index split(Index n) { return (n + 1) / 2; }

  // NOLINTNEXTLINE(google-explicit-constructor): reading through a writable view is always safe.
  operator SymmetricStorage<const T>() const {
    return packed_ ? SymmetricStorage<const T>::packed(matrix_.data, n())
                   : SymmetricStorage<const T>::full(matrix_);
  }

  Index n() const { return matrix_.rows; }

  // Returns a tile on or below the diagonal; only the lower triangle of one on the diagonal may be
  // touched.
  StoredTile<T> tile(Range rows, Range cols) const {
    if (!packed_) return {matrix_.block(rows.first, rows.count, cols.first, cols.count), false};
    const Index n1 = split(n());
    const Index odd = n() % 2;
    if (cols.first < n1) {
      return {{at(rows.first + 1 - odd, cols.first), rows.count, cols.count, n1}, false};
    }
    return {{at(cols.first - n1, rows.first - n1 + odd), cols.count, rows.count, n1}, true};
  }

 private:
  SymmetricStorage(Matrix<T> matrix, bool packed) : matrix_(matrix), packed_(packed) {}
  T* at(Index row, Index col) const { return matrix_.data + row * matrix_.stride + col; }

  Matrix<T> matrix_;  // of a packed matrix: the stride and n, not the shape
  bool packed_;
};

// Cuts 0 … n − 1 into blocks that do not straddle n1, the same for both layouts.
class HalvedPartition {
 public:
  HalvedPartition(Index n, BlockLimits limits)
      : n1_(SymmetricStorage<double>::split(n)), upper_(n1_, limits), lower_(n - n1_, limits) {}

  Index blocks() const { return upper_.blocks() + lower_.blocks(); }
  Index size() const { return upper_.size(); }  // of the largest block
  bool begins_lower_half(Index block) const { return block == upper_.blocks(); }
  Range operator[](Index block) const {
    if (block < upper_.blocks()) return upper_[block];
    const Range range = lower_[block - upper_.blocks()];
    return {n1_ + range.first, range.count};
  }

 private:
  Index n1_;
  Partition upper_;
  Partition lower_;
};

// These are the blocks (row, column) on and below the diagonal, row by row.
struct BlockPair {
  Index row;
  Index col;
};
inline std::vector<BlockPair> lower_block_pairs(Index blocks) {
  std::vector<BlockPair> pairs;
  for (Index i = 0; i < blocks; ++i) {
    for (Index j = 0; j <= i; ++j) pairs.push_back({i, j});
  }
  return pairs;
}

namespace element {

// to = sign · from, + shift on the diagonal. A tile on the diagonal has its lower triangle alone.
// Both tiles may be stored transposed; the strides are those of from in the order of to.
template <class From, class To>
struct ScaleAndShift {
  const From* from;
  Index row_stride;
  Index col_stride;
  Matrix<To> to;
  bool transposed;
  bool diagonal;
  Index below;  // by how much the first element lies below the diagonal of `to`
  To sign;
  To shift;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    const Index distance = below + i - j;
    if (diagonal && (transposed ? distance > 0 : distance < 0)) return;
    const To value = sign * static_cast<To>(from[i * row_stride + j * col_stride]);
    to(i, j) = diagonal && distance == 0 ? value + shift : value;
  }
};

// Fills the whole of a tile on the diagonal from its lower triangle: above it stands the mirror
// image of a symmetric matrix, or 0.
template <class T>
struct CompleteTriangle {
  const T* from;
  Index row_stride;
  Index col_stride;
  bool symmetric;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    T value = T(0);
    if (j <= i) {
      value = from[i * row_stride + j * col_stride];
    } else if (symmetric) {
      value = from[j * row_stride + i * col_stride];
    }
    to(i, j) = value;
  }
};

// Fills one triangle of a square from the other, which is kept.
template <class T>
struct MirrorTriangle {
  Triangle kept;
  Matrix<T> square;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    if (kept == Triangle::lower ? i < j : i > j) square(i, j) = square(j, i);
  }
};

// Writes the lower triangle of a tile on the diagonal, from a row-major square.
template <class T>
struct StoreTriangle {
  Matrix<const T> from;
  StoredTile<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    if (to.transposed ? j >= i : j <= i) {
      to.data(i, j) = to.transposed ? from(j, i) : from(i, j);
    }
  }
};

}  // namespace element

template <class Lane, class T>
void store_triangle(const Lane& lane, const Matrix<T>& square, const StoredTile<T>& to) {
  lane.for_each(square.rows, square.cols, element::StoreTriangle<T>{square, to});
}

// to = the whole tile on the diagonal, in row-major order.
template <class Lane, class T>
void complete_triangle(const Lane& lane, const StoredTile<const T>& tile, bool symmetric,
                       const Matrix<T>& to) {
  const Index stride = tile.data.stride;
  lane.for_each(to.rows, to.cols,
                element::CompleteTriangle<T>{tile.data.data, tile.transposed ? 1 : stride,
                                             tile.transposed ? stride : 1, symmetric, to});
}

// Returns n², which may be beyond an Index.
inline double elements_of(Index n) { return static_cast<double>(n) * static_cast<double>(n); }

// Overwrites one triangle of a square matrix with the mirror image of the other one, `kept`; the
// diagonal stays as it is.
template <class Device, class T>
void mirror(const Device& device, Matrix<T> matrix, Triangle kept, const Monitor& monitor) {
  const Partition blocks{matrix.rows, {64, 512}};
  const std::vector<BlockPair> pairs = lower_block_pairs(blocks.blocks());
  device.run(
      "mirror", {static_cast<Index>(pairs.size()), elements_of(matrix.rows)}, monitor,
      [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index task) {
        const auto [i, j] = pairs[static_cast<std::size_t>(task)];
        const Range rows = blocks[i];
        const Range cols = blocks[j];
        const Matrix<T> below = matrix.block(rows.first, rows.count, cols.first, cols.count);
        // NOLINTNEXTLINE(readability-suspicious-call-argument): the mirrored place
        const Matrix<T> above = matrix.block(cols.first, cols.count, rows.first, rows.count);
        if (i == j) {
          lane.for_each(below.rows, below.cols, element::MirrorTriangle<T>{kept, below});
        } else if (kept == Triangle::lower) {
          lane.template transpose<T>(below, above);
        } else {
          lane.template transpose<T>(above, below);
        }
      });
}

// to = sign · from + shift · 1, in any layouts and precisions; from may be to.
template <class Device, class From, class To>
void scale_and_shift(const Device& device, const SymmetricStorage<const From>& from, To sign,
                     To shift, const SymmetricStorage<To>& to, const Monitor& monitor) {
  const HalvedPartition blocks{to.n(), {64, 512}};
  const std::vector<BlockPair> pairs = lower_block_pairs(blocks.blocks());
  device.run(
      "copy", {static_cast<Index>(pairs.size()), elements_of(to.n())}, monitor, [] { return 0; },
      [&](const auto& lane, int /*workspace*/, Index task) {
        const auto [i, j] = pairs[static_cast<std::size_t>(task)];
        const StoredTile<const From> source = from.tile(blocks[i], blocks[j]);
        const StoredTile<To> target = to.tile(blocks[i], blocks[j]);
        // Where the layouts differ, elements are copied in squares that fit into the first-level
        // cache.
        const bool turned = source.transposed != target.transposed;
        const Index stride = source.data.stride;
        const Index square = turned ? 32 : std::max(target.data.rows, target.data.cols);
        for (Index row = 0; row < target.data.rows; row += square) {
          for (Index col = 0; col < target.data.cols; col += square) {
            const Index rows = std::min(square, target.data.rows - row);
            const Index cols = std::min(square, target.data.cols - col);
            lane.for_each(rows, cols,
                          element::ScaleAndShift<From, To>{
                              source.data.data + (turned ? col * stride + row : row * stride + col),
                              turned ? 1 : stride, turned ? stride : 1,
                              target.data.block(row, rows, col, cols), target.transposed, i == j,
                              row - col, sign, shift});
          }
        }
      });
}

}  // namespace fastntk

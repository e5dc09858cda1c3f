// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>

#include "fastntk/matrix.hpp"
#include "fastntk/portability.hpp"
#include "fastntk/symmetric_storage.hpp"

// These are products of tiles with a few vectors, for the processor. A GEMM would copy the tile
// into an order of its own before it begins, which takes several times as long as what is to be
// done. Vectors are rows here, so that a register holds neighbouring elements of one; for each
// element that is read of a tile, all is done that it is needed for.
namespace fastntk::few_vectors {

// More vectors than this are better off with a GEMM. What becomes of a vector does not depend on
// how many others there are up to here.
constexpr Index kMost = 16;

// So many vectors, and rows of a tile, are taken together: their sums stay in registers.
constexpr Index kTogether = 4;
constexpr Index kRows = 4;

// The first cache, which __builtin_prefetch calls 3, is too small for rows that come next.
constexpr int kSecondCache = 2;

// These are the vectors that a tile is multiplied with, and those that results are added to: the
// former times `sign`. Both have one element for each row or each column of the tile.
template <class T>
struct Product {
  T sign;
  Matrix<const T> vectors;
  Matrix<T> sums;
};

// NOLINTBEGIN(modernize-use-using, modernize-avoid-c-arrays): the attributes of vectors and their
// alignment would be lost.

// Adds to the sums of `across` what `rows` rows of a tile give with its vectors, each of which has
// an element for each column; and to the sums of `down`, with an element for each column, what the
// rows, times elements of its vectors, give. Either may be left out. So many vectors are taken from
// number `vector` on, and so many rows from number `row`. The next rows are fetched meanwhile, of
// which the last need not exist: a processor does so by itself within a page, which ends soon.
template <Index rows, Index vectors, bool is_across, bool is_down, class T>
// NOLINTNEXTLINE(readability-function-cognitive-complexity): what is shared stays in registers.
FASTNTK_MULTIVERSION void multiply_rows(Matrix<const T> tile, Index row, Index vector,
                                        const Product<T>& across, const Product<T>& down) {
  T sums[rows][vectors] = {};
  T factors[rows][vectors] = {};
  if constexpr (is_down) {
    for (Index r = 0; r < rows; ++r) {
      for (Index k = 0; k < vectors; ++k) {
        factors[r][k] = down.sign * down.vectors(vector + k, row + r);
      }
    }
  }
  Index j = 0;
#ifdef FASTNTK_HAS_VECTOR_TYPES
  constexpr Index kLanes = 32 / sizeof(T);
  typedef T Lanes __attribute__((vector_size(32)));
  typedef T InMemory __attribute__((vector_size(32), aligned(sizeof(T)), may_alias));
  Lanes partial[rows][vectors] = {};
  for (; j + kLanes <= tile.cols; j += kLanes) {
    Lanes along[vectors] = {};
    Lanes below[vectors] = {};
#pragma GCC unroll 4
    for (Index k = 0; k < vectors; ++k) {
      if constexpr (is_across) {
        along[k] = *reinterpret_cast<const InMemory*>(across.vectors.row(vector + k) + j);
      }
      if constexpr (is_down) {
        below[k] = *reinterpret_cast<const InMemory*>(down.sums.row(vector + k) + j);
      }
    }
#pragma GCC unroll 4
    for (Index r = 0; r < rows; ++r) {
      __builtin_prefetch(tile.row(row + rows + r) + j, 0, kSecondCache);
      const Lanes elements = *reinterpret_cast<const InMemory*>(tile.row(row + r) + j);
#pragma GCC unroll 4
      for (Index k = 0; k < vectors; ++k) {
        if constexpr (is_across) partial[r][k] += elements * along[k];
        if constexpr (is_down) below[k] += elements * factors[r][k];
      }
    }
    if constexpr (is_down) {
#pragma GCC unroll 4
      for (Index k = 0; k < vectors; ++k) {
        *reinterpret_cast<InMemory*>(down.sums.row(vector + k) + j) = below[k];
      }
    }
  }
  for (Index r = 0; r < rows; ++r) {
    for (Index k = 0; k < vectors; ++k) {
      for (Index lane = 0; lane < kLanes; ++lane) sums[r][k] += partial[r][k][lane];
    }
  }
#endif
  for (; j < tile.cols; ++j) {
    for (Index r = 0; r < rows; ++r) {
      const T element = tile(row + r, j);
      for (Index k = 0; k < vectors; ++k) {
        if constexpr (is_across) sums[r][k] += element * across.vectors(vector + k, j);
        if constexpr (is_down) down.sums(vector + k, j) += element * factors[r][k];
      }
    }
  }
  if constexpr (is_across) {
    for (Index r = 0; r < rows; ++r) {
      for (Index k = 0; k < vectors; ++k) {
        across.sums(vector + k, row + r) += across.sign * sums[r][k];
      }
    }
  }
}
// NOLINTEND(modernize-use-using, modernize-avoid-c-arrays)

template <Index vectors, bool is_across, bool is_down, class T>
void multiply_tile_with(Matrix<const T> tile, Index vector, const Product<T>& across,
                        const Product<T>& down) {
  Index row = 0;
  for (; row + kRows <= tile.rows; row += kRows) {
    multiply_rows<kRows, vectors, is_across, is_down>(tile, row, vector, across, down);
  }
  for (; row < tile.rows; ++row) {
    multiply_rows<1, vectors, is_across, is_down>(tile, row, vector, across, down);
  }
}

// Multiplies a tile, as it lies in memory: `across` has vectors with an element for each column and
// sums with one for each row, `down` the other way round.
template <bool is_across, bool is_down, class T>
void multiply_tile(Matrix<const T> tile, const Product<T>& across, const Product<T>& down) {
  const Index count = is_across ? across.vectors.rows : down.vectors.rows;
  Index vector = 0;
  for (; vector + kTogether <= count; vector += kTogether) {
    multiply_tile_with<kTogether, is_across, is_down>(tile, vector, across, down);
  }
  for (; vector + 2 <= count; vector += 2) {
    multiply_tile_with<2, is_across, is_down>(tile, vector, across, down);
  }
  for (; vector < count; ++vector) {
    multiply_tile_with<1, is_across, is_down>(tile, vector, across, down);
  }
}

// sums += A vectors, for a tile on the diagonal of a symmetric matrix A.
template <class T>
void multiply_diagonal(const StoredTile<const T>& tile, Matrix<const T> vectors, Matrix<T> sums) {
  const Matrix<const T> data = tile.data;
  for (Index first = 0; first < data.rows; first += kRows) {
    const Index rows = std::min(kRows, data.rows - first);
    const Index end = first + rows;
    // Of the stored triangle, these rows have the columns before, or behind, their square.
    const Index col = tile.transposed ? end : 0;
    const Index cols = tile.transposed ? data.cols - end : first;
    // NOLINTNEXTLINE(readability-suspicious-call-argument)
    const Matrix<const T> others = data.block(first, rows, col, cols);
    multiply_tile<true, true, T>(others,
                                 {T(1), vectors.col_block(col, cols), sums.col_block(first, rows)},
                                 {T(1), vectors.col_block(first, rows), sums.col_block(col, cols)});
    for (Index i = first; i < end; ++i) {
      for (Index j = first; j <= i; ++j) {
        const T element = tile.transposed ? data(j, i) : data(i, j);
        for (Index k = 0; k < vectors.rows; ++k) {
          sums(k, i) += element * vectors(k, j);
          if (j < i) sums(k, j) += element * vectors(k, i);
        }
      }
    }
  }
}

// Solves for some rows and columns of a tile on the diagonal, element by element.
template <class T>
void solve_square(const StoredTile<const T>& tile, bool transpose, Range range, Matrix<T> vectors) {
  const auto [first, count] = range;
  const auto subtract = [&](Index i, Index j) {
    const T element = tile.transposed != transpose ? tile.data(j, i) : tile.data(i, j);
    for (Index k = 0; k < vectors.rows; ++k) vectors(k, i) -= element * vectors(k, j);
  };
  for (Index step = 0; step < count; ++step) {
    const Index i = transpose ? first + count - 1 - step : first + step;
    for (Index solved = 0; solved < step; ++solved) {
      subtract(i, transpose ? first + count - 1 - solved : first + solved);
    }
    for (Index k = 0; k < vectors.rows; ++k) vectors(k, i) /= tile.data(i, i);
  }
}

// vectors = L⁻¹ vectors, or L⁻ᵀ vectors, for a tile on the diagonal of a lower triangular matrix L.
template <class T>
void solve_diagonal(const StoredTile<const T>& tile, bool transpose, Matrix<T> vectors) {
  const Matrix<const T> data = tile.data;
  const Index n = data.rows;
  // Whether a row in memory is used when its elements are known, for what comes later, or for them.
  const bool spreads = tile.transposed != transpose;
  const Index groups = (n + kRows - 1) / kRows;
  for (Index group = 0; group < groups; ++group) {
    const Index first = (transpose ? groups - 1 - group : group) * kRows;
    const Index rows = std::min(kRows, n - first);
    const Index end = first + rows;
    const Index col = tile.transposed ? end : 0;
    // NOLINTNEXTLINE(readability-suspicious-call-argument)
    const Matrix<const T> others = data.block(first, rows, col, tile.transposed ? n - end : first);
    const Matrix<T> here = vectors.col_block(first, rows);
    const Matrix<T> there = vectors.col_block(col, others.cols);
    if (!spreads) multiply_tile<true, false, T>(others, {T(-1), there, here}, {});
    solve_square(tile, transpose, {first, rows}, vectors);
    if (spreads) multiply_tile<false, true, T>(others, {}, {T(-1), here, there});
  }
}

}  // namespace fastntk::few_vectors

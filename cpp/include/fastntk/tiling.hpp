// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "fastntk/matrix.hpp"
#include "fastntk/partition.hpp"

namespace fastntk {

struct Tile {
  Index index;  // among all tiles
  std::size_t matrix;
  Range rows;
  Range cols;

  template <class T>
  Matrix<T> of(const Matrix<T>& whole) const {
    return whole.block(rows.first, rows.count, cols.first, cols.count);
  }
};

// Cuts one or several matrices into tiles, by their shapes alone.
class Tiling {
 public:
  using Shape = std::pair<Index, Index>;   // rows, columns
  using Limits = std::pair<Index, Index>;  // smallest, largest

  // Makes tiles of at most so many rows, and of a quarter of the columns within their limits. The
  // last ones are not much smaller than the others.
  Tiling(const std::vector<Shape>& shapes, Index largest_rows, Limits columns) {
    for (std::size_t m = 0; m < shapes.size(); ++m) {
      const auto [rows, cols] = shapes[m];
      const Partition row_cut = Partition::even(rows, largest_rows);
      const Partition col_cut =
          Partition::even(cols, std::clamp((cols + 3) / 4, columns.first, columns.second));
      for (Index i = 0; i < row_cut.blocks(); ++i) {
        for (Index j = 0; j < col_cut.blocks(); ++j) {
          tiles_.push_back({count(), m, row_cut[i], col_cut[j]});
        }
      }
    }
  }

  // Returns rows and columns that hold both shapes.
  static Shape larger(Shape a, Shape b) {
    return {std::max(a.first, b.first), std::max(a.second, b.second)};
  }
  // Returns rows and columns that hold any of the tiles.
  Shape largest() const {
    Shape result{0, 0};
    for (const Tile& tile : tiles_) {
      result = larger(result, {tile.rows.count, tile.cols.count});
    }
    return result;
  }
  Index count() const { return static_cast<Index>(tiles_.size()); }
  const Tile& operator[](Index index) const { return tiles_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<Tile> tiles_;
};

}  // namespace fastntk

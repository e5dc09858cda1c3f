// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/tiling.hpp"

#include <doctest/doctest.h>

#include <array>
#include <vector>

namespace fastntk::test {

TEST_CASE("tiling: tiles cover every element of every matrix once, and are numbered") {
  const std::vector<Tiling::Shape> shapes = {{1, 1}, {256, 256}, {257, 600}, {7, 1000}};
  const Tiling tiling(shapes, 256, {128, 256});
  std::vector<std::vector<int>> covered;
  for (const auto& [rows, cols] : shapes) {
    covered.emplace_back(static_cast<std::size_t>(rows * cols), 0);
  }
  for (Index index = 0; index < tiling.count(); ++index) {
    const Tile& tile = tiling[index];
    CHECK(tile.index == index);
    CHECK(tile.rows.count <= 256);
    CHECK(tile.cols.count <= 256);
    const Index cols = shapes[tile.matrix].second;
    for (Index i = tile.rows.first; i < tile.rows.first + tile.rows.count; ++i) {
      for (Index j = tile.cols.first; j < tile.cols.first + tile.cols.count; ++j) {
        ++covered[tile.matrix].at(static_cast<std::size_t>(i * cols + j));
      }
    }
  }
  for (const auto& matrix : covered) {
    bool once = true;
    for (const int times : matrix) once = once && times == 1;
    CHECK(once);
  }
}

TEST_CASE("tiling: a quarter of the columns within the limits, and no narrow rest") {
  const auto tiles_of = [](Index rows, Index cols) {
    const Tiling tiling({{rows, cols}}, 512, {256, 512});
    const Tile& first = tiling[0];
    const Tile& last = tiling[tiling.count() - 1];
    CHECK(2 * last.rows.count >= first.rows.count);
    CHECK(2 * last.cols.count >= first.cols.count);
    return std::array<Index, 3>{tiling.count(), first.rows.count, first.cols.count};
  };
  CHECK(tiles_of(500, 10) == std::array<Index, 3>{1, 500, 10});
  CHECK(tiles_of(500, 512) == std::array<Index, 3>{2, 500, 256});
  CHECK(tiles_of(500, 1600) == std::array<Index, 3>{4, 500, 400});
  CHECK(tiles_of(500, 4096) == std::array<Index, 3>{8, 500, 512});
  // 784 = 3 · 256 + 16
  CHECK(tiles_of(600, 784) == std::array<Index, 3>{8, 304, 208});
}

TEST_CASE("tiling: a tile of a matrix is a view of it") {
  std::vector<double> data(200);
  const Matrix<double> whole(data.data(), 10, 18, 20);
  const Matrix<double> tile = Tile{0, 0, {3, 4}, {5, 6}}.of(whole);
  CHECK(tile.data == &data[65]);
  CHECK(tile.rows == 4);
  CHECK(tile.cols == 6);
  CHECK(tile.stride == 20);
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/tiling.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace fastntk::test {

TEST_CASE("tiling: tiles cover every element of every matrix once, and are numbered") {
  const std::vector<Tiling::Shape> shapes = {{1, 1}, {256, 256}, {257, 600}, {7, 1000}};
  const Tiling tiling(shapes, 256, 256);
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

TEST_CASE("tiling: as few tiles as the limit allows, of equal size") {
  // 784 = 3 · 256 + 16, and the narrow rest would be slow.
  const Tiling tiling({{500, 784}}, 256, 256);
  REQUIRE(tiling.count() == 8);
  for (Index index = 0; index < tiling.count(); ++index) {
    CHECK(tiling[index].rows.count >= 240);
    CHECK(tiling[index].cols.count >= 160);
  }
}

TEST_CASE("tiling: a tile of a matrix is a view of it") {
  std::vector<double> data(200);
  const Matrix<double> whole(data.data(), 10, 18, 20);
  const Matrix<double> tile = Tile{0, 0, {3, 4}, {5, 6}}.of(whole);
  CHECK(tile.data == data.data() + 3 * 20 + 5);
  CHECK(tile.rows == 4);
  CHECK(tile.cols == 6);
  CHECK(tile.stride == 20);
}

}  // namespace fastntk::test

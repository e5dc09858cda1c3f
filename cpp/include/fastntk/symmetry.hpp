// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/portability.hpp"
#include "fastntk/symmetric_storage.hpp"

// This measures in one reading whether a square matrix may be taken for a symmetric one.
namespace fastntk {

struct Symmetry {
  double difference = 0;  // max |a_ij − a_ji|, but for those that are NaN
  double squares = 0;     // Σ a_ij²: finite only if all elements are

  void add(const Symmetry& other) {
    difference = std::max(difference, other.difference);
    squares += other.squares;
  }
};

// Measures the elements of a square and those of its mirror image, which count with this weight.
template <class T>
FASTNTK_MULTIVERSION Symmetry symmetry_of_square(Matrix<const T> square, Matrix<const T> image,
                                                 double weight) {
  // There are as many partial results as fill the vector registers. They are local, so that the
  // compiler can see that nothing else changes them.
  constexpr Index kParts = 16;
  std::array<T, static_cast<std::size_t>(kParts)> differences{};
  std::array<double, static_cast<std::size_t>(kParts)> squares{};
  const auto element = [&](Index index, T x, T y) {
    const auto part = static_cast<std::size_t>(index);
    const T difference = std::abs(x - y);
    differences[part] = difference > differences[part] ? difference : differences[part];
    const auto a = static_cast<double>(x);
    const auto b = static_cast<double>(y);
    squares[part] += a * a + weight * (b * b);
  };
  for (Index i = 0; i < square.rows; ++i) {
    const T* const a = square.row(i);
    const T* const b = image.row(i);
    Index j = 0;
    for (; j + kParts <= square.cols; j += kParts) {
      for (Index part = 0; part < kParts; ++part) element(part, a[j + part], b[j + part]);
    }
    for (; j < square.cols; ++j) element(0, a[j], b[j]);
  }
  Symmetry result;
  for (Index part = 0; part < kParts; ++part) {
    result.add({static_cast<double>(differences[part]), squares[part]});
  }
  return result;
}

template <class Device, class T>
Symmetry symmetry(const Device& device, Matrix<const T> matrix, const Monitor& monitor) {
  constexpr Index kSquare = 32;  // a square and its mirror image stay in the first-level cache
  const Partition blocks(matrix.rows, {kSquare, 512});
  const std::vector<BlockPair> pairs = lower_block_pairs(blocks.blocks());
  std::vector<Symmetry> found(pairs.size());
  using Buffer = typename Device::template Buffer<T>;
  device.run(
      "symmetry", {static_cast<Index>(pairs.size()), elements_of(matrix.rows)}, monitor,
      [] { return Buffer(kSquare, kSquare); },
      [&](const auto& lane, const Buffer& workspace, Index task) {
        const auto [block_row, block_col] = pairs[static_cast<std::size_t>(task)];
        const Range rows = blocks[block_row];
        const Range cols = blocks[block_col];
        Symmetry sum;
        for (Index i = 0; i < rows.count; i += kSquare) {
          const Index height = std::min(kSquare, rows.count - i);
          const Index end = block_row == block_col ? i + 1 : cols.count;
          for (Index j = 0; j < end; j += kSquare) {
            const Index width = std::min(kSquare, cols.count - j);
            const auto square = matrix.block(rows.first + i, height, cols.first + j, width);
            const auto mirrored = matrix.block(cols.first + j, width, rows.first + i, height);
            const Matrix<T> image = workspace.view().block(0, height, 0, width);
            lane.template transpose<T>(mirrored, image);
            sum.add(symmetry_of_square<T>(square, image, square.data == mirrored.data ? 0.0 : 1.0));
          }
        }
        found[static_cast<std::size_t>(task)] = sum;
      });
  Symmetry result;
  for (const Symmetry& sum : found) result.add(sum);
  return result;
}

}  // namespace fastntk

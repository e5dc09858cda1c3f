// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "fastntk/blas.hpp"
#include "fastntk/host_memory.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/matrix_buffer.hpp"
#include "fastntk/partition.hpp"

// This forms products of float32 matrices with a unit that multiplies matrices of bfloat16, a
// float32 cut to its first 8 bits, and adds up in float32.
//
// A float32 is the sum of three bfloat16, x = x₀ + x₁ + x₂: x rounded to 8 bits, what is left
// rounded to 8 bits, and what is then left, which has no more than 8. Nothing is lost but bits
// below 2⁻¹²⁶, which the unit takes for 0. Of the nine products of the parts of x and y, each of
// them exact in float32, the six with i + j ≤ 2 are added up. As |x₁| ≤ 2⁻⁸ |x| and |x₂| ≤ 2⁻¹⁶
// |x|, the other three are together at most (2⁻²³ + 2⁻³²) |x y|, and of either sign: what they
// would add is lost in the rounding of the sum. (Henry, Tang, Heinecke, "Leveraging the bfloat16
// artificial intelligence datatype for higher-precision computations", ARITH 2019; XLA calls this
// BF16_BF16_F32_X6.)
//
// An infinite element has no such parts: whatever it is a factor of becomes NaN.
namespace fastntk {

namespace bfloat16 {

constexpr Index kParts = 3;

// The unit multiplies a tile of 16 rows of the left operand by one of 16 columns of the right one,
// over 32 terms. Terms p and p + 16 share a 32-bit word, so that a whole vector of words is made of
// two vectors of elements:
//
//   left:  word (i, p) = terms p (lower half) and p + 16 (upper half) of row i;
//   right: word (p, j) = terms p and p + 16 of column j.
constexpr Index kTile = 16;
constexpr Index kTerms = 2 * kTile;
constexpr Index kTileWords = kTile * kTile;

// Two tiles side by side are a panel: [part][tile] for 32 terms, then for the next.
constexpr Index kPanel = 2 * kTile;
constexpr Index kPartWords = 2 * kTileWords;
constexpr Index kStepWords = kParts * kPartWords;

// A tile is made of two blocks of at most 16 × 16 elements: one with the terms p, one with the
// terms p + 16. Elements that a block lacks count as 0. If a row of the blocks is not a row of the
// tile, it is a column of it.
struct TileSource {
  Matrix<const float> low;
  Matrix<const float> high;
  bool transposed = false;
};

// The sums (32, 32) of two panels belong to c (+)= alpha · sums, and c may take only a part of
// them.
struct Delivery {
  const float* sums = nullptr;
  float alpha = 0.0F;
  Write write = Write::overwrite;
  Matrix<float> c;
};

}  // namespace bfloat16

// This forms the products of a thread, one after the other. A Unit offers, as static functions,
//
//   pack(source, words)   writes a tile, its parts kPartWords apart;
//   multiply(left, right, steps, sums, previous)
//                         computes the sums of two panels over so many steps of 32 terms, and
//                         meanwhile delivers those before;
//   deliver(delivery)     does that alone; where there are no sums, nothing;
//
// and a type Session, of which one lives as long as they are used. The order in which the terms of
// an element are added depends on their number alone.
template <class Unit>
class Bfloat16Products {
 public:
  // c (+)= alpha · op(a) · op(b)
  void operator()(Op op_a, Op op_b, float alpha, Matrix<const float> a, Matrix<const float> b,
                  Write write, Matrix<float> c) {
    const Operand left{a, op_a == Op::transpose, true};
    const Operand right{b, op_b == Op::none, false};
    const auto terms =
        Partition::even(op_a == Op::none ? a.cols : a.rows, kLargestTerms, bfloat16::kTerms);
    const auto rows = Partition::even(c.rows, kLargest, bfloat16::kPanel);
    const auto cols = Partition::even(c.cols, kLargest, bfloat16::kPanel);
    [[maybe_unused]] const typename Unit::Session session;
    for (Index j = 0; j < cols.blocks(); ++j) {
      for (Index p = 0; p == 0 || p < terms.blocks(); ++p) {  // once if there are no terms
        pack(right, cols[j], terms[p], right_.view().data);
        for (Index i = 0; i < rows.blocks(); ++i) {
          pack(left, rows[i], terms[p], left_.view().data);
          multiply(terms[p].count, alpha, p == 0 ? write : Write::accumulate,
                   c.block(rows[i].first, rows[i].count, cols[j].first, cols[j].count));
        }
      }
    }
    Unit::deliver(std::exchange(previous_, {}));
  }

 private:
  // Blocks are so large that both packed operands, of 0.8 MB each, stay in a second-level cache.
  static constexpr Index kLargest = 512;
  static constexpr Index kLargestTerms = 256;
  static constexpr Index kPackedWords =
      kLargest / bfloat16::kPanel * kLargestTerms / bfloat16::kTerms * bfloat16::kStepWords;

  struct Operand {
    Matrix<const float> stored;
    bool terms_in_rows = false;  // of what is stored
    bool left = false;
  };

  // Returns at most 16 × 16 of the elements from (outer, term) to before (outer_end, term_end),
  // where outer counts rows of the left operand or columns of the right one.
  static Matrix<const float> tile_block(const Operand& operand, Index outer, Index outer_end,
                                        Index term, Index term_end) {
    const Index outers = std::min(bfloat16::kTile, outer_end - outer);
    const Index terms = std::min(bfloat16::kTile, term_end - term);
    if (outers <= 0 || terms <= 0) return {};
    return operand.terms_in_rows ? operand.stored.block(term, terms, outer, outers)
                                 : operand.stored.block(outer, outers, term, terms);
  }

  static void pack(const Operand& operand, Range outers, Range terms, std::uint32_t* words) {
    const Index outer_end = outers.first + outers.count;
    const Index term_end = terms.first + terms.count;
    const Index steps = (terms.count + bfloat16::kTerms - 1) / bfloat16::kTerms;
    const Index panels = (outers.count + bfloat16::kPanel - 1) / bfloat16::kPanel;
    // The order follows the rows of what is stored, so that memory is read in its order.
    for (Index k = 0; k < panels * steps; ++k) {
      const Index panel = operand.terms_in_rows ? k % panels : k / steps;
      const Index step = operand.terms_in_rows ? k / panels : k % steps;
      const Index term = terms.first + step * bfloat16::kTerms;
      for (Index tile = 0; tile < 2; ++tile) {
        const Index outer = outers.first + panel * bfloat16::kPanel + tile * bfloat16::kTile;
        Unit::pack(
            {tile_block(operand, outer, outer_end, term, term_end),
             tile_block(operand, outer, outer_end, term + bfloat16::kTile, term_end),
             operand.left == operand.terms_in_rows},
            words + (panel * steps + step) * bfloat16::kStepWords + tile * bfloat16::kTileWords);
      }
    }
  }

  // A panel of the right operand stays in the first-level cache while those of the left one pass.
  void multiply(Index terms, float alpha, Write write, Matrix<float> c) {
    const Index steps = (terms + bfloat16::kTerms - 1) / bfloat16::kTerms;
    for (Index j = 0; j < c.cols; j += bfloat16::kPanel) {
      for (Index i = 0; i < c.rows; i += bfloat16::kPanel) {
        float* const sums = sums_.view().row(previous_.sums == sums_.view().row(0) ? 1 : 0);
        Unit::multiply(left_.view().data + i / bfloat16::kPanel * steps * bfloat16::kStepWords,
                       right_.view().data + j / bfloat16::kPanel * steps * bfloat16::kStepWords,
                       steps, sums, previous_);
        previous_ = {sums, alpha, write,
                     c.block(i, std::min(bfloat16::kPanel, c.rows - i), j,
                             std::min(bfloat16::kPanel, c.cols - j))};
      }
    }
  }

  template <class T>
  using Buffer = MatrixBuffer<T, HostMemory>;
  Buffer<std::uint32_t> left_{1, kPackedWords};
  Buffer<std::uint32_t> right_{1, kPackedWords};
  Buffer<float> sums_{2, bfloat16::kPanel * bfloat16::kPanel};
  bfloat16::Delivery previous_;
};

}  // namespace fastntk

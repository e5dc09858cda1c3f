// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/bfloat16_products.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "fastntk/amx.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"

namespace fastntk::test {

namespace {

using bfloat16::kPanel;
using bfloat16::kParts;
using bfloat16::kPartWords;
using bfloat16::kStepWords;
using bfloat16::kTile;
using bfloat16::kTileWords;

// Returns the upper half of a float, rounded to nearest, as a float.
float rounded_to_bfloat16(float x) {
  if (!std::isfinite(x)) return x;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x8000U) & 0xffff0000U);
}
std::uint32_t upper_half(float x) { return std::bit_cast<std::uint32_t>(x) >> 16U; }
float lower_term(std::uint32_t word) { return std::bit_cast<float>(word << 16U); }
float upper_term(std::uint32_t word) { return std::bit_cast<float>(word & 0xffff0000U); }

// This is the unit as the comments of bfloat16_products.hpp and Intel's manual (TDPBF16PS) describe
// it, one operation after the other.
struct SlowUnit {
  struct Session {};

  static float element(Matrix<const float> block, Index i, Index j) {
    return i < block.rows && j < block.cols ? block(i, j) : 0.0F;
  }

  static void pack(const bfloat16::TileSource& source, std::uint32_t* words) {
    for (Index i = 0; i < kTile; ++i) {
      for (Index j = 0; j < kTile; ++j) {
        float low = source.transposed ? element(source.low, j, i) : element(source.low, i, j);
        float high = source.transposed ? element(source.high, j, i) : element(source.high, i, j);
        for (Index part = 0; part < kParts; ++part) {
          const float low_part = rounded_to_bfloat16(low);
          const float high_part = rounded_to_bfloat16(high);
          words[part * kPartWords + i * kTile + j] = upper_half(low_part) | upper_half(high_part)
                                                                                << 16U;
          low -= low_part;
          high -= high_part;
        }
      }
    }
  }

  static void multiply_tiles(const std::uint32_t* left, const std::uint32_t* right, float* sums) {
    for (Index i = 0; i < kTile; ++i) {
      for (Index j = 0; j < kTile; ++j) {
        float low = 0.0F;
        float high = 0.0F;
        for (Index p = 0; p < kTile; ++p) {
          const std::uint32_t a = left[i * kTile + p];
          const std::uint32_t b = right[p * kTile + j];
          low += lower_term(a) * lower_term(b);  // the products are exact
          high += upper_term(a) * upper_term(b);
        }
        sums[i * kPanel + j] += low + high;
      }
    }
  }

  static void multiply(const std::uint32_t* left, const std::uint32_t* right, Index steps,
                       float* sums, const bfloat16::Delivery& previous) {
    std::fill_n(sums, kPanel * kPanel, 0.0F);
    constexpr std::array<std::array<Index, 2>, 6> kProducts = {
        {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}}};
    for (Index step = 0; step < steps; ++step) {
      for (const auto& [left_part, right_part] : kProducts) {
        for (Index i = 0; i < 2; ++i) {
          for (Index j = 0; j < 2; ++j) {
            multiply_tiles(left + step * kStepWords + left_part * kPartWords + i * kTileWords,
                           right + step * kStepWords + right_part * kPartWords + j * kTileWords,
                           sums + i * kTile * kPanel + j * kTile);
          }
        }
      }
    }
    deliver(previous);
  }

  static void deliver(const bfloat16::Delivery& to) {
    for (Index i = 0; i < to.c.rows; ++i) {
      for (Index j = 0; j < to.c.cols; ++j) {
        float& c = to.c(i, j);
        const float product = to.alpha * to.sums[i * kPanel + j];
        c = to.write == Write::accumulate ? c + product : product;
      }
    }
  }
};

template <class Unit>
const char* why_not() {
  return nullptr;
}
template <>
const char* why_not<amx::Unit>() {
  return amx::why_not();
}

struct Size {
  Index rows;
  Index cols;
  Index terms;
};

// The sizes are less than a tile, whole tiles and panels, one more and one less, and several blocks
// of each kind.
constexpr std::array<Size, 9> kSizes = {{{1, 1, 1},
                                         {5, 3, 7},
                                         {16, 16, 32},
                                         {17, 31, 33},
                                         {32, 32, 16},
                                         {33, 65, 48},
                                         {70, 40, 300},
                                         {513, 20, 33},
                                         {18, 515, 33}}};

constexpr std::array<Op, 2> kOps = {Op::none, Op::transpose};

struct Operands {
  PaddedMatrix<float> a;
  PaddedMatrix<float> b;
  Op op_a;
  Op op_b;

  // The numbers have many magnitudes, so that a part which is lost is noticed.
  Operands(Op op_a_, Op op_b_, Size size, std::uint64_t seed)
      : a(op_a_ == Op::none ? PaddedMatrix<float>(size.rows, size.terms, kNan)
                            : PaddedMatrix<float>(size.terms, size.rows, kNan)),
        b(op_b_ == Op::none ? PaddedMatrix<float>(size.terms, size.cols, kNan)
                            : PaddedMatrix<float>(size.cols, size.terms, kNan)),
        op_a(op_a_),
        op_b(op_b_) {
    Random random(seed);
    for (PaddedMatrix<float>* matrix : {&a, &b}) {
      for (Index i = 0; i < matrix->rows(); ++i) {
        for (Index j = 0; j < matrix->cols(); ++j) {
          (*matrix)(i, j) =
              random.number<float>() * std::ldexp(1.0F + 1e-7F * random.number<float>(),
                                                  static_cast<int>(4 * random.number<float>()));
        }
      }
    }
  }
  double left(Index i, Index p) const { return op_a == Op::none ? a(i, p) : a(p, i); }
  double right(Index p, Index j) const { return op_b == Op::none ? b(p, j) : b(j, p); }

  static constexpr float kNan = PaddedMatrix<float>::kNan;
};

template <class Unit>
PaddedMatrix<float> product(const Operands& of, Size size, float alpha, Write write) {
  PaddedMatrix<float> c(size.rows, size.cols);
  if (write == Write::accumulate) {
    for (Index i = 0; i < size.rows; ++i) {
      for (Index j = 0; j < size.cols; ++j) c(i, j) = static_cast<float>(i - 2 * j);
    }
  }
  Bfloat16Products<Unit> multiply;
  multiply(of.op_a, of.op_b, alpha, of.a.view(), of.b.view(), write, c.view());
  CHECK(c.margin_intact());
  return c;
}

// Returns the largest error of an element of c (+)= alpha a b, over the unit roundoff and |alpha|
// |a| |b|.
double errors_in_roundings(const PaddedMatrix<float>& c, const Operands& of, Size size,
                           double alpha, Write write) {
  double largest = 0.0;
  for (Index i = 0; i < size.rows; ++i) {
    for (Index j = 0; j < size.cols; ++j) {
      const double before = write == Write::accumulate ? static_cast<double>(i - 2 * j) : 0.0;
      double sum = 0.0;
      double magnitude = std::abs(before);
      for (Index p = 0; p < size.terms; ++p) {
        const double term = of.left(i, p) * of.right(p, j);
        sum += term;
        magnitude += std::abs(alpha * term);
      }
      const double error = std::abs(c(i, j) - (before + alpha * sum));
      if (!(error < std::numeric_limits<double>::infinity())) return error;
      constexpr double kRoundoff = std::numeric_limits<float>::epsilon() / 2.0;
      largest = std::max(largest, magnitude == 0.0 ? error : error / magnitude / kRoundoff);
    }
  }
  return largest;
}

}  // namespace

TEST_CASE_TEMPLATE("products by bfloat16: as accurate as float32, all ops and shapes", Unit,
                   SlowUnit, amx::Unit) {
  if (why_not<Unit>() != nullptr) {
    MESSAGE(why_not<Unit>());
    return;
  }
  for (const Op op_a : kOps) {
    for (const Op op_b : kOps) {
      for (const Write write : {Write::overwrite, Write::accumulate}) {
        for (const Size size : kSizes) {
          CAPTURE(static_cast<char>(op_a));
          CAPTURE(static_cast<char>(op_b));
          CAPTURE(size.rows);
          CAPTURE(size.cols);
          CAPTURE(size.terms);
          const Operands operands(op_a, op_b, size, 1);
          const auto c = product<Unit>(operands, size, -0.75F, write);
          // There are two roundings for what is left out, one each for the product with alpha and
          // the sum with c, and some for the sums: float32 one by one would need as many as there
          // are terms.
          CHECK(errors_in_roundings(c, operands, size, -0.75, write) < 8.0);
        }
      }
    }
  }
}

TEST_CASE("products by bfloat16: AMX does what its description says, to the last bit") {
  if (amx::why_not() != nullptr) {
    MESSAGE(amx::why_not());
    return;
  }
  for (const Op op_a : kOps) {
    for (const Op op_b : kOps) {
      for (const Size size : {kSizes[3], kSizes[6]}) {
        const Operands operands(op_a, op_b, size, 2);
        CHECK(equal_to_the_last_bit(product<amx::Unit>(operands, size, 0.625F, Write::accumulate),
                                    product<SlowUnit>(operands, size, 0.625F, Write::accumulate)));
      }
    }
  }
}

TEST_CASE_TEMPLATE("products by bfloat16: those with the identity lose nothing", Unit, SlowUnit,
                   amx::Unit) {
  if (why_not<Unit>() != nullptr) return;
  constexpr Index kSize = 40;
  PaddedMatrix<float> identity(kSize, kSize);
  identity.fill(0.0F);
  for (Index i = 0; i < kSize; ++i) identity(i, i) = 1.0F;
  // The numbers have all bits of the significand and exponents from 2⁻¹⁰³ upwards, whose last bit
  // is 2⁻¹²⁶.
  PaddedMatrix<float> x(kSize, kSize);
  Random random(3);
  for (Index i = 0; i < kSize; ++i) {
    for (Index j = 0; j < kSize; ++j) {
      const auto bits = static_cast<float>(0x800000 + (i * 1'234'567 + j * 7'654'321) % 0x800000);
      x(i, j) = std::ldexp((i + j) % 2 == 0 ? bits : -bits, static_cast<int>(-126 + 5 * i + j / 2));
    }
  }
  Bfloat16Products<Unit> multiply;
  for (const Op op : kOps) {
    PaddedMatrix<float> from_left(kSize, kSize);
    multiply(Op::none, op, 1.0F, x.view(), identity.view(), Write::overwrite, from_left.view());
    CHECK(equal_to_the_last_bit(from_left, x));
    PaddedMatrix<float> from_right(kSize, kSize);
    multiply(op, Op::none, 1.0F, identity.view(), x.view(), Write::overwrite, from_right.view());
    CHECK(equal_to_the_last_bit(from_right, x));
  }
}

TEST_CASE_TEMPLATE("products by bfloat16: an element depends on its row and its column alone", Unit,
                   SlowUnit, amx::Unit) {
  if (why_not<Unit>() != nullptr) return;
  const Size whole{75, 50, 290};
  const Operands operands(Op::none, Op::transpose, whole, 4);
  const auto all = product<Unit>(operands, whole, 1.0F, Write::overwrite);
  Bfloat16Products<Unit> multiply;
  for (const auto& [first, count] : {Range{0, 9}, Range{20, 55}}) {
    PaddedMatrix<float> part(count, 17);
    multiply(Op::none, Op::transpose, 1.0F, operands.a.view().row_block(first, count),
             operands.b.view().row_block(30, 17), Write::overwrite, part.view());
    for (Index i = 0; i < count; ++i) {
      for (Index j = 0; j < 17; ++j) CHECK(part(i, j) == all(first + i, 30 + j));
    }
  }
}

TEST_CASE_TEMPLATE("products by bfloat16: nothing that is not finite is lost", Unit, SlowUnit,
                   amx::Unit) {
  if (why_not<Unit>() != nullptr) return;
  const Size size{3, 2, 40};
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  // The second NaN would overflow if it was rounded.
  for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(),
                          std::bit_cast<float>(0x7fffffffU)}) {
    Operands operands(Op::none, Op::none, size, 5);
    operands.a(1, 33) = bad;
    const auto c = product<Unit>(operands, size, 1.0F, Write::overwrite);
    for (Index j = 0; j < 2; ++j) {
      CHECK(std::isfinite(c(0, j)));
      CHECK(!std::isfinite(c(1, j)));
      CHECK(std::isfinite(c(2, j)));
    }
  }
}

TEST_CASE_TEMPLATE("products by bfloat16: sums without terms", Unit, SlowUnit, amx::Unit) {
  if (why_not<Unit>() != nullptr) return;
  for (const Size size : {Size{3, 2, 0}, Size{70, 40, 0}}) {
    const Operands operands(Op::none, Op::transpose, size, 6);
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      const auto c = product<Unit>(operands, size, 1.0F, write);
      CHECK(errors_in_roundings(c, operands, size, 1.0, write) == 0.0);
    }
  }
}

TEST_CASE_TEMPLATE("products by bfloat16: one leaves nothing behind for the next", Unit, SlowUnit,
                   amx::Unit) {
  if (why_not<Unit>() != nullptr) return;
  const Size size{20, 30, 40};
  const Operands operands(Op::none, Op::none, size, 7);
  const auto once = product<Unit>(operands, size, 1.0F, Write::overwrite);
  PaddedMatrix<float> c(size.rows, size.cols);
  PaddedMatrix<float> other(size.rows, size.cols);
  Bfloat16Products<Unit> multiply;
  for (PaddedMatrix<float>* const to : {&c, &other}) {
    multiply(Op::none, Op::none, 1.0F, operands.a.view(), operands.b.view(), Write::overwrite,
             to->view());
    if (to == &c) c.fill(1.0F);
  }
  CHECK(equal_to_the_last_bit(other, once));
  CHECK(c(0, 0) == 1.0F);
  CHECK(c(19, 29) == 1.0F);
}

}  // namespace fastntk::test

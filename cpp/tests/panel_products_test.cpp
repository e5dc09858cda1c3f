// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/panel_products.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "fastntk/portability.hpp"
#include "padded_matrix.hpp"
#include "tolerances.hpp"

#ifdef FASTNTK_HAS_VECTOR_TYPES
#include "fastntk/panel_kernel.hpp"
#endif

namespace fastntk::test {

namespace {

// This is what the processor runs, for the numbers T.
template <class Number>
struct OfTheProcessor {
  using T = Number;
  static constexpr Index kPanels = 3;
  static Index panel_rows() {
    const PanelKernel<T>* const kernel = panel_kernel<T>();
    return kernel == nullptr ? 0 : kernel->panel_rows;
  }
  static void multiply(const PanelProduct<T>& product) { panel_kernel<T>()->multiply(product); }
};

#ifdef FASTNTK_HAS_VECTOR_TYPES
// The shapes for other processors, lowered to what this one has.
template <class Number, int... shape>
struct Lowered {
  using T = Number;
  using Shape = panels::Shape<T, shape...>;
  static constexpr Index kPanels = Shape::kPanels;
  static Index panel_rows() { return Shape::kPanelRows; }
  static void multiply(const PanelProduct<T>& product) { panels::multiply<Shape>(product); }
};
#define FASTNTK_LOWERED                                                                      \
  , Lowered<float, 32, 4, 8, 3>, Lowered<double, 32, 4, 4, 3>, Lowered<float, 64, 8, 16, 3>, \
      Lowered<double, 64, 8, 8, 3>, Lowered<float, 16, 4, 4, 4>, Lowered<double, 16, 4, 4, 2>
#else
#define FASTNTK_LOWERED
#endif

// Returns whole numbers, so that sums are exact and every error is seen: −3 … 3.
template <class T>
PaddedMatrix<T> small_integers(Index rows, Index terms, Index seed) {
  PaddedMatrix<T> result(rows, terms);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < terms; ++j) {
      result(i, j) =
          static_cast<T>((i * i * 31 + j * j * 17 + i * j * 7 + seed * 13 + i + 2 * j) % 7 - 3);
    }
  }
  return result;
}

// Packs `parts` matrices, in blocks of rows as the passes through a network do.
template <class T>
struct Packed {
  Packed(const std::vector<PaddedMatrix<T>>& parts, Index panel_rows, Index block)
      : rows(parts.front().rows()),
        cols(parts.front().cols()),
        // One element more on each side, which is to be left alone.
        numbers(static_cast<std::size_t>(Partition::round_up(rows, panel_rows) * cols *
                                         static_cast<Index>(parts.size())) +
                    2,
                T(-77)),
        panels(numbers.data() + 1, rows, cols, static_cast<Index>(parts.size()), panel_rows) {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      for (Index first = 0; first < rows; first += block) {
        const Index count = std::min(block, rows - first);
        pack(Matrix<const T>(parts[p].view().row_block(first, count)), first, static_cast<Index>(p),
             panels);
      }
    }
    CHECK(numbers.front() == T(-77));
    CHECK(numbers.back() == T(-77));
  }
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;
  Packed(Packed&&) = delete;
  Packed& operator=(Packed&&) = delete;
  ~Packed() = default;

  Index rows;
  Index cols;
  std::vector<T> numbers;
  Panels<T> panels;
};

// Checks a bᵀ of these panels against the sums over `parts`.
template <class P>
void check_product(const std::vector<PaddedMatrix<typename P::T>>& a, Range a_panels,
                   const std::vector<PaddedMatrix<typename P::T>>& b, Range b_panels, bool lower) {
  using T = typename P::T;
  const Index panel_rows = P::panel_rows();
  const Packed<T> left(a, panel_rows, 2 * panel_rows);
  const Packed<T> right(b, panel_rows, panel_rows);
  PaddedMatrix<T> c(a_panels.count * panel_rows, b_panels.count * panel_rows);
  P::multiply({left.panels, a_panels, right.panels, b_panels, lower, c.view()});
  REQUIRE(c.margin_intact());
  Index wrong = 0;
  for (Index i = 0; i < c.rows(); ++i) {
    for (Index j = 0; j < c.cols(); ++j) {
      const Index row = a_panels.first * panel_rows + i;
      const Index col = b_panels.first * panel_rows + j;
      T expected = T(0);
      if (row < left.rows && col < right.rows) {  // rows that fill up a panel are zero
        for (std::size_t p = 0; p < a.size(); ++p) {
          for (Index k = 0; k < left.cols; ++k) expected += a[p](row, k) * b[p](col, k);
        }
      }
      const bool skipped = lower && j > i && c(i, j) == T(0);
      if (c(i, j) != expected && !skipped) ++wrong;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE_TEMPLATE("panel products: exact sums for any rows, columns and terms", P,
                   OfTheProcessor<float>, OfTheProcessor<double> FASTNTK_LOWERED) {
  using T = typename P::T;
  const Index panel_rows = P::panel_rows();
  if (panel_rows == 0) return;  // another processor
  for (const Index terms : {0, 1, 2, 3, 4, 5, 7, 31, 127, 128, 129, 200, 257, 390}) {
    for (const Index parts : {1, 3}) {
      CAPTURE(terms);
      CAPTURE(parts);
      std::vector<PaddedMatrix<T>> a;
      std::vector<PaddedMatrix<T>> b;
      const Index rows = 2 * panel_rows + 3;
      const Index others = (2 * P::kPanels + 1) * panel_rows - 1;
      for (Index p = 0; p < parts; ++p) {
        a.push_back(small_integers<T>(rows, terms, p));
        b.push_back(small_integers<T>(others, terms, p + 9));
      }
      check_product<P>(a, {0, 3}, b, {0, 2 * P::kPanels + 1}, false);
      check_product<P>(a, {1, 2}, b, {3, 1}, false);
      check_product<P>(b, {1, 2 * P::kPanels}, b, {1, 2 * P::kPanels}, true);
    }
  }
}

TEST_CASE_TEMPLATE("panel products: any number of panels", P, OfTheProcessor<float>,
                   OfTheProcessor<double> FASTNTK_LOWERED) {
  using T = typename P::T;
  const Index panel_rows = P::panel_rows();
  if (panel_rows == 0) return;
  constexpr Index kMost = 13;
  const std::vector<PaddedMatrix<T>> a{small_integers<T>(kMost * panel_rows - 1, 9, 1)};
  for (Index count = 0; count <= kMost; ++count) {
    CAPTURE(count);
    check_product<P>(a, {0, 3}, a, {kMost - count, count}, false);
    check_product<P>(a, {kMost - count, count}, a, {0, 3}, false);
    check_product<P>(a, {kMost - count, count}, a, {kMost - count, count}, true);
  }
}

TEST_CASE_TEMPLATE("panel products: the bits of an element depend on its two rows alone", P,
                   OfTheProcessor<float>, OfTheProcessor<double> FASTNTK_LOWERED) {
  using T = typename P::T;
  const Index panel_rows = P::panel_rows();
  if (panel_rows == 0) return;
  const Index panels = 2 * P::kPanels + 2;
  const Index rows = panels * panel_rows;
  PaddedMatrix<T> a(rows, 301);
  for (Index i = 0; i < rows; ++i) {
    for (Index k = 0; k < a.cols(); ++k)
      a(i, k) = static_cast<T>(std::sin(1.0 + static_cast<double>(i * 301 + k)));
  }
  const Packed<T> packed({a}, panel_rows, rows);
  const auto product = [&](Range left, Range right, bool lower) {
    PaddedMatrix<T> c(left.count * panel_rows, right.count * panel_rows);
    P::multiply({packed.panels, left, packed.panels, right, lower, c.view()});
    return c;
  };
  const auto whole = product({0, panels}, {0, panels}, false);
  const auto lower = product({0, panels}, {0, panels}, true);
  double largest = 0.0;
  Index different = 0;
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j <= i; ++j) {
      double expected = 0.0;
      for (Index k = 0; k < a.cols(); ++k)
        expected += static_cast<double>(a(i, k)) * static_cast<double>(a(j, k));
      largest = std::max(largest, std::abs(static_cast<double>(whole(i, j)) - expected));
      different += whole(i, j) != whole(j, i) ? 1 : 0;
      different += whole(i, j) != lower(i, j) ? 1 : 0;
    }
  }
  for (Index first = 0; first < panels; ++first) {
    const auto some = product({first, 1}, {0, first + 1}, false);
    for (Index i = 0; i < panel_rows; ++i) {
      for (Index j = 0; j < some.cols(); ++j) {
        different += some(i, j) != whole(first * panel_rows + i, j) ? 1 : 0;
      }
    }
  }
  CHECK(different == 0);
  CHECK(largest < 150.0 * Tolerance<T>::kRounding);
}

TEST_CASE_TEMPLATE("panel products: any rows of the samples", T, float, double) {
  const PanelKernel<T>* const kernel = panel_kernel<T>();
  if (kernel == nullptr) return;
  const Index total = 70;
  const std::vector<PaddedMatrix<T>> a{small_integers<T>(total, 37, 2)};
  const Packed<T> packed(a, kernel->panel_rows, total);
  PaddedMatrix<T> workspace(total + 2 * kernel->panel_rows, total + 2 * kernel->panel_rows);
  for (Index first = 0; first < 20; first += 3) {
    for (Index count = 1; first + count <= total; count += 4) {
      const Range rows{first, count};
      const Range cols{20 - first, std::min<Index>(count + 1, 50)};
      const Matrix<T> c =
          multiply_panels<T>(packed.panels, rows, packed.panels, cols, false, workspace.view());
      REQUIRE(c.rows == rows.count);
      REQUIRE(c.cols == cols.count);
      Index wrong = 0;
      for (Index i = 0; i < c.rows; ++i) {
        for (Index j = 0; j < c.cols; ++j) {
          T expected = T(0);
          for (Index k = 0; k < 37; ++k) expected += a[0](first + i, k) * a[0](cols.first + j, k);
          wrong += c(i, j) != expected ? 1 : 0;
        }
      }
      CHECK(wrong == 0);
    }
  }
}

// A matrix is put together from blocks, as rows, as columns and from panels of its transpose.
TEST_CASE_TEMPLATE("panels: blocks of rows and columns, and transposes", T, float, double) {
  for (const Index panel_rows : {4, 8, 16}) {
    for (const Index rows : {1, 5, 16, 37, 150}) {
      for (const Index cols : {1, 7, 16, 40, 131, 300}) {
        CAPTURE(panel_rows);
        CAPTURE(rows);
        CAPTURE(cols);
        const PaddedMatrix<T> a = small_integers<T>(rows, cols, 3);
        PaddedMatrix<T> transposed(cols, rows);
        for (Index i = 0; i < rows; ++i) {
          for (Index j = 0; j < cols; ++j) transposed(j, i) = a(i, j);
        }
        const Packed<T> expected({a}, panel_rows, rows);
        const auto same = [&](auto fill) {
          const std::vector<PaddedMatrix<T>> nothing{PaddedMatrix<T>(rows, cols)};
          const Packed<T> result(nothing, panel_rows, rows);
          fill(result.panels);
          return result.numbers == expected.numbers;
        };
        const Index row_step = 2 * panel_rows;
        const auto blocks = [&](Index col_step, auto use) {
          for (Index i = 0; i < rows; i += row_step) {
            for (Index j = 0; j < cols; j += col_step) {
              use(Range{i, std::min(row_step, rows - i)}, Range{j, std::min(col_step, cols - j)});
            }
          }
        };
        for (const Index col_step : {Index{5}, Index{48}, cols}) {
          CHECK(same([&](const Panels<T>& to) {
            blocks(col_step, [&](Range r, Range c) {
              pack(Matrix<const T>(a.view().block(r.first, r.count, c.first, c.count)), r.first, 0,
                   to, c.first);
            });
          }));
          CHECK(same([&](const Panels<T>& to) {
            blocks(col_step, [&](Range r, Range c) {
              pack_transposed(
                  Matrix<const T>(transposed.view().block(c.first, c.count, r.first, r.count)),
                  r.first, to, c.first);
            });
          }));
        }
        // Blocks of columns that begin with a panel, each a matrix of its own.
        CHECK(same([&](const Panels<T>& to) {
          const Index step = 3 * panel_rows;
          for (Index first = 0; first < cols; first += step) {
            const Index count = std::min(step, cols - first);
            PaddedMatrix<T> own(count, rows);
            for (Index j = 0; j < count; ++j) {
              for (Index i = 0; i < rows; ++i) own(j, i) = a(i, first + j);
            }
            const Packed<T> from({own}, panel_rows, count);
            transpose_panels<T>(from.panels, count, to, first);
          }
        }));
      }
    }
  }
}

TEST_CASE("panel products: the instructions have a name") {
  const std::string name = panel_instructions();
  CHECK((name == "generic") == (panel_kernel<double>() == nullptr));
  CHECK((name == "generic") == (panel_kernel<float>() == nullptr));
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <type_traits>

#include "fastntk/panel_products.hpp"

// This is the one body of the products of panels, in the compiler's vector types, for registers of
// any width: whoever compiles it for a set of instructions (src/panel_products.cpp) says how wide
// they are and how many.
namespace fastntk::panels {

// All functions become a part of the one that is compiled for these instructions.
#define FASTNTK_INLINED __attribute__((always_inline)) inline

// A micro-tile has kRows rows of the left operand, a divisor of those of a panel, and at most
// kPanels panels of the right one. Its sums and a row of the right operand stay in registers.
template <class Number, int vector_bytes, int rows, int panel_rows, int panels>
struct Shape {
  using T = Number;
  static constexpr Index kRows = rows;
  static constexpr Index kPanelRows = panel_rows;
  static constexpr Index kPanels = panels;
  static constexpr Index kLanes = vector_bytes / sizeof(T);
  static constexpr Index kVectors = kPanelRows / kLanes;  // of a panel
  static_assert(kPanelRows % kRows == 0 && kPanelRows % kLanes == 0);

  // NOLINTBEGIN(modernize-use-using): `using` loses the attributes of dependent types.
  typedef T Vector __attribute__((vector_size(vector_bytes)));
  typedef T InMemory __attribute__((vector_size(vector_bytes), aligned(sizeof(T)), may_alias));
  // NOLINTEND(modernize-use-using)
};

// Asks for the cache line of an element, which need not exist.
template <class T>
FASTNTK_INLINED void fetch(const T* p) {
  __builtin_prefetch(p);
}
template <class T>
constexpr Index kLine = 64 / sizeof(T);  // elements

// NOLINTBEGIN(modernize-avoid-c-arrays): std::array ignores the alignment of vectors.

// c (+)= a bᵀ for kRows rows at `a`, within a panel, and the rows of `panels` panels at `b`, over
// so many terms. The place that `a` has in the next panel is fetched meanwhile.
template <class S, Index panels, bool accumulate>
FASTNTK_INLINED void micro_tile(const typename S::T* a, const typename S::T* b, Index terms,
                                typename S::T* c, Index stride) {
  using T = typename S::T;
  using InMemory = typename S::InMemory;
  constexpr Index kVectors = panels * S::kVectors;
  constexpr Index kUnrolled = 4;
  const Index panel = terms * S::kPanelRows;
  typename S::Vector sums[S::kRows][kVectors] = {};
#pragma GCC unroll 16
  for (Index i = 0; i < S::kRows; ++i) {
    fetch(c + i * stride);
    if constexpr (panels > 1) fetch(c + i * stride + kVectors * S::kLanes - 1);
  }
  const auto add_term = [&](Index term) __attribute__((always_inline)) {
    typename S::Vector right[kVectors];
#pragma GCC unroll 8
    for (Index j = 0; j < kVectors; ++j) {
      right[j] = *reinterpret_cast<const InMemory*>(
          b + j / S::kVectors * panel + term * S::kPanelRows + j % S::kVectors * S::kLanes);
    }
#pragma GCC unroll 16
    for (Index i = 0; i < S::kRows; ++i) {
      const T left = a[term * S::kPanelRows + i];
#pragma GCC unroll 8
      for (Index j = 0; j < kVectors; ++j) sums[i][j] += left * right[j];
    }
  };
  Index term = 0;
  for (; term + kUnrolled <= terms; term += kUnrolled) {
#pragma GCC unroll 8
    for (Index at = 0; at < kUnrolled * S::kPanelRows; at += kLine<T>) {
      fetch(a + panel + term * S::kPanelRows + at);
    }
#pragma GCC unroll 4
    for (Index k = 0; k < kUnrolled; ++k) add_term(term + k);
  }
  for (; term < terms; ++term) add_term(term);
#pragma GCC unroll 16
  for (Index i = 0; i < S::kRows; ++i) {
#pragma GCC unroll 8
    for (Index j = 0; j < kVectors; ++j) {
      auto& target = *reinterpret_cast<InMemory*>(c + i * stride + j * S::kLanes);
      if constexpr (accumulate) {
        target += sums[i][j];
      } else {
        target = sums[i][j];
      }
    }
  }
}

// NOLINTEND(modernize-avoid-c-arrays)

// Computes the columns of c that belong to `panels` panels at `b`, for the rows of the left panels
// from number `first` on. These panels of b stay in the first-level cache; `next`, those that come
// after them, are fetched little by little.
template <class S, Index panels, bool accumulate>
FASTNTK_INLINED void strip(const typename S::T* a, Index first, Index end, const typename S::T* b,
                           const typename S::T* next, Index terms, typename S::T* c, Index stride) {
  using T = typename S::T;
  const Index panel = terms * S::kPanelRows;
  const Index tiles = std::max<Index>(1, (end - first) * (S::kPanelRows / S::kRows));
  const Index share = Partition::round_up((panels * panel + tiles - 1) / tiles, kLine<T>);
  for (Index i = first * S::kPanelRows; i < end * S::kPanelRows; i += S::kRows) {
    for (Index at = 0; at < share; at += kLine<T>) fetch(next + at);
    next += share;
    micro_tile<S, panels, accumulate>(a + i / S::kPanelRows * panel + i % S::kPanelRows, b, terms,
                                      c + i * stride, stride);
  }
}

// The terms of one slab.
template <class S, bool accumulate>
FASTNTK_INLINED void slab_product(const PanelProduct<typename S::T>& product, Index part,
                                  Range slab, const typename S::T* following) {
  using T = typename S::T;
  const T* const a = product.a.panel(part, slab, product.a_panels.first);
  const Index rows = product.a_panels.count;
  for (Index j = 0; j < product.b_panels.count;) {
    const Index left = product.b_panels.count - j;
    // Two times two panels fill the registers better than three and one.
    const Index panels = left == S::kPanels + 1 ? (left + 1) / 2 : std::min(left, S::kPanels);
    const T* const b = product.b.panel(part, slab, product.b_panels.first + j);
    const T* const next = left == panels ? following : b + panels * slab.count * S::kPanelRows;
    const Index first = product.lower ? j : 0;
    T* const c = product.c.data + j * S::kPanelRows;
    const auto compute = [&](auto count) __attribute__((always_inline)) {
      strip<S, decltype(count)::value, accumulate>(a, first, rows, b, next, slab.count, c,
                                                   product.c.stride);
    };
    if (panels == 1) {
      compute(std::integral_constant<Index, 1>{});
    } else if (panels == 2) {
      compute(std::integral_constant<Index, 2>{});
    } else {
      if constexpr (S::kPanels >= 3) {
        if (panels == 3) compute(std::integral_constant<Index, 3>{});
      }
      if constexpr (S::kPanels >= 4) {
        if (panels == 4) compute(std::integral_constant<Index, 4>{});
      }
    }
    j += panels;
  }
}

template <class S>
FASTNTK_INLINED void multiply(const PanelProduct<typename S::T>& product) {
  const Partition slabs = product.a.slabs();
  if (product.lower || product.a.cols == 0) {
    for (Index i = 0; i < product.c.rows; ++i) {
      std::fill_n(product.c.row(i), product.c.cols, typename S::T(0));
    }
  }
  for (Index part = 0; part < product.a.parts; ++part) {
    for (Index s = 0; s < slabs.blocks(); ++s) {
      const Index next = s + 1 < slabs.blocks() ? s + 1 : s;
      const auto* const following = product.b.panel(part, slabs[next], product.b_panels.first);
      if (part == 0 && s == 0) {
        slab_product<S, false>(product, part, slabs[s], following);
      } else {
        slab_product<S, true>(product, part, slabs[s], following);
      }
    }
  }
}

#undef FASTNTK_INLINED

}  // namespace fastntk::panels

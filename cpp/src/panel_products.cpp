// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/panel_products.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "fastntk/portability.hpp"

#ifdef FASTNTK_HAS_VECTOR_TYPES
#include "fastntk/panel_kernel.hpp"
#endif

namespace fastntk {

namespace {

// A set of instructions, and what is compiled for it; null stands for none.
struct Instructions {
  const char* name;
  bool (*present)();
  const PanelKernel<float>* float32;
  const PanelKernel<double>* float64;
};

#define FASTNTK_PANEL_KERNEL(NAME, TARGET, T, ...)                                        \
  TARGET void multiply_##NAME(const PanelProduct<T>& product) {                           \
    panels::multiply<panels::Shape<T, __VA_ARGS__>>(product);                             \
  }                                                                                       \
  constexpr PanelKernel<T> k_##NAME{                                                      \
      panels::Shape<T, __VA_ARGS__>::kPanelRows,                                          \
      panels::Shape<T, __VA_ARGS__>::kPanels * panels::Shape<T, __VA_ARGS__>::kPanelRows, \
      &multiply_##NAME};

// The shapes: bytes of a register, rows of a micro-tile, rows of a panel, panels. Sums fill 12 of
// 16 registers, or 24 (16 with NEON) of 32.
#if defined(FASTNTK_HAS_VECTOR_TYPES) && defined(__x86_64__)

#define FASTNTK_AVX2 __attribute__((target("avx2,fma")))
#define FASTNTK_AVX512 __attribute__((target("avx512f")))
FASTNTK_PANEL_KERNEL(avx2_float32, FASTNTK_AVX2, float, 32, 4, 8, 3)
FASTNTK_PANEL_KERNEL(avx2_float64, FASTNTK_AVX2, double, 32, 4, 4, 3)
FASTNTK_PANEL_KERNEL(avx512_float32, FASTNTK_AVX512, float, 64, 8, 16, 3)
FASTNTK_PANEL_KERNEL(avx512_float64, FASTNTK_AVX512, double, 64, 8, 8, 3)

constexpr std::array<Instructions, 3> kInstructions{{
    {"avx512", [] { return __builtin_cpu_supports("avx512f") != 0; }, &k_avx512_float32,
     &k_avx512_float64},
    {"avx2",
     [] { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0; },
     &k_avx2_float32, &k_avx2_float64},
    {"generic", [] { return true; }, nullptr, nullptr},
}};

#elif defined(FASTNTK_HAS_VECTOR_TYPES) && defined(__aarch64__)

FASTNTK_PANEL_KERNEL(neon_float32, , float, 16, 4, 4, 4)
FASTNTK_PANEL_KERNEL(neon_float64, , double, 16, 4, 4, 2)

constexpr std::array<Instructions, 2> kInstructions{{
    {"neon", [] { return true; }, &k_neon_float32, &k_neon_float64},
    {"generic", [] { return true; }, nullptr, nullptr},
}};

#else

constexpr std::array<Instructions, 1> kInstructions{{
    {"generic", [] { return true; }, nullptr, nullptr},
}};

#endif

Instructions choose() {
  const char* const value = std::getenv("FASTNTK_INSTRUCTIONS");  // NOLINT(concurrency-mt-unsafe)
  const std::string wanted = value == nullptr ? "" : value;
  std::string present;
  for (const Instructions& set : kInstructions) {
    if (!set.present()) continue;
    if (wanted.empty() || wanted == set.name) return set;
    present += (present.empty() ? "\"" : ", \"") + std::string(set.name) + "\"";
  }
  throw std::runtime_error("the environment variable FASTNTK_INSTRUCTIONS is \"" + wanted +
                           "\"; this processor has " + present);
}

const Instructions& chosen() {
  static const Instructions instructions = choose();
  return instructions;
}

// Returns the panels that hold any of the rows.
Range panels_of(Range rows, Index panel_rows) {
  const Index first = rows.first / panel_rows;
  return {first, (rows.first + rows.count + panel_rows - 1) / panel_rows - first};
}

#if defined(FASTNTK_HAS_VECTOR_TYPES) && __has_builtin(__builtin_shufflevector)
#define FASTNTK_HAS_SHUFFLES

// A vector has as many numbers as a panel has rows.
template <class T, Index panel_rows>
struct Column {
  // NOLINTBEGIN(modernize-use-using): `using` loses the attributes of dependent types.
  typedef T Vector __attribute__((vector_size(panel_rows * sizeof(T))));
  typedef T InMemory
      __attribute__((vector_size(panel_rows * sizeof(T)), aligned(sizeof(T)), may_alias));
  // NOLINTEND(modernize-use-using)
};

// Puts the elements of two vectors side by side, by turns.
template <class Vector, std::size_t... i>
__attribute__((always_inline)) inline void interleave(const Vector& a, const Vector& b, Vector& low,
                                                      Vector& high,
                                                      std::index_sequence<i...> /*all*/) {
  constexpr std::size_t kCount = sizeof...(i);
  low = __builtin_shufflevector(a, b, (i / 2 + i % 2 * kCount)...);
  high = __builtin_shufflevector(a, b, (kCount / 2 + i / 2 + i % 2 * kCount)...);
}

// Transposes a square whose rows are `stride` elements apart into one whose rows follow each other.
// In registers, its two halves are interleaved again and again.
template <Index panel_rows, class T>
__attribute__((always_inline)) inline void transpose_square(const T* from, Index stride, T* to) {
  using Vector = typename Column<T, panel_rows>::Vector;
  using InMemory = typename Column<T, panel_rows>::InMemory;
  constexpr auto kCount = static_cast<std::size_t>(panel_rows);
  std::array<Vector, kCount> rows{};
  for (std::size_t i = 0; i < kCount; ++i) {
    rows[i] = *reinterpret_cast<const InMemory*>(from + static_cast<Index>(i) * stride);
  }
  for (std::size_t width = 1; width < kCount; width *= 2) {
    const std::array<Vector, kCount> halves = rows;
    for (std::size_t i = 0; i < kCount / 2; ++i) {
      interleave(halves[i], halves[i + kCount / 2], rows[2 * i], rows[2 * i + 1],
                 std::make_index_sequence<kCount>{});
    }
  }
  for (std::size_t i = 0; i < kCount; ++i) {
    *reinterpret_cast<InMemory*>(to + static_cast<Index>(i) * panel_rows) = rows[i];
  }
}
#else
template <Index panel_rows, class T>
void transpose_square(const T* from, Index stride, T* to) {
  for (Index k = 0; k < panel_rows; ++k) {
    for (Index i = 0; i < panel_rows; ++i) to[k * panel_rows + i] = from[i * stride + k];
  }
}
#endif

// Puts whole rows of `from` into a panel. Columns are packed together as many as there are rows.
template <Index panel_rows, class From, class To>
FASTNTK_MULTIVERSION void pack_whole(Matrix<const From> from, To* panel) {
  Index k = 0;
  if constexpr (std::is_same_v<From, To>) {
    for (; k + panel_rows <= from.cols; k += panel_rows) {
      transpose_square<panel_rows>(from.data + k, from.stride, panel + k * panel_rows);
    }
  }
  for (; k < from.cols; ++k) {
    for (Index i = 0; i < panel_rows; ++i) {
      panel[k * panel_rows + i] = static_cast<To>(from(i, k));
    }
  }
}

// Transposes squares that follow each other into ones that are `step` elements apart.
template <Index panel_rows, class T>
FASTNTK_MULTIVERSION void transpose_squares(const T* from, Index squares, T* to, Index step) {
  for (Index q = 0; q < squares; ++q) {
    transpose_square<panel_rows>(from + q * panel_rows * panel_rows, panel_rows, to + q * step);
  }
}

// Puts whole columns of `terms` into panels that are `step` elements apart, some terms at a time,
// so that lines of the cache are filled before they leave it.
template <Index panel_rows, class T>
FASTNTK_MULTIVERSION void pack_whole_transposed(Matrix<const T> terms, Index panels, T* first,
                                                Index step) {
  constexpr Index kAtOnce = 8;
  for (Index k0 = 0; k0 < terms.rows; k0 += kAtOnce) {
    const Index end = std::min(k0 + kAtOnce, terms.rows);
    for (Index p = 0; p < panels; ++p) {
      T* const panel = first + p * step;
      for (Index k = k0; k < end; ++k) {
        FASTNTK_INDEPENDENT_ITERATIONS
        for (Index i = 0; i < panel_rows; ++i) {
          panel[k * panel_rows + i] = terms(k, p * panel_rows + i);
        }
      }
    }
  }
}

// Calls use(slab, columns) for all slabs that have some of these columns, with those that it has.
template <class T, class Use>
void for_each_slab(const Panels<T>& panels, Range cols, Use use) {
  const Partition slabs = panels.slabs();
  for (Index first = cols.first; first < cols.first + cols.count;) {
    const Range slab = slabs[first / slabs.size()];
    const Index end = std::min(slab.first + slab.count, cols.first + cols.count);
    use(slab, Range{first, end - first});
    first = end;
  }
}

// The last panel may lack rows: they are 0.
template <class From, class To>
void pack_last(Matrix<const From> rows, Index panel_rows, To* panel) {
  for (Index k = 0; k < rows.cols; ++k) {
    for (Index i = 0; i < panel_rows; ++i) {
      panel[k * panel_rows + i] = i < rows.rows ? static_cast<To>(rows(i, k)) : To(0);
    }
  }
}

}  // namespace

const char* panel_instructions() { return chosen().name; }

template <>
const PanelKernel<float>* panel_kernel<float>() {
  return chosen().float32;
}
template <>
const PanelKernel<double>* panel_kernel<double>() {
  return chosen().float64;
}

template <class T>
Matrix<T> multiply_panels(const Panels<const T>& a, Range rows, const Panels<const T>& b,
                          Range cols, bool lower, const Matrix<T>& workspace) {
  const Range a_panels = panels_of(rows, a.panel_rows);
  const Range b_panels = panels_of(cols, b.panel_rows);
  const Matrix<T> all =
      workspace.block(0, a_panels.count * a.panel_rows, 0, b_panels.count * b.panel_rows);
  panel_kernel<T>()->multiply({a, a_panels, b, b_panels, lower, all});
  return all.block(rows.first % a.panel_rows, rows.count, cols.first % b.panel_rows, cols.count);
}

template <class From, class To>
void pack(Matrix<const From> from, Index first, Index part, const Panels<To>& to, Index first_col) {
  const Range cols{first_col, from.cols};
  for (Index row = 0; row < from.rows; row += to.panel_rows) {
    const Matrix<const From> rows = from.row_block(row, std::min(to.panel_rows, from.rows - row));
    for_each_slab(to, cols, [&](Range slab, Range common) {
      const Matrix<const From> block = rows.col_block(common.first - first_col, common.count);
      To* const panel = to.panel(part, slab, (first + row) / to.panel_rows) +
                        (common.first - slab.first) * to.panel_rows;
      if (block.rows < to.panel_rows) {
        pack_last(block, to.panel_rows, panel);
      } else {
        with_panel_rows(to.panel_rows,
                        [&](auto count) { pack_whole<decltype(count)::value>(block, panel); });
      }
    });
  }
}

template <class T>
void pack_transposed(Matrix<const T> from, Index first, const Panels<T>& to, Index first_col) {
  const Index whole = from.cols / to.panel_rows;
  for_each_slab(to, {first_col, from.rows}, [&](Range slab, Range common) {
    const Matrix<const T> terms = from.row_block(common.first - first_col, common.count);
    T* const panels =
        to.panel(0, slab, first / to.panel_rows) + (common.first - slab.first) * to.panel_rows;
    const Index step = slab.count * to.panel_rows;
    with_panel_rows(to.panel_rows, [&](auto rows) {
      pack_whole_transposed<decltype(rows)::value>(terms, whole, panels, step);
    });
    if (const Index left = from.cols - whole * to.panel_rows; left > 0) {
      T* column = panels + whole * step;
      for (Index k = 0; k < terms.rows; ++k, column += to.panel_rows) {
        std::fill(std::copy_n(terms.row(k) + whole * to.panel_rows, left, column),
                  column + to.panel_rows, T(0));
      }
    }
  });
}

template <class T>
void transpose_panels(const Panels<const T>& from, Index rows, const Panels<T>& to,
                      Index first_col) {
  const Index panel_rows = to.panel_rows;
  const Partition from_slabs = from.slabs();
  const Partition to_slabs = to.slabs();
  for (Index row = 0; row < rows; row += panel_rows) {
    // A slab has whole panels of columns, but for the last ones.
    const Index col = first_col + row;
    const Index cols = std::min(panel_rows, rows - row);
    const Range slab = to_slabs[col / to_slabs.size()];
    const Index step = slab.count * panel_rows;
    for (Index s = 0; s < from_slabs.blocks(); ++s) {
      const Range units = from_slabs[s];
      const T* const squares = from.panel(0, units, row / panel_rows);
      T* const target =
          to.panel(0, slab, units.first / panel_rows) + (col - slab.first) * panel_rows;
      const Index whole = cols == panel_rows ? units.count / panel_rows : 0;
      with_panel_rows(panel_rows, [&](auto size) {
        transpose_squares<decltype(size)::value>(squares, whole, target, step);
      });
      for (Index u = whole * panel_rows; u < units.count; u += panel_rows) {
        pack_last(Matrix<const T>(squares + u * panel_rows, std::min(panel_rows, units.count - u),
                                  cols, panel_rows),
                  panel_rows, target + u / panel_rows * step);
      }
    }
  }
}

template <class T>
void unpack(const Panels<const T>& from, Index first, const Matrix<T>& to) {
  const Partition slabs = from.slabs();
  for (Index s = 0; s < slabs.blocks(); ++s) {
    const Range slab = slabs[s];
    for (Index i = 0; i < to.rows; ++i) {
      const T* const column =
          from.panel(0, slab, (first + i) / from.panel_rows) + (first + i) % from.panel_rows;
      for (Index k = 0; k < slab.count; ++k) to(i, slab.first + k) = column[k * from.panel_rows];
    }
  }
}

template void pack(Matrix<const float>, Index, Index, const Panels<float>&, Index);
template void pack(Matrix<const float>, Index, Index, const Panels<double>&, Index);
template void pack(Matrix<const double>, Index, Index, const Panels<float>&, Index);
template void pack(Matrix<const double>, Index, Index, const Panels<double>&, Index);
template void pack_transposed(Matrix<const float>, Index, const Panels<float>&, Index);
template void pack_transposed(Matrix<const double>, Index, const Panels<double>&, Index);
template void transpose_panels(const Panels<const float>&, Index, const Panels<float>&, Index);
template void transpose_panels(const Panels<const double>&, Index, const Panels<double>&, Index);
template void unpack(const Panels<const float>&, Index, const Matrix<float>&);
template void unpack(const Panels<const double>&, Index, const Matrix<double>&);
template Matrix<float> multiply_panels(const Panels<const float>&, Range,
                                       const Panels<const float>&, Range, bool,
                                       const Matrix<float>&);
template Matrix<double> multiply_panels(const Panels<const double>&, Range,
                                        const Panels<const double>&, Range, bool,
                                        const Matrix<double>&);

}  // namespace fastntk

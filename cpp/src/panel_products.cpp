// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/panel_products.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>

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

#define FASTNTK_PANEL_KERNEL(NAME, TARGET, T, ...)              \
  TARGET void multiply_##NAME(const PanelProduct<T>& product) { \
    panels::multiply<panels::Shape<T, __VA_ARGS__>>(product);   \
  }                                                             \
  constexpr PanelKernel<T> k_##NAME{panels::Shape<T, __VA_ARGS__>::kPanelRows, &multiply_##NAME};

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

// Loops over a whole panel are twice as fast when the compiler knows its rows.
template <Index panel_rows, class From, class To>
FASTNTK_MULTIVERSION void pack_whole(Matrix<const From> rows, To* panel) {
  for (Index k = 0; k < rows.cols; ++k) {
    for (Index i = 0; i < panel_rows; ++i) {
      panel[k * panel_rows + i] = static_cast<To>(rows(i, k));
    }
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
void pack(Matrix<const From> from, Index first, Index part, const Panels<To>& to) {
  const Partition slabs = to.slabs();
  for (Index row = 0; row < from.rows; row += to.panel_rows) {
    const Matrix<const From> rows = from.row_block(row, std::min(to.panel_rows, from.rows - row));
    for (Index s = 0; s < slabs.blocks(); ++s) {
      const Range slab = slabs[s];
      const Matrix<const From> block = rows.col_block(slab.first, slab.count);
      To* const panel = to.panel(part, slab, (first + row) / to.panel_rows);
      if (block.rows < to.panel_rows) {
        pack_last(block, to.panel_rows, panel);
      } else if (to.panel_rows == 4) {
        pack_whole<4>(block, panel);
      } else if (to.panel_rows == 8) {
        pack_whole<8>(block, panel);
      } else {
        pack_whole<16>(block, panel);
      }
    }
  }
}

template void pack(Matrix<const float>, Index, Index, const Panels<float>&);
template void pack(Matrix<const float>, Index, Index, const Panels<double>&);
template void pack(Matrix<const double>, Index, Index, const Panels<float>&);
template void pack(Matrix<const double>, Index, Index, const Panels<double>&);
template Matrix<float> multiply_panels(const Panels<const float>&, Range,
                                       const Panels<const float>&, Range, bool,
                                       const Matrix<float>&);
template Matrix<double> multiply_panels(const Panels<const double>&, Range,
                                        const Panels<const double>&, Range, bool,
                                        const Matrix<double>&);

}  // namespace fastntk

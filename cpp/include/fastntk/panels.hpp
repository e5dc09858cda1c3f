// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <type_traits>

#include "fastntk/matrix.hpp"
#include "fastntk/partition.hpp"

// This says how a matrix lies in memory whose rows are to be multiplied with rows, its own or those
// of another one: packed once for all products that it will take part in.
namespace fastntk {

// Several matrices of the same shape lie one after the other, one for each output. Each is cut into
// slabs of at most kSlab columns, and each slab into panels of so many rows as its products ask
// for. In a panel the elements of a column lie side by side:
//
//   [part][slab][panel][column of the slab][row of the panel]
//
// A tile of a product then reads memory in its order, and the panels of a slab that it reads again
// and again follow each other: they compete for no place in a cache. The last panel is filled up
// with rows that nobody asks for, of any numbers.
template <class T>
struct Panels {
  // A panel of a slab, three others, and those that are fetched meanwhile, fit into a first-level
  // cache.
  static constexpr Index kSlab = 128;

  T* data = nullptr;
  Index rows = 0;
  Index cols = 0;  // of a part
  Index parts = 1;
  Index panel_rows = 0;

  Panels() = default;
  Panels(T* data_, Index rows_, Index cols_, Index parts_, Index panel_rows_)
      : data(data_), rows(rows_), cols(cols_), parts(parts_), panel_rows(panel_rows_) {}
  // Reading through a writable view is always safe.
  template <class Writable>
    requires(std::is_same_v<const Writable, T>)
  // NOLINTNEXTLINE(google-explicit-constructor)
  Panels(const Panels<Writable>& other)
      : Panels(other.data, other.rows, other.cols, other.parts, other.panel_rows) {}

  Index padded_rows() const { return Partition::round_up(rows, panel_rows); }
  Index count() const { return padded_rows() / panel_rows; }
  // The columns of a slab are whole panels of a product that has them as its rows.
  Partition slabs() const { return Partition::even(cols, kSlab); }
  Panels part(Index index) const {
    return {data + index * padded_rows() * cols, rows, cols, 1, panel_rows};
  }
  // Returns a panel of a slab of a part; the next one follows it.
  T* panel(Index part, Range slab, Index index) const {
    return data + padded_rows() * (part * cols + slab.first) + index * panel_rows * slab.count;
  }
};

// This is some panels of a matrix: those of a block of samples.
template <class T>
struct PanelRows {
  Panels<T> all;
  Range panels{0, 0};

  PanelRows() = default;
  PanelRows(Panels<T> all_, Range panels_) : all(all_), panels(panels_) {}
  template <class Writable>
    requires(std::is_same_v<const Writable, T>)
  // NOLINTNEXTLINE(google-explicit-constructor)
  PanelRows(const PanelRows<Writable>& other) : PanelRows(other.all, other.panels) {}

  // Returns the rows of these panels, those that fill the last one included.
  Range rows() const { return {panels.first * all.panel_rows, panels.count * all.panel_rows}; }
  // Returns the columns of a slab of one of these panels, as rows.
  Matrix<T> columns(Range slab, Index panel) const {
    return {all.panel(0, slab, panels.first + panel), slab.count, all.panel_rows};
  }
};

// Returns the panels that hold these samples, the first of which is that of a panel.
template <class T>
PanelRows<T> panel_rows_of(const Panels<T>& all, Range samples) {
  return {all,
          {samples.first / all.panel_rows,
           Partition::round_up(samples.count, all.panel_rows) / all.panel_rows}};
}

// Puts the rows `from` in the place of rows first, first + 1, … of a part, and of its columns from
// first_col on. They begin with a panel, and end with one or with the last row of all.
template <class From, class To>
void pack(Matrix<const From> from, Index first, Index part, const Panels<To>& to,
          Index first_col = 0);

// Puts the columns of `from` in the place of such rows of the only part, and of these columns.
template <class T>
void pack_transposed(Matrix<const T> from, Index first, const Panels<T>& to, Index first_col = 0);

// Puts the first rows of `from` in the place of columns of `to` from first_col on, that of a panel.
// Both have one part, and as many rows as the other has columns.
template <class T>
void transpose_panels(const Panels<const T>& from, Index rows, const Panels<T>& to,
                      Index first_col);

// Puts the rows of the only part from `first` on, that of a panel, into the rows of a matrix.
template <class T>
void unpack(const Panels<const T>& from, Index first, const Matrix<T>& to);

// Calls use(std::integral_constant) with the number of rows of a panel: loops over a whole panel
// are twice as fast when the compiler knows it.
template <class Use>
void with_panel_rows(Index panel_rows, Use use) {
  if (panel_rows == 4) {
    use(std::integral_constant<Index, 4>{});
  } else if (panel_rows == 8) {
    use(std::integral_constant<Index, 8>{});
  } else {
    use(std::integral_constant<Index, 16>{});
  }
}

}  // namespace fastntk

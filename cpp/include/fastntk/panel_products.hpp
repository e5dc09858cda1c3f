// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/matrix.hpp"
#include "fastntk/panels.hpp"

// This multiplies rows that lie in panels with rows, for processors that it was written for.
namespace fastntk {

// These are the products a bᵀ of some panels of a with some of b, into the matrix c of all rows of
// these panels. With `lower`, both are the same panels of the same matrix, and nothing but the
// lower triangle is wanted: elements above the diagonal may be 0.
template <class T>
struct PanelProduct {
  Panels<const T> a;
  Range a_panels;
  Panels<const T> b;
  Range b_panels;
  bool lower;
  Matrix<T> c;
};

// The bits of an element depend on its two rows alone: its terms are added up in their order, slab
// by slab, wherever in a product it stands.
template <class T>
struct PanelKernel {
  Index panel_rows;
  Index strip_rows;  // products of fewer rows of b, or of no multiple of them, are slower
  void (*multiply)(const PanelProduct<T>& product);
};

// Returns the fastest for this processor, or null if there is none for it.
template <class T>
const PanelKernel<T>* panel_kernel();

// Names the instructions of panel_kernel: "avx512", "avx2", "neon", or "generic" where there is no
// kernel. The environment variable FASTNTK_INSTRUCTIONS may ask for others than the best; an
// std::runtime_error says when the processor does not have them.
const char* panel_instructions();

// Returns the products of these rows of a and of b. They lie in `workspace`, which has room for the
// whole of the panels that hold any of the rows.
template <class T>
Matrix<T> multiply_panels(const Panels<const T>& a, Range rows, const Panels<const T>& b,
                          Range cols, bool lower, const Matrix<T>& workspace);

}  // namespace fastntk

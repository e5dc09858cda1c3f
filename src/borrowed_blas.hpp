// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <string>

#include "fastntk/blas.hpp"

namespace fastntk::python {

// Returns the BLAS that SciPy was built with, through the function pointers that
// scipy.linalg.cython_blas exports. Throws ImportError when their signature is not one that the
// core knows.
Blas borrow_blas();

struct Routine {
  void* pointer;
  std::size_t integer_size;
};

// Returns a routine of the LAPACK that SciPy was built with, which scipy.linalg.cython_lapack
// exports. `parameters` has a letter for each: c for a character, i for an integer, r for a real
// number. Throws ImportError when the routine has others.
Routine borrow_lapack(const std::string& name, const std::string& parameters);

}  // namespace fastntk::python

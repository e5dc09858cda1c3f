// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/blas.hpp"

namespace fastntk::python {

// Returns the BLAS that SciPy was built with, through the function pointers that
// scipy.linalg.cython_blas exports. Throws ImportError when their signature is not one that the
// core knows.
Blas borrow_blas();

}  // namespace fastntk::python

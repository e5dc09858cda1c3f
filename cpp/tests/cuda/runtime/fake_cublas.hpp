// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/cuda/cublas_api.hpp"

namespace fastntk::fake {

// This counts how many products of each arithmetic were asked for.
struct BlasCalls {
  int standard = 0;
  int tf32 = 0;
  int emulated = 0;
};
extern BlasCalls blas_calls;

}  // namespace fastntk::fake

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/algorithms.hpp"
#include "fastntk/cholesky.hpp"
#include "fastntk/few_rows_spectrum.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/pair_angles.hpp"
#include "fastntk/shifted_end.hpp"
#include "fastntk/symmetric_products.hpp"
#include "fastntk/symmetry.hpp"
#include "fastntk/tridiagonal.hpp"
#include "fastntk/wired/pair_angles.hpp"

// These are the algorithms as compiled for the processor, once for each precision, in
// src/host_*.cpp: those of every device, and those that run here alone.
#define FASTNTK_HOST(PREFIX, T)                                       \
  FASTNTK_ALGORITHMS(PREFIX, HostDevice, T)                           \
  FASTNTK_INSTANCE(PREFIX, pair_angles<T>)                            \
  FASTNTK_INSTANCE(PREFIX, wired::pair_angles<T>)                     \
  FASTNTK_INSTANCE(PREFIX, symmetry<fastntk::HostDevice, T>)          \
  FASTNTK_INSTANCE(PREFIX, mirror<fastntk::HostDevice, T>)            \
  FASTNTK_INSTANCE(PREFIX, symmetric_product<fastntk::HostDevice, T>) \
  FASTNTK_INSTANCE(PREFIX, few_rows_spectrum<fastntk::HostDevice, T>) \
  FASTNTK_INSTANCE(PREFIX, scale_and_shift<fastntk::HostDevice, T, T>)

// These algorithms exist in float64 alone.
#define FASTNTK_HOST_FLOAT64(PREFIX)                                            \
  FASTNTK_INSTANCE(PREFIX, scale_and_shift<fastntk::HostDevice, float, double>) \
  FASTNTK_INSTANCE(PREFIX, cholesky<fastntk::HostDevice>)                       \
  FASTNTK_INSTANCE(PREFIX, triangular_solve<fastntk::HostDevice>)               \
  FASTNTK_INSTANCE(PREFIX, extreme_eigenvalues<fastntk::HostDevice>)            \
  FASTNTK_INSTANCE(PREFIX, shifted_end<fastntk::HostDevice>)

FASTNTK_HOST(extern, float)
FASTNTK_HOST(extern, double)
FASTNTK_HOST_FLOAT64(extern)

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/cholesky.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/symmetric_products.hpp"
#include "fastntk/symmetry.hpp"

// Symmetric and triangular matrices as compiled for the processor, in src/host_symmetric.cpp.
#define FASTNTK_HOST_COPY(PREFIX, From, To)                                             \
  PREFIX template void fastntk::scale_and_shift(                                        \
      const fastntk::HostDevice&, const fastntk::SymmetricStorage<const From>&, To, To, \
      const fastntk::SymmetricStorage<To>&, const fastntk::Monitor&);
#define FASTNTK_HOST_PRODUCT(PREFIX, T)                                      \
  PREFIX template void fastntk::symmetric_product(                           \
      const fastntk::HostDevice&, const fastntk::SymmetricStorage<const T>&, \
      fastntk::Matrix<const T>, fastntk::Matrix<T>, const fastntk::Monitor&);
#define FASTNTK_HOST_SYMMETRY(PREFIX, T)               \
  PREFIX template fastntk::Symmetry fastntk::symmetry( \
      const fastntk::HostDevice&, fastntk::Matrix<const T>, const fastntk::Monitor&);
#define FASTNTK_HOST_SYMMETRIC(PREFIX)                                                  \
  PREFIX template void fastntk::cholesky(                                               \
      const fastntk::HostDevice&, const fastntk::SymmetricStorage<double>&,             \
      const fastntk::HalvedPartition&, const fastntk::Monitor&);                        \
  PREFIX template void fastntk::triangular_solve(                                       \
      const fastntk::HostDevice&, const fastntk::SymmetricStorage<const double>&, bool, \
      fastntk::Matrix<double>, const fastntk::Monitor&);                                \
  FASTNTK_HOST_SYMMETRY(PREFIX, float)                                                  \
  FASTNTK_HOST_SYMMETRY(PREFIX, double)                                                 \
  FASTNTK_HOST_PRODUCT(PREFIX, float)                                                   \
  FASTNTK_HOST_PRODUCT(PREFIX, double)                                                  \
  FASTNTK_HOST_COPY(PREFIX, float, float)                                               \
  FASTNTK_HOST_COPY(PREFIX, float, double)                                              \
  FASTNTK_HOST_COPY(PREFIX, double, double)

FASTNTK_HOST_SYMMETRIC(extern)

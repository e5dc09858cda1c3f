// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/gradient_features.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/ntk.hpp"

// The algorithms as compiled for the processor, once for each precision, in src/host_*.cpp.
#define FASTNTK_HOST_NTK(PREFIX, T, G)                                          \
  PREFIX template void fastntk::ntk(                                            \
      const fastntk::HostDevice&, const fastntk::Network<T>&, fastntk::Range,   \
      fastntk::Matrix<const T>, const std::optional<fastntk::Matrix<const T>>&, \
      const std::vector<fastntk::Matrix<G>>&, const fastntk::Monitor&);
#define FASTNTK_HOST(PREFIX, T)                                                                  \
  PREFIX template void fastntk::evaluate(const fastntk::HostDevice&, const fastntk::Network<T>&, \
                                         fastntk::Matrix<const T>, fastntk::Matrix<T>,           \
                                         const fastntk::Monitor&);                               \
  PREFIX template void fastntk::gradient_features(                                               \
      const fastntk::HostDevice&, const fastntk::Network<T>&, fastntk::Index,                    \
      fastntk::Matrix<const T>, fastntk::Matrix<T>, const fastntk::Monitor&);                    \
  FASTNTK_HOST_NTK(PREFIX, T, float)                                                             \
  FASTNTK_HOST_NTK(PREFIX, T, double)

FASTNTK_HOST(extern, float)
FASTNTK_HOST(extern, double)

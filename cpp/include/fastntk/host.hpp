// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/algorithms.hpp"
#include "fastntk/host_device.hpp"
#include "fastntk/pair_angles.hpp"

// The algorithms as compiled for the processor, once for each precision, in src/host_*.cpp.
#define FASTNTK_HOST(PREFIX, T)                                                                \
  FASTNTK_ALGORITHMS(PREFIX, HostDevice, T)                                                    \
  PREFIX template void fastntk::pair_angles(                                                   \
      const fastntk::HostDevice&, const fastntk::Network<T>&, fastntk::Range,                  \
      fastntk::Matrix<const T>, const std::vector<std::pair<fastntk::Index, fastntk::Index>>&, \
      std::vector<T>&, const fastntk::Monitor&);

FASTNTK_HOST(extern, float)
FASTNTK_HOST(extern, double)

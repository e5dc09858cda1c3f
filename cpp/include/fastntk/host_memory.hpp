// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>

#include "fastntk/matrix.hpp"

namespace fastntk {

// MatrixBuffer takes the processor's memory from here.
struct HostMemory {
  static void* allocate(Index rows, Index cols, std::size_t element_size);
  static void free(void* p);
};

}  // namespace fastntk

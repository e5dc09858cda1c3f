// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>

#include "fastntk/matrix.hpp"

namespace fastntk {

// What MatrixBuffer asks for, of the processor's memory.
struct HostMemory {
  static void* allocate(Index rows, Index cols, std::size_t element_size);
  static void free(void* p);
};

}  // namespace fastntk

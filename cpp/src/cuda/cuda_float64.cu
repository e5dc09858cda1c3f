// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/cuda/cuda.hpp"
#include "fastntk/cuda/lane.cuh"

FASTNTK_ALGORITHMS(, CudaDevice, double)

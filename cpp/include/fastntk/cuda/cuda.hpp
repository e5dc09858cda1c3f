// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/algorithms.hpp"
#include "fastntk/cuda/cuda_device.hpp"

// These are the algorithms as compiled for NVIDIA GPUs, once for each precision, in src/cuda.
// Networks, samples and results lie in the memory of the GPU. This header needs no CUDA header.
FASTNTK_ALGORITHMS(extern, CudaDevice, float)
FASTNTK_ALGORITHMS(extern, CudaDevice, double)

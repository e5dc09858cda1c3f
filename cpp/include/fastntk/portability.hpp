// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The first marks functions that a device's own compiler may also have to see, the second those
// that it alone compiles where there is one.
#ifdef __CUDACC__
#define FASTNTK_HOST_DEVICE __host__ __device__
#define FASTNTK_DEVICE __device__
#else
#define FASTNTK_HOST_DEVICE
#define FASTNTK_DEVICE
#endif

// Binaries are built for the baseline instruction set; loops over elements are compiled several
// times and the loader picks the best version for the processor it finds. The resolvers run before
// a sanitizer's run-time is ready, so sanitized builds keep the baseline only.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FASTNTK_MULTIVERSION
#elif defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define FASTNTK_HAS_MULTIVERSION
#define FASTNTK_MULTIVERSION \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FASTNTK_MULTIVERSION
#endif

// This tells the compiler that iterations are independent although the arrays might overlap.
#ifdef __clang__
#define FASTNTK_INDEPENDENT_ITERATIONS _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define FASTNTK_INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#else
#define FASTNTK_INDEPENDENT_ITERATIONS
#endif

// This keeps a GPU's compiler from copying the body of a loop, which would only cost registers.
#ifdef __CUDA_ARCH__
#define FASTNTK_NOT_UNROLLED _Pragma("unroll 1")
#else
#define FASTNTK_NOT_UNROLLED
#endif

// Vectors of any size are types of the compiler.
#ifdef __GNUC__
#define FASTNTK_HAS_VECTOR_TYPES
#endif

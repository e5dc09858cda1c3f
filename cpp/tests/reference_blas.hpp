// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "fastntk/blas.hpp"

namespace fastntk::test {

inline void check_gemm_argument(bool legal, const char* name) {
  if (!legal) throw std::logic_error(std::string("GEMM was called with an illegal ") + name);
}

// C = alpha · op(A) · op(B) + beta · C, column-major, as the BLAS documents it; C is not read when
// beta is 0. What an optimized BLAS may answer with xerbla or a crash is an exception here. The
// order of summation depends on the place of an element in C, as in an optimized BLAS, so that
// results are equal to the last bit only if the core sees to it.
template <class T, class Int>
void reference_gemm(char* op_a, char* op_b, Int* m, Int* n, Int* k, T* alpha, T* a, Int* lda, T* b,
                    Int* ldb, T* beta, T* c, Int* ldc) {
  check_gemm_argument(*op_a == 'N' || *op_a == 'T', "transa");
  check_gemm_argument(*op_b == 'N' || *op_b == 'T', "transb");
  const bool a_transposed = *op_a == 'T';
  const bool b_transposed = *op_b == 'T';
  check_gemm_argument(*m >= 0, "m");
  check_gemm_argument(*n >= 0, "n");
  check_gemm_argument(*k >= 0, "k");
  check_gemm_argument(*lda >= std::max<Int>(1, a_transposed ? *k : *m), "lda");
  check_gemm_argument(*ldb >= std::max<Int>(1, b_transposed ? *n : *k), "ldb");
  check_gemm_argument(*ldc >= std::max<Int>(1, *m), "ldc");
  for (Int j = 0; j < *n; ++j) {
    for (Int i = 0; i < *m; ++i) {
      T sum = 0;
      const Int begin = *k == 0 ? 0 : (i + 2 * j) % *k;
      for (Int step = 0; step < *k; ++step) {
        const Int p = begin + step < *k ? begin + step : begin + step - *k;
        const T left = a_transposed ? a[p + i * *lda] : a[i + p * *lda];
        const T right = b_transposed ? b[j + p * *ldb] : b[p + j * *ldb];
        sum += left * right;
      }
      T& element = c[i + j * *ldc];
      element = *beta == T(0) ? *alpha * sum : *alpha * sum + *beta * element;
    }
  }
}

template <class Int = std::int32_t>
Blas reference_blas() {
  return BlasTable<Int>{&reference_gemm<float, Int>, &reference_gemm<double, Int>};
}

}  // namespace fastntk::test

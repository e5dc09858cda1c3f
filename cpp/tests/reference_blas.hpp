// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "fastntk/blas.hpp"

namespace fastntk::test {

inline void check_argument(bool legal, const char* routine, const char* name) {
  if (!legal) throw std::logic_error(routine + std::string(" was called with an illegal ") + name);
}
inline void check_gemm_argument(bool legal, const char* name) {
  check_argument(legal, "GEMM", name);
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
  // Sanitizers look at each access to memory that is not a local variable: none is made in vain.
  const Int depth = *k;
  const Int a_step = a_transposed ? 1 : *lda;
  const Int b_step = b_transposed ? *ldb : 1;
  for (Int j = 0; j < *n; ++j) {
    const T* const right = b_transposed ? b + j : b + j * *ldb;
    for (Int i = 0; i < *m; ++i) {
      const T* const left = a_transposed ? a + i * *lda : a + i;
      T sum = 0;
      const Int begin = depth == 0 ? 0 : (i + 2 * j) % depth;
      for (Int p = begin; p < depth; ++p) sum += left[p * a_step] * right[p * b_step];
      for (Int p = 0; p < begin; ++p) sum += left[p * a_step] * right[p * b_step];
      T& element = c[i + j * *ldc];
      element = *beta == T(0) ? *alpha * sum : *alpha * sum + *beta * element;
    }
  }
}

// Computes one triangle of C = alpha · op(A) · op(A)ᵀ + beta · C; the other is not touched.
template <class Int>
void reference_syrk(char* uplo, char* trans, Int* n, Int* k, double* alpha, double* a, Int* lda,
                    double* beta, double* c, Int* ldc) {
  check_argument(*uplo == 'U' || *uplo == 'L', "SYRK", "uplo");
  check_argument(*trans == 'N' || *trans == 'T', "SYRK", "trans");
  check_argument(*n >= 0, "SYRK", "n");
  check_argument(*k >= 0, "SYRK", "k");
  const bool transposed = *trans == 'T';
  check_argument(*lda >= std::max<Int>(1, transposed ? *k : *n), "SYRK", "lda");
  check_argument(*ldc >= std::max<Int>(1, *n), "SYRK", "ldc");
  for (Int j = 0; j < *n; ++j) {
    const Int first = *uplo == 'U' ? 0 : j;
    const Int last = *uplo == 'U' ? j + 1 : *n;
    for (Int i = first; i < last; ++i) {
      double sum = 0.0;
      for (Int p = 0; p < *k; ++p) {
        sum += transposed ? a[p + i * *lda] * a[p + j * *lda] : a[i + p * *lda] * a[j + p * *lda];
      }
      c[i + j * *ldc] = *alpha * sum + *beta * c[i + j * *ldc];
    }
  }
}

// B = alpha · op(A)⁻¹ B or alpha · B op(A)⁻¹; of A only the triangle is read.
template <class Int>
void reference_trsm(char* side, char* uplo, char* trans, char* diag, Int* m, Int* n, double* alpha,
                    double* a, Int* lda, double* b, Int* ldb) {
  check_argument(*side == 'L' || *side == 'R', "TRSM", "side");
  check_argument(*uplo == 'U' || *uplo == 'L', "TRSM", "uplo");
  check_argument(*trans == 'N' || *trans == 'T', "TRSM", "transa");
  check_argument(*diag == 'N', "TRSM", "diag");
  check_argument(*m >= 0, "TRSM", "m");
  check_argument(*n >= 0, "TRSM", "n");
  const bool left = *side == 'L';
  const Int size = left ? *m : *n;
  const Int vectors = left ? *n : *m;
  check_argument(*lda >= std::max<Int>(1, size), "TRSM", "lda");
  check_argument(*ldb >= std::max<Int>(1, *m), "TRSM", "ldb");
  // Each vector x solves M x = b with M = op(A) on the left and M = op(A)ᵀ on the right.
  const bool turned = left == (*trans == 'T');
  const bool upper = (*uplo == 'U') != turned;
  for (Int v = 0; v < vectors; ++v) {
    for (Int step = 0; step < size; ++step) {
      const Int i = upper ? size - 1 - step : step;
      const auto at = [&](Int p) -> double& { return left ? b[p + v * *ldb] : b[v + p * *ldb]; };
      double sum = *alpha * at(i);
      for (Int p = upper ? i + 1 : 0; p < (upper ? size : i); ++p) {
        sum -= (turned ? a[p + i * *lda] : a[i + p * *lda]) * at(p);
      }
      at(i) = sum / a[i + i * *lda];
    }
  }
}

// Computes the Cholesky factor of one triangle. As in some LAPACK libraries, a pivot that is NaN is
// not noticed.
template <class Int>
void reference_potrf(char* uplo, Int* n, double* a, Int* lda, Int* info) {
  check_argument(*uplo == 'U' || *uplo == 'L', "POTRF", "uplo");
  check_argument(*n >= 0, "POTRF", "n");
  check_argument(*lda >= std::max<Int>(1, *n), "POTRF", "lda");
  const auto at = [&](Int i, Int j) -> double& {  // i ≥ j
    return *uplo == 'L' ? a[i + j * *lda] : a[j + i * *lda];
  };
  *info = 0;
  for (Int j = 0; j < *n; ++j) {
    for (Int i = j; i < *n; ++i) {
      double sum = at(i, j);
      for (Int p = 0; p < j; ++p) sum -= at(i, p) * at(j, p);
      at(i, j) = sum;
    }
    if (at(j, j) <= 0.0) {
      *info = j + 1;
      return;
    }
    const double root = std::sqrt(at(j, j));
    for (Int i = j; i < *n; ++i) at(i, j) = i == j ? root : at(i, j) / root;
  }
}

template <class Int = std::int32_t>
Blas reference_blas() {
  return BlasTable<Int>{&reference_gemm<float, Int>, &reference_gemm<double, Int>,
                        &reference_syrk<Int>, &reference_trsm<Int>, &reference_potrf<Int>};
}

}  // namespace fastntk::test

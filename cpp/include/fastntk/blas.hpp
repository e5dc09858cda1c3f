// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <variant>

#include "fastntk/matrix.hpp"

namespace fastntk {

// The core borrows its BLAS: whoever builds a device hands over the Fortran entry points, of a
// library with 32-bit (LP64) or with 64-bit (ILP64) integers.
template <class T, class Int>
using FortranGemm = void (*)(char*, char*, Int*, Int*, Int*, T*, T*, Int*, T*, Int*, T*, T*, Int*);

template <class Int>
using FortranSyrk = void (*)(char*, char*, Int*, Int*, double*, double*, Int*, double*, double*,
                             Int*);
template <class Int>
using FortranTrsm = void (*)(char*, char*, char*, char*, Int*, Int*, double*, double*, Int*,
                             double*, Int*);
template <class Int>
using FortranPotrf = void (*)(char*, Int*, double*, Int*, Int*);

template <class Int>
struct BlasTable {
  using Integer = Int;
  FortranGemm<float, Int> sgemm = nullptr;
  FortranGemm<double, Int> dgemm = nullptr;
  FortranSyrk<Int> dsyrk = nullptr;
  FortranTrsm<Int> dtrsm = nullptr;
  FortranPotrf<Int> dpotrf = nullptr;
};

using Blas = std::variant<BlasTable<std::int32_t>, BlasTable<std::int64_t>>;

enum class Op : char { none = 'N', transpose = 'T' };

// This says which triangle of a row-major matrix is meant; what Fortran sees is the other one.
enum class Triangle : std::uint8_t { lower, upper };

enum class Side : std::uint8_t { left, right };

// A result either replaces what its output held, which is then never read, or is added to it.
enum class Write : std::uint8_t { overwrite, accumulate };

template <class Int>
Int blas_integer(Index value) {
  if (value > static_cast<Index>(std::numeric_limits<Int>::max())) {
    throw std::overflow_error("a matrix dimension of " + std::to_string(value) +
                              " exceeds what the borrowed BLAS can address");
  }
  return static_cast<Int>(value);
}

// The BLAS insists on a leading dimension of at least 1, also for a matrix without columns.
template <class Int>
Int leading_dimension(Index stride) {
  return blas_integer<Int>(std::max<Index>(stride, 1));
}

inline char fortran_uplo(Triangle triangle) { return triangle == Triangle::lower ? 'U' : 'L'; }

// c (+)= alpha · op(a) · op(b), with all matrices row-major. Fortran reads a row-major matrix as
// its transpose, so cᵀ = op(b)ᵀ op(a)ᵀ is asked for: the operands change places, their ops stay.
template <class T>
void gemm(const Blas& blas, Op op_a, Op op_b, T alpha, ConstMatrix<T> a, ConstMatrix<T> b,
          Write write, Matrix<T> c) {
  if (c.rows == 0 || c.cols == 0) return;
  std::visit(
      [&](const auto& table) {
        using Int = typename std::decay_t<decltype(table)>::Integer;
        const FortranGemm<T, Int> call = [&table] {
          if constexpr (std::is_same_v<T, float>) {
            return table.sgemm;
          } else {
            return table.dgemm;
          }
        }();
        char ta = static_cast<char>(op_a);
        char tb = static_cast<char>(op_b);
        Int m = blas_integer<Int>(c.rows);
        Int n = blas_integer<Int>(c.cols);
        Int k = blas_integer<Int>(op_a == Op::none ? a.cols : a.rows);
        Int lda = leading_dimension<Int>(a.stride);
        Int ldb = leading_dimension<Int>(b.stride);
        Int ldc = leading_dimension<Int>(c.stride);
        T beta = write == Write::accumulate ? T(1) : T(0);
        // Fortran has no const; GEMM does not write its inputs.
        call(&tb, &ta, &n, &m, &k, &alpha, const_cast<T*>(b.data), &ldb, const_cast<T*>(a.data),
             &lda, &beta, c.data, &ldc);
      },
      blas);
}

// c += alpha · op(a) · op(a)ᵀ in one triangle of the row-major matrix c.
inline void syrk(const Blas& blas, Triangle triangle, Op op_a, double alpha, Matrix<const double> a,
                 Matrix<double> c) {
  if (c.rows == 0) return;
  std::visit(
      [&](const auto& table) {
        using Int = typename std::decay_t<decltype(table)>::Integer;
        char uplo = fortran_uplo(triangle);
        char trans = op_a == Op::none ? 'T' : 'N';
        Int n = blas_integer<Int>(c.rows);
        Int k = blas_integer<Int>(op_a == Op::none ? a.cols : a.rows);
        Int lda = leading_dimension<Int>(a.stride);
        Int ldc = leading_dimension<Int>(c.stride);
        double beta = 1.0;
        table.dsyrk(&uplo, &trans, &n, &k, &alpha, const_cast<double*>(a.data), &lda, &beta, c.data,
                    &ldc);
      },
      blas);
}

// b = op(a)⁻¹ b (left) or b = b op(a)⁻¹ (right), with a triangular matrix a; both are row-major.
inline void trsm(const Blas& blas, Side side, Triangle triangle, Op op_a, Matrix<const double> a,
                 Matrix<double> b) {
  if (b.rows == 0 || b.cols == 0) return;
  std::visit(
      [&](const auto& table) {
        using Int = typename std::decay_t<decltype(table)>::Integer;
        char fortran_side = side == Side::left ? 'R' : 'L';
        char uplo = fortran_uplo(triangle);
        char trans = static_cast<char>(op_a);
        char diag = 'N';
        Int m = blas_integer<Int>(b.cols);
        Int n = blas_integer<Int>(b.rows);
        Int lda = leading_dimension<Int>(a.stride);
        Int ldb = leading_dimension<Int>(b.stride);
        double alpha = 1.0;
        table.dtrsm(&fortran_side, &uplo, &trans, &diag, &m, &n, &alpha,
                    const_cast<double*>(a.data), &lda, b.data, &ldb);
      },
      blas);
}

// Puts the Cholesky factor in the place of one triangle of the row-major matrix a: L of a = L Lᵀ in
// the lower triangle, or Lᵀ in the upper one. Returns how many pivots, counted from the first, are
// positive and finite: n if the decomposition succeeded.
inline Index potrf(const Blas& blas, Triangle triangle, Matrix<double> a) {
  if (a.rows == 0) return 0;
  return std::visit(
      [&](const auto& table) {
        using Int = typename std::decay_t<decltype(table)>::Integer;
        char uplo = fortran_uplo(triangle);
        Int n = blas_integer<Int>(a.rows);
        Int lda = leading_dimension<Int>(a.stride);
        Int info = 0;
        table.dpotrf(&uplo, &n, a.data, &lda, &info);
        if (info < 0) throw std::logic_error("dpotrf was called with an illegal argument");
        // Not every LAPACK stops at a pivot that is NaN.
        const Index last = info > 0 ? static_cast<Index>(info) - 1 : a.rows;
        Index good = 0;
        while (good < last && a(good, good) > 0.0 &&
               a(good, good) <= std::numeric_limits<double>::max()) {
          ++good;
        }
        return good;
      },
      blas);
}

}  // namespace fastntk

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
struct BlasTable {
  using Integer = Int;
  FortranGemm<float, Int> sgemm = nullptr;
  FortranGemm<double, Int> dgemm = nullptr;
};

using Blas = std::variant<BlasTable<std::int32_t>, BlasTable<std::int64_t>>;

enum class Op : char { none = 'N', transpose = 'T' };

// Whether a result replaces what its output held (which is then never read) or is added to it.
enum class Write : std::uint8_t { overwrite, accumulate };

template <class Int>
Int blas_integer(Index value) {
  if (value > static_cast<Index>(std::numeric_limits<Int>::max())) {
    throw std::overflow_error("a matrix dimension of " + std::to_string(value) +
                              " exceeds what the borrowed BLAS can address");
  }
  return static_cast<Int>(value);
}

// c (+)= alpha · op(a) · op(b), all row-major. Fortran reads a row-major matrix as its transpose,
// so cᵀ = op(b)ᵀ op(a)ᵀ is asked for: the operands change places, their ops stay.
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
        // The BLAS insists on at least 1, also for a matrix without columns.
        const auto leading_dimension = [](Index stride) {
          return blas_integer<Int>(std::max<Index>(stride, 1));
        };
        char ta = static_cast<char>(op_a);
        char tb = static_cast<char>(op_b);
        Int m = blas_integer<Int>(c.rows);
        Int n = blas_integer<Int>(c.cols);
        Int k = blas_integer<Int>(op_a == Op::none ? a.cols : a.rows);
        Int lda = leading_dimension(a.stride);
        Int ldb = leading_dimension(b.stride);
        Int ldc = leading_dimension(c.stride);
        T beta = write == Write::accumulate ? T(1) : T(0);
        // Fortran has no const; GEMM does not write its inputs.
        call(&tb, &ta, &n, &m, &k, &alpha, const_cast<T*>(b.data), &ldb, const_cast<T*>(a.data),
             &lda, &beta, c.data, &ldc);
      },
      blas);
}

}  // namespace fastntk

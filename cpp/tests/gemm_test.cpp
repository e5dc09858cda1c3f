// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "fastntk/blas.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr std::array<Op, 2> kOps = {Op::none, Op::transpose};

template <class T>
double element(const PaddedMatrix<T>& matrix, Op op, Index i, Index j) {
  return static_cast<double>(op == Op::none ? matrix(i, j) : matrix(j, i));
}

// Returns the operand as it is stored, so that op(operand) is rows × cols.
template <class T>
PaddedMatrix<T> operand(Op op, Index rows, Index cols, std::uint64_t seed) {
  if (op == Op::none) return random_samples<T>(rows, cols, seed);
  const Index stored_rows = cols;
  const Index stored_cols = rows;
  return random_samples<T>(stored_rows, stored_cols, seed);
}

template <class T>
void check_product(const Blas& blas, Op op_a, Op op_b, Write write, Index m, Index n, Index k) {
  CAPTURE(m);
  CAPTURE(n);
  CAPTURE(k);
  CAPTURE(static_cast<char>(op_a));
  CAPTURE(static_cast<char>(op_b));
  const T alpha = T(-0.75);
  const PaddedMatrix<T> a = operand<T>(op_a, m, k, 1);
  const PaddedMatrix<T> b = operand<T>(op_b, k, n, 2);
  PaddedMatrix<T> c(m, n);
  PaddedMatrix<double> expected(m, n);
  Random random(3);
  for (Index i = 0; i < m; ++i) {
    for (Index j = 0; j < n; ++j) {
      double sum = 0.0;
      for (Index p = 0; p < k; ++p) sum += element(a, op_a, i, p) * element(b, op_b, p, j);
      expected(i, j) = static_cast<double>(alpha) * sum;
      if (write == Write::accumulate) {
        c(i, j) = random.number<T>();
        expected(i, j) += static_cast<double>(c(i, j));
      }
    }
  }
  gemm<T>(blas, op_a, op_b, alpha, a.view(), b.view(), write, c.view());
  CHECK(relative_error(c, expected) < Tolerance<T>::kRounding);
  CHECK(c.margin_intact());
}

// This records what a GEMM was asked for; it computes nothing.
std::array<std::int64_t, 6> asked_for;

void recording_gemm(char* /*op_a*/, char* /*op_b*/, std::int64_t* m, std::int64_t* n,
                    std::int64_t* k, float* /*alpha*/, float* /*a*/, std::int64_t* lda,
                    float* /*b*/, std::int64_t* ldb, float* /*beta*/, float* /*c*/,
                    std::int64_t* ldc) {
  asked_for = {*m, *n, *k, *lda, *ldb, *ldc};
}

}  // namespace

TEST_CASE_TEMPLATE("gemm: all ops and shapes through views with strides", T, float, double) {
  for (const Blas& blas : {reference_blas<std::int32_t>(), reference_blas<std::int64_t>()}) {
    for (const Op op_a : kOps) {
      for (const Op op_b : kOps) {
        for (const Write write : {Write::overwrite, Write::accumulate}) {
          check_product<T>(blas, op_a, op_b, write, 1, 1, 1);
          check_product<T>(blas, op_a, op_b, write, 2, 5, 3);
          check_product<T>(blas, op_a, op_b, write, 5, 3, 2);
          check_product<T>(blas, op_a, op_b, write, 7, 1, 4);
          check_product<T>(blas, op_a, op_b, write, 1, 7, 4);
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("gemm: empty shapes", T, float, double) {
  for (const Op op_a : kOps) {
    for (const Op op_b : kOps) {
      for (const Write write : {Write::overwrite, Write::accumulate}) {
        check_product<T>(reference_blas(), op_a, op_b, write, 0, 3, 2);
        check_product<T>(reference_blas(), op_a, op_b, write, 3, 0, 2);
        check_product<T>(reference_blas(), op_a, op_b, write, 3, 2, 0);
      }
    }
  }
}

TEST_CASE_TEMPLATE("gemm: an empty sum through views without padding is zero", T, float, double) {
  PaddedMatrix<T> c(2, 3);
  const PaddedMatrix<T> zero = [] {
    PaddedMatrix<T> result(2, 3);
    result.fill(T(0));
    return result;
  }();
  const Matrix<const T> a(nullptr, 2, 0);
  const Matrix<const T> b(nullptr, 3, 0);
  gemm<T>(reference_blas(), Op::none, Op::transpose, T(1), a, b, Write::overwrite, c.view());
  CHECK(equal_to_the_last_bit(c, zero));
}

TEST_CASE("gemm: what 32 bits cannot hold is refused and what 64 bits can hold is passed on") {
  constexpr Index kBig = Index{std::numeric_limits<std::int32_t>::max()} + 1;
  const auto multiply = [](const Blas& blas, Index m, Index n, Index k, Index stride) {
    float never_touched = 0.0F;
    gemm<float>(blas, Op::none, Op::transpose, 1.0F, {&never_touched, m, k, stride},
                {&never_touched, n, k, stride}, Write::overwrite, {&never_touched, m, n, stride});
  };
  const Blas narrow = reference_blas<std::int32_t>();
  CHECK_THROWS_AS(multiply(narrow, kBig, 1, 1, 1), std::overflow_error);
  CHECK_THROWS_AS(multiply(narrow, 1, kBig, 1, 1), std::overflow_error);
  CHECK_THROWS_AS(multiply(narrow, 1, 1, kBig, 1), std::overflow_error);
  CHECK_THROWS_AS(multiply(narrow, 1, 1, 1, kBig), std::overflow_error);

  BlasTable<std::int64_t> wide;
  wide.sgemm = &recording_gemm;
  multiply(wide, kBig, kBig + 1, kBig + 2, kBig + 3);
  CHECK(asked_for ==
        std::array<std::int64_t, 6>{kBig + 1, kBig, kBig + 2, kBig + 3, kBig + 3, kBig + 3});
  CHECK(blas_integer<std::int32_t>(kBig - 1) == std::numeric_limits<std::int32_t>::max());
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/cholesky.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "symmetric_matrices.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Returns L of K = L Lᵀ by the definition, with 0 above the diagonal.
PaddedMatrix<double> reference_factor(const PaddedMatrix<double>& matrix) {
  const Index n = matrix.rows();
  PaddedMatrix<double> factor(n, n);
  factor.fill(0.0);
  for (Index j = 0; j < n; ++j) {
    for (Index i = j; i < n; ++i) {
      double sum = matrix(i, j);
      for (Index p = 0; p < j; ++p) sum -= factor(i, p) * factor(j, p);
      factor(i, j) = i == j ? std::sqrt(sum) : sum / factor(j, j);
    }
  }
  return factor;
}

template <class Storage>
void factor_in_place(const Storage& storage, const HalvedPartition& blocks, int threads = 2) {
  cholesky(HostDevice(reference_blas(), threads), storage, blocks, nullptr);
}

Index failing_pivot(const SymmetricStorage<double>& storage, Index block) {
  try {
    factor_in_place(storage, {storage.n(), {block, block}});
  } catch (const NotPositiveDefinite& failure) {
    return failure.pivot();
  }
  return storage.n();
}

}  // namespace

TEST_CASE("cholesky: both layouts, sizes around the borders of tiles") {
  for (const Index block : {1, 3, 8, 96}) {
    for (const Index n : {1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 81, 144}) {
      CAPTURE(block);
      CAPTURE(n);
      const PaddedMatrix<double> matrix = positive_definite(n);
      const PaddedMatrix<double> expected = reference_factor(matrix);
      Packed<double> packed(matrix);
      factor_in_place(packed.storage(), {n, {block, block}});
      CHECK(relative_error(packed.lower(0.0), expected) < Tolerance<double>::kRounding);
      CHECK(packed.margin_intact());

      PaddedMatrix<double> full = lower_of(matrix, kNan);
      factor_in_place(SymmetricStorage<double>::full(full.view()), {n, {block, block}});
      CHECK(full.margin_intact());
      CHECK(only_nan_above_diagonal(full));
      CHECK(relative_error(lower_of(full, 0.0), expected) < Tolerance<double>::kRounding);
    }
  }
}

TEST_CASE("cholesky: with the blocks that are used for large matrices") {
  const Index n = 301;
  const PaddedMatrix<double> matrix = positive_definite(n);
  Packed<double> packed(matrix);
  factor_in_place(packed.storage(), cholesky_blocks(n));
  CHECK(relative_error(packed.lower(0.0), reference_factor(matrix)) < Tolerance<double>::kRounding);
}

TEST_CASE("cholesky: the same to the last bit for any number of threads") {
  const Index n = 150;
  const PaddedMatrix<double> matrix = positive_definite(n);
  Packed<double> expected(matrix);
  factor_in_place(expected.storage(), {n, {16, 16}}, 1);
  for (const int threads : {2, 3, 7}) {
    Packed<double> packed(matrix);
    factor_in_place(packed.storage(), {n, {16, 16}}, threads);
    CHECK(packed.same_bits(expected));
  }
}

TEST_CASE("cholesky: the first pivot that is not positive and finite") {
  const Index n = 41;
  for (const double bad : {0.0, -1.0, kNan, std::numeric_limits<double>::infinity()}) {
    for (const Index pivot : {0, 1, 7, 8, 20, 21, 22, 40}) {
      CAPTURE(bad);
      CAPTURE(pivot);
      PaddedMatrix<double> matrix = positive_definite(n);
      for (Index j = 0; j < n; ++j) {
        if (j != pivot) matrix(std::max(pivot, j), std::min(pivot, j)) = 0.0;
      }
      matrix(pivot, pivot) = bad;
      CHECK(failing_pivot(Packed<double>(matrix).storage(), 8) == pivot);
      CHECK(failing_pivot(SymmetricStorage<double>::full(matrix.view()), 8) == pivot);
    }
  }
  // The matrix is indefinite only after the elimination of what comes before the pivot.
  PaddedMatrix<double> matrix = positive_definite(n);
  const PaddedMatrix<double> factor = reference_factor(matrix);
  matrix(30, 30) -= 1.01 * factor(30, 30) * factor(30, 30);
  CHECK(failing_pivot(Packed<double>(matrix).storage(), 8) == 30);
}

TEST_CASE("cholesky: NaN below the diagonal reaches a pivot") {
  PaddedMatrix<double> matrix = positive_definite(30);
  matrix(25, 3) = kNan;
  CHECK(failing_pivot(Packed<double>(matrix).storage(), 8) == 25);
}

TEST_CASE("cholesky: an exception of the monitor stops it, though tasks wait for each other") {
  const Index n = 600;
  Packed<double> packed(positive_definite(n));
  std::atomic<int> calls{0};
  const Monitor monitor = [&](const char* /*stage*/, Index /*done*/, Index /*total*/) {
    ++calls;
    throw std::runtime_error("enough");
  };
  CHECK_THROWS_WITH(cholesky(HostDevice(reference_blas(), 3), packed.storage(),
                             HalvedPartition(n, {32, 32}), monitor),
                    "enough");
  CHECK(calls == 1);
}

TEST_CASE_TEMPLATE("syrk, trsm, potrf: row-major, all variants", Int, std::int32_t, std::int64_t) {
  const Blas blas = reference_blas<Int>();
  const Index n = 5;
  const Index k = 3;
  for (const Triangle triangle : {Triangle::lower, Triangle::upper}) {
    const auto inside = [&](Index i, Index j) {
      return triangle == Triangle::lower ? i >= j : i <= j;
    };
    for (const Op op : {Op::none, Op::transpose}) {
      const bool plain = op == Op::none;
      const auto a = plain ? random_samples<double>(n, k, 1) : random_samples<double>(k, n, 1);
      PaddedMatrix<double> c = random_samples<double>(n, n, 2);
      PaddedMatrix<double> expected = c;
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) {
          if (!inside(i, j)) continue;
          for (Index p = 0; p < k; ++p) {
            expected(i, j) -= 0.5 * (plain ? a(i, p) * a(j, p) : a(p, i) * a(p, j));
          }
        }
      }
      syrk(blas, triangle, op, -0.5, a.view(), c.view());
      CHECK(relative_error(c, expected) < Tolerance<double>::kRounding);

      PaddedMatrix<double> triangular(n, n);
      for (Index i = 0; i < n; ++i) {
        for (Index j = 0; j < n; ++j) {
          if (inside(i, j)) triangular(i, j) = i == j ? 2.0 + static_cast<double>(i) : 0.25;
        }
      }
      const auto of_op = [&](Index i, Index j) {
        const double value = plain ? triangular(i, j) : triangular(j, i);
        return std::isnan(value) ? 0.0 : value;
      };
      for (const Side side : {Side::left, Side::right}) {
        const bool left = side == Side::left;
        const auto solution =
            left ? random_samples<double>(n, k, 3) : random_samples<double>(k, n, 3);
        PaddedMatrix<double> b(solution.rows(), solution.cols());
        for (Index i = 0; i < b.rows(); ++i) {
          for (Index j = 0; j < b.cols(); ++j) {
            b(i, j) = 0.0;
            for (Index p = 0; p < n; ++p) {
              b(i, j) += left ? of_op(i, p) * solution(p, j) : solution(i, p) * of_op(p, j);
            }
          }
        }
        trsm(blas, side, triangle, op, triangular.view(), b.view());
        CHECK(relative_error(b, solution) < Tolerance<double>::kRounding);
        CHECK(b.margin_intact());
      }
    }
    const PaddedMatrix<double> matrix = positive_definite(n);
    const PaddedMatrix<double> factor = reference_factor(matrix);
    PaddedMatrix<double> in_place = matrix;
    CHECK(potrf(blas, triangle, in_place.view()) == n);
    double difference = 0.0;
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j <= i; ++j) {
        const double found = triangle == Triangle::lower ? in_place(i, j) : in_place(j, i);
        difference = std::max(difference, std::abs(found - factor(i, j)));
      }
    }
    CHECK(difference < Tolerance<double>::kRounding * factor(0, 0) * 10);
  }
  const Matrix<double> nothing(nullptr, 0, 0);
  syrk(blas, Triangle::lower, Op::none, 1.0, nothing, nothing);
  trsm(blas, Side::left, Triangle::lower, Op::none, nothing, nothing);
  CHECK(potrf(blas, Triangle::lower, nothing) == 0);
}

TEST_CASE("cholesky: tile by tile, as where not all tiles are in one place") {
  for (const int threads : {1, 2}) {
    const HostDevice device(reference_blas(), threads);
    for (const Index n : {2, 3, 70, 301}) {
      CAPTURE(n);
      const Index first = (n + 1) / 2;
      const PaddedMatrix<double> matrix = positive_definite(n);
      const PaddedMatrix<double> expected = reference_factor(matrix);
      PaddedMatrix<double> found = lower_of(matrix, kNan);
      const Matrix<double> all = found.view();
      const Matrix<double> top = all.block(0, first, 0, first);
      const Matrix<double> below = all.block(first, n - first, 0, first);
      const Matrix<double> rest = all.block(first, n - first, first, n - first);
      cholesky(device, SymmetricStorage<double>::full(top), cholesky_blocks(first), nullptr);
      solve_tile_below(device, Matrix<const double>(top), below, nullptr);
      downdate_tile(device, Matrix<const double>(below), Matrix<const double>(below), rest,
                    nullptr);
      cholesky(device, SymmetricStorage<double>::full(rest), cholesky_blocks(rest.rows), nullptr);
      CHECK(found.margin_intact());
      CHECK(only_nan_above_diagonal(found));
      CHECK(relative_error(lower_of(found, 0.0), expected) < Tolerance<double>::kRounding);
    }
  }
}

TEST_CASE("cholesky: a tile less the product of two others") {
  const HostDevice device(reference_blas(), 2);
  const PaddedMatrix<double> a = positive_definite(130);
  const PaddedMatrix<double> b = lower_of(positive_definite(130), 0.5);
  PaddedMatrix<double> tile(130, 130);
  tile.fill(3.0);
  downdate_tile(device, Matrix<const double>(a.view()), Matrix<const double>(b.view()), tile.view(),
                nullptr);
  PaddedMatrix<double> expected(130, 130);
  for (Index i = 0; i < 130; ++i) {
    for (Index j = 0; j < 130; ++j) {
      double sum = 3.0;
      for (Index p = 0; p < 130; ++p) sum -= a(i, p) * b(j, p);
      expected(i, j) = sum;
    }
  }
  CHECK(tile.margin_intact());
  CHECK(relative_error(tile, expected) < Tolerance<double>::kRounding);
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/symmetric_products.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "symmetric_matrices.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr std::array<Index, 9> kSizes = {1, 2, 3, 4, 63, 128, 129, 130, 331};
constexpr std::array<Index, 5> kVectors = {1, 2, 5, 16, 19};

HostDevice device(int threads = 2) { return {reference_blas(), threads}; }

// Returns matrix · vectors, or matrixᵀ · vectors.
template <class T>
PaddedMatrix<T> product(const PaddedMatrix<T>& matrix, bool transpose,
                        const PaddedMatrix<T>& vectors) {
  PaddedMatrix<T> result(transpose ? matrix.cols() : matrix.rows(), vectors.cols());
  for (Index i = 0; i < result.rows(); ++i) {
    for (Index j = 0; j < vectors.cols(); ++j) {
      double sum = 0.0;
      for (Index p = 0; p < vectors.rows(); ++p) {
        sum += static_cast<double>(transpose ? matrix(p, i) : matrix(i, p)) *
               static_cast<double>(vectors(p, j));
      }
      result(i, j) = static_cast<T>(sum);
    }
  }
  return result;
}

template <class T>
PaddedMatrix<T> converted(const PaddedMatrix<double>& matrix) {
  PaddedMatrix<T> result(matrix.rows(), matrix.cols());
  for (Index i = 0; i < matrix.rows(); ++i) {
    for (Index j = 0; j < matrix.cols(); ++j) result(i, j) = static_cast<T>(matrix(i, j));
  }
  return result;
}

// Returns a well-conditioned lower triangular matrix.
PaddedMatrix<double> triangular(Index n) {
  PaddedMatrix<double> result = random_samples<double>(n, n, 5);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      result(i, j) = j > i ? 0.0 : result(i, j) / (2.0 * static_cast<double>(n));
    }
    result(i, i) = 1.5;
  }
  return result;
}

}  // namespace

TEST_CASE("storage: packed as LAPACK documents it") {
  // These are the examples of dpftrf for TRANSR = 'T' and UPLO = 'L', read along rows of its
  // transpose.
  const std::array<int, 21> even = {33, 43, 53, 0,  44, 54, 10, 11, 55, 20, 21,
                                    22, 30, 31, 32, 40, 41, 42, 50, 51, 52};
  const std::array<int, 15> odd = {0, 33, 43, 10, 11, 44, 20, 21, 22, 30, 31, 32, 40, 41, 42};
  const auto check = [](Index n, const auto& expected) {
    std::vector<int> data(expected.begin(), expected.end());
    const auto storage = SymmetricStorage<int>::packed(data.data(), n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j <= i; ++j) {
        CHECK(*storage.tile({i, 1}, {j, 1}).data.data == static_cast<int>(10 * i + j));
        CHECK(data[static_cast<std::size_t>(packed_place(n, i, j))] ==
              static_cast<int>(10 * i + j));
      }
    }
  };
  check(6, even);
  check(5, odd);
}

TEST_CASE("storage: tiles are what their elements are") {
  for (const Index n : {2, 3, 9, 10, 40, 41}) {
    const PaddedMatrix<double> matrix = positive_definite(n);
    Packed<double> packed(matrix);
    const HalvedPartition blocks(n, {4, 4});
    Index next = 0;
    for (Index i = 0; i < blocks.blocks(); ++i) {
      CHECK(blocks[i].first == next);
      CHECK(blocks[i].count >= 1);
      CHECK(blocks[i].count <= blocks.size());
      next += blocks[i].count;
      for (Index j = 0; j <= i; ++j) {
        const StoredTile<double> tile = packed.storage().tile(blocks[i], blocks[j]);
        for (Index r = 0; r < blocks[i].count; ++r) {
          for (Index c = 0; c < blocks[j].count; ++c) {
            const Index row = blocks[i].first + r;
            const Index col = blocks[j].first + c;
            if (col > row) continue;
            CHECK((tile.transposed ? tile.data(c, r) : tile.data(r, c)) == matrix(row, col));
          }
        }
      }
    }
    CHECK(next == n);
  }
}

TEST_CASE_TEMPLATE("scale and shift: from and to both layouts, in place", From, float, double) {
  for (const Index n : kSizes) {
    CAPTURE(n);
    const PaddedMatrix<From> matrix = converted<From>(positive_definite(n));
    Packed<From> packed(matrix);
    PaddedMatrix<double> expected(n, n);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j <= i; ++j) {
        expected(i, j) = -static_cast<double>(matrix(i, j)) + (i == j ? 3.0 : 0.0);
      }
    }
    Packed<double> expected_packed(expected);
    PaddedMatrix<From> lower = lower_of(matrix, PaddedMatrix<From>::kNan);
    for (const SymmetricStorage<const From>& from :
         {SymmetricStorage<const From>(SymmetricStorage<From>::full(lower.view())),
          SymmetricStorage<const From>(packed.storage())}) {
      Packed<double> to_packed(n);
      scale_and_shift(device(), from, -1.0, 3.0, to_packed.storage(), nullptr);
      CHECK(to_packed.same_bits(expected_packed));
      PaddedMatrix<double> to_full(n, n);
      scale_and_shift(device(), from, -1.0, 3.0, SymmetricStorage<double>::full(to_full.view()),
                      nullptr);
      CHECK(equal_to_the_last_bit(lower_of(to_full, 0.0), lower_of(expected, 0.0)));
      CHECK(only_nan_above_diagonal(to_full));
    }
    Packed<double> in_place(matrix);
    scale_and_shift(device(), SymmetricStorage<const double>(in_place.storage()), -1.0, 3.0,
                    in_place.storage(), nullptr);
    CHECK(in_place.same_bits(expected_packed));
  }
}

TEST_CASE_TEMPLATE("symmetric product: both layouts, any number of threads", T, float, double) {
  for (const Index n : kSizes) {
    for (const Index k : kVectors) {
      CAPTURE(n);
      CAPTURE(k);
      const PaddedMatrix<T> matrix = converted<T>(positive_definite(n));
      const PaddedMatrix<T> vectors = random_samples<T>(n, k, 3);
      const PaddedMatrix<T> expected = product(matrix, false, vectors);
      Packed<T> packed(matrix);
      PaddedMatrix<T> lower = lower_of(matrix, PaddedMatrix<T>::kNan);
      const SymmetricStorage<const T> full = SymmetricStorage<T>::full(lower.view());
      for (const SymmetricStorage<const T>& storage :
           {full, SymmetricStorage<const T>(packed.storage())}) {
        PaddedMatrix<T> first(n, k);
        symmetric_product(device(1), storage, vectors.view(), first.view(), nullptr);
        CHECK(relative_error(first, expected) < Tolerance<T>::kRounding);
        CHECK(first.margin_intact());
        for (const int threads : {2, 5}) {
          PaddedMatrix<T> other(n, k);
          symmetric_product(device(threads), storage, vectors.view(), other.view(), nullptr);
          CHECK(equal_to_the_last_bit(first, other));
        }
      }
    }
  }
}

TEST_CASE("triangular solves: both layouts, any number of threads") {
  for (const Index n : kSizes) {
    for (const Index k : kVectors) {
      for (const bool transpose : {false, true}) {
        CAPTURE(n);
        CAPTURE(k);
        CAPTURE(transpose);
        const PaddedMatrix<double> factor = triangular(n);
        const PaddedMatrix<double> vectors = random_samples<double>(n, k, 3);
        const PaddedMatrix<double> given = product(factor, transpose, vectors);
        Packed<double> packed(factor);
        PaddedMatrix<double> lower = lower_of(factor, PaddedMatrix<double>::kNan);
        const SymmetricStorage<const double> full = SymmetricStorage<double>::full(lower.view());
        for (const SymmetricStorage<const double>& storage :
             {full, SymmetricStorage<const double>(packed.storage())}) {
          PaddedMatrix<double> solved = given;
          triangular_solve(device(1), storage, transpose, solved.view(), nullptr);
          CHECK(relative_error(solved, vectors) < Tolerance<double>::kRounding);
          CHECK(solved.margin_intact());
          for (const int threads : {2, 5}) {
            PaddedMatrix<double> other = given;
            triangular_solve(device(threads), storage, transpose, other.view(), nullptr);
            CHECK(equal_to_the_last_bit(solved, other));
          }
        }
      }
    }
  }
}

TEST_CASE("few products: any matrix and its transpose, any number of threads") {
  for (const auto& [rows, cols] : {std::pair<Index, Index>{1, 1}, {3, 70}, {70, 3}, {300, 129}}) {
    for (const Index k : {1, 2, 5, 16}) {
      for (const bool transpose : {false, true}) {
        CAPTURE(rows);
        CAPTURE(cols);
        CAPTURE(k);
        CAPTURE(transpose);
        const PaddedMatrix<double> matrix = random_samples<double>(rows, cols, 1);
        const PaddedMatrix<double> vectors = random_samples<double>(transpose ? rows : cols, k, 3);
        const PaddedMatrix<double> expected = product(matrix, transpose, vectors);
        PaddedMatrix<double> first(transpose ? cols : rows, k);
        few_products(device(1), matrix.view(), transpose, vectors.view(), first.view(), nullptr);
        CHECK(relative_error(first, expected) < Tolerance<double>::kRounding);
        CHECK(first.margin_intact());
        PaddedMatrix<double> other(first.rows(), k);
        few_products(device(3), matrix.view(), transpose, vectors.view(), other.view(), nullptr);
        CHECK(equal_to_the_last_bit(first, other));
      }
    }
  }
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/cuda/lane.cuh"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "device_arrays.hpp"
#include "fake_cublas.hpp"
#include "fastntk/gram_tiles.hpp"
#include "fastntk/host_device.hpp"
#include "one_task.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

// Every operation of a lane is compared with the same operation on the host.
namespace fastntk::test {

namespace {

template <class Task>
void on_host_lane(Task task) {
  HostDevice(reference_blas(), 1)
      .run("stage", 1, nullptr, kNoWorkspace,
           [&](const auto& lane, const NoWorkspace&, Index) { task(lane); });
}

// Asks for all that the threads of a row do: (values · Σ values² + Σ values, the largest).
template <class T>
struct ReduceRows {
  Matrix<const T> values;
  Matrix<T> result;

  template <class Threads>
  FASTNTK_DEVICE void operator()(const Threads& threads, Index i) const {
    const Index count = values.cols;
    const T largest = threads.largest(T(0.125), count, [&](Index j) { return values(i, j); });
    const T sum = threads.sum(count, [&](Index j) { return values(i, j); });
    const T squares = threads.sum(count, [&](Index j) { return values(i, j) * values(i, j); });
    threads.each(count, [&](Index j) { result(i, j) = values(i, j) * squares + sum; });
    threads.once([&] { result(i, count) = largest; });
  }
};

}  // namespace

TEST_CASE("cuda lane: for_each visits every element once") {
  const CudaDevice cuda = cuda_device();
  for (const Index rows : {0, 1, 2, 17, 300}) {
    for (const Index cols : {0, 1, 7, 33, 300}) {
      CAPTURE(rows);
      CAPTURE(cols);
      const DeviceMatrix<double> calls(cuda, filled(rows, cols, 0.0), PaddedMatrix<double>::kMark);
      on_lane(cuda, [&](const auto& lane) { lane.for_each(rows, cols, CountCalls{calls.view()}); });
      CHECK(equal_to_the_last_bit(calls.get(), filled(rows, cols, 1.0)));
    }
  }
}

#ifndef __SANITIZE_THREAD__  // which would take minutes
TEST_CASE("cuda lane: for_each of more rows than a grid has blocks") {
  const CudaDevice cuda = cuda_device();
  const Index rows = kMostBlocks + 2;
  const DeviceMatrix<double> calls(cuda, filled(rows, 256, 0.0), PaddedMatrix<double>::kMark);
  on_lane(cuda, [&](const auto& lane) { lane.for_each(rows, 256, CountCalls{calls.view()}); });
  CHECK(equal_to_the_last_bit(calls.get(), filled(rows, 256, 1.0)));
}
#endif

TEST_CASE_TEMPLATE("cuda lane: for_each_row gives all threads of a row its sums", T, float,
                   double) {
  const CudaDevice cuda = cuda_device();
  for (const Index rows : {0, 1, 5}) {
    for (const Index cols : {0, 1, 37, 255, 256, 257, 600}) {
      CAPTURE(rows);
      CAPTURE(cols);
      const auto values = Random(1).matrix<T>(rows, cols);
      PaddedMatrix<T> expected(rows, cols + 1);
      const DeviceMatrix<T> device_values(cuda, values);
      const DeviceMatrix<T> result(cuda, rows, cols + 1);
      on_lane(cuda, [&](const auto& lane) {
        lane.template for_each_row<T>(rows, ReduceRows<T>{device_values.view(), result.view()});
      });
      on_host_lane([&](const auto& lane) {
        lane.template for_each_row<T>(rows, ReduceRows<T>{values.view(), expected.view()});
      });
      CHECK(relative_error(result.get(), expected) < Tolerance<T>::kRounding);
      for (Index i = 0; i < rows; ++i) {  // and what it is by definition
        double largest = 0.125;
        double sum = 0.0;
        double squares = 0.0;
        for (Index j = 0; j < cols; ++j) {
          const auto value = static_cast<double>(values(i, j));
          largest = std::max(largest, value);
          sum += value;
          squares += value * value;
        }
        CHECK(static_cast<double>(expected(i, cols)) == doctest::Approx(largest));
        for (Index j = 0; j < cols; ++j) {
          CHECK(static_cast<double>(expected(i, j)) ==
                doctest::Approx(static_cast<double>(values(i, j)) * squares + sum).epsilon(1e-4));
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("cuda lane: transpose of shapes around the tile", T, float, double) {
  const CudaDevice cuda = cuda_device();
  for (const Index rows : {0, 1, 31, 32, 33, 70}) {
    for (const Index cols : {0, 1, 31, 32, 33, 70}) {
      CAPTURE(rows);
      CAPTURE(cols);
      const auto from = random_samples<T>(rows, cols);
      PaddedMatrix<T> expected(cols, rows);
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < cols; ++j) expected(j, i) = from(i, j);
      }
      const DeviceMatrix<T> device_from(cuda, from);
      const DeviceMatrix<T> to(cuda, cols, rows);
      on_lane(cuda,
              [&](const auto& lane) { lane.template transpose<T>(device_from.view(), to.view()); });
      CHECK(equal_to_the_last_bit(to.get(), expected));
    }
  }
}

TEST_CASE_TEMPLATE("cuda lane: row_dots overwrites or accumulates", T, float, double) {
  const CudaDevice cuda = cuda_device();
  for (const Index cols : {0, 1, 37, 255, 256, 257, 600}) {
    CAPTURE(cols);
    const auto a = Random(1).matrix<T>(7, cols);
    const auto b = Random(2).matrix<T>(7, cols);
    const DeviceMatrix<T> device_a(cuda, a);
    const DeviceMatrix<T> device_b(cuda, b);
    PaddedMatrix<T> expected(7, 1);
    const DeviceMatrix<T> sums(cuda, 7, 1);
    for (const Write write : {Write::overwrite, Write::accumulate}) {
      on_lane(cuda, [&](const auto& lane) {
        lane.template row_dots<T>(T(-1.5), device_a.view(), device_b.view(), write, sums.view());
      });
      on_host_lane([&](const auto& lane) {
        lane.template row_dots<T>(T(-1.5), a.view(), b.view(), write, expected.view());
      });
      CHECK(relative_error(sums.get(), expected) < Tolerance<T>::kRounding);
    }
  }
}

TEST_CASE_TEMPLATE("cuda lane: visit_large finds what the host finds", T, float, double) {
  const CudaDevice cuda = cuda_device();
  using Found = std::set<std::tuple<Index, Index, T>>;
  for (const auto& [rows, cols] : {std::pair<Index, Index>{0, 3}, {3, 0}, {1, 1}, {9, 300}}) {
    CAPTURE(cols);
    const auto a = random_samples<T>(rows, cols);
    PaddedMatrix<T> by_row = filled(1, rows, T(0));
    PaddedMatrix<T> by_col = filled(1, cols, T(0));
    for (Index i = 0; i < rows; ++i) by_row(0, i) = static_cast<T>(i + 1) / T(2);
    for (Index j = 0; j < cols; ++j) by_col(0, j) = static_cast<T>(j % 7) / T(4);
    const DeviceMatrix<T> device_a(cuda, a);
    const auto scales = [&](const PaddedMatrix<T>& values) {  // with nothing around them
      CudaDevice::Buffer<T> result(1, values.cols());
      cuda.write<T>(values.view().row(0), result.view());
      return result;
    };
    const auto device_rows = scales(by_row);
    const auto device_cols = scales(by_col);
    for (const auto& [least, diagonal] : {std::pair{T(-10), cols},
                                          {T(0.5), cols},
                                          {T(5), cols},
                                          {T(-10), Index{0}},
                                          {T(-10), Index{-2}},
                                          {T(-10), Index{1}},
                                          {T(0.5), Index{290}}}) {
      CAPTURE(diagonal);
      Found found;
      Found expected;
      const auto into = [least = least](Found& set) {
        return std::pair([least] { return least; },
                         [&set](Index i, Index j, T value) { set.insert({i, j, value}); });
      };
      const auto [least_of_found, add] = into(found);
      const auto [least_of_expected, add_expected] = into(expected);
      on_lane(cuda, [&](const auto& lane) {
        lane.template visit_large<T>(device_a.view(), device_rows.view().data,
                                     device_cols.view().data, diagonal, least_of_found, add);
      });
      on_host_lane([&](const auto& lane) {
        lane.template visit_large<T>(a.view(), by_row.view().data, by_col.view().data, diagonal,
                                     least_of_expected, add_expected);
      });
      CHECK(found == expected);
    }
  }
}

TEST_CASE("cuda lane: visit_large asks again after every visit") {
  const CudaDevice cuda = cuda_device();
  const auto a = random_samples<double>(40, 40);
  const DeviceMatrix<double> device_a(cuda, a);
  const DeviceMatrix<double> ones(cuda, filled(1, 40, 1.0));
  double largest = -std::numeric_limits<double>::infinity();
  int visits = 0;
  on_lane(cuda, [&](const auto& lane) {
    lane.template visit_large<double>(
        device_a.view(), ones.view().data, ones.view().data, 40, [&] { return largest; },
        [&](Index i, Index j, double value) {
          CHECK(value == a(i, j));
          largest = value;
          ++visits;
        });
  });
  double expected = a(0, 0);
  for (Index i = 0; i < 40; ++i) {
    for (Index j = 0; j < 40; ++j) expected = std::max(expected, a(i, j));
  }
  CHECK(largest == expected);
  CHECK(visits < 20);  // of one row, mostly
}

TEST_CASE("cuda lane: NaN is never the largest") {
  const CudaDevice cuda = cuda_device();
  auto a = filled(3, 300, PaddedMatrix<double>::kNan);
  a(1, 260) = -2.0;
  a(2, 0) = 3.0;
  const DeviceMatrix<double> device_a(cuda, a);
  const DeviceMatrix<double> ones(cuda, filled(1, 300, 1.0));
  std::set<std::pair<Index, Index>> visited;
  on_lane(cuda, [&](const auto& lane) {
    lane.template visit_large<double>(
        device_a.view(), ones.view().data, ones.view().data, 300, [] { return -2.0; },
        [&](Index i, Index j, double /*value*/) { visited.insert({i, j}); });
  });
  CHECK(visited == std::set<std::pair<Index, Index>>{{1, 260}, {2, 0}});
}

TEST_CASE_TEMPLATE("cuda lane: gemm agrees with the host's", T, float, double) {
  const CudaDevice cuda = cuda_device();
  for (const Op op_a : {Op::none, Op::transpose}) {
    for (const Op op_b : {Op::none, Op::transpose}) {
      for (const auto& [m, n, k] :
           {std::array<Index, 3>{5, 3, 7}, {1, 9, 2}, {4, 4, 0}, {0, 3, 2}, {3, 0, 2}, {6, 1, 1}}) {
        for (const Write write : {Write::overwrite, Write::accumulate}) {
          CAPTURE(m);
          CAPTURE(n);
          CAPTURE(k);
          const bool a_turned = op_a == Op::transpose;
          const bool b_turned = op_b == Op::transpose;
          const auto a = random_samples<T>(a_turned ? k : m, a_turned ? m : k, 1);
          const auto b = random_samples<T>(b_turned ? n : k, b_turned ? k : n, 2);
          PaddedMatrix<T> c(m, n);
          if (write == Write::accumulate) c = random_samples<T>(m, n, 3);
          const DeviceMatrix<T> device_a(cuda, a);
          const DeviceMatrix<T> device_b(cuda, b);
          const DeviceMatrix<T> device_c(cuda, c, PaddedMatrix<T>::kMark);
          on_lane(cuda, [&](const auto& lane) {
            lane.template gemm<T>(op_a, op_b, T(1.25), device_a.view(), device_b.view(), write,
                                  device_c.view());
          });
          on_host_lane([&](const auto& lane) {
            lane.template gemm<T>(op_a, op_b, T(1.25), a.view(), b.view(), write, c.view());
          });
          CHECK(relative_error(device_c.get(), c) < Tolerance<T>::kRounding);
        }
      }
    }
  }
}

TEST_CASE("cuda lane: other arithmetic than the standard only where it was asked for") {
  const auto calls_of = [](Arithmetic arithmetic, auto type) {
    using T = decltype(type);
    const CudaDevice cuda = cuda_device({.arithmetic = arithmetic});
    const DeviceMatrix<T> a(cuda, random_samples<T>(4, 4));
    const DeviceMatrix<T> c(cuda, 4, 4);
    fake::blas_calls = {};
    on_lane(cuda, [&](const auto& lane) {
      lane.template gemm<T>(Op::none, Op::none, T(1), a.view(), a.view(), Write::overwrite,
                            c.view());
    });
    return std::array<int, 3>{fake::blas_calls.standard, fake::blas_calls.tf32,
                              fake::blas_calls.emulated};
  };
  using Calls = std::array<int, 3>;
  CHECK(calls_of(Arithmetic::standard, 0.0F) == Calls{1, 0, 0});
  CHECK(calls_of(Arithmetic::standard, 0.0) == Calls{1, 0, 0});
  CHECK(calls_of(Arithmetic::tf32, 0.0F) == Calls{0, 1, 0});
  CHECK(calls_of(Arithmetic::tf32, 0.0) == Calls{1, 0, 0});
  CHECK(calls_of(Arithmetic::emulated_float64, 0.0F) == Calls{1, 0, 0});
  CHECK(calls_of(Arithmetic::emulated_float64, 0.0) == Calls{0, 0, 1});
}

TEST_CASE("cuda lane: operations take place in the order in which they were called") {
  const CudaDevice cuda = cuda_device();
  const auto a = random_samples<double>(3, 3);
  const DeviceMatrix<double> device_a(cuda, a);
  const DeviceMatrix<double> product(cuda, 3, 3);
  const DeviceMatrix<double> turned(cuda, 3, 3);
  on_lane(cuda, [&](const auto& lane) {
    lane.template gemm<double>(Op::none, Op::transpose, 1.0, device_a.view(), device_a.view(),
                               Write::overwrite, product.view());
    lane.template transpose<double>(product.view(), turned.view());
  });
  CHECK(relative_error(turned.get(), product.get()) < Tolerance<double>::kRounding);
}

TEST_CASE("cuda lane: the lower triangle mirrored in place") {
  const CudaDevice cuda = cuda_device();
  const Index n = 40;
  auto expected = random_samples<double>(n, n);
  const DeviceMatrix<double> square(cuda, expected, PaddedMatrix<double>::kMark);
  on_lane(cuda, [&](const auto& lane) {
    lane.for_each(n, n, element::MirrorLowerTriangle<double>{1, square.view(), square.view()});
  });
  for (Index i = 0; i < n; ++i) {
    for (Index j = i + 1; j < n; ++j) expected(i, j) = expected(j, i);
  }
  CHECK(equal_to_the_last_bit(square.get(), expected));
}

TEST_CASE("cuda lane: failures while elements are searched") {
  const CudaDevice cuda = cuda_device();
  const DeviceMatrix<double> a(cuda, random_samples<double>(5, 5));
  for (const char* call : {"cudaMemcpyAsync", "cudaMallocFromPoolAsync"}) {
    // The workspace of the lane is made anew for each device.
    const CudaDevice other = cuda_device();
    const Failing failing(call, 13);
    CHECK_THROWS_AS(on_lane(other,
                            [&](const auto& lane) {
                              lane.template visit_large<double>(
                                  a.view(), a.view().data, a.view().data, 5, [] { return 0.0; },
                                  [](Index, Index, double) {});
                            }),
                    CudaError);
  }
}

}  // namespace fastntk::test

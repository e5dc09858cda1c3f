// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/cuda/cuda_device.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <limits>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_runtime.h"
#include "device_arrays.hpp"
#include "fake_cublas.hpp"
#include "fastntk/cuda/cuda.hpp"
#include "fastntk/cuda/lane.cuh"
#include "fastntk/host.hpp"
#include "kernels.hpp"
#include "random_network.hpp"

namespace fastntk::test {

namespace {

struct NoWorkspace {};
constexpr auto kNoWorkspace = [] { return NoWorkspace{}; };

CudaDevice device(CudaOptions options = {}) { return {fake_cublas(), options}; }

// One task on one lane of the device.
template <class Task>
void on_lane(const CudaDevice& cuda, Task task) {
  cuda.run("stage", 1, nullptr, kNoWorkspace,
           [&](const auto& lane, const NoWorkspace&, Index) { task(lane); });
}
template <class Task>
void on_host_lane(Task task) {
  HostDevice(reference_blas(), 1)
      .run("stage", 1, nullptr, kNoWorkspace,
           [&](const auto& lane, const NoWorkspace&, Index) { task(lane); });
}

struct CountCalls {
  Matrix<double> calls;
  void operator()(Index i, Index j) const { calls.data[i * calls.stride + j] += 1.0; }
};

template <class T>
PaddedMatrix<T> filled(Index rows, Index cols, T value) {
  PaddedMatrix<T> result(rows, cols);
  result.fill(value);
  return result;
}

// Kernels of a small network, on a device with tiles of the given size.
double kernel_error(const CudaDevice& cuda, Index samples = 600) {
  const Shape shape{.inputs = 3, .hidden = {4}, .readouts = {1}};
  const RandomNetwork<double> random(shape);
  const DeviceNetwork<double> network(cuda, random.get());
  const auto x = random_samples<double>(samples, shape.inputs);
  const DeviceMatrix<double> device_x(cuda, x);
  const DeviceMatrix<double> kernel(cuda, samples, samples);
  with_tiles_that_fit(cuda, [&](const CudaDevice& chosen) {
    ntk<CudaDevice, double, double>(chosen, network.get(), {0, 1}, Split::none, device_x.view(),
                                    std::nullopt, {kernel.view()}, nullptr);
  });
  const auto expected = split_kernels<double>(random.get(), {0, 1}, Split::none, x).front();
  return relative_error(kernel.get(), expected);
}

// Lets one call fail, in this scope.
struct Failing {
  Failing(const char* call, int status, std::size_t calls_to_spare = 0) {
    fake::failing_call = call;
    fake::failing_status = status;
    fake::calls_to_spare = calls_to_spare;
  }
  ~Failing() { fake::failing_call.clear(); }
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;
  Failing(Failing&&) = delete;
  Failing& operator=(Failing&&) = delete;
};

}  // namespace

TEST_CASE("cuda device: for_each visits every element once") {
  const CudaDevice cuda = device();
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
TEST_CASE("cuda device: for_each of more rows than a grid has blocks") {
  const CudaDevice cuda = device();
  const Index rows = kMostBlocks + 2;
  const DeviceMatrix<double> calls(cuda, filled(rows, 256, 0.0), PaddedMatrix<double>::kMark);
  on_lane(cuda, [&](const auto& lane) { lane.for_each(rows, 256, CountCalls{calls.view()}); });
  CHECK(equal_to_the_last_bit(calls.get(), filled(rows, 256, 1.0)));
}
#endif

TEST_CASE_TEMPLATE("cuda device: transpose of shapes around the tile", T, float, double) {
  const CudaDevice cuda = device();
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

TEST_CASE_TEMPLATE("cuda device: row_dots overwrites or accumulates", T, float, double) {
  const CudaDevice cuda = device();
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

TEST_CASE_TEMPLATE("cuda device: visit_large finds what the host finds", T, float, double) {
  const CudaDevice cuda = device();
  using Found = std::set<std::tuple<Index, Index, T>>;
  for (const auto& [rows, cols] : {std::pair<Index, Index>{0, 3}, {3, 0}, {1, 1}, {9, 300}}) {
    CAPTURE(cols);
    const auto a = random_samples<T>(rows, cols);
    PaddedMatrix<T> by_row = filled(1, rows, T(0));
    PaddedMatrix<T> by_col = filled(1, cols, T(0));
    for (Index i = 0; i < rows; ++i) by_row(0, i) = static_cast<T>(i + 1) / T(8);
    for (Index j = 0; j < cols; ++j) by_col(0, j) = static_cast<T>(j % 7) / T(4);
    const DeviceMatrix<T> device_a(cuda, a);
    const DeviceMatrix<T> device_rows(cuda, by_row);
    const DeviceMatrix<T> device_cols(cuda, by_col);
    for (const T least : {T(-10), T(0.5), T(1.5)}) {
      Found found;
      Found expected;
      const auto into = [least](Found& set) {
        return std::pair([least] { return least; },
                         [&set](Index i, Index j, T value) { set.insert({i, j, value}); });
      };
      const auto [least_of_found, add] = into(found);
      const auto [least_of_expected, add_expected] = into(expected);
      on_lane(cuda, [&](const auto& lane) {
        lane.template visit_large<T>(device_a.view(), device_rows.view().data,
                                     device_cols.view().data, least_of_found, add);
      });
      on_host_lane([&](const auto& lane) {
        lane.template visit_large<T>(a.view(), by_row.view().data, by_col.view().data,
                                     least_of_expected, add_expected);
      });
      CHECK(found == expected);
    }
  }
}

TEST_CASE("cuda device: visit_large asks again after every visit") {
  const CudaDevice cuda = device();
  const auto a = random_samples<double>(40, 40);
  const DeviceMatrix<double> device_a(cuda, a);
  const DeviceMatrix<double> ones(cuda, filled(1, 40, 1.0));
  double largest = -std::numeric_limits<double>::infinity();
  int visits = 0;
  on_lane(cuda, [&](const auto& lane) {
    lane.template visit_large<double>(
        device_a.view(), ones.view().data, ones.view().data, [&] { return largest; },
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

TEST_CASE("cuda device: NaN is never the largest") {
  const CudaDevice cuda = device();
  auto a = filled(3, 300, PaddedMatrix<double>::kNan);
  a(1, 260) = -2.0;
  a(2, 0) = 3.0;
  const DeviceMatrix<double> device_a(cuda, a);
  const DeviceMatrix<double> ones(cuda, filled(1, 300, 1.0));
  std::set<std::pair<Index, Index>> visited;
  on_lane(cuda, [&](const auto& lane) {
    lane.template visit_large<double>(
        device_a.view(), ones.view().data, ones.view().data, [] { return -2.0; },
        [&](Index i, Index j, double /*value*/) { visited.insert({i, j}); });
  });
  CHECK(visited == std::set<std::pair<Index, Index>>{{1, 260}, {2, 0}});
}

TEST_CASE_TEMPLATE("cuda device: gemm agrees with the host's", T, float, double) {
  const CudaDevice cuda = device();
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

TEST_CASE("cuda device: other arithmetic than the standard only where it was asked for") {
  const auto calls_of = [](Arithmetic arithmetic, auto type) {
    using T = decltype(type);
    const CudaDevice cuda = device({.arithmetic = arithmetic});
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

TEST_CASE("cuda device: every task runs once, on as many lanes as there are, in order") {
  for (const int lanes : {1, 2, 3}) {
    const CudaDevice cuda = device({.lanes = lanes});
    std::vector<Index> order;
    int made = 0;
    cuda.run(
        "stage", 7, nullptr,
        [&] {
          ++made;
          return NoWorkspace{};
        },
        [&](const auto&, const NoWorkspace&, Index index) { order.push_back(index); });
    CHECK(order == std::vector<Index>{0, 1, 2, 3, 4, 5, 6});
    CHECK(made == lanes);
  }
  int made = 0;
  device({.lanes = 3})
      .run(
          "stage", 0, nullptr,
          [&] {
            ++made;
            return NoWorkspace{};
          },
          [&](const auto&, const NoWorkspace&, Index) { ++made; });
  CHECK(made == 0);
}

TEST_CASE("cuda device: the monitor hears of progress, of the end, and may end the work") {
  const CudaDevice cuda = device();
  std::vector<std::pair<Index, Index>> heard;
  const Monitor listening = [&](const char* stage, Index done, Index total) {
    CHECK(std::string(stage) == "stage");
    heard.emplace_back(done, total);
  };
  const auto slow = [](const auto&, const NoWorkspace&, Index) {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
  };
  cuda.run("stage", 6, listening, kNoWorkspace, slow);
  CHECK(heard.size() >= 3);
  CHECK(std::ranges::is_sorted(heard));
  CHECK(heard.front().first < 6);
  CHECK(heard.back() == std::pair<Index, Index>{6, 6});
  heard.clear();
  cuda.run("stage", 0, listening, kNoWorkspace, slow);
  CHECK(heard == std::vector<std::pair<Index, Index>>{{0, 0}});

  int begun = 0;
  const Monitor ending = [](const char*, Index, Index) { throw std::runtime_error("enough"); };
  CHECK_THROWS_WITH_AS(cuda.run("stage", 100, ending, kNoWorkspace,
                                [&](const auto& lane, const NoWorkspace&, Index) {
                                  ++begun;
                                  while (!lane.stopped()) std::this_thread::yield();
                                }),
                       "enough", std::runtime_error);
  CHECK(begun == 1);
}

TEST_CASE("cuda device: phases stop between steps, and a step is done as a whole") {
  const CudaDevice cuda = device({.tile = 16});
  const Tiling tiling = cuda.tiling({{40, 20}});
  CHECK(tiling.count() == 6);
  CHECK(cuda.row_tiling(40).count() == 3);
  for (const bool ended : {false, true}) {
    int first = 0;
    int second = 0;
    Index heard = -1;
    const auto run = [&] {
      cuda.run_phases(
          "stage", 3, 1,
          [&](const char*, Index done, Index) {
            heard = done;
            if (ended) throw std::runtime_error("enough");
          },
          kNoWorkspace,
          [&](const auto& team) {
            for (int step = 0; step < 3; ++step) {
              if (!team.tiles(tiling, CudaDevice::Phase::within_step,
                              [&](const auto&, const NoWorkspace&, const Tile&) { ++first; })) {
                return;
              }
              if (!team.tiles(tiling, CudaDevice::Phase::end_of_step,
                              [&](const auto& lane, const NoWorkspace&, const Tile&) {
                                ++second;
                                while (ended && !lane.stopped()) std::this_thread::yield();
                              })) {
                return;
              }
            }
          });
    };
    if (ended) {
      CHECK_THROWS_WITH_AS(run(), "enough", std::runtime_error);
      CHECK(first == 6);
      CHECK(second == 6);
    } else {
      run();
      CHECK(first == 18);
      CHECK(second == 18);
      CHECK(heard == 3);
    }
  }
  // Not begun at all when the work is to stop before it.
  int begun = 0;
  const Monitor ending = [](const char*, Index, Index) { throw std::runtime_error("enough"); };
  const auto run = [&] {
    cuda.run_phases("stage", 1, 1, ending, kNoWorkspace, [&](const auto& team) {
      std::this_thread::sleep_for(std::chrono::milliseconds(120));
      CHECK_FALSE(team.tiles(tiling, CudaDevice::Phase::within_step,
                             [&](const auto&, const NoWorkspace&, const Tile&) { ++begun; }));
    });
  };
  CHECK_THROWS_AS(run(), std::runtime_error);
  CHECK(begun == 0);
}

TEST_CASE("cuda device: an exception of a task arrives when the lanes are idle") {
  const CudaDevice cuda = device();
  const DeviceMatrix<double> a(cuda, filled(3, 3, 0.0), PaddedMatrix<double>::kMark);
  CHECK_THROWS_WITH_AS(cuda.run("stage", 5, nullptr, kNoWorkspace,
                                [&](const auto& lane, const NoWorkspace&, Index index) {
                                  if (index == 3) throw std::runtime_error("task");
                                  lane.for_each(1, 1, CountCalls{a.view().row_block(index, 1)});
                                }),
                       "task", std::runtime_error);
  for (Index i = 0; i < 3; ++i) CHECK(a.get()(i, 0) == 1.0);
}

TEST_CASE("cuda device: copies row by row in both directions") {
  const CudaDevice cuda = device();
  const auto values = random_samples<double>(3, 4);
  const DeviceMatrix<double> there(cuda, values, PaddedMatrix<double>::kMark);
  CHECK(equal_to_the_last_bit(there.get(), values));
  std::vector<double> middle(2, 0.0);
  cuda.read(there.view().block(1, 2, 3, 1), middle.data());
  CHECK(middle == std::vector<double>{values(1, 3), values(2, 3)});
  cuda.write(middle.data(), Matrix<double>());  // nothing
  cuda.wait_for(0);
}

TEST_CASE("cuda device: memory that there is and that is left") {
  const CudaDevice cuda = device();
  fake::memory_limit = fake::live_memory + 1000;
  const CudaDevice::Buffer<float> taken(10, 20);
  const CudaMemory memory = cuda.memory();
  CHECK(memory.total == fake::memory_limit);
  CHECK(memory.free == 200);
  fake::memory_limit = std::numeric_limits<std::size_t>::max();
  const Failing failing("cudaMemGetInfo", 13);
  CHECK_THROWS_AS(cuda.memory(), CudaError);
}

TEST_CASE("cuda device: smaller tiles where memory is short, then an error") {
  CHECK(kernel_error(device({.tile = 600})) < 1e-14);
  const std::size_t before = fake::live_memory;
  const auto with_memory = [&](std::size_t bytes) {
    fake::memory_limit = before + bytes;
    const double error = kernel_error(device({.tile = 1024}));
    fake::memory_limit = std::numeric_limits<std::size_t>::max();
    return error;
  };
  // Kernel and features take 3 MB, a lane's workspace for tiles of 608 rows 6 MB.
  CHECK(with_memory(std::size_t{12} << 20U) < 1e-14);  // one lane
  CHECK(with_memory(std::size_t{8} << 20U) < 1e-14);   // smaller tiles
  CHECK_THROWS_AS(with_memory(std::size_t{3} << 20U), CudaOutOfMemory);
  fake::memory_limit = std::numeric_limits<std::size_t>::max();
  CHECK(fake::live_memory == before);
  CHECK_THROWS_AS(CudaDevice::Buffer<double>(std::numeric_limits<Index>::max(), 8),
                  CudaOutOfMemory);
  CHECK(device({.tile = 300}).with_smaller_tiles().tile_blocks().largest == 256);
  CHECK_FALSE(device({.tile = 256}).has_smaller_tiles());
}

TEST_CASE("cuda device: a call that fails is an error with its name") {
  const std::size_t before = fake::live_objects;
  for (const auto& [call, named] : std::vector<std::pair<const char*, const char*>>{
           {"cudaLaunchKernelEx", "for_each"},
           {"cudaStreamCreateWithFlags", "cudaStreamCreateWithFlags"},
           {"cudaEventCreateWithFlags", "cudaEventCreateWithFlags"},
           {"cublasCreate", "cublasCreate"},
           {"cudaMemcpy2D", "cudaMemcpy2D"},
           {"cudaStreamSynchronize", "cudaStreamSynchronize"},
           {"cudaEventRecord", "cudaEventRecord"},
           {"cudaEventSynchronize", "cudaEventSynchronize"},
           {"gemm", "cublasDgemm"}}) {
    CAPTURE(call);
    std::string message;
    try {
      const Failing failing(call, 13);
      kernel_error(device(), 8);
    } catch (const CudaError& error) {
      message = error.what();
    }
    CHECK(message.find(named) == 0);
    CHECK(fake::live_objects == before);
  }
  const Failing failing("cublasCreate", static_cast<int>(cublas::Status::alloc_failed));
  CHECK_THROWS_AS(kernel_error(device({.tile = 256}), 8), CudaOutOfMemory);
}

TEST_CASE("cuda device: failures while elements are searched") {
  const CudaDevice cuda = device();
  const DeviceMatrix<double> a(cuda, random_samples<double>(5, 5));
  for (const char* call : {"cudaMemcpyAsync", "cudaMalloc"}) {
    // The workspace of the lane is made anew for each device.
    const CudaDevice other = device();
    const Failing failing(call, 13);
    CHECK_THROWS_AS(on_lane(other,
                            [&](const auto& lane) {
                              lane.template visit_large<double>(
                                  a.view(), a.view().data, a.view().data, [] { return 0.0; },
                                  [](Index, Index, double) {});
                            }),
                    CudaError);
  }
}

TEST_CASE("cuda device: no such GPU") {
  CHECK(cuda_runtime_version() == 13000);
  CHECK_THROWS_AS(device({.gpu = 1}), CudaError);
  fake::gpus = 0;
  CHECK_THROWS_AS(device(), CudaError);
  fake::gpus = 1;
}

TEST_CASE("cuda device: cuBLAS is opened by name") {
  CHECK_THROWS_AS(open_cublas({"/nonexistent/libcublas.so"}), CudaError);
  CHECK_THROWS_AS(open_cublas({"libm.so.6"}), CudaError);
  const bool found = open_cublas({"/nonexistent/libcublas.so", nullptr}).dgemm_64 != nullptr;
  CHECK(found);
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/cuda/cuda_device.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_runtime.h"
#include "device_arrays.hpp"
#include "fastntk/gram_tiles.hpp"
#include "one_task.hpp"
#include "random_network.hpp"

namespace fastntk::test {

namespace {

// Makes every call of CUDA and cuBLAS but those of a search.
void work(const CudaDevice& cuda) {
  const DeviceMatrix<double> a(cuda, filled(4, 4, 1.0), PaddedMatrix<double>::kMark);
  const DeviceMatrix<double> c(cuda, 4, 4);
  cuda.run("stage", 3, nullptr, kNoWorkspace, [&](const auto& lane, const NoWorkspace&, Index) {
    lane.for_each(1, 1, CountCalls{c.view()});
    lane.template gemm<double>(Op::none, Op::none, 1.0, a.view(), a.view(), Write::overwrite,
                               c.view());
  });
}

}  // namespace

TEST_CASE("cuda device: every task runs once, on as many lanes as there are, in order") {
  for (const int lanes : {1, 2, 3}) {
    const CudaDevice cuda = cuda_device({.lanes = lanes});
    std::vector<Index> order;
    int made = 0;
    cuda.run(
        "stage", 7, nullptr, [&] { return made++; },
        [&](const auto&, int workspace, Index index) {
          order.push_back(index);
          CHECK(workspace == index % lanes);
        });
    CHECK(order == std::vector<Index>{0, 1, 2, 3, 4, 5, 6});
    CHECK(made == lanes);
  }
  int made = 0;
  cuda_device({.lanes = 3})
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
  const CudaDevice cuda = cuda_device();
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
  const CudaDevice cuda = cuda_device({.tile = 16});
  const Tiling tiling = cuda.tiling({{40, 20}});
  CHECK(tiling.count() == 6);
  CHECK(cuda.row_tiling(40).count() == 3);
  for (const bool ended : {false, true}) {
    int first = 0;
    int second = 0;
    int third = 0;
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
              for (int part = 0; part < 2; ++part) {
                if (!team.tiles(tiling, CudaDevice::Phase::changing,
                                [&](const auto& lane, const NoWorkspace&, const Tile&) {
                                  ++second;
                                  while (ended && !lane.stopped()) std::this_thread::yield();
                                })) {
                  return;
                }
              }
              if (!team.tiles(tiling, CudaDevice::Phase::end_of_step,
                              [&](const auto&, const NoWorkspace&, const Tile&) { ++third; })) {
                return;
              }
            }
          });
    };
    if (ended) {
      CHECK_THROWS_WITH_AS(run(), "enough", std::runtime_error);
      CHECK(first == 6);
      CHECK(second == 12);
      CHECK(third == 6);
    } else {
      run();
      CHECK(first == 18);
      CHECK(second == 36);
      CHECK(third == 18);
      CHECK(heard == 3);
    }
  }
  // The phase is not begun at all when the work is to stop before it.
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
  // A task that is told to stop may leave its work undone: no other phase may build on it.
  bool goes_on = true;
  const auto leaving = [&] {
    cuda.run_phases("stage", 1, 1, ending, kNoWorkspace, [&](const auto& team) {
      goes_on = team.tiles(tiling, CudaDevice::Phase::within_step,
                           [&](const auto& lane, const NoWorkspace&, const Tile&) {
                             while (!lane.stopped()) std::this_thread::yield();
                           });
    });
  };
  CHECK_THROWS_AS(leaving(), std::runtime_error);
  CHECK_FALSE(goes_on);
}

TEST_CASE("cuda device: an exception of a task arrives when the lanes are idle") {
  const CudaDevice cuda = cuda_device();
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
  const CudaDevice cuda = cuda_device();
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
  const CudaDevice cuda = cuda_device();
  fake::memory_limit = fake::live_memory + fake::kept_memory + 1000;
  const CudaDevice::Buffer<float> taken(10, 20);
  const CudaMemory memory = cuda.memory();
  CHECK(memory.total == fake::memory_limit);
  CHECK(memory.free == fake::kept_memory + 200);
  fake::memory_limit = std::numeric_limits<std::size_t>::max();
  const Failing failing("cudaMemGetInfo", 13);
  CHECK_THROWS_AS(cuda.memory(), CudaError);
}

TEST_CASE("cuda device: memory is taken again, and given up when it is short") {
  const CudaDevice cuda = cuda_device();
  CHECK(fake::kept_at_most == std::uint64_t{1} << 30U);
  static_cast<void>(CudaDevice::Buffer<double>(10, 100));
  const std::size_t before = fake::live_memory;
  const std::size_t kept = fake::kept_memory;
  REQUIRE(kept >= 8000);
  {
    const CudaDevice::Buffer<double> again(100, 10);
    CHECK(fake::kept_memory == kept - 8000);
    std::vector<double> values(1000);
    cuda.read(again.view(), values.data());
    CHECK(std::ranges::all_of(values, [](double value) { return value != value; }));
  }
  CHECK(fake::kept_memory == kept);
  fake::memory_limit = before + kept + 8;  // in pieces
  {
    const CudaDevice::Buffer<double> larger(1001, 1);
    CHECK(fake::kept_memory == 0);
    const std::size_t left = fake::memory_limit - fake::live_memory;
    CHECK(cuda.memory().free == left);
    CHECK_THROWS_AS(CudaDevice::Buffer<char>(1, static_cast<Index>(left) + 1), CudaOutOfMemory);
  }
  {
    const Failing failing("cudaMemPoolTrimTo", 13);
    CHECK_THROWS_AS(CudaDevice::Buffer<char>(1, static_cast<Index>(fake::memory_limit)), CudaError);
  }
  fake::memory_limit = std::numeric_limits<std::size_t>::max();
  CHECK(fake::live_memory == before);
}

TEST_CASE("cuda device: a pool for each GPU, and none where the driver has none") {
  fake::gpus = 3;
  static_cast<void>(cuda_device({.gpu = 1}));
  for (const char* call :
       {"cudaDeviceGetAttribute", "cudaMemPoolCreate", "cudaMemPoolSetAttribute"}) {
    const Failing failing(call, 13);
    CHECK_THROWS_AS(CudaDevice::Buffer<double>(1, 1), CudaError);
  }
  static_cast<void>(CudaDevice::Buffer<double>(1, 123));
  const CudaDevice other = cuda_device({.gpu = 2});
  fake::pools_supported = false;
  {
    const std::size_t kept = fake::kept_memory;
    const CudaDevice::Buffer<double> buffer(1, 123);
    CHECK(fake::kept_memory == kept);
    CHECK(other.memory().free == fake::memory_limit - fake::live_memory - kept);
    const Failing failing("cudaMalloc", 2);
    CHECK_THROWS_AS(CudaDevice::Buffer<double>(1, 1), CudaOutOfMemory);
  }
  fake::pools_supported = true;
  fake::gpus = 1;
  static_cast<void>(cuda_device());
}

TEST_CASE("cuda device: workspaces are freed when no lane works on them any more") {
  const CudaDevice cuda = cuda_device();
  const DeviceMatrix<double> results(cuda, 4, 1);
  CHECK_THROWS_AS(cuda.run(
                      "stage", 5, nullptr, [] { return CudaDevice::Buffer<double>(1, 1); },
                      [&](const auto& lane, const CudaDevice::Buffer<double>& workspace, Index i) {
                        if (i == 4) throw std::runtime_error("task");
                        if (i < 2)
                          lane.for_each(1, 1, element::Fill<double>{0.0, workspace.view()});
                        lane.template transpose<double>(workspace.view(),
                                                        results.view().row_block(i, 1));
                      }),
                  std::runtime_error);
  CHECK(equal_to_the_last_bit(results.get(), filled(4, 1, 0.0)));
}

TEST_CASE("cuda device: smaller tiles, down to the smallest") {
  CHECK(cuda_device({.tile = 300}).with_smaller_tiles().tile_blocks().largest == 256);
  CHECK_FALSE(cuda_device({.tile = 256}).has_smaller_tiles());
  CHECK_THROWS_AS(CudaDevice::Buffer<double>(std::numeric_limits<Index>::max(), 8),
                  CudaOutOfMemory);
  std::vector<Index> tried;
  const auto work = [&](const CudaDevice& cuda) {
    tried.push_back(cuda.tile_blocks().largest);
    throw CudaOutOfMemory("whatever the tiles");
  };
  CHECK_THROWS_WITH_AS(with_tiles_that_fit(cuda_device({.tile = 1000}), work), "whatever the tiles",
                       CudaOutOfMemory);
  CHECK(tried == std::vector<Index>{1000, 500, 256});
}

TEST_CASE("cuda device: a call that fails is an error with its name") {
  const std::size_t before = fake::live_objects;
  for (const auto& [call, named] : std::vector<std::pair<const char*, const char*>>{
           {"cudaGetDevice", "cudaGetDevice"},
           {"cudaMallocFromPoolAsync", "memory of"},
           {"cudaLaunchKernelEx", "for_each"},
           {"cudaStreamCreateWithFlags", "cudaStreamCreateWithFlags"},
           {"cudaEventCreateWithFlags", "cudaEventCreateWithFlags"},
           {"cublasCreate", "cublasCreate"},
           {"cudaMemcpyAsync", "cudaMemcpyAsync"},
           {"cudaStreamSynchronize", "cudaStreamSynchronize"},
           {"cudaEventRecord", "cudaEventRecord"},
           {"cudaEventSynchronize", "cudaEventSynchronize"},
           {"gemm", "cublasDgemm"}}) {
    CAPTURE(call);
    std::string message;
    try {
      const Failing failing(call, 13);
      work(cuda_device());
    } catch (const CudaError& error) {
      message = error.what();
    }
    CHECK(message.find(named) == 0);
    CHECK(fake::live_objects == before);
  }
  const Failing failing("cublasCreate", static_cast<int>(cublas::Status::alloc_failed));
  CHECK_THROWS_AS(work(cuda_device()), CudaOutOfMemory);
}

TEST_CASE("cuda device: an error that shows when the lanes become idle") {
  const CudaDevice cuda = cuda_device();
  const DeviceMatrix<double> a(cuda, filled(1, 1, 0.0), PaddedMatrix<double>::kMark);
  const Failing failing("cudaStreamSynchronize", 13);
  CHECK_THROWS_AS(
      on_lane(cuda, [&](const auto& lane) { lane.for_each(1, 1, CountCalls{a.view()}); }),
      CudaError);
}

TEST_CASE("cuda device: a copy of rows that are apart fails") {
  const CudaDevice cuda = cuda_device();
  const DeviceMatrix<double> a(cuda, random_samples<double>(5, 5));
  std::vector<double> values(6);
  const Failing failing("cudaMemcpy2D", 13);
  CHECK_THROWS_AS(cuda.read(a.view().block(1, 2, 1, 3), values.data()), CudaError);
}

TEST_CASE("cuda device: the current GPU is kept") {
  const auto current = [] {
    int gpu = -1;
    static_cast<void>(cudaGetDevice(&gpu));
    return gpu;
  };
  fake::gpus = 2;
  const CudaDevice first = cuda_device();
  {
    const KeepCurrentGpu keep;
    cuda_device({.gpu = 1}).make_current();
    CHECK(current() == 1);
  }
  CHECK(current() == 0);
  {
    const Failing failing("cudaGetDevice", 13);
    const KeepCurrentGpu unknown;
    cuda_device({.gpu = 1}).make_current();
  }
  CHECK(current() == 1);
  first.make_current();
  fake::gpus = 1;
}

TEST_CASE("cuda device: no such GPU") {
  CHECK(cuda_runtime_version() == 13000);
  CHECK_THROWS_AS(cuda_device({.gpu = 1}), CudaError);
  fake::gpus = 0;
  CHECK_THROWS_AS(cuda_device(), CudaError);
  fake::gpus = 1;
}

TEST_CASE("cuda device: cuBLAS is opened by name") {
  CHECK_THROWS_AS(open_cublas({"/nonexistent/libcublas.so"}), CudaError);
  CHECK_THROWS_AS(open_cublas({"libm.so.6"}), CudaError);
  const bool found = open_cublas({"/nonexistent/libcublas.so", nullptr}).dgemm_64 != nullptr;
  CHECK(found);
}

}  // namespace fastntk::test

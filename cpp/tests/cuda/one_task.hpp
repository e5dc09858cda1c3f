// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>

#include "cuda_runtime.h"
#include "device_arrays.hpp"
#include "fastntk/cuda/lane.cuh"
#include "padded_matrix.hpp"

// The tests of the device and of its lanes share this.
namespace fastntk::test {

struct NoWorkspace {};
inline constexpr auto kNoWorkspace = [] { return NoWorkspace{}; };

inline CudaDevice cuda_device(CudaOptions options = {}) { return {fake_cublas(), options}; }

// Runs one task on one lane of the device.
template <class Task>
void on_lane(const CudaDevice& cuda, Task task) {
  cuda.run("stage", 1, nullptr, kNoWorkspace,
           [&](const auto& lane, const NoWorkspace&, Index) { task(lane); });
}

struct CountCalls {
  Matrix<double> calls;
  void operator()(Index i, Index j) const { calls(i, j) += 1.0; }
};

template <class T>
PaddedMatrix<T> filled(Index rows, Index cols, T value) {
  PaddedMatrix<T> result(rows, cols);
  result.fill(value);
  return result;
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

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <utility>

#include "fastntk/blas.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/portability.hpp"

namespace fastntk {

// The version of the loops over elements that the loader picked for this processor.
const char* instruction_set();

// Calls f(i, j) for every element of a rows × cols matrix, in any order.
template <class F>
FASTNTK_MULTIVERSION void for_each_element(Index rows, Index cols, F f) {
  for (Index i = 0; i < rows; ++i) {
    FASTNTK_INDEPENDENT_ITERATIONS
    for (Index j = 0; j < cols; ++j) f(i, j);
  }
}

// The processor, as an execution device. The algorithms (forward_backward.hpp, features.hpp,
// gram_tiles.hpp) are templates over a device and ask for nothing but what this class offers:
//
//   Buffer<T>      owns an uninitialized matrix on the device;
//   run(…)         spreads independent tasks over lanes;
//   Lane           executes the operations of one task in order: gemm, for_each, transpose.
//
// A lane here is a thread that calls single-threaded BLAS. How the work is cut into tasks never
// depends on the number of lanes, and no two tasks write the same element: results are the same to
// the last bit for any number of threads. The caller keeps the BLAS from starting threads itself.
class HostDevice {
 public:
  template <class T>
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Index rows, Index cols)
        : memory_(static_cast<T*>(allocate(rows, cols, sizeof(T)))), rows_(rows), cols_(cols) {}

    Matrix<T> view() const { return {memory_.get(), rows_, cols_}; }

   private:
    struct Free {
      void operator()(T* p) const { ::operator delete(p, kAlignment); }
    };
    std::unique_ptr<T, Free> memory_;
    Index rows_ = 0;
    Index cols_ = 0;
  };

  class Lane {
   public:
    Lane(const Blas& blas, const std::atomic<bool>& stop) : blas_(blas), stop_(stop) {}

    // c (+)= alpha · op(a) · op(b)
    template <class T>
    void gemm(Op op_a, Op op_b, T alpha, ConstMatrix<T> a, ConstMatrix<T> b, Write write,
              Matrix<T> c) const {
      fastntk::gemm(blas_, op_a, op_b, alpha, a, b, write, c);
    }

    // f is a functor of (row, column), compiled for the device.
    template <class F>
    void for_each(Index rows, Index cols, F f) const {
      for_each_element(rows, cols, f);
    }

    // to = fromᵀ. In blocks, because rows of a large kernel lie a power of two apart often enough
    // for whole columns to compete for the same cache set.
    template <class T>
    void transpose(ConstMatrix<T> from, Matrix<T> to) const {
      constexpr Index kBlock = 16;
      for (Index i0 = 0; i0 < to.rows; i0 += kBlock) {
        for (Index j0 = 0; j0 < to.cols; j0 += kBlock) {
          const Index rows = std::min(kBlock, to.rows - i0);
          const Index cols = std::min(kBlock, to.cols - j0);
          for (Index i = i0; i < i0 + rows; ++i) {
            for (Index j = j0; j < j0 + cols; ++j) to.row(i)[j] = from.row(j)[i];
          }
        }
      }
    }

    // True when the rest of the task is not wanted any more: asked between expensive steps.
    bool stopped() const { return stop_.load(std::memory_order_relaxed); }

   private:
    const Blas& blas_;
    const std::atomic<bool>& stop_;
  };

  // threads ≥ 1
  HostDevice(Blas blas, int threads) : blas_(blas), threads_(threads) {}

  // Runs task(lane, workspace, index) for index = 0 … tasks − 1; each lane has one workspace, made
  // by make_workspace(). Returns when all are done; an exception of a task or of the monitor stops
  // the others and is thrown here.
  template <class MakeWorkspace, class Task>
  void run(const char* stage, Index tasks, const Monitor& monitor, MakeWorkspace make_workspace,
           Task task) const {
    run_lanes(stage, tasks, monitor, [&](const Lane& lane, const NextTask& next) {
      auto workspace = make_workspace();
      for (Index index = next(); index < tasks; index = next()) task(lane, workspace, index);
    });
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  // Returns the index of the lane's next task, or `tasks` when there is none.
  using NextTask = std::function<Index()>;

  static void* allocate(Index rows, Index cols, std::size_t element_size);
  void run_lanes(const char* stage, Index tasks, const Monitor& monitor,
                 const std::function<void(const Lane&, const NextTask&)>& body) const;

  Blas blas_;
  int threads_;
};

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/cuda/cublas_api.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/matrix_buffer.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/tiling.hpp"
#include "fastntk/work.hpp"

// This makes an NVIDIA GPU an execution device: it has the operations that host_device.hpp lists,
// and nothing else of CUDA. This header needs no CUDA header; what launches kernels is in lane.cuh,
// which only the sources in src/cuda include.
struct CUevent_st;  // what cudaEvent_t points to

namespace fastntk {

// A call of CUDA or cuBLAS failed: the message has its name and what it returned.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The GPU has not enough memory, even for the smallest tiles.
class CudaOutOfMemory : public CudaError {
 public:
  using CudaError::CudaError;
};

// Opens the first of the libraries that exists. Null names this program itself.
cublas::Functions<cublas::Types> open_cublas(const std::vector<const char*>& libraries);

// Returns the version of CUDA that this was built with, as 1000 · major + 10 · minor.
int cuda_runtime_version();

// This says how cuBLAS multiplies. All but `standard` round otherwise than the type of the matrices
// says.
enum class Arithmetic : std::uint8_t {
  standard,
  tf32,              // float32 with operands of 10 bits, on tensor cores; float64 as `standard`
  emulated_float64,  // float64 by slices of integers, on tensor cores; float32 as `standard`
};

struct CudaOptions {
  int gpu = 0;
  Arithmetic arithmetic = Arithmetic::standard;
  Index tile = 4096;  // the largest, in rows and columns
  int lanes = 2;      // streams: one computes while the host prepares the work of the other
};

// As long as it lives the thread may choose another GPU: at its end the one that was current before
// is current again, as other libraries rely on it.
class KeepCurrentGpu {
 public:
  KeepCurrentGpu();
  ~KeepCurrentGpu();
  KeepCurrentGpu(const KeepCurrentGpu&) = delete;
  KeepCurrentGpu& operator=(const KeepCurrentGpu&) = delete;
  KeepCurrentGpu(KeepCurrentGpu&&) = delete;
  KeepCurrentGpu& operator=(KeepCurrentGpu&&) = delete;

 private:
  int gpu_ = -1;  // unknown
};

// The memory of a GPU is given in bytes.
struct CudaMemory {
  std::size_t free = 0;
  std::size_t total = 0;
};

// MatrixBuffer takes the memory of a GPU from here.
struct CudaMemoryPool {
  static void* allocate(Index rows, Index cols, std::size_t element_size);
  static void free(void* p);
};

class CudaDevice {
 public:
  // Freed memory stays with this program, up to a limit, for the buffers to come: the GPU would
  // rest whenever CUDA itself takes memory or gives it back. The memory is that of the GPU which
  // the thread has chosen last, and may be freed only when no lane works on it any more.
  template <class T>
  using Buffer = MatrixBuffer<T, CudaMemoryPool>;

 private:
  // This is a stream, the cuBLAS handle that works on it, and some memory: cuBLAS repeats its
  // results to the last bit only if no two streams share a handle.
  struct Stream;
  struct Pool;  // streams that are not in use
  class Queue;

  // This tells the caller how far the work is, and knows whether it is to go on.
  class Progress {
   public:
    Progress(const char* stage, Index total, const Monitor& monitor)
        : stage_(stage), total_(total), monitor_(monitor) {}

    // Tells the monitor, if it is time to; returns whether the work is to stop.
    bool poll();
    void count(Index done) { done_ += done; }
    // Tells the monitor at the end, without waiting for the time.
    void finish();

   private:
    void tell();

    const char* stage_;
    Index total_;
    const Monitor& monitor_;
    Index done_ = 0;
    std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
    std::exception_ptr error_;
  };

 public:
  class Lane {
   public:
    static constexpr bool kOnHost = false;

    Lane(Stream& stream, Arithmetic arithmetic, Progress& progress)
        : stream_(stream), arithmetic_(arithmetic), progress_(progress) {}

    // The operations do what those of HostDevice::Lane do. All but visit_large return before the
    // work is done.
    template <class T>
    void gemm(Op op_a, Op op_b, T alpha, ConstMatrix<T> a, ConstMatrix<T> b, Write write,
              Matrix<T> c) const;
    template <class F>
    void for_each(Index rows, Index cols, F f) const;
    template <class T, class F>
    void for_each_row(Index rows, F f) const;
    template <class T>
    void transpose(ConstMatrix<T> from, Matrix<T> to) const;
    template <class T>
    void row_dots(T factor, ConstMatrix<T> a, ConstMatrix<T> b, Write write, Matrix<T> sums) const;
    // Rows are searched in the order of their largest elements, from the largest down, so that
    // `least` grows soon.
    template <class T, class Least, class Visit>
    void visit_large(ConstMatrix<T> a, const T* row_scales, const T* col_scales, Index diagonal,
                     Least least, Visit visit) const;

    bool stopped() const { return progress_.poll(); }

   private:
    template <class T>
    void copy_to_host(const T* from, Index count, T* to) const;
    void* scratch(std::size_t bytes) const;  // until the next call
    CUstream_st* stream() const;

    Stream& stream_;
    Arithmetic arithmetic_;
    Progress& progress_;
  };

  enum class Phase : std::uint8_t { within_step, changing, end_of_step };

  // One lane takes all tiles, as its operations are parallel in themselves.
  template <class Workspace>
  class Team {
   public:
    template <class Task>
    [[nodiscard]] bool tiles(const Tiling& tiling, Phase phase, Task task) const {
      if (phase == Phase::within_step && lane_.stopped()) return false;
      for (Index index = 0; index < tiling.count(); ++index) {
        task(lane_, workspace_, tiling[index]);
      }
      // A task, too, may have left what is not wanted any more.
      if (phase == Phase::within_step) return !lane_.stopped();
      if (phase == Phase::changing) return true;
      queue_.end_task(0, 1);
      return !lane_.stopped();
    }

   private:
    friend CudaDevice;
    Team(Queue& queue, const Lane& lane, const Workspace& workspace)
        : queue_(queue), lane_(lane), workspace_(workspace) {}

    Queue& queue_;
    const Lane& lane_;
    const Workspace& workspace_;
  };

  // The device uses the functions for as long as it lives.
  CudaDevice(const cublas::Functions<cublas::Types>& blas, CudaOptions options);

  BlockLimits row_blocks() const { return limits(); }
  BlockLimits tile_blocks() const { return limits(); }
  // Gram matrices are formed of rows.
  template <class T>
  static constexpr Index panel_rows() {
    return 0;
  }
  Index sample_block() const { return options_.tile; }
  Index unit_block() const { return options_.tile; }
  Tiling tiling(const std::vector<Tiling::Shape>& shapes) const {
    return {shapes, options_.tile, {options_.tile, options_.tile}};
  }
  Tiling row_tiling(Index rows) const { return {{{rows, 1}}, options_.tile, {1, 1}}; }
  // Where there is not enough memory, a device with tiles of half the size may do.
  bool has_smaller_tiles() const { return options_.tile > kSmallestTile; }
  CudaDevice with_smaller_tiles() const;

  // Makes this GPU the one on which the calling thread allocates.
  void make_current() const;
  // Returns how much memory this GPU has, and how much of it buffers can still take.
  CudaMemory memory() const;

  // to = the elements at `from` on the host, row by row, and back. Both return when it is done.
  template <class T>
  void write(const std::type_identity_t<T>* from, Matrix<T> to) const {
    copy(to.data, to.stride, from, to.cols, to.rows, to.cols, sizeof(T), Direction::to_gpu);
  }
  template <class T>
  void read(Matrix<T> from, std::remove_const_t<T>* to) const {
    copy(to, from.cols, from.data, from.stride, from.rows, from.cols, sizeof(T),
         Direction::to_host);
  }

  // Waits for the work of others on the stream that __cuda_array_interface__ names, where 1 and 2
  // are CUDA's default streams.
  void wait_for(std::uintptr_t stream) const;

  // Runs task(lane, workspace, index) for index = 0 … tasks − 1, on the streams in turn, so that
  // one always has work. Returns when all are done. An exception of a task or of the monitor is
  // thrown here, when the streams are idle again.
  template <class MakeWorkspace, class Task>
  void run(const char* stage, Work work, const Monitor& monitor, MakeWorkspace make_workspace,
           Task task) const {
    const Index tasks = work.tasks;
    Progress progress(stage, tasks, monitor);
    if (tasks > 0) {
      std::vector<decltype(make_workspace())> workspaces;
      Queue queue(*this, progress, tasks);
      while (workspaces.size() < queue.lanes()) {
        try {
          workspaces.push_back(make_workspace());
        } catch (const CudaOutOfMemory&) {
          if (workspaces.empty()) throw;
          queue.keep(workspaces.size());
        }
      }
      for (Index index = 0; index < tasks && !progress.poll(); ++index) {
        const auto k = static_cast<std::size_t>(index) % queue.lanes();
        queue.wait(k);
        task(queue.lane(k), workspaces[k], index);
        queue.end_task(k, 1);
      }
      queue.finish();
    }
    progress.finish();
  }

  // Returns how many lanes run_phases has.
  static constexpr Index phase_lanes() { return 1; }

  // Runs body(team) once.
  template <class MakeWorkspace, class Body>
  void run_phases(const char* stage, Work work, Index /*widest*/, const Monitor& monitor,
                  MakeWorkspace make_workspace, Body body) const {
    Progress progress(stage, work.tasks, monitor);
    const auto workspace = make_workspace();
    Queue queue(*this, progress, 1);
    body(Team<decltype(make_workspace())>(queue, queue.lane(0), workspace));
    queue.finish();
    progress.finish();
  }

 private:
  static constexpr Index kSmallestTile = 256;
  enum class Direction : std::uint8_t { to_gpu, to_host };

  // These are the lanes of one call. They are idle when it ends, however it ends.
  class Queue {
   public:
    Queue(const CudaDevice& device, Progress& progress, Index tasks);
    ~Queue();
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    Queue(Queue&&) = delete;
    Queue& operator=(Queue&&) = delete;

    std::size_t lanes() const { return lanes_.size(); }
    const Lane& lane(std::size_t k) const { return lanes_[k]; }
    void keep(std::size_t lanes);
    // Waits until the lane has done all tasks that were ended.
    void wait(std::size_t k);
    // Is called when the lane has been given all of a task, which counts as so much progress. Waits
    // for the task before it: the host does not run further ahead than that, so that the progress
    // it reports is real.
    void end_task(std::size_t k, Index counts);
    void finish();

   private:
    const CudaDevice& device_;
    Progress& progress_;
    std::vector<std::unique_ptr<Stream>> streams_;
    std::vector<Lane> lanes_;
    std::vector<Index> pending_;  // counts of the task that the lane's event marks
  };

  BlockLimits limits() const { return {std::min<Index>(1024, options_.tile), options_.tile}; }
  void copy(void* to, Index to_stride, const void* from, Index from_stride, Index rows, Index cols,
            std::size_t element_size, Direction direction) const;

  CudaOptions options_;
  std::shared_ptr<Pool> pool_;
};

// Calls work(device), and again with smaller tiles for as long as there is not enough memory. What
// `work` computes must not depend on what an attempt that failed has left behind.
template <class Work>
auto with_tiles_that_fit(CudaDevice device, Work work) {
  while (true) {
    try {
      return work(std::as_const(device));
    } catch (const CudaOutOfMemory&) {
      if (!device.has_smaller_tiles()) throw;
    }
    device = device.with_smaller_tiles();
  }
}

}  // namespace fastntk

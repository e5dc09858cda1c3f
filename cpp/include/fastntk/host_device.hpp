// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "fastntk/amx.hpp"
#include "fastntk/blas.hpp"
#include "fastntk/host_memory.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/matrix_buffer.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/panel_products.hpp"
#include "fastntk/portability.hpp"
#include "fastntk/rows.hpp"
#include "fastntk/tiling.hpp"
#include "fastntk/work.hpp"

namespace fastntk {

// Names the version of the loops over elements that the loader picked for this processor.
const char* instruction_set();

// Calls f(i, j) for every element of a rows × cols matrix, in any order.
template <class F>
FASTNTK_MULTIVERSION void for_each_element(Index rows, Index cols, F f) {
  for (Index i = 0; i < rows; ++i) {
    FASTNTK_INDEPENDENT_ITERATIONS
    for (Index j = 0; j < cols; ++j) f(i, j);
  }
}

// Calls f(threads, i) for every row (rows.hpp).
template <class T, class F>
FASTNTK_MULTIVERSION void for_each_row(Index rows, F f) {
  for (Index i = 0; i < rows; ++i) f(OneThread<T>{}, i);
}

// Returns Σ a[j] b[j]. There are as many partial sums as fill the vector registers, because the
// compiler may not reorder a single one.
template <class T>
FASTNTK_MULTIVERSION T dot(Index n, const T* a, const T* b) {
  constexpr Index kSums = 32;
  std::array<T, kSums> partial{};
  Index j = 0;
  for (; j + kSums <= n; j += kSums) {
    for (Index k = 0; k < kSums; ++k) partial[k] += a[j + k] * b[j + k];
  }
  T sum = T(0);
  for (; j < n; ++j) sum += a[j] * b[j];
  for (Index width = kSums / 2; width > 0; width /= 2) {
    for (Index k = 0; k < width; ++k) partial[k] += partial[k + width];
  }
  return sum + partial[0];
}

// Returns max_j a[j] b[j], for n ≥ 1.
template <class T>
FASTNTK_MULTIVERSION T largest_product(Index n, const T* a, const T* b) {
  constexpr Index kParts = 32;
  std::array<T, kParts> partial{};
  partial.fill(a[0] * b[0]);
  Index j = 0;
  for (; j + kParts <= n; j += kParts) {
    for (Index k = 0; k < kParts; ++k) {
      const T product = a[j + k] * b[j + k];
      partial[k] = product > partial[k] ? product : partial[k];
    }
  }
  for (; j < n; ++j) partial[0] = std::max(partial[0], a[j] * b[j]);
  return *std::ranges::max_element(partial);
}

// This says who multiplies matrices of float32: the BLAS, or the AMX units (see amx.hpp). Products
// that are too small for these are left to the BLAS.
enum class Float32Products : std::uint8_t { blas, amx };

// The processor is an execution device. The algorithms (forward_backward.hpp, features.hpp,
// gram_tiles.hpp) are templates over a device and ask for nothing but what this class offers:
//
//   Buffer<T>      owns an uninitialized matrix on the device;
//   write, read    copy into the device's memory and out of it;
//   …_blocks       say how large the blocks of a task should be;
//   panel_rows     says how the rows of features lie that Gram matrices are formed of, and here
//                  also how samples lie that pass through a network;
//   run(…)         spreads independent tasks over lanes;
//   run_phases(…)  lets all lanes work on one product after the other, cut by tiling(…);
//   Lane           executes the operations of one task in order: gemm, for_each, for_each_row,
//                  transpose, row_dots, visit_large, and of triangular matrices syrk, trsm, potrf.
//
// A lane here is a thread that calls single-threaded BLAS, or has an AMX unit of its own. How the
// work is cut into tasks never depends on the number of lanes, and no two tasks write the same
// element: results are the same to the last bit for any number of threads. The caller keeps the
// BLAS from starting threads itself.
class HostDevice {
 public:
  template <class T>
  using Buffer = MatrixBuffer<T, HostMemory>;

  class Lane {
   public:
    // A lane of the processor can call functions of the processor.
    static constexpr bool kOnHost = true;

    Lane(const Blas& blas, const std::atomic<bool>& stop,
         Float32Products float32 = Float32Products::blas)
        : blas_(blas), stop_(stop), float32_(float32) {}

    // c (+)= alpha · op(a) · op(b)
    template <class T>
    void gemm(Op op_a, Op op_b, T alpha, ConstMatrix<T> a, ConstMatrix<T> b, Write write,
              Matrix<T> c) const {
      if constexpr (std::is_same_v<T, float>) {
        if (float32_ == Float32Products::amx &&
            amx::worthwhile(c.rows, c.cols, op_a == Op::none ? a.cols : a.rows)) {
          if (!amx_) amx_ = std::make_unique<amx::Products>();
          (*amx_)(op_a, op_b, alpha, a, b, write, c);
          return;
        }
      }
      fastntk::gemm(blas_, op_a, op_b, alpha, a, b, write, c);
    }

    // These operations on triangular matrices are described in blas.hpp.
    void syrk(Triangle triangle, Op op_a, double alpha, Matrix<const double> a,
              Matrix<double> c) const {
      fastntk::syrk(blas_, triangle, op_a, alpha, a, c);
    }
    void trsm(Side side, Triangle triangle, Op op_a, Matrix<const double> a,
              Matrix<double> b) const {
      fastntk::trsm(blas_, side, triangle, op_a, a, b);
    }
    Index potrf(Triangle triangle, Matrix<double> a) const {
      return fastntk::potrf(blas_, triangle, a);
    }

    // Calls the functor f(row, column), compiled for the device, for all elements.
    template <class F>
    void for_each(Index rows, Index cols, F f) const {
      for_each_element(rows, cols, f);
    }

    // Calls the functor f(threads, row), compiled for the device, for all rows (rows.hpp); what is
    // summed are numbers of type T.
    template <class T, class F>
    void for_each_row(Index rows, F f) const {
      fastntk::for_each_row<T>(rows, f);
    }

    // to = fromᵀ. It goes in blocks, because rows of a large kernel lie a power of two apart often
    // enough for whole columns to compete for the same cache set.
    template <class T>
    void transpose(ConstMatrix<T> from, Matrix<T> to) const {
      constexpr Index kBlock = 16;
      for (Index i0 = 0; i0 < to.rows; i0 += kBlock) {
        for (Index j0 = 0; j0 < to.cols; j0 += kBlock) {
          const Index rows = std::min(kBlock, to.rows - i0);
          const Index cols = std::min(kBlock, to.cols - j0);
          for (Index i = i0; i < i0 + rows; ++i) {
            for (Index j = j0; j < j0 + cols; ++j) to(i, j) = from(j, i);
          }
        }
      }
    }

    // sums (rows, 1) (+)= factor · Σ_j a(i, j) b(i, j)
    template <class T>
    void row_dots(T factor, ConstMatrix<T> a, ConstMatrix<T> b, Write write, Matrix<T> sums) const {
      for (Index i = 0; i < a.rows; ++i) {
        const T sum = factor * dot(a.cols, a.row(i), b.row(i));
        T& target = sums(i, 0);
        target = write == Write::accumulate ? target + sum : sum;
      }
    }

    // Calls visit(i, j, value), on the processor, for the elements with j < i + diagonal and
    // value = row_scales[i] · a(i, j) · col_scales[j] of at least `least()`, which may grow as
    // elements are visited.
    template <class T, class Least, class Visit>
    void visit_large(ConstMatrix<T> a, const T* row_scales, const T* col_scales, Index diagonal,
                     Least least, Visit visit) const {
      for (Index i = 0; i < a.rows; ++i) {
        const Index cols = std::min(a.cols, i + diagonal);
        if (cols <= 0) continue;
        if (row_scales[i] * largest_product(cols, a.row(i), col_scales) < least()) continue;
        for (Index j = 0; j < cols; ++j) {
          const T value = row_scales[i] * (a(i, j) * col_scales[j]);
          if (value >= least()) visit(i, j, value);
        }
      }
    }

    // Returns true when the rest of the task is not wanted any more. Tasks ask between expensive
    // steps.
    bool stopped() const { return stop_.load(std::memory_order_relaxed); }

   private:
    const Blas& blas_;
    const std::atomic<bool>& stop_;
    Float32Products float32_;
    mutable std::unique_ptr<amx::Products> amx_;  // made when it is first needed
  };

  // The lanes of one call share this.
  class Crew {
   public:
    explicit Crew(int lanes) : lanes_(lanes), all_here_(lanes, PrepareNextPhase{this}) {}

    int lanes() const { return lanes_; }
    // Keeps the exception that is being handled, if it is the first, and stops the work.
    void fail();
    void rethrow() const;
    // Waits until all lanes are here. Then `progress`, the same for all of them, is counted and the
    // next phase prepared, before any lane goes on, so that all lanes see the same `stopping`.
    void meet(Index progress);
    // Leaves for good: the others do not wait for this lane any more.
    void leave();

    std::atomic<bool> stop{false};
    std::atomic<Index> next{0};  // the next task or tile
    std::atomic<Index> done{0};  // what the monitor is told
    bool stopping = false;       // `stop` as it was when the lanes met; changes only there

   private:
    // The last lane to arrive does this while the others wait.
    struct PrepareNextPhase {
      Crew* crew;
      void operator()() const noexcept;
    };

    int lanes_;
    std::atomic<Index> progress_{0};
    std::atomic<std::uint32_t> meetings_{0};
    std::barrier<PrepareNextPhase> all_here_;
    std::mutex mutex_;
    std::exception_ptr error_;  // guarded by mutex_ while there are lanes
  };

  // This says whether a phase may be left undone when the work is to stop. What a step changes is
  // changed as a whole or not at all: from the first phase that changes some of it, to the one that
  // ends the step, no phase may be left undone.
  enum class Phase : std::uint8_t { within_step, changing, end_of_step };

  // Each of the lanes of run_phases holds one of these, and all of them call the same operations in
  // the same order.
  template <class Workspace>
  class Team {
   public:
    // Calls task(lane, workspace, tile) for all tiles, whichever lane takes them. Returns on all
    // lanes when all are done, and says whether to go on, the same on all of them.
    template <class Task>
    [[nodiscard]] bool tiles(const Tiling& tiling, Phase phase, Task task) const {
      for (Index index = crew_.next++; index < tiling.count(); index = crew_.next++) {
        if (phase == Phase::within_step && lane_.stopped()) break;
        try {
          task(lane_, workspace_, tiling[index]);
        } catch (...) {
          crew_.fail();
        }
      }
      crew_.meet(phase == Phase::end_of_step ? 1 : 0);
      return phase == Phase::changing || !crew_.stopping;
    }

   private:
    friend HostDevice;
    Team(HostDevice::Crew& crew, const Lane& lane, const Workspace& workspace)
        : crew_(crew), lane_(lane), workspace_(workspace) {}

    Crew& crew_;
    const Lane& lane_;
    const Workspace& workspace_;
  };

  // Blocks of rows pass through a network together: there are enough rows for GEMM to be efficient,
  // and few enough for a block to stay in the cache from one layer to the next.
  static BlockLimits row_blocks() { return {32, 512}; }
  // Tiles of a kernel are as large as the second-level cache allows: a GEMM packs its operands anew
  // for every tile, and the larger the tile, the more that buys.
  static BlockLimits tile_blocks() { return {64, 512}; }
  // Products of panels are packed already: their tiles may be so small that there are some for
  // every lane, and stay in that cache.
  static BlockLimits panel_tile_blocks() { return {48, 192}; }
  // Returns of how many rows the panels are that Gram matrices are best formed of (panels.hpp), or
  // 0 where GEMM forms them.
  template <class T>
  Index panel_rows() const {
    if (std::is_same_v<T, float> && float32_ == Float32Products::amx) return 0;
    const PanelKernel<T>* const kernel = panel_kernel<T>();
    return kernel == nullptr ? 0 : kernel->panel_rows;
  }
  // Cuts samples that pass through a network in panels. There may be few in a block, as the weights
  // are packed already: small blocks are shared out evenly.
  // What is kept may lie in panels of another precision, of so many rows: blocks begin with one.
  template <class T>
  static Partition panel_blocks(Index samples, Index kept_panel_rows = 0) {
    constexpr Index kSmall = 24;
    constexpr Index kLarge = 48;
    const bool small = 4 * kLarge < samples && samples < 20 * kLarge;
    const Index unit = std::lcm(panel_kernel<T>()->strip_rows, std::max<Index>(1, kept_panel_rows));
    const Index rows = Partition::round_up(small ? kSmall : kLarge, unit);
    return {samples, {rows, rows}};
  }
  // A product with a Jacobian takes so many samples, and so many units of a layer, at a time.
  static Index sample_block() { return 512; }
  static Index unit_block() { return 256; }

  // Tiles of whole matrices are large enough for what GEMM packs to be little beside what it
  // computes. They have up to 512 rows, and as many of the columns as leave four tiles to share
  // out, but at least half as many as that.
  static Tiling tiling(const std::vector<Tiling::Shape>& shapes) {
    constexpr Index kLargest = 512;
    return {shapes, kLargest, {kLargest / 2, kLargest}};
  }
  // Those of products of panels may be smaller, as nothing is packed for them. They begin with a
  // panel.
  static Tiling panel_tiling(const std::vector<Tiling::Shape>& shapes) {
    constexpr Index kRows = 128;
    constexpr Index kCols = 192;
    return {shapes, kRows, {kCols, kCols}};
  }
  // These tiles have so many whole rows, for work that is short.
  static Tiling row_tiling(Index rows) { return {{{rows, 1}}, 64, {1, 1}}; }

  // to = the elements at `from`, row by row, and back.
  template <class T>
  void write(const std::type_identity_t<T>* from, Matrix<T> to) const {
    for (Index i = 0; i < to.rows; ++i) std::copy_n(from + i * to.cols, to.cols, to.row(i));
  }
  template <class T>
  void read(Matrix<T> from, std::remove_const_t<T>* to) const {
    for (Index i = 0; i < from.rows; ++i) std::copy_n(from.row(i), from.cols, to + i * from.cols);
  }

  // There is at least one thread.
  HostDevice(Blas blas, int threads, Float32Products float32 = Float32Products::blas)
      : blas_(blas), threads_(threads), float32_(float32) {}

  // Runs task(lane, workspace, index) for index = 0 … tasks − 1; each lane has one workspace, made
  // by make_workspace(). Tasks are taken up in the order of their index, so that one may wait for
  // those before it (Finished). Returns when all are done; an exception of a task or of the monitor
  // stops the others and is thrown here. What is little work is done by the caller, at once.
  template <class MakeWorkspace, class Task>
  void run(const char* stage, Work work, const Monitor& monitor, MakeWorkspace make_workspace,
           Task task) const {
    run_lanes(stage, work, monitor, [&](const Lane& lane, const NextTask& next) {
      auto workspace = make_workspace();
      for (Index index = next(); index < work.tasks; index = next()) task(lane, workspace, index);
    });
  }

  // Returns how many lanes run_phases has at most.
  Index phase_lanes() const { return threads_; }

  // Runs body(team) on at most as many lanes as there are tiles in the `widest` phase. The tasks of
  // the work are steps of phases that need each other's results, and that are too short to start
  // threads for each; little work is done by the caller, at once. A device whose operations are
  // parallel in themselves runs body once, on whole matrices. Exceptions are handled as in run();
  // when the work is to stop, a step is completed or has changed nothing.
  template <class MakeWorkspace, class Body>
  void run_phases(const char* stage, Work work, Index widest, const Monitor& monitor,
                  MakeWorkspace make_workspace, Body body) const {
    Crew crew(is_little(work) ? 1 : static_cast<int>(std::min<Index>(threads_, widest)));
    const auto run_lane = [&](const Lane& lane) {
      using Workspace = decltype(make_workspace());
      std::optional<Workspace> workspace;
      try {
        workspace.emplace(make_workspace());
      } catch (...) {
        crew.fail();
      }
      crew.meet(0);
      if (workspace && !crew.stopping) body(Team<Workspace>(crew, lane, *workspace));
    };
    if (is_little(work)) {
      run_here(crew, stage, work.tasks, monitor, run_lane);
    } else {
      run_crew(crew, stage, work.tasks, monitor, run_lane);
    }
  }

 private:
  // Returns the index of the lane's next task, or `tasks` when there is none.
  using NextTask = std::function<Index()>;

  void run_lanes(const char* stage, Work work, const Monitor& monitor,
                 const std::function<void(const Lane&, const NextTask&)>& body) const;
  int lanes_for(Work work) const;
  // Returns whether starting a thread for it would take longer than the work.
  static bool is_little(Work work);
  // Runs the only lane of a crew in the thread of the caller.
  void run_here(Crew& crew, const char* stage, Index total, const Monitor& monitor,
                const std::function<void(const Lane&)>& body) const;
  void run_crew(Crew& crew, const char* stage, Index total, const Monitor& monitor,
                const std::function<void(const Lane&)>& body) const;

  Blas blas_;
  int threads_;
  Float32Products float32_;
};

}  // namespace fastntk

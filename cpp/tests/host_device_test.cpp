// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/host_device.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fastntk/amx.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

struct NoWorkspace {};
constexpr auto kNoWorkspace = [] { return NoWorkspace{}; };

HostDevice device_with(int threads) { return {reference_blas(), threads}; }

// Waits for what another thread is to bring about; gives up long after it should have happened.
template <class Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

struct TaskError : std::runtime_error {
  TaskError() : std::runtime_error("task") {}
};
struct MonitorError : std::runtime_error {
  MonitorError() : std::runtime_error("monitor") {}
};

template <class T>
void check_transpose(Index rows, Index cols) {
  CAPTURE(rows);
  CAPTURE(cols);
  const Blas blas = reference_blas();
  const std::atomic<bool> stop{false};
  const PaddedMatrix<T> from = random_samples<T>(rows, cols);
  PaddedMatrix<T> to(cols, rows);
  PaddedMatrix<T> expected(cols, rows);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) expected(j, i) = from(i, j);
  }
  HostDevice::Lane(blas, stop).transpose<T>(from.view(), to.view());
  CHECK(equal_to_the_last_bit(to, expected));
  CHECK(to.margin_intact());
}

struct CountCalls {
  Matrix<int> calls;
  void operator()(Index i, Index j) const { ++calls(i, j); }
};

}  // namespace

TEST_CASE("host device: every task runs once for any number of threads") {
  for (int threads = 1; threads <= 8; ++threads) {
    for (const Index tasks : {1, 2, 7, 8, 9, 100}) {
      CAPTURE(threads);
      CAPTURE(tasks);
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      device_with(threads).run("stage", tasks, nullptr, kNoWorkspace,
                               [&](const auto& /*lane*/, NoWorkspace& /*workspace*/, Index index) {
                                 ++runs[static_cast<std::size_t>(index)];
                               });
      bool once = true;
      for (const auto& count : runs) once = once && count == 1;
      CHECK(once);
    }
  }
}

TEST_CASE("host device: as many threads as asked for work at once") {
  constexpr int kThreads = 4;
  std::atomic<int> present{0};
  std::atomic<int> met{0};
  device_with(kThreads).run("stage", kThreads, nullptr, kNoWorkspace,
                            [&](const auto& /*lane*/, NoWorkspace& /*workspace*/, Index /*index*/) {
                              ++present;
                              if (eventually([&] { return present == kThreads; })) ++met;
                            });
  CHECK(met == kThreads);
}

TEST_CASE("host device: little work is done by the caller, and some more by few threads") {
  const auto threads_of = [](Work work) {
    std::mutex mutex;
    std::set<std::thread::id> ids;
    std::vector<int> runs(static_cast<std::size_t>(work.tasks));
    device_with(4).run("stage", work, nullptr, kNoWorkspace,
                       [&](const auto& /*lane*/, NoWorkspace& /*workspace*/, Index index) {
                         const std::scoped_lock lock(mutex);
                         ids.insert(std::this_thread::get_id());
                         ++runs[static_cast<std::size_t>(index)];
                       });
    CHECK(runs == std::vector<int>(static_cast<std::size_t>(work.tasks), 1));
    return ids;
  };
  CHECK(threads_of({6, 100.0}) == std::set{std::this_thread::get_id()});
  CHECK(threads_of({0, 100.0}).empty());
  CHECK(threads_of({6, 3e5}) == std::set{std::this_thread::get_id()});
  const auto some = threads_of({6, 5e5});
  CHECK(some.size() <= 2);
  CHECK(some.count(std::this_thread::get_id()) == 0);
  CHECK(threads_of({1, 5e5}).count(std::this_thread::get_id()) == 0);
  CHECK(threads_of({6, 1e9}).count(std::this_thread::get_id()) == 0);
  CHECK(threads_of(6).count(std::this_thread::get_id()) == 0);
}

TEST_CASE(
    "host device: what little work throws reaches the caller, and the monitor hears its end") {
  const HostDevice device = device_with(2);
  CHECK_THROWS_AS(device.run("stage", {3, 1.0}, nullptr, kNoWorkspace,
                             [](const auto& /*lane*/, NoWorkspace& /*workspace*/, Index index) {
                               if (index == 1) throw std::runtime_error("task");
                             }),
                  std::runtime_error);
  std::vector<Index> heard;
  device.run(
      "stage", {3, 1.0},
      [&](const char* /*stage*/, Index done, Index total) {
        heard.push_back(done);
        CHECK(total == 3);
      },
      kNoWorkspace, [](const auto& /*lane*/, NoWorkspace& /*workspace*/, Index /*index*/) {});
  CHECK(heard == std::vector<Index>{3});
}

TEST_CASE("host device: one workspace for each lane and none beyond the number of tasks") {
  for (const auto& [threads, tasks, expected] :
       {std::array<int, 3>{1, 50, 1}, {3, 50, 3}, {8, 2, 2}}) {
    std::atomic<int> made{0};
    std::atomic<int> shared{0};
    struct Workspace {
      int users = 0;
    };
    device_with(threads).run(
        "stage", tasks, nullptr,
        [&made] {
          ++made;
          return Workspace{};
        },
        [&shared](const auto& /*lane*/, Workspace& workspace, Index /*index*/) {
          if (++workspace.users != 1) ++shared;
          --workspace.users;
        });
    CHECK(made == expected);
    CHECK(shared == 0);
  }
}

TEST_CASE("host device: zero tasks make no workspace and run nothing") {
  bool touched = false;
  Index reported = -1;
  device_with(3).run(
      "stage", 0, [&](const char* /*stage*/, Index done, Index total) { reported = done + total; },
      [&] {
        touched = true;
        return NoWorkspace{};
      },
      [&](const auto& /*lane*/, NoWorkspace& /*workspace*/, Index /*index*/) { touched = true; });
  CHECK_FALSE(touched);
  CHECK(reported == 0);
}

TEST_CASE("host device: an exception of a task stops the others and arrives at the caller") {
  for (const int threads : {1, 2, 4}) {
    CAPTURE(threads);
    std::atomic<int> begun{0};
    std::atomic<int> never_told{0};
    const auto run = [&] {
      device_with(threads).run("stage", 100, nullptr, kNoWorkspace,
                               [&](const auto& lane, NoWorkspace& /*workspace*/, Index index) {
                                 ++begun;
                                 if (index == 0) throw TaskError();
                                 if (never_told == 0 && !eventually([&] { return lane.stopped(); }))
                                   ++never_told;
                               });
    };
    CHECK_THROWS_AS(run(), TaskError);
    CHECK(begun <= threads);
    CHECK(never_told == 0);
  }
}

TEST_CASE("host device: an exception while a workspace is made arrives at the caller") {
  std::atomic<int> begun{0};
  const auto run = [&] {
    device_with(2).run(
        "stage", 100, nullptr, [&]() -> NoWorkspace { throw std::bad_alloc(); },
        [&](const auto& /*lane*/, NoWorkspace& /*workspace*/, Index /*index*/) { ++begun; });
  };
  CHECK_THROWS_AS(run(), std::bad_alloc);
  CHECK(begun == 0);
}

TEST_CASE("host device: an exception of the monitor stops the tasks and arrives at the caller") {
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    std::atomic<int> begun{0};
    std::atomic<int> never_told{0};
    int calls = 0;
    const auto run = [&] {
      device_with(threads).run(
          "stage", 100,
          [&](const char* /*stage*/, Index /*done*/, Index /*total*/) {
            ++calls;
            throw MonitorError();
          },
          kNoWorkspace,
          [&](const auto& lane, NoWorkspace& /*workspace*/, Index /*index*/) {
            ++begun;
            if (never_told == 0 && !eventually([&] { return lane.stopped(); })) ++never_told;
          });
    };
    CHECK_THROWS_AS(run(), MonitorError);
    CHECK(calls == 1);
    CHECK(begun <= threads);
    CHECK(never_told == 0);
  }
}

TEST_CASE("host device: the monitor hears of progress while tasks run and of the end") {
  constexpr Index kTasks = 3;
  std::atomic<Index> last_heard{-1};
  std::atomic<bool> heard_in_time{false};
  std::vector<Index> progress;
  std::string stages;
  bool own_thread = true;
  bool right_total = true;
  const auto caller = std::this_thread::get_id();
  device_with(2).run(
      "weaving", kTasks,
      [&](const char* stage, Index done, Index total) {
        own_thread = own_thread && std::this_thread::get_id() == caller;
        right_total = right_total && total == kTasks;
        stages = stage;
        progress.push_back(done);
        last_heard = done;
      },
      kNoWorkspace,
      [&](const auto& /*lane*/, NoWorkspace& /*workspace*/, Index index) {
        if (index != kTasks - 1) return;
        heard_in_time = eventually([&] { return last_heard == kTasks - 1; });
      });
  CHECK(stages == "weaving");
  CHECK(own_thread);
  CHECK(right_total);
  CHECK(heard_in_time);
  CHECK(std::ranges::is_sorted(progress));
  CHECK(progress.back() == kTasks);
}

TEST_CASE("host device: phases begin when the one before has ended, on every lane") {
  const Tiling many({{40, 1}}, 1, {1, 1});
  const Tiling few({{2, 1}}, 1, {1, 1});
  for (const int threads : {1, 2, 5}) {
    CAPTURE(threads);
    constexpr Index kSteps = 50;
    std::atomic<Index> first_done{0};
    std::atomic<Index> second_done{0};
    std::atomic<int> too_early{0};
    std::atomic<int> bodies{0};
    Index last_heard = -1;
    device_with(threads).run_phases(
        "stage", kSteps, many.count(),
        [&](const char* /*stage*/, Index done, Index total) {
          CHECK(total == kSteps);
          last_heard = done;
        },
        kNoWorkspace,
        [&](const auto& team) {
          ++bodies;
          for (Index step = 0; step < kSteps; ++step) {
            const auto first = [&](const auto& /*lane*/, auto& /*workspace*/, const Tile&) {
              if (second_done != step * few.count()) ++too_early;
              ++first_done;
            };
            const auto second = [&](const auto& /*lane*/, auto& /*workspace*/, const Tile&) {
              if (first_done != (step + 1) * many.count()) ++too_early;
              ++second_done;
            };
            const auto third = [&](const auto& /*lane*/, auto& /*workspace*/, const Tile&) {
              if (second_done != (step + 1) * few.count()) ++too_early;
            };
            if (!team.tiles(many, HostDevice::Phase::within_step, first)) return;
            if (!team.tiles(few, HostDevice::Phase::changing, second)) return;
            if (!team.tiles(few, HostDevice::Phase::end_of_step, third)) return;
          }
        });
    CHECK(bodies == threads);
    CHECK(too_early == 0);
    CHECK(first_done == kSteps * many.count());
    CHECK(second_done == kSteps * few.count());
    CHECK(last_heard == kSteps);
  }
}

TEST_CASE("host device: little work in phases is done by the caller, in one lane") {
  const Tiling tiling({{6, 1}}, 1, {1, 1});
  const auto caller = std::this_thread::get_id();
  constexpr Index kSteps = 3;
  // The monitor of work in threads hears of it at its end, too.
  for (const double operations : {0.0, 3.9e5, 4.1e5, 1e9}) {
    CAPTURE(operations);
    const bool little = operations < 4e5;
    std::atomic<int> bodies{0};
    std::atomic<int> tiles{0};
    std::atomic<bool> here{true};
    std::vector<Index> heard;
    device_with(3).run_phases(
        "stage", Work(kSteps, operations), tiling.count(),
        [&](const char* /*stage*/, Index done, Index total) {
          CHECK(total == kSteps);
          heard.push_back(done);
        },
        kNoWorkspace,
        [&](const auto& team) {
          ++bodies;
          if (std::this_thread::get_id() != caller) here = false;
          for (Index step = 0; step < kSteps; ++step) {
            const bool more = team.tiles(tiling, HostDevice::Phase::end_of_step,
                                         [&](const auto&, auto&, const Tile&) { ++tiles; });
            if (!more) return;
          }
        });
    CHECK(bodies == (little ? 1 : 3));
    CHECK(tiles == kSteps * tiling.count());
    CHECK(here == little);
    REQUIRE_FALSE(heard.empty());
    CHECK(heard.back() == kSteps);
    CHECK((!little || heard.size() == 1));
  }
}

TEST_CASE("host device: what little work in phases throws reaches the caller") {
  const Tiling tiling({{6, 1}}, 1, {1, 1});
  for (const char* where : {"workspace", "tile", "body", "monitor"}) {
    CAPTURE(where);
    const std::string failing = where;
    int tiles = 0;
    const auto fail_at = [&](const char* place) {
      if (failing == place) throw TaskError();
    };
    const auto run = [&] {
      device_with(2).run_phases(
          "stage", Work(1, 0.0), tiling.count(),
          [&](const char* /*stage*/, Index /*done*/, Index /*total*/) { fail_at("monitor"); },
          [&] {
            fail_at("workspace");
            return NoWorkspace{};
          },
          [&](const auto& team) {
            const bool more = team.tiles(tiling, HostDevice::Phase::end_of_step,
                                         [&](const auto&, auto&, const Tile&) {
                                           ++tiles;
                                           fail_at("tile");
                                         });
            // A change is completed all the same.
            CHECK(tiles == tiling.count());
            CHECK(more == (failing != "tile"));
            fail_at("body");
          });
    };
    CHECK_THROWS_AS(run(), TaskError);
  }
}

TEST_CASE("host device: no more lanes for phases than the widest has tiles") {
  const Tiling tiling({{2, 1}}, 1, {1, 1});
  std::atomic<int> bodies{0};
  std::atomic<int> tiles{0};
  device_with(8).run_phases("stage", 1, tiling.count(), nullptr, kNoWorkspace,
                            [&](const auto& team) {
                              ++bodies;
                              CHECK(team.tiles(tiling, HostDevice::Phase::end_of_step,
                                               [&](const auto&, auto&, const Tile&) { ++tiles; }));
                            });
  CHECK(bodies == 2);
  CHECK(tiles == 2);
}

TEST_CASE("host device: exceptions in phases reach the caller, and no lane waits for ever") {
  const Tiling tiling({{6, 1}}, 1, {1, 1});
  for (const int threads : {1, 2, 4}) {
    for (const char* where : {"workspace", "tile", "body", "monitor"}) {
      CAPTURE(threads);
      CAPTURE(where);
      const std::string failing = where;
      std::atomic<bool> thrown{false};
      const auto fail_once_at = [&](const char* place) {
        if (failing == place && !thrown.exchange(true)) throw TaskError();
      };
      const auto run = [&] {
        device_with(threads).run_phases(
            "stage", 1, tiling.count(),
            [&](const char* /*stage*/, Index /*done*/, Index /*total*/) {
              fail_once_at("monitor");
            },
            [&] {
              fail_once_at("workspace");
              return NoWorkspace{};
            },
            [&](const auto& team) {
              // Only the failure ends the waiting.
              while (team.tiles(tiling, HostDevice::Phase::within_step,
                                [&](const auto&, auto&, const Tile&) { fail_once_at("tile"); })) {
                fail_once_at("body");
              }
            });
      };
      CHECK_THROWS_AS(run(), TaskError);
    }
  }
}

TEST_CASE(
    "host device: phases that change what a step changes are completed when work is to stop") {
  using Phase = HostDevice::Phase;
  const Tiling tiling({{30, 1}}, 1, {1, 1});
  for (const Phase phase : {Phase::within_step, Phase::changing, Phase::end_of_step}) {
    std::atomic<int> tiles{0};
    std::atomic<int> going_on{0};
    const auto run = [&] {
      device_with(2).run_phases(
          "stage", 1, tiling.count(), nullptr, kNoWorkspace, [&](const auto& team) {
            going_on += team.tiles(tiling, phase, [&](const auto& lane, auto&, const Tile&) {
              if (tiles++ == 0) throw TaskError();
              eventually([&] { return lane.stopped(); });
            });
          });
    };
    CHECK_THROWS_AS(run(), TaskError);
    CHECK((tiles == 30) == (phase != Phase::within_step));
    // The work goes on to the phases that are left of the change.
    CHECK(going_on == (phase == Phase::changing ? 2 : 0));
  }
}

TEST_CASE("host device: a lane is stopped when its flag says so") {
  const Blas blas = reference_blas();
  std::atomic<bool> stop{false};
  const HostDevice::Lane lane(blas, stop);
  CHECK_FALSE(lane.stopped());
  stop = true;
  CHECK(lane.stopped());
}

TEST_CASE("host device: AMX multiplies large matrices of float32, the BLAS all others") {
  if (amx::why_not() != nullptr) {
    MESSAGE(amx::why_not());
    return;
  }
  const Blas blas = reference_blas();
  const std::atomic<bool> stop{false};
  const HostDevice::Lane lane(blas, stop, Float32Products::amx);
  const auto same_as = [&](Index rows, Index terms, const auto& multiply) {
    const auto a = random_samples<float>(rows, terms, 1);
    PaddedMatrix<float> c(rows, rows);
    lane.gemm<float>(Op::none, Op::transpose, 1.0F, a.view(), a.view(), Write::overwrite, c.view());
    PaddedMatrix<float> expected(rows, rows);
    multiply(a.view(), expected.view());
    return equal_to_the_last_bit(c, expected);
  };
  const auto by_amx = [](Matrix<const float> a, Matrix<float> c) {
    amx::Products()(Op::none, Op::transpose, 1.0F, a, a, Write::overwrite, c);
  };
  const auto by_blas = [&](Matrix<const float> a, Matrix<float> c) {
    gemm<float>(blas, Op::none, Op::transpose, 1.0F, a, a, Write::overwrite, c);
  };
  CHECK(same_as(40, 50, by_amx));
  CHECK_FALSE(same_as(40, 50, by_blas));
  CHECK(same_as(10, 50, by_blas));
  CHECK(same_as(40, 20, by_blas));
  // AMX has no part in products of float64.
  const auto a = random_samples<double>(40, 50);
  PaddedMatrix<double> c(40, 40);
  PaddedMatrix<double> expected(40, 40);
  lane.gemm<double>(Op::none, Op::transpose, 1.0, a.view(), a.view(), Write::overwrite, c.view());
  gemm<double>(blas, Op::none, Op::transpose, 1.0, a.view(), a.view(), Write::overwrite,
               expected.view());
  CHECK(equal_to_the_last_bit(c, expected));
}

TEST_CASE("host device: for_each visits every element once") {
  const Blas blas = reference_blas();
  const std::atomic<bool> stop{false};
  const HostDevice::Lane lane(blas, stop);
  for (const Index rows : {0, 1, 2, 17}) {
    for (const Index cols : {0, 1, 7, 16, 33}) {
      CAPTURE(rows);
      CAPTURE(cols);
      const Index padded = cols + 2;
      std::vector<int> calls(static_cast<std::size_t>(rows * padded), 0);
      lane.for_each(rows, cols, CountCalls{{calls.data(), rows, cols, padded}});
      bool once = true;
      for (Index i = 0; i < rows * padded; ++i) {
        const int expected = i % padded < cols ? 1 : 0;
        once = once && calls[static_cast<std::size_t>(i)] == expected;
      }
      CHECK(once);
    }
  }
}

TEST_CASE_TEMPLATE("host device: transpose of shapes around the block size", T, float, double) {
  for (const Index rows : {0, 1, 2, 15, 16, 17, 31, 32, 33, 50}) {
    for (const Index cols : {0, 1, 3, 15, 16, 17, 31, 32, 33, 49}) check_transpose<T>(rows, cols);
  }
}

TEST_CASE_TEMPLATE("host device: inner products of vectors of any length", T, float, double) {
  for (const Index n : {0, 1, 2, 15, 31, 32, 33, 63, 64, 65, 127, 1000}) {
    CAPTURE(n);
    // The margins are NaN, so that nothing beyond the ends is read unnoticed.
    const PaddedMatrix<T> a = Random(1).matrix<T>(1, n);
    const PaddedMatrix<T> b = Random(2).matrix<T>(1, n);
    double sum = 0.0;
    double largest = -std::numeric_limits<double>::infinity();
    for (Index j = 0; j < n; ++j) {
      sum += static_cast<double>(a(0, j)) * static_cast<double>(b(0, j));
      largest = std::max(largest, static_cast<double>(a(0, j) * b(0, j)));
    }
    const double tolerance = static_cast<double>(n) * std::numeric_limits<T>::epsilon();
    const T actual = dot(n, a.view().row(0), b.view().row(0));
    CHECK(std::abs(static_cast<double>(actual) - sum) <= tolerance);
    if (n > 0) {
      const T found = largest_product(n, a.view().row(0), b.view().row(0));
      CHECK(static_cast<double>(found) == largest);
    }
  }
}

TEST_CASE("host device: the largest product is found at every place") {
  for (const Index n : {1, 5, 32, 33, 64, 70}) {
    for (Index place = 0; place < n; ++place) {
      std::vector<double> a(static_cast<std::size_t>(n), -3.0);
      a[static_cast<std::size_t>(place)] = -1.0;
      const std::vector<double> b(static_cast<std::size_t>(n), 2.0);
      CHECK(largest_product(n, a.data(), b.data()) == -2.0);
    }
  }
}

TEST_CASE_TEMPLATE("host device: row_dots overwrites or accumulates", T, float, double) {
  const Blas blas = reference_blas();
  const std::atomic<bool> stop{false};
  const HostDevice::Lane lane(blas, stop);
  const PaddedMatrix<T> a = Random(1).matrix<T>(7, 37);
  const PaddedMatrix<T> b = Random(2).matrix<T>(7, 37);
  PaddedMatrix<T> sums(7, 1);
  PaddedMatrix<double> expected(7, 1);
  for (Index i = 0; i < 7; ++i) {
    expected(i, 0) = 0.0;
    for (Index j = 0; j < 37; ++j) {
      expected(i, 0) += -1.5 * static_cast<double>(a(i, j)) * static_cast<double>(b(i, j));
    }
  }
  lane.row_dots<T>(T(-1.5), a.view(), b.view(), Write::overwrite, sums.view());
  CHECK(relative_error(sums, expected) < Tolerance<T>::kRounding);
  lane.row_dots<T>(T(-3), a.view(), b.view(), Write::accumulate, sums.view());
  for (Index i = 0; i < 7; ++i) expected(i, 0) *= 3.0;
  CHECK(relative_error(sums, expected) < Tolerance<T>::kRounding);
  CHECK(sums.margin_intact());
}

TEST_CASE("host device: visit_large meets exactly the elements that are large enough") {
  const Blas blas = reference_blas();
  const std::atomic<bool> stop{false};
  const HostDevice::Lane lane(blas, stop);
  const PaddedMatrix<double> a = Random(1).matrix<double>(20, 70);
  std::vector<double> row_scales = Random(2).vector<double>(20);
  std::vector<double> col_scales = Random(3).vector<double>(70);
  for (double& scale : row_scales) scale = std::abs(scale);
  for (double& scale : col_scales) scale = std::abs(scale);
  const auto value_at = [&](Index i, Index j) {
    return row_scales[static_cast<std::size_t>(i)] *
           (a(i, j) * col_scales[static_cast<std::size_t>(j)]);
  };
  for (const auto& [least, diagonal] : {std::pair<double, Index>{-10.0, 70},
                                        {0.0, 70},
                                        {1.0, 70},
                                        {value_at(3, 5), 70},
                                        {10.0, 70},
                                        {-10.0, -4},
                                        {-10.0, 0},
                                        {-10.0, 1},
                                        {0.0, 55}}) {
    CAPTURE(least);
    CAPTURE(diagonal);
    PaddedMatrix<double> visits(20, 70);
    visits.fill(0.0);
    lane.visit_large<double>(
        a.view(), row_scales.data(), col_scales.data(), diagonal, [&] { return least; },
        [&](Index i, Index j, double value) {
          CHECK(value == value_at(i, j));
          visits(i, j) += 1.0;
        });
    bool exact = true;
    for (Index i = 0; i < 20; ++i) {
      for (Index j = 0; j < 70; ++j) {
        const bool expected = j < i + diagonal && value_at(i, j) >= least;
        exact = exact && visits(i, j) == (expected ? 1.0 : 0.0);
      }
    }
    CHECK(exact);
  }
  // The bound grows to the largest value met: each visit is a new record or its equal.
  double least = -10.0;
  double largest = -10.0;
  lane.visit_large<double>(
      a.view(), row_scales.data(), col_scales.data(), 70, [&] { return least; },
      [&](Index /*i*/, Index /*j*/, double value) {
        CHECK(value >= least);
        least = value;
      });
  for (Index i = 0; i < 20; ++i) {
    for (Index j = 0; j < 70; ++j) largest = std::max(largest, value_at(i, j));
  }
  CHECK(least == largest);
  bool visited = false;
  lane.visit_large<double>(
      a.view().block(0, 20, 0, 0), row_scales.data(), col_scales.data(), 0, [] { return -10.0; },
      [&](Index /*i*/, Index /*j*/, double /*value*/) { visited = true; });
  CHECK_FALSE(visited);
}

TEST_CASE_TEMPLATE("host device: buffers are aligned and as large as asked for", T, float, double) {
  const HostDevice::Buffer<T> buffer(5, 3);
  const Matrix<T> view = buffer.view();
  CHECK(reinterpret_cast<std::uintptr_t>(view.data) % 64 == 0);
  CHECK(view.rows == 5);
  CHECK(view.cols == 3);
  CHECK(view.stride == 3);
  for (Index i = 0; i < 15; ++i) view.data[i] = T(1);  // a sanitizer knows whether it may
  CHECK(HostDevice::Buffer<T>().view().data == nullptr);
  CHECK(HostDevice::Buffer<T>(0, 3).view().rows == 0);
  CHECK(HostDevice::Buffer<T>(3, 0).view().cols == 0);
}

TEST_CASE("host device: a buffer whose size overflows is refused") {
  constexpr Index kMax = std::numeric_limits<Index>::max();
  CHECK_THROWS_AS(HostDevice::Buffer<double>(kMax / 2, kMax / 2), std::bad_alloc);
  CHECK_THROWS_AS(HostDevice::Buffer<double>(kMax / 4, 1), std::bad_alloc);
  CHECK_THROWS_AS(HostDevice::Buffer<double>(1, kMax / 4), std::bad_alloc);
}

TEST_CASE("host device: names the instruction set") {
  CHECK(std::string(instruction_set()).size() > 4);
}

}  // namespace fastntk::test

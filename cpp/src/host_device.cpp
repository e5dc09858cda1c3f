// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/host_device.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace fastntk {

namespace {

// A caller waits so long between two looks at its monitor: short enough for a key press to feel
// answered, long enough to cost nothing.
constexpr std::chrono::milliseconds kMonitorInterval{100};

// A lane looks out for the others for so long before it sleeps.
constexpr std::chrono::microseconds kSpin{100};

// With fewer operations for each of several lanes, starting and joining threads takes as long as
// they save. A slow operation takes a nanosecond: what is too little for two lanes is done before
// anybody would want to stop it.
constexpr double kOperationsOfLane = 2e5;

// Every matrix begins at a multiple of this, a cache line.
constexpr std::align_val_t kAlignment{64};

// This says how much memory could not be had. It takes none itself.
class OutOfMemory : public std::bad_alloc {
 public:
  OutOfMemory(const char* what, std::size_t bytes) noexcept {
    constexpr double kMebibyte = 1024.0 * 1024.0;
    // What does not fit is cut off.
    static_cast<void>(std::snprintf(message_.data(), message_.size(),
                                    "%s needs %.1f MiB of memory, which are not to be had: take "
                                    "fewer samples, or fewer threads (OPENBLAS_NUM_THREADS)",
                                    what, static_cast<double>(bytes) / kMebibyte));
  }
  const char* what() const noexcept override { return message_.data(); }

 private:
  std::array<char, 200> message_{};
};

#if defined(__linux__) && defined(MADV_HUGEPAGE)
// The kernel hands out memory page by page when it is first written, which takes as long as
// thousands of operations. Large matrices ask for large pages, of which there are fewer.
void prefer_large_pages(void* memory, std::size_t bytes) {
  constexpr std::size_t kWorthIt = std::size_t{4} << 20U;
  if (bytes < kWorthIt) return;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* first = memory;
  if (std::align(page, bytes - page, first, bytes) == nullptr) return;
  static_cast<void>(madvise(first, bytes / page * page, MADV_HUGEPAGE));  // it is but a wish
}
#else
void prefer_large_pages(void* /*memory*/, std::size_t /*bytes*/) {}
#endif

// What a thread's stack takes where nobody asked for another size.
constexpr std::size_t kStack = std::size_t{8} << 20U;

}  // namespace

#ifdef FASTNTK_HAS_MULTIVERSION
const char* instruction_set() {
  if (__builtin_cpu_supports("x86-64-v4") != 0) return "x86-64-v4 (AVX-512)";
  if (__builtin_cpu_supports("x86-64-v3") != 0) return "x86-64-v3 (AVX2, FMA)";
  return "x86-64 baseline (SSE2)";
}
#else
const char* instruction_set() { return "compiler's baseline"; }
#endif

void* HostMemory::allocate(Index rows, Index cols, std::size_t element_size) {
  const auto r = static_cast<std::size_t>(rows);
  const auto c = static_cast<std::size_t>(cols);
  // No object is larger than this; close to the maximum of size_t, rounding up to the alignment
  // would wrap.
  constexpr auto kLargest = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max());
  if (c != 0 && r > kLargest / element_size / c) {
    throw std::bad_array_new_length();
  }
  void* const memory = ::operator new(r * c * element_size, kAlignment, std::nothrow);
  if (memory == nullptr) throw OutOfMemory("a matrix of the core", r * c * element_size);
  prefer_large_pages(memory, r * c * element_size);
  return memory;
}

void HostMemory::free(void* p) { ::operator delete(p, kAlignment); }

void HostDevice::Crew::fail() {
  const std::scoped_lock lock(mutex_);
  if (!error_) error_ = std::current_exception();
  stop = true;
}

void HostDevice::Crew::rethrow() const {
  if (error_) std::rethrow_exception(error_);
}

void HostDevice::Crew::PrepareNextPhase::operator()() const noexcept {
  crew->done += crew->progress_.exchange(0);
  crew->next = 0;
  crew->stopping = crew->stop;
  ++crew->meetings_;
}

void HostDevice::Crew::meet(Index progress) {
  const std::uint32_t meeting = meetings_;
  progress_.store(progress, std::memory_order_relaxed);  // arriving publishes it
  auto arrived = all_here_.arrive();
  // To be woken takes as long as some tiles do, so a lane looks for a while before it goes to
  // sleep.
  const auto awake_until = std::chrono::steady_clock::now() + kSpin;
  while (meetings_ == meeting && std::chrono::steady_clock::now() < awake_until) {
    std::this_thread::yield();
  }
  all_here_.wait(std::move(arrived));
}

void HostDevice::Crew::leave() { all_here_.arrive_and_drop(); }

int HostDevice::lanes_for(Work work) const {
  const Index most = std::min<Index>(threads_, work.tasks);
  if (work.operations >= kOperationsOfLane * static_cast<double>(most)) {
    return static_cast<int>(most);
  }
  return std::max(1, static_cast<int>(work.operations / kOperationsOfLane));
}

void HostDevice::run_lanes(const char* stage, Work work, const Monitor& monitor,
                           const std::function<void(const Lane&, const NextTask&)>& body) const {
  if (work.tasks > 0 && is_little(work)) {
    const std::atomic<bool> stop{false};
    Index next = 0;
    body(Lane(blas_, stop, float32_), [&] { return std::min(work.tasks, next++); });
    if (monitor) monitor(stage, work.tasks, work.tasks);
    return;
  }
  Crew crew(lanes_for(work));
  run_crew(crew, stage, work.tasks, monitor, [&](const Lane& lane) {
    bool first = true;
    body(lane, [&] {
      if (!std::exchange(first, false)) ++crew.done;
      return crew.stop ? work.tasks : std::min(work.tasks, crew.next++);
    });
  });
}

bool HostDevice::is_little(Work work) { return work.operations < 2 * kOperationsOfLane; }

void HostDevice::run_here(Crew& crew, const char* stage, Index total, const Monitor& monitor,
                          const std::function<void(const Lane&)>& body) const {
  body(Lane(blas_, crew.stop, float32_));
  crew.rethrow();
  if (monitor) monitor(stage, crew.done, total);
}

void HostDevice::run_crew(Crew& crew, const char* stage, Index total, const Monitor& monitor,
                          const std::function<void(const Lane&)>& body) const {
  std::mutex mutex;
  std::condition_variable lane_ended;
  const int lane_count = crew.lanes();
  int running = lane_count;  // guarded by mutex

  const auto end_lanes = [&](int count) {
    const std::scoped_lock lock(mutex);
    running -= count;
    lane_ended.notify_one();
  };
  const auto lane_main = [&] {
    // A thread takes memory for the first exception that it throws or catches, and the process is
    // ended where there is none: it is to be there before an exception says that there is none.
    static_cast<void>(std::uncaught_exceptions());
    try {
      body(Lane(blas_, crew.stop, float32_));
    } catch (...) {
      crew.fail();
    }
    crew.leave();
    end_lanes(1);
  };

  std::vector<std::thread> lanes;
  lanes.reserve(static_cast<std::size_t>(lane_count));
  try {
    for (int i = 0; i < lane_count; ++i) lanes.emplace_back(lane_main);
  } catch (const std::system_error&) {
    // Those that are missing are not to be waited for: the work is done by fewer.
    if (lanes.empty()) throw OutOfMemory("a thread", kStack);
    const int missing = lane_count - static_cast<int>(lanes.size());
    for (int i = 0; i < missing; ++i) crew.leave();
    end_lanes(missing);
  }

  for (bool ended = false; !ended;) {
    {
      std::unique_lock lock(mutex);
      ended = lane_ended.wait_for(lock, kMonitorInterval, [&] { return running == 0; });
    }
    if (!monitor || crew.stop) continue;
    try {
      monitor(stage, crew.done, total);
    } catch (...) {
      crew.fail();
    }
  }
  for (std::thread& lane : lanes) lane.join();
  crew.rethrow();
}

}  // namespace fastntk

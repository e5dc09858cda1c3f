// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/host_device.hpp"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace fastntk {

namespace {

// How long a caller waits between two looks at its monitor: short enough for a key press to feel
// answered, long enough to cost nothing.
constexpr std::chrono::milliseconds kMonitorInterval{100};

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

void* HostDevice::allocate(Index rows, Index cols, std::size_t element_size) {
  const auto r = static_cast<std::size_t>(rows);
  const auto c = static_cast<std::size_t>(cols);
  // No object is larger; close to the maximum of size_t, rounding up to the alignment would wrap.
  constexpr auto kLargest = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max());
  if (c != 0 && r > kLargest / element_size / c) {
    throw std::bad_array_new_length();
  }
  return ::operator new(r * c * element_size, kAlignment);
}

void HostDevice::run_lanes(const char* stage, Index tasks, const Monitor& monitor,
                           const std::function<void(const Lane&, const NextTask&)>& body) const {
  std::atomic<Index> started{0};
  std::atomic<Index> taken_up{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::condition_variable lane_ended;
  int running = 0;           // guarded by mutex
  std::exception_ptr error;  // guarded by mutex

  const auto fail = [&] {
    const std::scoped_lock lock(mutex);
    if (!error) error = std::current_exception();
    stop = true;
  };
  const auto lane_main = [&] {
    try {
      const Lane lane(blas_, stop);
      bool first = true;
      body(lane, [&] {
        if (!std::exchange(first, false)) ++taken_up;
        return stop ? tasks : std::min(tasks, started++);
      });
    } catch (...) {
      fail();
    }
    const std::scoped_lock lock(mutex);
    --running;
    lane_ended.notify_one();
  };

  std::vector<std::thread> lanes;
  const Index lane_count = std::min<Index>(threads_, tasks);
  lanes.reserve(static_cast<std::size_t>(lane_count));
  try {
    for (Index i = 0; i < lane_count; ++i) {
      {
        const std::scoped_lock lock(mutex);
        ++running;
      }
      lanes.emplace_back(lane_main);
    }
  } catch (...) {  // out of threads: the lane counted last was not started
    fail();
    const std::scoped_lock lock(mutex);
    --running;
  }

  for (bool ended = false; !ended;) {
    {
      std::unique_lock lock(mutex);
      ended = lane_ended.wait_for(lock, kMonitorInterval, [&] { return running == 0; });
    }
    if (!monitor || stop) continue;
    try {
      monitor(stage, taken_up, tasks);
    } catch (...) {
      fail();
    }
  }
  for (std::thread& lane : lanes) lane.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "fastntk/matrix.hpp"

namespace fastntk {

// This knows which tasks of a HostDevice::run are done, for tasks that need the results of earlier
// ones. Tasks are taken up in order, so the earliest that is not done never waits for long: there
// is no deadlock for any number of lanes, and no barrier either.
class Finished {
 public:
  explicit Finished(Index tasks) : done_(static_cast<std::size_t>(tasks)) {}

  void mark(Index task) {
    done_[static_cast<std::size_t>(task)].store(true, std::memory_order_release);
  }

  // Waits for the task; returns false if the work was stopped meanwhile.
  template <class Lane>
  bool wait(const Lane& lane, Index task) const {
    const std::atomic<bool>& done = done_[static_cast<std::size_t>(task)];
    while (!done.load(std::memory_order_acquire)) {
      if (lane.stopped()) return false;
      std::this_thread::yield();
    }
    return true;
  }

 private:
  std::vector<std::atomic<bool>> done_;
};

}  // namespace fastntk

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <limits>

#include "fastntk/matrix.hpp"

namespace fastntk {

// So many independent tasks, and about how many operations on elements all of them need together.
// Where nobody says, it is much. Results do not depend on it: it tells a device whether the work is
// worth threads, which take tens of microseconds to start.
struct Work {
  Work(Index task_count) : tasks(task_count) {}  // NOLINT(google-explicit-constructor)
  Work(Index task_count, double operation_count) : tasks(task_count), operations(operation_count) {}

  Index tasks;
  double operations = std::numeric_limits<double>::infinity();
};

}  // namespace fastntk

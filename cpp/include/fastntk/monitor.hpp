// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <functional>

#include "fastntk/matrix.hpp"

namespace fastntk {

// A monitor is called about ten times a second on the thread that asked for the work, with the name
// of the stage and how many of its tasks are done. It may throw: the work stops at the next check
// (well within a second), all threads are joined, and the exception continues to the caller.
using Monitor = std::function<void(const char* stage, Index done, Index total)>;

}  // namespace fastntk

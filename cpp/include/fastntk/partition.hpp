// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>

#include "fastntk/matrix.hpp"

namespace fastntk {

struct Range {
  Index first;
  Index count;
};

struct BlockLimits {
  Index smallest;
  Index largest;
};

// Cuts 0 … total − 1 into blocks of equal size but the last. The size depends on `total` alone, so
// that results cannot depend on how many threads there are: blocks of at most `largest`, and
// smaller ones, down to `smallest`, while that would leave fewer than kEnough to share out.
class Partition {
 public:
  Partition(Index total, BlockLimits limits)
      : total_(total),
        size_(std::clamp(round_up((total + kEnough - 1) / kEnough), limits.smallest,
                         limits.largest)) {}

  // Makes as many blocks as `largest` makes necessary, of nearly equal size, in units.
  static Partition even(Index total, Index largest, Index unit = kUnit) {
    const Index blocks = std::max<Index>(1, (total + largest - 1) / largest);
    const Index size = round_up((total + blocks - 1) / blocks, unit);
    const Index used = std::min(largest, std::max(unit, size));
    return {total, {used, used}};
  }

  Index blocks() const { return (total_ + size_ - 1) / size_; }
  Index size() const { return size_; }
  Range operator[](Index block) const {
    return {block * size_, std::min(size_, total_ - block * size_)};
  }

  static Index round_up(Index size, Index unit = kUnit) { return (size + unit - 1) / unit * unit; }

 private:
  static constexpr Index kUnit = 16;  // whole cache lines and vector registers
  static constexpr Index kEnough = 8;

  Index total_;
  Index size_;
};

}  // namespace fastntk

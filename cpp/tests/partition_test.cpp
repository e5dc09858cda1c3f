// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/partition.hpp"

#include <doctest/doctest.h>

#include <array>
#include <utility>

namespace fastntk::test {

namespace {

constexpr std::array<std::pair<Index, Index>, 3> kLimits = {{{32, 256}, {64, 512}, {1, 1}}};
constexpr Index kTotals = 5000;

}  // namespace

TEST_CASE("partition: blocks cover everything once") {
  for (const auto& [smallest, largest] : kLimits) {
    for (Index total = 0; total <= kTotals; ++total) {
      const Partition partition(total, {smallest, largest});
      Index next = 0;
      bool contiguous = true;
      for (Index block = 0; block < partition.blocks(); ++block) {
        const Range range = partition[block];
        contiguous = contiguous && range.first == next && range.count >= 1;
        next = range.first + range.count;
      }
      CAPTURE(total);
      REQUIRE(contiguous);
      REQUIRE(next == total);
    }
  }
}

TEST_CASE("partition: all blocks but the last have the same size within the limits") {
  for (const auto& [smallest, largest] : kLimits) {
    for (Index total = 0; total <= kTotals; ++total) {
      const Partition partition(total, {smallest, largest});
      CAPTURE(total);
      REQUIRE(partition.size() >= smallest);
      REQUIRE(partition.size() <= largest);
      bool equal = true;
      for (Index block = 0; block + 1 < partition.blocks(); ++block) {
        equal = equal && partition[block].count == partition.size();
      }
      REQUIRE(equal);
    }
  }
}

TEST_CASE("partition: blocks grow with the total from the smallest to the largest size") {
  constexpr std::array<std::pair<Index, Index>, 9> kExpected = {{{0, 32},
                                                                 {1, 32},
                                                                 {256, 32},
                                                                 {257, 48},
                                                                 {600, 80},
                                                                 {640, 80},
                                                                 {641, 96},
                                                                 {2048, 256},
                                                                 {1000000, 256}}};
  for (const auto& [total, size] : kExpected) {
    CAPTURE(total);
    CHECK(Partition(total, {32, 256}).size() == size);
  }
}

}  // namespace fastntk::test

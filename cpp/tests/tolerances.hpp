// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// These are bounds of relative_error(), for sums of the length that occurs in these tests.
namespace fastntk::test {

template <class T>
struct Tolerance;

template <>
struct Tolerance<float> {
  static constexpr double kRounding = 5e-6;
};

template <>
struct Tolerance<double> {
  static constexpr double kRounding = 1e-14;
  static constexpr double kFiniteDifferences = 1e-7;
  static constexpr double kFourthOrderDifferences = 1e-11;
};

}  // namespace fastntk::test

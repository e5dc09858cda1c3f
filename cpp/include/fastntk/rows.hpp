// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "fastntk/matrix.hpp"
#include "fastntk/portability.hpp"

// A functor for the for_each_row<T>(rows, functor) of a device is given a row's index and the
// threads that share the row. All of these run it and call, in the same order,
//
//   each(count, f)                f(j) for all j, by the same one of them for the same j;
//   sum(count, value)             Σ_j value(j), for all of them, always in the same order;
//   largest(least, count, value)  the largest of `least` and value(j), for all of them, but for
//   NaN; once(f)                       f(), by one of them.
//
// On a GPU they are those of a block (cuda/kernels.cuh), and on the processor there is one.
namespace fastntk {

template <class T>
struct OneThread {
  template <class F>
  static void each(Index count, F f) {
    FASTNTK_INDEPENDENT_ITERATIONS
    for (Index j = 0; j < count; ++j) f(j);
  }
  // There are several sums, which the compiler may compute at once.
  template <class Value>
  static T sum(Index count, Value value) {
    T a = T(0);
    T b = T(0);
    T c = T(0);
    T d = T(0);
    Index j = 0;
    for (; j + 4 <= count; j += 4) {
      a += value(j);
      b += value(j + 1);
      c += value(j + 2);
      d += value(j + 3);
    }
    for (; j < count; ++j) a += value(j);
    return (a + b) + (c + d);
  }
  template <class Value>
  static T largest(T least, Index count, Value value) {
    T result = least;
    for (Index j = 0; j < count; ++j) {
      const T one = value(j);
      result = one > result ? one : result;
    }
    return result;
  }
  template <class F>
  static void once(F f) {
    f();
  }
};

}  // namespace fastntk

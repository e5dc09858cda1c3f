// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <type_traits>

#include "fastntk/blas.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/portability.hpp"

// These are functors for the for_each(rows, columns, functor) of a device, those that more than one
// algorithm uses.
namespace fastntk {

namespace element {

template <Write write, class G>
FASTNTK_HOST_DEVICE void put(G& target, G value) {
  if constexpr (write == Write::overwrite) {
    target = value;
  } else {
    target += value;
  }
}

template <class From, class To>
struct Convert {
  Matrix<const From> from;
  Matrix<To> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    to(i, j) = static_cast<To>(from(i, j));
  }
};

template <class T>
struct Fill {
  T value;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const { to(i, j) = value; }
};

template <class T>
struct Scale {
  T scale;
  Matrix<const T> from;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const { to(i, j) = scale * from(i, j); }
};

// Above the top layer, Δ is 1 for the chosen output and 0 for the others.
template <class T>
struct Indicator {
  Index column;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    to(i, j) = j == column ? T(1) : T(0);
  }
};

}  // namespace element

template <class Lane, class From, class To>
void convert(const Lane& lane, const Matrix<From>& from, const Matrix<To>& to) {
  lane.for_each(from.rows, from.cols, element::Convert<std::remove_const_t<From>, To>{from, to});
}

}  // namespace fastntk

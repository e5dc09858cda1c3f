// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdint>
#include <stdexcept>

#include "fastntk/portability.hpp"

namespace fastntk {

enum class Activation : std::uint8_t { identity, relu };

template <class T>
struct ValueAndSlope {
  T value;  // φ(z)
  T slope;  // φ'(z)
};

struct Identity {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    return {z, T(1)};
  }
};

// φ'(0) = 0 by convention. A NaN is not hidden behind a 0.
struct Relu {
  template <class T>
  FASTNTK_HOST_DEVICE ValueAndSlope<T> operator()(T z) const {
    return {z < T(0) ? T(0) : z, z > T(0) ? T(1) : T(0)};
  }
};

// Calls `use` with the functor that `activation` names: the loop over elements is compiled once for
// each activation and holds no branch on it.
template <class Use>
void with_activation(Activation activation, Use use) {
  switch (activation) {
    case Activation::identity:
      return use(Identity{});
    case Activation::relu:
      return use(Relu{});
  }
  throw std::invalid_argument("unknown activation");
}

}  // namespace fastntk

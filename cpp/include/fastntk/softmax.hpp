// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cmath>

#include "fastntk/matrix.hpp"
#include "fastntk/portability.hpp"

// Softmax makes outputs p_c = exp(z_c)/Σ_k exp(z_k) of all linear outputs of a sample. With
//
//   (C v)_c = v_c − Σ_k p_k v_k = Σ_k p_k (v_c − v_k),
//
// which leaves constants out, its derivative along v is p ∘ C v, which is its own adjoint, and the
// derivative of p ∘ C u along v is p ∘ C (C u ∘ C v). Functors take a row, that is a sample, each.
namespace fastntk::softmax {

// Calls store(c, (C v)_c) for all c; v(c) may be overwritten by then. Differences to the most
// probable output keep the digits of what is small where that outweighs the others.
template <class T, class Values, class Store>
FASTNTK_HOST_DEVICE void centre(Index outputs, const T* p, Values v, Store store) {
  Index top = 0;
  for (Index c = 1; c < outputs; ++c) {
    if (p[c] > p[top]) top = c;
  }
  const T of_top = v(top);
  T mean = T(0);
  for (Index c = 0; c < outputs; ++c) mean += p[c] * (v(c) - of_top);
  for (Index c = 0; c < outputs; ++c) store(c, (v(c) - of_top) - mean);
}

}  // namespace fastntk::softmax

namespace fastntk::element {

// Puts p in the place of z, without its bias, and of the slope. Loops with an exponential or a
// division are not unrolled, or a thread of a GPU would run out of registers.
template <class T>
struct Softmax {
  T bias_scale;
  const T* bias;  // null: z is complete
  Matrix<T> z_to_p;
  Matrix<T> slope;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index /*j*/) const {
    T* const p = z_to_p.row(i);
    const Index outputs = z_to_p.cols;
    if (bias != nullptr) {
      for (Index c = 0; c < outputs; ++c) p[c] += bias_scale * bias[c];
    }
    T largest = p[0];
    for (Index c = 1; c < outputs; ++c) largest = p[c] > largest ? p[c] : largest;
    T sum = T(0);
    FASTNTK_NOT_UNROLLED
    for (Index c = 0; c < outputs; ++c) {
      p[c] = std::exp(p[c] - largest);
      sum += p[c];
    }
    FASTNTK_NOT_UNROLLED
    for (Index c = 0; c < outputs; ++c) {
      p[c] /= sum;
      slope(i, c) = p[c];
    }
  }
};

// Δ = p ∘ C U, with U = scale · w for all samples: the first step back, from a single output.
template <class T>
struct SoftmaxGateReadout {
  T scale;
  const T* weights;
  Matrix<const T> p;
  Matrix<T> delta;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index /*j*/) const {
    const T* const of_row = p.row(i);
    T* const result = delta.row(i);
    softmax::centre(
        p.cols, of_row, [&](Index c) { return scale * weights[c]; },
        [&](Index c, T value) { result[c] = of_row[c] * value; });
  }
};

// Δ = p ∘ C U, with U in the place of Δ.
template <class T>
struct SoftmaxGate {
  Matrix<const T> p;
  Matrix<T> delta;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index /*j*/) const {
    const T* const of_row = p.row(i);
    T* const u = delta.row(i);
    softmax::centre(
        p.cols, of_row, [&](Index c) { return u[c]; },
        [&](Index c, T value) { u[c] = of_row[c] * value; });
  }
};

// Puts Δ = p ∘ C U in the place of U, and C U where the bend is kept.
template <class T>
struct SoftmaxGateWithCurvature {
  Matrix<const T> p;
  Matrix<T> u_to_delta;
  Matrix<T> bend;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index /*j*/) const {
    const T* const of_row = p.row(i);
    T* const u = u_to_delta.row(i);
    softmax::centre(
        p.cols, of_row, [&](Index c) { return u[c]; },
        [&](Index c, T value) {
          bend(i, c) = value;
          u[c] = of_row[c] * value;
        });
  }
};

// Computes Rh = p ∘ C Rz, and puts p ∘ C (C U ∘ C Rz) in the place of Rz without its bias, where C
// U is the bend.
template <class T>
struct SoftmaxTangent {
  T bias_scale;
  const T* bias;  // v; null: Rz is complete
  Matrix<const T> p;
  Matrix<const T> bend;
  Matrix<T> rz_to_bent;
  Matrix<T> rh;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index /*j*/) const {
    const T* const of_row = p.row(i);
    T* const bent = rz_to_bent.row(i);
    softmax::centre(
        p.cols, of_row,
        [&](Index c) { return bias == nullptr ? bent[c] : bent[c] + bias_scale * bias[c]; },
        [&](Index c, T value) { rh(i, c) = value; });
    softmax::centre(
        p.cols, of_row, [&](Index c) { return bend(i, c) * rh(i, c); },
        [&](Index c, T value) { bent[c] = of_row[c] * value; });
    for (Index c = 0; c < p.cols; ++c) rh(i, c) *= of_row[c];
  }
};

}  // namespace fastntk::element

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cmath>
#include <cstdint>

#include "fastntk/features.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/portability.hpp"

// Training minimizes the mean over samples of the loss ℓ(f, y) of one sample. Each value stands
// beside its gradient ∂ℓ/∂f. Both are formed in float64 whatever the precision of the network.
namespace fastntk {

enum class Loss : std::uint8_t { square, cross_entropy };

namespace loss {

// ℓ = ½ Σ_c (f_c − y_c)² and ∂ℓ/∂f_c = f_c − y_c.
struct Square {
  template <class T>
  FASTNTK_HOST_DEVICE double value(Index outputs, const T* f, const T* y) {
    double sum = 0.0;
    for (Index c = 0; c < outputs; ++c) {
      const double difference = static_cast<double>(f[c]) - static_cast<double>(y[c]);
      sum += difference * difference;
    }
    return sum / 2.0;
  }
  template <class T>
  FASTNTK_HOST_DEVICE double gradient(T f, T y) const {
    return static_cast<double>(f) - static_cast<double>(y);
  }
};

// ℓ = log Σ_c exp(f_c) − Σ_c y_c f_c and ∂ℓ/∂f_c = softmax(f)_c − y_c, for Σ_c y_c = 1. All
// exponents are taken relative to the largest f_c.
struct CrossEntropy {
  double largest = 0.0;
  double sum = 0.0;  // Σ_c exp(f_c − largest)

  template <class T>
  FASTNTK_HOST_DEVICE double value(Index outputs, const T* f, const T* y) {
    largest = static_cast<double>(f[0]);
    for (Index c = 1; c < outputs; ++c) {
      const auto f_c = static_cast<double>(f[c]);
      largest = f_c > largest ? f_c : largest;
    }
    sum = 0.0;
    for (Index c = 0; c < outputs; ++c) sum += std::exp(static_cast<double>(f[c]) - largest);
    const double log_sum = std::log(sum);
    double result = 0.0;
    for (Index c = 0; c < outputs; ++c) {
      result += static_cast<double>(y[c]) * (log_sum - (static_cast<double>(f[c]) - largest));
    }
    return result;
  }
  template <class T>
  FASTNTK_HOST_DEVICE double gradient(T f, T y) const {
    return std::exp(static_cast<double>(f) - largest) / sum - static_cast<double>(y);
  }
};

}  // namespace loss

namespace element {

// Computes for each sample (row) its loss, whether the largest output is that of the largest target
// (the first, where several are), and scale · ∂ℓ/∂f in the place of f.
template <class Rule, class T>
struct SampleLoss {
  Rule rule;
  T scale;
  const Index* order = nullptr;  // row i belongs to sample order[i]; null: to sample i
  Matrix<const T> targets;
  Matrix<T> f_to_gradient;
  Matrix<double> outcomes;  // (rows, 2)

  FASTNTK_HOST_DEVICE void operator()(Index i, Index /*j*/) const {
    const Index outputs = f_to_gradient.cols;
    T* const f = f_to_gradient.row(i);
    const T* const y = targets.row(order == nullptr ? i : order[i]);
    Rule of_row = rule;
    outcomes(i, 0) = of_row.value(outputs, f, y);
    Index largest_f = 0;
    Index largest_y = 0;
    for (Index c = 1; c < outputs; ++c) {
      if (f[c] > f[largest_f]) largest_f = c;
      if (y[c] > y[largest_y]) largest_y = c;
    }
    outcomes(i, 1) = largest_f == largest_y ? 1.0 : 0.0;
    for (Index c = 0; c < outputs; ++c) {
      f[c] = static_cast<T>(static_cast<double>(scale) * of_row.gradient(f[c], y[c]));
    }
  }
};

}  // namespace element

// Replaces f (rows, C) by scale · ∂ℓ/∂f and fills `outcomes`. Row i has the targets of sample
// order[i] or, without an order, of sample i.
template <class Lane, class T>
void sample_losses(const Lane& lane, Loss loss, T scale, const Index* order, ConstMatrix<T> targets,
                   Matrix<T> f_to_gradient, Matrix<double> outcomes) {
  const auto apply = [&](auto rule) {
    lane.for_each(f_to_gradient.rows, 1,
                  element::SampleLoss<decltype(rule), T>{rule, scale, order, targets, f_to_gradient,
                                                         outcomes});
  };
  if (loss == Loss::square) return apply(loss::Square{});
  apply(loss::CrossEntropy{});
}

// Does this for outputs f (n, C) of any number of samples; f is left with ∂ℓ/∂f.
template <class Device, class T>
void evaluate_loss(const Device& device, Loss loss, Matrix<const T> targets,
                   Matrix<T> f_to_gradient, Matrix<double> outcomes, const Monitor& monitor) {
  struct NoWorkspace {};
  const Partition blocks{f_to_gradient.rows, device.row_blocks()};
  device.run(
      "loss",
      {blocks.blocks(), 10.0 * static_cast<double>(f_to_gradient.rows * f_to_gradient.cols)},
      monitor, [] { return NoWorkspace{}; },
      [&](const auto& lane, const NoWorkspace& /*workspace*/, Index block) {
        const Range rows = blocks[block];
        sample_losses(lane, loss, T(1), nullptr, targets.row_block(rows.first, rows.count),
                      f_to_gradient.row_block(rows.first, rows.count),
                      outcomes.row_block(rows.first, rows.count));
      });
}

}  // namespace fastntk

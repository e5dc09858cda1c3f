// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <variant>
#include <vector>

#include "fastntk/blas.hpp"
#include "fastntk/forward_backward.hpp"
#include "fastntk/loss.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/monitor.hpp"
#include "fastntk/network.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/portability.hpp"
#include "fastntk/work.hpp"

// This is what all ways to descend the gradient share (sgd.hpp, panel_descent.hpp, wired/sgd.hpp):
// what is trained, on what, and the loop over batches.
namespace fastntk {

// This is what is trained of a layer. The arrays are those that the network reads; one that is null
// is left alone.
template <class T>
struct TrainedLayer {
  Matrix<T> weights;
  Matrix<T> bias;     // (n_out, 1)
  double rate = 0.0;  // η
  double bias_rate = 0.0;
  Matrix<T> velocity;  // v of the weights; null without momentum
  Matrix<T> bias_velocity;

  bool any() const { return weights.data != nullptr || bias.data != nullptr; }
};

struct SgdOptions {
  Loss loss = Loss::cross_entropy;
  Index batch = 1;
  double momentum = 0.0;
  bool measure_gradient = false;  // of the last batch
  // The network itself computes the linear outputs, of which this makes those that are compared.
  // NOLINTNEXTLINE(readability-redundant-member-init): without, GCC would miss it in lists.
  OutputActivation output_activation = {};
};

// Returns how many numbers the derivatives of the output activation are for each sample.
inline Index output_slopes(const SgdOptions& options, Index outputs) {
  return std::holds_alternative<std::monostate>(options.output_activation) ? 0 : outputs;
}

// These are the samples of a pass: order[0], order[1], …, or without an order all, in theirs.
template <class T>
struct TrainingSamples {
  Matrix<const T> inputs;
  Matrix<const T> targets;
  const Index* order;
  Index count;

  // Fills the outcomes of some of them and replaces their linear outputs g by Δᴸ⁺¹, for a batch of
  // so many. `slopes` is for the derivatives of the output activation, where there is one.
  template <class Lane>
  void compare(const Lane& lane, const SgdOptions& options, Index batch, Range rows, Matrix<T> g,
               Matrix<T> slopes, Matrix<double> of_rows) const {
    const OutputActivation& psi = options.output_activation;
    const bool linear = std::holds_alternative<std::monostate>(psi);
    if (!linear) activate_outputs<Lane, T>(lane, psi, T(0), nullptr, g, slopes);
    sample_losses(lane, options.loss, T(1) / static_cast<T>(batch),
                  order == nullptr ? nullptr : order + rows.first,
                  order == nullptr ? targets.row_block(rows.first, rows.count) : targets, g,
                  of_rows);
    if (!linear) gate_outputs<Lane, T>(lane, psi, slopes, g);
  }
};

namespace element {

template <class T>
struct Gather {
  const Index* order;
  Matrix<const T> from;
  Matrix<T> to;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const { to(i, j) = from(order[i], j); }
};

template <class T>
struct Descend {
  T rate;
  T momentum;
  Matrix<const T> gradient;
  Matrix<T> velocity;  // null: the gradient itself
  Matrix<T> parameters;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index j) const {
    T step = gradient(i, j);
    if (velocity.data != nullptr) {
      T& v = velocity(i, j);
      v = momentum * v + step;
      step = v;
    }
    parameters(i, j) -= rate * step;
  }
};

// Squares of a float may be beyond its range where it is not. This puts −‖g_i‖ in the place of a
// sum ‖g_i‖² that has overflowed, or is so small that digits of it may be lost.
struct NormsOutOfRange {
  // A sum of so much for each of its terms has lost less than it is rounded by.
  static constexpr float kOfTerm =
      std::numeric_limits<float>::min() / std::numeric_limits<float>::epsilon();
  static constexpr float kLargest = std::numeric_limits<float>::max();

  Matrix<const float> gradient;
  Matrix<float> squares;

  FASTNTK_HOST_DEVICE void operator()(Index i, Index /*j*/) const {
    const float least = kOfTerm * static_cast<float>(gradient.cols);
    float& square = squares(i, 0);
    if (square >= least && square <= kLargest) return;
    double sum = 0.0;
    for (Index k = 0; k < gradient.cols; ++k) {
      const auto g = static_cast<double>(gradient(i, k));
      sum += g * g;
    }
    square = -static_cast<float>(std::sqrt(sum));
  }
};

// total += Σ_i ‖g_i‖², of squares, or of norms that are told by their sign.
template <class T>
struct AddUp {
  Matrix<const T> sums;
  double* total;

  FASTNTK_HOST_DEVICE void operator()(Index /*i*/, Index /*j*/) const {
    for (Index i = 0; i < sums.rows; ++i) {
      const auto sum = static_cast<double>(sums(i, 0));
      *total += sum < 0.0 ? sum * sum : sum;
    }
  }
};

}  // namespace element

// Returns layer l = 1 … L + 1, the last of which is that of the first readout.
template <class T>
const Layer<T>& layer_or_readout(const Network<T>& network, std::size_t l) {
  return l <= network.hidden.size() ? network.hidden[l - 1] : network.readouts.front().layer;
}

// Returns l of the lowest layer that is trained; at least one must be.
template <class T>
std::size_t lowest_trained(const std::vector<TrainedLayer<T>>& layers) {
  std::size_t l = 1;
  while (!layers[l - 1].any()) ++l;
  return l;
}

// Moves parameters down their gradient g; `square`, if not null, gets ‖g‖² added, of the sums of
// its rows.
template <class Lane, class T>
void descend_along(const Lane& lane, const element::Descend<T>& descend, Matrix<T> sums,
                   double* square) {
  const Matrix<const T> g = descend.gradient;
  if (square != nullptr) {
    const Matrix<T> squares = sums.row_block(0, g.rows);
    lane.template row_dots<T>(T(1), g, g, Write::overwrite, squares);
    if constexpr (std::is_same_v<T, float>) {
      lane.for_each(g.rows, 1, element::NormsOutOfRange{g, squares});
    }
    lane.for_each(1, 1, element::AddUp<T>{squares, square});
  }
  lane.for_each(g.rows, g.cols, descend);
}

// Passes over the samples once. A row of `outcomes` (samples, 2) gets the loss of a sample before
// the step of its batch, and whether it was recognized. Returns ‖gradient‖² of the last batch, if
// it is to be measured.
//
// A Descent is a way to take a step, as phases of tiles. begin(team) prepares the first one;
// step(team, rows, outcomes, norm) takes one on a batch, where `norm`, if not null, gets a sum of
// squares for each of so many tiles of the gradient. Both return whether to go on.
// All of it needs about so many `operations`.
template <class Device, class Descent>
double descend_in_batches(const Device& device, const Descent& descent, const SgdOptions& options,
                          double operations, Matrix<double> outcomes, const Monitor& monitor) {
  const Partition batches{outcomes.rows, {options.batch, options.batch}};
  std::vector<double> squares(static_cast<std::size_t>(descent.squares()), 0.0);
  const typename Device::template Buffer<double> device_squares(1, descent.squares());
  device.write(squares.data(), device_squares.view());
  device.run_phases(
      "training", Work(batches.blocks(), operations), descent.lanes(), monitor,
      [&] { return descent.make_workspace(); },
      [&](const auto& team) {
        bool more = descent.begin(team);
        for (Index step = 0; more && step < batches.blocks(); ++step) {
          const Range rows = batches[step];
          const bool measured = step == batches.blocks() - 1 && options.measure_gradient;
          more = descent.step(team, rows, outcomes.row_block(rows.first, rows.count),
                              measured ? device_squares.view().data : nullptr);
        }
      });
  device.read(device_squares.view(), squares.data());
  double sum = 0.0;
  for (const double square : squares) sum += square;
  return sum;
}

// These are mean losses of batches: that of the first one, and the largest, which is NaN if one is.
struct BatchLosses {
  double first = 0.0;
  double largest = 0.0;
};

// Returns those of the samples whose outcomes these are, in batches of so many.
inline BatchLosses batch_losses(Matrix<const double> outcomes, Index batch) {
  const Partition batches{outcomes.rows, {batch, batch}};
  BatchLosses result;
  for (Index k = 0; k < batches.blocks(); ++k) {
    const Range rows = batches[k];
    double sum = 0.0;
    for (Index i = rows.first; i < rows.first + rows.count; ++i) sum += outcomes(i, 0);
    const double mean = sum / static_cast<double>(rows.count);
    if (k == 0) result.first = result.largest = mean;
    // Nothing is above a NaN, which is therefore kept.
    if (mean > result.largest || std::isnan(mean)) result.largest = mean;
  }
  return result;
}

// What the forward pass of one sample takes.
struct PassSize {
  Index multiply_adds = 0;
  Index units = 0;  // whose φ and φ' may be slow
};

template <class T>
PassSize pass_size(const Network<T>& network) {
  PassSize size;
  for (std::size_t l = 1; l <= network.hidden.size() + 1; ++l) {
    const Layer<T>& layer = layer_or_readout(network, l);
    size.multiply_adds += layer.outputs() * layer.inputs();
    size.units += layer.outputs();
  }
  return size;
}

// Returns about how many operations so many samples take in batches.
inline double descending_operations(PassSize pass, Index batch, Index samples) {
  // Forward, back and along the gradient; a lane does several multiply-adds in the time of an
  // operation, and φ and φ' of a unit in that of some.
  constexpr double kMultiplyAdds = 3.0 / 4.0;
  constexpr Index kOfUnit = 20;
  constexpr double kOfStep = 1e4;
  const double work =
      kMultiplyAdds * static_cast<double>(pass.multiply_adds + kOfUnit * pass.units);
  const auto count = static_cast<double>(samples);
  return work * count + kOfStep * (1.0 + count / static_cast<double>(batch));
}

// Returns how many lanes are worth it, where so many could work at once.
inline Index descending_lanes(PassSize pass, Index batch, Index widest) {
  // So many multiply-adds of a step's forward pass are worth a lane of their own: with fewer, lanes
  // would wait for each other for longer than they compute.
  constexpr Index kLaneWork = 2'000'000;
  return std::min(widest, 1 + batch * pass.multiply_adds / kLaneWork);
}

}  // namespace fastntk

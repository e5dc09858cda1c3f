// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/panel_passes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <vector>

#include "fastntk/forward_backward.hpp"
#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

// These are the layers of a pass as rows.
template <class T>
class RowLayers {
 public:
  RowLayers(const Network<T>& network, Index rows) {
    for (Index l = 0; l <= network.depth(); ++l) layers_.emplace_back(rows, network.width(l));
  }
  std::vector<Matrix<T>> views() {
    std::vector<Matrix<T>> result;
    for (auto& layer : layers_) result.push_back(layer.view());
    return result;
  }

 private:
  std::vector<PaddedMatrix<T>> layers_;
};

// These are the layers of a pass in panels, of which so many samples are computed.
template <class T>
class PanelLayers {
 public:
  PanelLayers(const Network<T>& network, Index rows, Range block)
      : panel_rows_(panel_kernel<T>()->panel_rows), block_(block) {
    for (Index l = 0; l <= network.depth(); ++l) {
      numbers_.emplace_back(
          static_cast<std::size_t>(Partition::round_up(rows, panel_rows_) * network.width(l)),
          std::nan(""));
      panels_.push_back({numbers_.back().data(), rows, network.width(l), 1, panel_rows_});
    }
  }
  std::vector<PanelRows<T>> views() const {
    std::vector<PanelRows<T>> result;
    for (const auto& panels : panels_) result.push_back(panel_rows_of(panels, block_));
    return result;
  }
  void pack_inputs(const Matrix<const T>& rows) { pack<T>(rows, block_.first, 0, panels_.front()); }
  // Returns the samples of the block.
  PaddedMatrix<T> rows(std::size_t l) const {
    PaddedMatrix<T> result(block_.count, panels_[l].cols);
    unpack<T>(panels_[l], block_.first, result.view());
    return result;
  }

 private:
  Index panel_rows_;
  Range block_;
  std::vector<std::vector<T>> numbers_;
  std::vector<Panels<T>> panels_;
};

template <class T>
double largest_difference(const PaddedMatrix<T>& a, ConstMatrix<T> b) {
  double result = 0.0;
  for (Index i = 0; i < b.rows; ++i) {
    for (Index j = 0; j < b.cols; ++j) {
      const double difference = std::abs(static_cast<double>(a(i, j) - b(i, j)));
      result = difference <= result ? result : difference;  // NaN counts
    }
  }
  return result;
}

// A pass forward, and one back for each output of each readout, of a block of samples.
template <class T>
struct InPanels {
  InPanels(const Network<T>& network_, const PaddedMatrix<T>& samples, Range block, bool ahead)
      : network(network_),
        activations(network, samples.rows(), block),
        slopes(network, samples.rows(), block),
        deltas(network, samples.rows(), block),
        passes(network, network.hidden, panel_kernel<T>()->panel_rows,
               Partition::round_up(block.count, panel_kernel<T>()->panel_rows), ahead),
        workspace(passes.make_workspace()) {
    for (Index task = 0; task < passes.packing_tasks(); ++task) passes.pack(task);
    activations.pack_inputs(samples.view().row_block(block.first, block.count));
    passes.forward(lane, workspace, activations.views(), slopes.views(),
                   [&](std::size_t l) { kept.push_back(l); });
  }
  void back(std::size_t readout, Index output) {
    passes.backward(lane, workspace, {network.readouts[readout], output}, slopes.views(),
                    deltas.views(), [&](std::size_t l) { kept.push_back(l); });
  }

  const Network<T>& network;
  PanelLayers<T> activations;
  PanelLayers<T> slopes;
  PanelLayers<T> deltas;
  Blas blas = reference_blas();
  std::atomic<bool> stop{false};
  HostDevice::Lane lane{blas, stop};
  PanelPasses<T> passes;
  typename PanelPasses<T>::Workspace workspace;
  std::vector<std::size_t> kept;
};

// Checks the passes of some samples against those of forward_backward.hpp.
template <class T>
void check_passes(const Shape& shape, Index samples, bool ahead) {
  CAPTURE(samples);
  CAPTURE(ahead);
  const RandomNetwork<T> random(shape);
  const Network<T>& network = random.get();
  const auto inputs = random_samples<T>(samples, network.input_width);
  InPanels<T> panels(network, inputs, {0, samples}, ahead);
  RowLayers<T> activations(network, samples);
  RowLayers<T> slopes(network, samples);
  RowLayers<T> deltas(network, samples);
  forward<HostDevice::Lane, T>(panels.lane, network, slopes.views(), inputs.view(),
                               activations.views());
  double largest = 0.0;
  const auto depth = static_cast<std::size_t>(network.depth());
  for (std::size_t l = 1; l <= depth; ++l) {
    CHECK(panels.kept[l - 1] == l);
    largest =
        std::max(largest, largest_difference(panels.activations.rows(l), activations.views()[l]));
    // A slope may jump where z is 0, which no sample hits.
    largest = std::max(largest, largest_difference(panels.slopes.rows(l), slopes.views()[l]));
  }
  for (std::size_t r = 0; r < network.readouts.size(); ++r) {
    const Readout<T>& readout = network.readouts[r];
    for (Index c = 0; c < shape.outputs; ++c) {
      panels.kept.clear();
      panels.back(r, c);
      backward(panels.lane, network, readout, c, slopes.views(), deltas.views());
      const auto top = static_cast<std::size_t>(readout.depth);
      CHECK(panels.kept.size() == top);
      for (std::size_t l = 1; l <= top; ++l) {
        largest = std::max(largest, largest_difference(panels.deltas.rows(l), deltas.views()[l]));
      }
    }
  }
  CHECK(largest < 300.0 * Tolerance<T>::kRounding);
}

}  // namespace

TEST_CASE_TEMPLATE("panel passes: any number of samples, any widths", T, float, double) {
  if (panel_kernel<T>() == nullptr) return;
  for (const bool ahead : {false, true}) {
    for (Index samples = 1; samples <= 70; samples += samples < 18 ? 1 : 13) {
      const Index other = 71 - samples;
      check_passes<T>({.inputs = 5,
                       .hidden = {other, samples, 7},
                       .outputs = 2,
                       .readouts = {3, 1, 2, 0},
                       .biases = samples % 2 == 0},
                      samples, ahead);
    }
    // More units than a slab has, or a task packs.
    check_passes<T>({.inputs = 130, .hidden = {257, 129, 300}, .readouts = {3}}, 19, ahead);
  }
}

TEST_CASE_TEMPLATE("panel passes: every activation", T, float, double) {
  if (panel_kernel<T>() == nullptr) return;
  for (const Activation& activation : kBuiltInActivations) {
    check_passes<T>({.hidden = {9, 21}, .readouts = {2}, .activation = activation}, 11, true);
  }
}

TEST_CASE_TEMPLATE("panel passes: the bits of a sample do not depend on the block", T, float,
                   double) {
  if (panel_kernel<T>() == nullptr) return;
  const Index panel_rows = panel_kernel<T>()->panel_rows;
  const RandomNetwork<T> random({.inputs = 150, .hidden = {140, 37}, .readouts = {2}});
  const Index total = 9 * panel_rows + 3;
  const auto inputs = random_samples<T>(total, 150);
  InPanels<T> whole(random.get(), inputs, {0, total}, true);
  whole.back(0, 0);
  for (const Index first : {0, 1, 5, 8, 9}) {
    const Range block{first * panel_rows, std::min(4 * panel_rows, total - first * panel_rows)};
    InPanels<T> part(random.get(), inputs, block, first % 2 == 0);
    part.back(0, 0);
    for (std::size_t l = 1; l <= 2; ++l) {
      const auto h = whole.activations.rows(l);
      const auto delta = whole.deltas.rows(l);
      CHECK(largest_difference(part.activations.rows(l),
                               h.view().row_block(block.first, block.count)) == 0.0);
      CHECK(largest_difference(part.deltas.rows(l),
                               delta.view().row_block(block.first, block.count)) == 0.0);
    }
  }
}

TEST_CASE_TEMPLATE("panel passes: features of many samples have the same bits on any lanes", T,
                   float, double) {
  // So many that weights are packed ahead, by whichever lane, while others wait for them.
  constexpr Index kMany = 241;
  const RandomNetwork<T> random(
      {.inputs = 3, .hidden = {140, 9}, .outputs = 2, .readouts = {2, 1}});
  const auto samples = random_samples<T>(kMany, 3);
  const auto features = [&](int lanes, FeatureUse use) {
    return compute_features<T>(HostDevice(reference_blas(), lanes), random.get(), {0, 2},
                               Matrix<const T>(samples.view()), use, {});
  };
  const auto alone = features(1, FeatureUse::grams);
  const auto together = features(3, FeatureUse::grams);
  const auto rows = features(3, FeatureUse::products);
  if (alone.panel_rows == 0) return;
  const auto compare = [&](const Panels<T>& a, const Panels<T>& b, const Matrix<T>& c) {
    PaddedMatrix<T> unpacked(kMany, c.cols);
    PaddedMatrix<T> others(kMany, c.cols);
    unpack<T>(a, 0, unpacked.view());
    unpack<T>(b, 0, others.view());
    CHECK(largest_difference<T>(unpacked, others.view()) == 0.0);
    CHECK(largest_difference<T>(unpacked, c) == 0.0);
  };
  for (std::size_t l = 0; l <= 2; ++l) {
    compare(alone.panels(alone.activations[l], 1), together.panels(together.activations[l], 1),
            rows.activations[l]);
  }
  for (std::size_t r = 0; r < 2; ++r) {
    for (std::size_t l = 1; l < alone.deltas[r].size(); ++l) {
      for (Index c = 0; c < 2; ++c) {
        const Index width = rows.deltas[r][l].cols / 2;
        compare(alone.panels(alone.deltas[r][l], 2).part(c),
                together.panels(together.deltas[r][l], 2).part(c),
                rows.deltas[r][l].col_block(c * width, width));
      }
    }
  }
}

TEST_CASE_TEMPLATE("panel passes: nobody waits for weights when the work is stopped", T, float,
                   double) {
  if (panel_kernel<T>() == nullptr) return;
  const RandomNetwork<T> random({});
  const std::vector<WeightOperand<T>> operands = operands_of(random.get().hidden);
  const PackedWeights<T> weights(operands, panel_kernel<T>()->panel_rows, true);
  const Blas blas = reference_blas();
  const std::atomic<bool> stop{true};
  const HostDevice::Lane lane{blas, stop};
  PanelLayers<T> samples(random.get(), 3, {0, 3});
  PaddedMatrix<T> product(64, 64);
  for (std::size_t k = 0; k < operands.size(); ++k) {
    if (operands[k].terms() != samples.views()[1].all.cols) continue;
    CHECK(weights.units_by_samples(lane, k, {0, 3}, samples.views()[1], {}, product.view()).data ==
          nullptr);
    CHECK(weights.samples_by_units(lane, k, {0, 3}, samples.views()[1], {}, product.view()).data ==
          nullptr);
  }
}

}  // namespace fastntk::test

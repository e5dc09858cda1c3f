// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/forward_backward.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "reference_network.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr Index kSamples = 6;

// There is every combination of activation and biases, with unequal widths.
std::vector<Shape> shapes() {
  std::vector<Shape> result;
  for (const Activation& activation : {kIdentity, kRelu, kTanh}) {
    for (const bool biases : {false, true}) {
      result.push_back({.outputs = 3,
                        .readouts = {3, 0, 2, 1},
                        .activation = activation,
                        .activation_scale = 1.3,
                        .biases = biases});
    }
  }
  return result;
}

// There is one matrix for each layer 1 … L, with the views that the core asks for.
template <class T>
class LayerMatrices {
 public:
  LayerMatrices(const Network<T>& network, Index rows) {
    for (Index l = 1; l <= network.depth(); ++l) layers_.emplace_back(rows, network.width(l));
  }

  PaddedMatrix<T>& operator[](Index l) { return layers_[static_cast<std::size_t>(l - 1)]; }

  std::vector<Matrix<T>> views() {
    std::vector<Matrix<T>> result(1);
    for (auto& layer : layers_) result.push_back(layer.view());
    return result;
  }

  bool margins_intact() const {
    bool intact = true;
    for (const auto& layer : layers_) intact = intact && layer.margin_intact();
    return intact;
  }

  bool untouched() const {
    bool all_nan = true;
    for (const auto& layer : layers_) {
      for (Index i = 0; i < layer.rows(); ++i) {
        for (Index j = 0; j < layer.cols(); ++j) all_nan = all_nan && std::isnan(layer(i, j));
      }
    }
    return all_nan;
  }

 private:
  std::vector<PaddedMatrix<T>> layers_;
};

// This is the memory of a pass and a lane to run it on.
template <class T>
struct Pass {
  Pass(const Network<T>& network_, Index rows)
      : network(network_),
        samples(random_samples<T>(rows, network_.input_width)),
        activations(network_, rows),
        slopes(network_, rows),
        deltas(network_, rows) {}

  void run_forward() {
    forward<HostDevice::Lane, T>(lane, network, slopes.views(), samples.view(),
                                 activations.views());
  }
  void run_backward(std::size_t readout, Index output) {
    backward(lane, network, network.readouts[readout], output, slopes.views(), deltas.views());
  }

  const Network<T>& network;
  PaddedMatrix<T> samples;
  LayerMatrices<T> activations;
  LayerMatrices<T> slopes;
  LayerMatrices<T> deltas;
  Blas blas = reference_blas();
  std::atomic<bool> stop{false};
  HostDevice::Lane lane{blas, stop};
};

// Row i is what `of` picks from the reference pass of sample i.
template <class T, class Of>
PaddedMatrix<double> expected_rows(const Network<T>& network, const PaddedMatrix<T>& samples,
                                   Index cols, Of of) {
  PaddedMatrix<double> result(samples.rows(), cols);
  for (Index i = 0; i < samples.rows(); ++i) {
    const ReferencePass pass = reference_pass(network, samples.view().row(i));
    for (Index j = 0; j < cols; ++j) result(i, j) = of(pass)[static_cast<std::size_t>(j)];
  }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("forward: activations and slopes agree with an explicit loop", T, float,
                   double) {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<T> random(shape);
    const Network<T>& network = random.get();
    Pass<T> pass(network, kSamples);
    pass.run_forward();
    for (Index l = 1; l <= network.depth(); ++l) {
      CAPTURE(l);
      const auto at = static_cast<std::size_t>(l);
      const auto h = expected_rows(network, pass.samples, network.width(l),
                                   [&](const ReferencePass& p) { return p.h[at]; });
      const auto slopes = expected_rows(network, pass.samples, network.width(l),
                                        [&](const ReferencePass& p) { return p.slopes[at]; });
      CHECK(relative_error(pass.activations[l], h) < Tolerance<T>::kRounding);
      CHECK(relative_error(pass.slopes[l], slopes) < Tolerance<T>::kRounding);
    }
    CHECK(pass.activations.margins_intact());
    CHECK(pass.slopes.margins_intact());
  }
}

TEST_CASE_TEMPLATE("forward: outputs of every readout agree with an explicit loop", T, float,
                   double) {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<T> random(shape);
    const Network<T>& network = random.get();
    Pass<T> pass(network, kSamples);
    pass.run_forward();
    for (std::size_t r = 0; r < network.readouts.size(); ++r) {
      CAPTURE(r);
      const Index depth = network.readouts[r].depth;
      PaddedMatrix<T> f(kSamples, shape.outputs);
      read_out<HostDevice::Lane, T>(
          pass.lane, network.readouts[r],
          depth == 0 ? pass.samples.view() : pass.activations[depth].view(), f.view());
      const auto expected = expected_rows(network, pass.samples, shape.outputs,
                                          [&](const ReferencePass& p) { return p.f[r]; });
      CHECK(relative_error(f, expected) < Tolerance<T>::kRounding);
      CHECK(f.margin_intact());
    }
  }
}

TEST_CASE_TEMPLATE("forward: evaluate agrees with an explicit loop for any number of samples", T,
                   float, double) {
  for (const Shape& shape : shapes()) {
    for (std::size_t r = 0; r < shape.readouts.size(); ++r) {
      const RandomNetwork<T> random(shape);
      const Network<T> network = random.single(r);
      for (const Index rows : {0, 1, 31, 33, 300}) {
        CAPTURE(r);
        CAPTURE(rows);
        const auto samples = random_samples<T>(rows, shape.inputs);
        PaddedMatrix<T> f(rows, shape.outputs);
        const HostDevice device(reference_blas<std::int64_t>(), 2);
        evaluate<HostDevice, T>(device, network, samples.view(), f.view(), nullptr);
        const auto expected = expected_rows(network, samples, shape.outputs,
                                            [](const ReferencePass& p) { return p.f[0]; });
        CHECK(relative_error(f, expected) < Tolerance<T>::kRounding);
        CHECK(f.margin_intact());
      }
    }
  }
}

TEST_CASE_TEMPLATE("forward: outputs with an activation", T, float, double) {
  for (const OutputActivation& psi : kOutputActivations) {
    for (const std::vector<Index>& hidden : {std::vector<Index>{}, {7, 3}}) {
      CAPTURE(psi.index());
      const Shape shape{.hidden = hidden,
                        .outputs = 3,
                        .readouts = {static_cast<Index>(hidden.size())},
                        .output_activation = psi};
      const RandomNetwork<T> random(shape);
      const auto samples = random_samples<T>(70, shape.inputs);
      PaddedMatrix<T> f(70, 3);
      const HostDevice device(reference_blas<std::int64_t>(), 2);
      evaluate<HostDevice, T>(device, random.get(), samples.view(), f.view(), nullptr);
      const auto expected =
          expected_rows(random.get(), samples, 3, [](const ReferencePass& p) { return p.f[0]; });
      CHECK(relative_error(f, expected) < Tolerance<T>::kRounding);
      CHECK(f.margin_intact());
    }
  }
}

TEST_CASE("backward: deltas are the derivatives with respect to the preactivations") {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<double> random(shape);
    const Network<double>& network = random.get();
    Pass<double> pass(network, kSamples);
    pass.run_forward();
    for (std::size_t r = 0; r < network.readouts.size(); ++r) {
      for (Index output = 0; output < shape.outputs; ++output) {
        pass.deltas = LayerMatrices<double>(network, kSamples);
        pass.run_backward(r, output);
        for (Index l = 1; l <= network.readouts[r].depth; ++l) {
          CAPTURE(r);
          CAPTURE(output);
          CAPTURE(l);
          PaddedMatrix<double> expected(kSamples, network.width(l));
          for (Index i = 0; i < kSamples; ++i) {
            for (Index j = 0; j < network.width(l); ++j) {
              expected(i, j) =
                  numerical_delta(network, pass.samples.view().row(i), l, j, r, output);
            }
          }
          CHECK(relative_error(pass.deltas[l], expected) < Tolerance<double>::kFiniteDifferences);
        }
        CHECK(pass.deltas.margins_intact());
      }
    }
  }
}

TEST_CASE("backward: the first deltas carry on to the derivatives with respect to the inputs") {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<double> random(shape);
    const Network<double>& network = random.get();
    const Layer<double>& first = network.layer(1);
    Pass<double> pass(network, kSamples);
    pass.run_forward();
    pass.run_backward(0, 1);
    PaddedMatrix<double> actual(kSamples, shape.inputs);
    PaddedMatrix<double> expected(kSamples, shape.inputs);
    for (Index i = 0; i < kSamples; ++i) {
      for (Index k = 0; k < shape.inputs; ++k) {
        actual(i, k) = 0.0;
        for (Index j = 0; j < first.outputs(); ++j) {
          actual(i, k) += first.weight_scale * pass.deltas[1](i, j) * first.weights(j, k);
        }
        expected(i, k) = numerical_delta(network, pass.samples.view().row(i), 0, k, 0, 1);
      }
    }
    CHECK(relative_error(actual, expected) < Tolerance<double>::kFiniteDifferences);
  }
}

TEST_CASE("backward: float32 agrees with float64") {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<float> single(shape);
    const RandomNetwork<double> reference(shape);
    Pass<float> pass(single.get(), kSamples);
    Pass<double> expected(reference.get(), kSamples);
    pass.run_forward();
    pass.run_backward(0, 2);
    expected.run_forward();
    expected.run_backward(0, 2);
    for (Index l = 1; l <= 3; ++l) {
      CAPTURE(l);
      CHECK(relative_error(pass.deltas[l], expected.deltas[l]) < Tolerance<float>::kRounding);
    }
  }
}

TEST_CASE("forward and backward: nothing is done for a lane that is stopped") {
  const RandomNetwork<double> random(Shape{});
  Pass<double> pass(random.get(), kSamples);
  pass.stop = true;
  pass.run_forward();
  CHECK(pass.activations.untouched());
  CHECK(pass.slopes.untouched());
  pass.stop = false;
  pass.run_forward();
  pass.stop = true;
  pass.run_backward(0, 0);
  CHECK(pass.deltas.untouched());
}

}  // namespace fastntk::test

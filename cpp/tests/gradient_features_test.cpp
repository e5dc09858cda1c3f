// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/gradient_features.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "reference_network.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

template <class T>
PaddedMatrix<T> features_of(const Network<T>& network, Index output, const PaddedMatrix<T>& samples,
                            int threads = 1) {
  PaddedMatrix<T> features(samples.rows(), parameter_count(network, network.readouts.front()));
  gradient_features<HostDevice, T>(HostDevice(reference_blas(), threads), network, output,
                                   samples.view(), features.view(), nullptr);
  CHECK(features.margin_intact());
  return features;
}

// Returns ∂f/∂parameter for every sample (a row) and every parameter (a column).
PaddedMatrix<double> numerical_features(RandomNetwork<double>& random, Index output,
                                        const PaddedMatrix<double>& samples) {
  const Network<double>& network = random.get();
  const std::vector<double*> parameters = random.parameters();
  PaddedMatrix<double> result(samples.rows(), static_cast<Index>(parameters.size()));
  for (Index i = 0; i < samples.rows(); ++i) {
    for (Index p = 0; p < result.cols(); ++p) {
      double& parameter = *parameters[static_cast<std::size_t>(p)];
      const double value = parameter;
      parameter = value + kStep;
      const ReferencePass above = reference_pass(network, samples.view().row(i));
      parameter = value - kStep;
      const ReferencePass below = reference_pass(network, samples.view().row(i));
      parameter = value;
      result(i, p) = central_difference(above, below, 2.0 * kStep, 0, output);
    }
  }
  return result;
}

void check_against_differences(const Shape& shape, Index samples) {
  RandomNetwork<double> random(shape);
  const auto x = random_samples<double>(samples, shape.inputs);
  for (Index output = 0; output < shape.outputs; ++output) {
    CAPTURE(samples);
    CAPTURE(output);
    CAPTURE(shape.readouts.front());
    const auto expected = numerical_features(random, output, x);
    CHECK(relative_error(features_of(random.get(), output, x), expected) <
          Tolerance<double>::kFiniteDifferences);
  }
}

}  // namespace

TEST_CASE("gradient features: derivatives with respect to every weight and bias") {
  for (const Activation& activation : {kIdentity, kRelu, kTanh}) {
    for (const bool biases : {false, true}) {
      for (const Index depth : {3, 2, 1, 0}) {
        check_against_differences(
            {.outputs = 2, .readouts = {depth, 1}, .activation = activation, .biases = biases}, 5);
      }
    }
  }
}

TEST_CASE("gradient features: of outputs with an activation") {
  for (const OutputActivation& psi : kOutputActivations) {
    for (const bool biases : {false, true}) {
      check_against_differences({.outputs = 3,
                                 .readouts = {3},
                                 .activation = kTanh,
                                 .biases = biases,
                                 .output_activation = psi},
                                5);
    }
    check_against_differences(
        {.hidden = {}, .outputs = 2, .readouts = {0}, .output_activation = psi}, 5);
  }
}

TEST_CASE("gradient features: any number of samples") {
  for (const Index samples : {0, 1, 31, 33, 300}) {
    check_against_differences({.inputs = 2, .hidden = {3, 2}, .readouts = {2}}, samples);
  }
}

TEST_CASE("gradient features: float32 agrees with float64") {
  const Shape shape{.outputs = 2};
  const RandomNetwork<float> single(shape);
  const RandomNetwork<double> reference(shape);
  const auto features = features_of(single.get(), 1, random_samples<float>(40, shape.inputs));
  const auto expected = features_of(reference.get(), 1, random_samples<double>(40, shape.inputs));
  CHECK(relative_error(features, expected) < Tolerance<float>::kRounding);
}

TEST_CASE_TEMPLATE("gradient features: the same to the last bit for any number of threads", T,
                   float, double) {
  const RandomNetwork<T> random(Shape{});
  const auto samples = random_samples<T>(300, 4);
  const auto expected = features_of(random.get(), 0, samples, 1);
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    CHECK(equal_to_the_last_bit(features_of(random.get(), 0, samples, threads), expected));
  }
}

TEST_CASE("gradient features: the parameters are counted") {
  // The network is 4 → 7 → 3 → 5 → 2, with the readouts on layers 3 and 0.
  Shape shape{.outputs = 2, .readouts = {3, 0}};
  {
    const RandomNetwork<float> random(shape);
    const Network<float>& network = random.get();
    CHECK(parameter_count(network, network.readouts[0]) ==
          4 * 7 + 7 + 7 * 3 + 3 + 3 * 5 + 5 + 5 * 2 + 2);
    CHECK(parameter_count(network, network.readouts[1]) == 4 * 2 + 2);
  }
  shape.biases = false;
  const RandomNetwork<float> random(shape);
  CHECK(parameter_count(random.get(), random.get().readouts[0]) == 4 * 7 + 7 * 3 + 3 * 5 + 5 * 2);
  // An activation of the outputs has none.
  const Shape activated{.outputs = 2, .output_activation = activation::Softmax{}};
  const RandomNetwork<float> softmax(activated);
  CHECK(parameter_count(softmax.get(), softmax.get().readouts[0]) ==
        4 * 7 + 7 + 7 * 3 + 3 + 3 * 5 + 5 + 5 * 2 + 2);
}

TEST_CASE("gradient features: the monitor may end the work") {
  const RandomNetwork<double> random(Shape{});
  const Network<double>& network = random.get();
  const auto samples = random_samples<double>(3, network.input_width);
  PaddedMatrix<double> features(3, parameter_count(network, network.readouts.front()));
  const HostDevice device(reference_blas(), 1);
  const auto run = [&](const Monitor& monitor) {
    gradient_features<HostDevice, double>(device, network, 0, samples.view(), features.view(),
                                          monitor);
  };
  CHECK_THROWS_WITH_AS(
      run([](const char* stage, Index, Index) { throw std::runtime_error(stage); }), "gradients",
      std::runtime_error);
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "fastntk/host.hpp"
#include "fastntk/wired/ntk.hpp"
#include "fastntk/wired/sgd.hpp"
#include "padded_matrix.hpp"
#include "random_wiring.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

// Training of networks of steps, against explicit steps of gradients and differences of losses.
namespace fastntk::test {

namespace {

constexpr Index kInputs = 4;
constexpr Index kOutputs = 3;
constexpr double kRate = 0.05;

using Build = std::function<void(RandomWiring<double>&)>;

Build named(const std::string& name) {
  return [name](RandomWiring<double>& net) { build(net, name); };
}

// This is a network in training. Layers whose bit is not set in `trained` are left alone.
template <class T>
struct WiredTraining {
  template <class MakeSteps>
  WiredTraining(const MakeSteps& make_steps, Index samples, SgdOptions options_,
                unsigned trained = ~0U)
      : random(kInputs),
        options(options_),
        inputs(random_samples<T>(samples, kInputs)),
        targets(samples, kOutputs),
        outcomes(samples, 2) {
    make_steps(random);
    targets.fill(T(0));
    for (Index i = 0; i < samples; ++i) targets(i, (i * i) % targets.cols()) = T(1);
    const std::vector<T*> parameters = random.parameters();
    std::size_t next = 0;
    random.get().for_each_layer([&](std::size_t /*node*/, const Layer<T>& layer) {
      const std::size_t number = layers.size();
      const Index weights = layer.outputs() * layer.inputs();
      TrainedLayer<T> own;
      own.rate = kRate * static_cast<double>(1 + number % 3);
      own.bias_rate = kRate / static_cast<double>(1 + number % 3);
      const auto moving = [&](Index rows, Index cols) {
        if (options.momentum == 0.0) return Matrix<T>();
        velocities.emplace_back(static_cast<std::size_t>(rows * cols), T(0));
        return Matrix<T>(velocities.back().data(), rows, cols);
      };
      if ((trained >> number & 1U) != 0) {
        if (weights > 0) {
          own.weights = {parameters[next], layer.outputs(), layer.inputs()};
          own.velocity = moving(layer.outputs(), layer.inputs());
        }
        if (layer.bias != nullptr) {
          own.bias = {parameters[next + static_cast<std::size_t>(weights)], layer.outputs(), 1};
          own.bias_velocity = moving(layer.outputs(), 1);
        }
      }
      // The rates of all its parameters.
      rates.insert(rates.end(), static_cast<std::size_t>(weights),
                   own.weights.data == nullptr ? 0.0 : own.rate);
      rates.insert(rates.end(), static_cast<std::size_t>(layer.parameters() - weights),
                   own.bias.data == nullptr ? 0.0 : own.bias_rate);
      next += static_cast<std::size_t>(layer.parameters());
      layers.push_back(own);
    });
  }

  double run(const Index* order = nullptr, int threads = 2, const Monitor& monitor = nullptr) {
    const HostDevice device(reference_blas(), threads);
    const double square =
        wired::sgd<HostDevice, T>(device, random.get(), layers, options, inputs.view(),
                                  targets.view(), order, outcomes.view(), monitor);
    CHECK(outcomes.margin_intact());
    return square;
  }

  PaddedMatrix<T> parameters() {
    const std::vector<T*> all = random.parameters();
    PaddedMatrix<T> result(1, static_cast<Index>(all.size()));
    for (std::size_t p = 0; p < all.size(); ++p) result(0, static_cast<Index>(p)) = *all[p];
    return result;
  }
  PaddedMatrix<double> losses() {
    PaddedMatrix<double> result(outcomes.rows(), 1);
    for (Index i = 0; i < outcomes.rows(); ++i) result(i, 0) = outcomes(i, 0);
    return result;
  }

  RandomWiring<T> random;
  SgdOptions options;
  std::vector<TrainedLayer<T>> layers;
  std::vector<double> rates;
  std::deque<std::vector<T>> velocities;
  PaddedMatrix<T> inputs;
  PaddedMatrix<T> targets;
  PaddedMatrix<double> outcomes;
};

// This does the same in float64 with the gradients of the outputs at each sample.
struct WiredReference {
  WiredReference(const Build& make_steps, Index samples, SgdOptions options, unsigned trained = ~0U)
      : training(make_steps, samples, options, trained), losses(samples, 1) {}

  // Takes a step and returns the squared norm of the gradient, of what is trained.
  double step(const std::vector<Index>& batch) {
    const wired::Wiring<double>& wiring = training.random.get();
    const auto outputs = static_cast<std::size_t>(wiring.outputs());
    const auto count = static_cast<Index>(batch.size());
    std::vector<PaddedMatrix<double>> gradients;
    for (std::size_t c = 0; c < outputs; ++c) {
      gradients.emplace_back(training.inputs.rows(), wiring.parameters());
      wired::gradient_features<HostDevice, double>(HostDevice(reference_blas(), 1), wiring,
                                                   static_cast<Index>(c), training.inputs.view(),
                                                   gradients.back().view(), nullptr);
    }
    std::vector<double> sum(static_cast<std::size_t>(wiring.parameters()), 0.0);
    for (Index k = 0; k < count; ++k) {
      const Index i = batch[static_cast<std::size_t>(k)];
      const auto f = reference_outputs(wiring, training.inputs.view().row(i));
      double exponentials = 0.0;
      for (const double value : f) exponentials += std::exp(value);
      double loss = 0.0;
      for (std::size_t c = 0; c < outputs; ++c) {
        const double y = training.targets(i, static_cast<Index>(c));
        const bool square = training.options.loss == Loss::square;
        const double softmax = std::exp(f[c]) / exponentials;
        loss += square ? (f[c] - y) * (f[c] - y) / 2.0 : -y * std::log(softmax);
        const double residual = (square ? f[c] : softmax) - y;
        for (std::size_t p = 0; p < sum.size(); ++p) {
          sum[p] += residual * gradients[c](i, static_cast<Index>(p)) / static_cast<double>(count);
        }
      }
      losses(first + k, 0) = loss;
    }
    first += count;
    velocity.resize(sum.size(), 0.0);
    const std::vector<double*> parameters = training.random.parameters();
    double square = 0.0;
    for (std::size_t p = 0; p < sum.size(); ++p) {
      velocity[p] = training.options.momentum * velocity[p] + sum[p];
      *parameters[p] -= training.rates[p] * velocity[p];
      if (training.rates[p] > 0.0) square += sum[p] * sum[p];
    }
    return square;
  }

  WiredTraining<double> training;
  PaddedMatrix<double> losses;  // in the order of the steps
  Index first = 0;
  std::vector<double> velocity;
};

// A matrix that needs several tiles in both directions, and normalizations.
template <class T>
void build_wide(RandomWiring<T>& net) {
  net.linear(20);
  const std::size_t first = net.top();
  net.normalize(true);
  net.gain_shift(true, true);
  net.linear(270);
  net.activate(kRelu);
  net.linear(520, false);
  net.activate(kRelu);
  net.linear(20);
  net.sum(first, 0.5);
  net.normalize(false, 0.25);
  net.linear(kOutputs);
}

}  // namespace

TEST_CASE_TEMPLATE("wired sgd: losses, gradients and parameters of a pass over batches", T, float,
                   double) {
  const std::vector<Index> order = {4, 0, 6, 2, 5, 1, 3};
  for (const std::string& name : wiring_names()) {
    for (const Loss loss : {Loss::square, Loss::cross_entropy}) {
      for (const double momentum : {0.0, 0.75}) {
        for (const bool measure : {false, true}) {
          CAPTURE(name);
          CAPTURE(momentum);
          CAPTURE(measure);
          const SgdOptions options{loss, 3, momentum, measure};
          WiredReference reference(named(name), 7, options);
          reference.step({4, 0, 6});
          reference.step({2, 5, 1});
          const double expected = reference.step({3});  // what is left is a batch of its own
          WiredTraining<T> training([&](RandomWiring<T>& net) { build(net, name); }, 7, options);
          const double square = training.run(order.data());
          CHECK(relative_error(training.parameters(), reference.training.parameters()) <
                30.0 * Tolerance<T>::kRounding);
          CHECK(relative_error(training.losses(), reference.losses) <
                30.0 * Tolerance<T>::kRounding);
          CHECK(square == (measure ? doctest::Approx(expected).epsilon(1e-3) : doctest::Approx(0)));
        }
      }
    }
  }
}

TEST_CASE("wired sgd: the step is down the gradient of the loss, by differences") {
  for (const std::string& name : wiring_names()) {
    CAPTURE(name);
    const SgdOptions options{Loss::cross_entropy, 5, 0.0, false};
    WiredTraining<double> training(named(name), 5, options);
    const PaddedMatrix<double> before = training.parameters();
    training.run();
    const PaddedMatrix<double> after = training.parameters();
    WiredTraining<double> probe(named(name), 5, options);
    for (TrainedLayer<double>& layer : probe.layers) layer.rate = layer.bias_rate = 0.0;
    const auto mean_loss = [&] {
      probe.run();
      double sum = 0.0;
      for (Index i = 0; i < 5; ++i) sum += probe.outcomes(i, 0) / 5.0;
      return sum;
    };
    constexpr double kStep = 1e-4;
    const std::vector<double*> parameters = probe.random.parameters();
    PaddedMatrix<double> steps(1, before.cols());
    PaddedMatrix<double> expected(1, before.cols());
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      const double kept = *parameters[p];
      *parameters[p] = kept + kStep;
      const double above = mean_loss();
      *parameters[p] = kept - kStep;
      const double below = mean_loss();
      *parameters[p] = kept;
      const auto at = static_cast<Index>(p);
      steps(0, at) = (after(0, at) - before(0, at)) / training.rates[p];
      expected(0, at) = -(above - below) / (2.0 * kStep);
    }
    CHECK(relative_error(steps, expected) < Tolerance<double>::kFiniteDifferences);
  }
}

TEST_CASE(
    "wired sgd: layers that are not trained keep their bits, the others learn as they would") {
  for (const std::string& name : wiring_names()) {
    const std::size_t count = WiredTraining<double>(named(name), 1, {}).layers.size();
    // The lowest ones frozen, each one alone, and every other one.
    std::vector<unsigned> choices = {0x5555U & ((1U << count) - 1)};
    for (std::size_t k = 0; k < count; ++k) {
      choices.push_back(1U << k);
      choices.push_back(((1U << count) - 1) & ~((1U << k) - 1));
    }
    for (const unsigned trained : choices) {
      CAPTURE(name);
      CAPTURE(trained);
      const SgdOptions options{Loss::square, 4, 0.5, true};
      WiredReference reference(named(name), 8, options, trained);
      reference.step({0, 1, 2, 3});
      const double expected = reference.step({4, 5, 6, 7});
      WiredTraining<double> training(named(name), 8, options, trained);
      const PaddedMatrix<double> before = training.parameters();
      CHECK(training.run() == doctest::Approx(expected));
      const PaddedMatrix<double> after = training.parameters();
      CHECK(relative_error(after, reference.training.parameters()) <
            30.0 * Tolerance<double>::kRounding);
      for (std::size_t p = 0; p < training.rates.size(); ++p) {
        const auto at = static_cast<Index>(p);
        CHECK((training.rates[p] > 0.0 || before(0, at) == after(0, at)));
      }
    }
  }
}

TEST_CASE("wired sgd: weights without their bias, a bias without its weights") {
  const SgdOptions options{Loss::square, 5, 0.0, false};
  WiredTraining<double> all(named("chain"), 5, options);
  WiredTraining<double> training(named("chain"), 5, options);
  constexpr Index kFirst = Index{7} * 4;  // W of the first map
  training.layers[0].weights = {};
  training.layers[1].bias = {};
  const PaddedMatrix<double> before = training.parameters();
  all.run();
  training.run();
  for (Index p = 0; p < before.cols(); ++p) {
    CHECK(training.parameters()(0, p) == (p < kFirst ? before : all.parameters())(0, p));
  }
}

TEST_CASE("wired sgd: without an order all samples, in theirs") {
  const SgdOptions options{Loss::cross_entropy, 4, 0.0, false};
  std::vector<Index> order(6);
  std::iota(order.begin(), order.end(), Index{0});
  for (const std::string& name : wiring_names()) {
    WiredTraining<double> direct(named(name), 6, options);
    WiredTraining<double> ordered(named(name), 6, options);
    direct.run();
    ordered.run(order.data());
    CHECK(equal_to_the_last_bit(direct.parameters(), ordered.parameters()));
    CHECK(equal_to_the_last_bit(direct.outcomes, ordered.outcomes));
  }
}

TEST_CASE_TEMPLATE("wired sgd: the same bits for any number of threads", T, float, double) {
  const auto wide = [](RandomWiring<T>& net) { build_wide(net); };
  for (const double momentum : {0.0, 0.5}) {
    // Blocks of samples, the last of which are smaller.
    const SgdOptions options{Loss::cross_entropy, 140, momentum, true};
    WiredTraining<T> one(wide, 150, options);
    const double square = one.run(nullptr, 1);
    for (const int threads : {2, 8}) {
      WiredTraining<T> several(wide, 150, options);
      CHECK(several.run(nullptr, threads) == square);
      CHECK(equal_to_the_last_bit(several.parameters(), one.parameters()));
      CHECK(equal_to_the_last_bit(several.outcomes, one.outcomes));
    }
  }
}

TEST_CASE("wired sgd: blocks of samples and tiles of weights") {
  const SgdOptions options{Loss::square, 70, 0.5, true};
  std::vector<std::vector<Index>> batches = {std::vector<Index>(70), std::vector<Index>(10)};
  std::iota(batches[0].begin(), batches[0].end(), Index{0});
  std::iota(batches[1].begin(), batches[1].end(), Index{70});
  WiredReference reference(build_wide<double>, 80, options);
  reference.step(batches[0]);
  const double expected = reference.step(batches[1]);
  WiredTraining<double> training(build_wide<double>, 80, options);
  CHECK(training.run() == doctest::Approx(expected));
  CHECK(relative_error(training.parameters(), reference.training.parameters()) <
        10.0 * Tolerance<double>::kRounding);
  CHECK(relative_error(training.losses(), reference.losses) < 10.0 * Tolerance<double>::kRounding);
}

TEST_CASE("wired sgd: an exception of the monitor leaves whole steps") {
  constexpr Index kSamples = 200000;
  const SgdOptions options{Loss::cross_entropy, 4, 0.0, false};
  WiredTraining<double> training(named("before"), kSamples, options);
  for (TrainedLayer<double>& layer : training.layers) layer.rate = layer.bias_rate = 1e-3;
  training.outcomes.fill(-1.0);
  CHECK_THROWS_AS(training.run(nullptr, 2,
                               [](const char* /*stage*/, Index /*done*/, Index /*total*/) {
                                 throw std::runtime_error("enough");
                               }),
                  std::runtime_error);
  // With losses; the last of them may have had no update. A fast processor may have taken all.
  Index steps = 0;
  while (steps * 4 < kSamples && training.outcomes(steps * 4, 0) >= 0.0) ++steps;
  const PaddedMatrix<double> stopped = training.parameters();
  bool whole = steps == 0;
  for (Index done = std::max<Index>(1, steps - 1); done <= steps; ++done) {
    WiredTraining<double> again(named("before"), 4 * done, options);
    for (TrainedLayer<double>& layer : again.layers) layer.rate = layer.bias_rate = 1e-3;
    again.run(nullptr, 1);
    whole = whole || equal_to_the_last_bit(again.parameters(), stopped);
  }
  CHECK(whole);
}

TEST_CASE("wired sgd: its memory") {
  RandomWiring<double> net(kInputs);
  build(net, "before");
  const HostDevice device(reference_blas(), 1);
  const auto bytes = [&](Index batch, bool gathered) {
    return wired::training_bytes(device, net.get(), batch, gathered);
  };
  // H of the nodes that maps read, but for the inputs: y, h, the two of the second block, its
  // tanh, and ĥ. Δ of six maps, the gain and the shift. Ones.
  const Index kept = (6 + 5 + 6 + 7 + 4) + (6 + 6 + 6 + 5 + 6 + 7 + 4 + 4 + 3) + 1;
  CHECK(bytes(1000, true) - bytes(1000, false) == 1000 * kInputs * 8);
  // The blocks of so many samples are equally large.
  CHECK(bytes(5000, false) - bytes(4096, false) == (5000 - 4096) * kept * 8);
  // Each lane has a block of its own, as long as there are some.
  const auto of_lanes = [&](int threads, Index batch) {
    return wired::training_bytes(HostDevice(reference_blas(), threads), net.get(), batch, false);
  };
  const Index block = of_lanes(2, 128) - of_lanes(1, 128);
  CHECK(block > 0);
  CHECK(of_lanes(8, 128) - of_lanes(1, 128) == block);
}

}  // namespace fastntk::test

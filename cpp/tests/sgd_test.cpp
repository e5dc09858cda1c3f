// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/sgd.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "reference_network.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr double kRate = 0.125;
constexpr Activation kLeakyRelu = activation::PiecewiseLinear{0.2, 1.0};
constexpr Activation kAbsolute = activation::PiecewiseLinear{-1.0, 1.0};

// These are the ways to take a step, between which sgd() chooses.
enum class Way : std::uint8_t { matrices, panels };

template <class T>
std::vector<Way> ways() {
  if (panel_kernel<T>() == nullptr) return {Way::matrices};
  return {Way::matrices, Way::panels};
}

// This is a network in training. Layers whose bit is not set in `trained` are left alone.
template <class T>
struct Training {
  Training(const Shape& shape, Index samples, SgdOptions options_, unsigned trained = ~0U)
      : random(shape),
        network(random.get()),
        options(options_),
        inputs(random_samples<T>(samples, network.input_width)),
        targets(samples, network.readouts.front().layer.outputs()),
        outcomes(samples, 2) {
    targets.fill(T(0));
    for (Index i = 0; i < samples; ++i) targets(i, (i * i) % targets.cols()) = T(1);
    const std::vector<T*> parameters = random.parameters();
    std::size_t next = 0;
    for (Index l = 1; l <= network.depth() + 1; ++l) {
      const Layer<T>& layer =
          l <= network.depth() ? network.layer(l) : network.readouts.front().layer;
      TrainedLayer<T> own;
      own.rate = kRate * static_cast<double>(l);
      own.bias_rate = kRate / static_cast<double>(l);
      T* const weights = parameters[next];
      T* const bias = layer.bias == nullptr
                          ? nullptr
                          : parameters[next + static_cast<std::size_t>(layer.weights.rows *
                                                                       layer.weights.cols)];
      if ((trained >> static_cast<unsigned>(l - 1) & 1U) != 0) {
        own.weights = {weights, layer.outputs(), layer.inputs()};
        if (bias != nullptr) own.bias = {bias, layer.outputs(), 1};
        if (options.momentum > 0.0) {
          velocities.emplace_back(own.weights.rows * own.weights.cols, T(0));
          own.velocity = {velocities.back().data(), own.weights.rows, own.weights.cols};
          velocities.emplace_back(own.weights.rows, T(0));
          if (bias != nullptr) own.bias_velocity = {velocities.back().data(), own.weights.rows, 1};
        }
      }
      next += static_cast<std::size_t>(layer.parameters());
      layers.push_back(own);
    }
  }

  double run(Way way, const Index* order = nullptr, int threads = 2,
             const Monitor& monitor = nullptr) {
    const HostDevice device(reference_blas(), threads);
    const TrainingSamples<T> samples{inputs.view(), targets.view(), order, outcomes.rows()};
    const double operations =
        descending_operations(pass_size(network), options.batch, outcomes.rows());
    const auto descend = [&](const auto& descent) {
      return descend_in_batches(device, descent, options, operations, outcomes.view(), monitor);
    };
    const double square =
        way == Way::panels
            ? descend(PanelDescent<HostDevice, T>(device, network, layers, options, samples))
            : descend(Sgd<HostDevice, T>(device, network, layers, options, samples));
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

  RandomNetwork<T> random;
  const Network<T>& network;
  SgdOptions options;
  std::vector<TrainedLayer<T>> layers;
  std::vector<std::vector<T>> velocities;
  PaddedMatrix<T> inputs;
  PaddedMatrix<T> targets;
  PaddedMatrix<double> outcomes;
};

// This does the same in float64, one sample, one output and one parameter at a time.
struct Reference {
  Reference(const Shape& shape, Index samples, SgdOptions options, unsigned trained = ~0U)
      : training(shape, samples, options, trained) {}

  // Returns the gradient of the loss of a batch.
  std::vector<double> gradient(const std::vector<Index>& batch) {
    const Network<double>& network = training.network;
    std::vector<double> sum(training.random.parameters().size(), 0.0);
    for (const Index i : batch) {
      const double* x = training.inputs.view().row(i);
      const std::vector<double> f = reference_pass(network, x).f.front();
      double exponentials = 0.0;
      for (const double value : f) exponentials += std::exp(value);
      double loss = 0.0;
      for (std::size_t c = 0; c < f.size(); ++c) {
        const double y = training.targets(i, static_cast<Index>(c));
        const bool square = training.options.loss == Loss::square;
        const double softmax = std::exp(f[c]) / exponentials;
        loss += square ? (f[c] - y) * (f[c] - y) / 2.0 : -y * std::log(softmax);
        const double residual = (square ? f[c] : softmax) - y;
        const auto of_output = reference_gradient(network, static_cast<Index>(c), x);
        for (std::size_t p = 0; p < sum.size(); ++p) {
          sum[p] += residual * of_output[p] / static_cast<double>(batch.size());
        }
      }
      losses.push_back(loss);
    }
    return sum;
  }

  // Returns the squared norm of the gradient, of what is trained.
  double step(const std::vector<Index>& batch) {
    const std::vector<double> g = gradient(batch);
    velocity.resize(g.size(), 0.0);
    const std::vector<double*> parameters = training.random.parameters();
    double square = 0.0;
    std::size_t p = 0;
    for (Index l = 1; l <= training.network.depth() + 1; ++l) {
      const Layer<double>& layer = l <= training.network.depth()
                                       ? training.network.layer(l)
                                       : training.network.readouts.front().layer;
      const TrainedLayer<double>& own = training.layers[static_cast<std::size_t>(l - 1)];
      for (Index k = 0; k < layer.parameters(); ++k, ++p) {
        if (!own.any()) continue;
        square += g[p] * g[p];
        velocity[p] = training.options.momentum * velocity[p] + g[p];
        const bool weight = k < layer.outputs() * layer.inputs();
        *parameters[p] -= (weight ? own.rate : own.bias_rate) * velocity[p];
      }
    }
    return square;
  }

  Training<double> training;
  std::vector<double> velocity;
  std::vector<double> losses;
};

std::vector<Shape> shapes() {
  return {{.outputs = 3, .activation = kRelu},
          {.outputs = 3, .activation = kTanh, .biases = false},
          {.hidden = {}, .outputs = 2, .readouts = {0}},
          // These widths need several tiles.
          {.hidden = {300, 4}, .outputs = 2, .readouts = {2}, .activation = kTanh},
          {.hidden = {5, 300, 4}, .outputs = 2, .readouts = {3}, .activation = kLeakyRelu}};
}

}  // namespace

TEST_CASE_TEMPLATE("sgd: losses, gradients and parameters of a pass over batches", T, float,
                   double) {
  const std::vector<Index> order = {4, 0, 6, 2, 5, 1, 3};
  for (const Shape& shape : shapes()) {
    for (const Loss loss : {Loss::square, Loss::cross_entropy}) {
      for (const double momentum : {0.0, 0.75}) {
        for (const bool measure : {false, true}) {
          CAPTURE(shape.hidden.size());
          CAPTURE(momentum);
          const SgdOptions options{loss, 3, momentum, measure};
          Reference reference(shape, 7, options);
          reference.step({4, 0, 6});
          reference.step({2, 5, 1});
          const double expected = reference.step({3});  // what is left is a batch of its own
          PaddedMatrix<double> expected_losses(7, 1);
          for (Index i = 0; i < 7; ++i) {
            expected_losses(i, 0) = reference.losses[static_cast<std::size_t>(i)];
          }
          for (const Way way : ways<T>()) {
            CAPTURE(way);
            Training<T> training(shape, 7, options);
            const double square = training.run(way, order.data());
            CHECK(relative_error(training.parameters(), reference.training.parameters()) <
                  10.0 * Tolerance<T>::kRounding);
            CHECK(relative_error(training.losses(), expected_losses) <
                  10.0 * Tolerance<T>::kRounding);
            CHECK(square ==
                  (measure ? doctest::Approx(expected).epsilon(1e-4) : doctest::Approx(0)));
          }
        }
      }
    }
  }
}

TEST_CASE("sgd: without an order all samples, in theirs") {
  const SgdOptions options{Loss::cross_entropy, 4, 0.0, false};
  const Shape shape{.outputs = 3};
  const std::vector<Index> order = {0, 1, 2, 3, 4, 5};
  for (const Way way : ways<double>()) {
    Training<double> direct(shape, 6, options);
    Training<double> ordered(shape, 6, options);
    direct.run(way);
    ordered.run(way, order.data());
    CHECK(equal_to_the_last_bit(direct.parameters(), ordered.parameters()));
    CHECK(equal_to_the_last_bit(direct.outcomes, ordered.outcomes));
  }
}

TEST_CASE("sgd: the step is down the gradient of the loss, by differences") {
  const Shape shape{.outputs = 3, .activation = kTanh};
  for (const Loss loss : {Loss::square, Loss::cross_entropy}) {
    const SgdOptions options{loss, 5, 0.0, false};
    Training<double> training(shape, 5, options);
    const PaddedMatrix<double> before = training.parameters();
    training.run(Way::matrices);
    const PaddedMatrix<double> after = training.parameters();

    Training<double> probe(shape, 5, options);
    for (TrainedLayer<double>& layer : probe.layers) layer.rate = layer.bias_rate = 0.0;
    const auto mean_loss = [&] {
      probe.run(Way::matrices);
      double sum = 0.0;
      for (Index i = 0; i < 5; ++i) sum += probe.outcomes(i, 0) / 5.0;
      return sum;
    };
    const std::vector<double*> parameters = probe.random.parameters();
    PaddedMatrix<double> steps(1, before.cols());
    PaddedMatrix<double> expected(1, before.cols());
    Index p = 0;
    for (Index l = 1; l <= probe.network.depth() + 1; ++l) {
      const Layer<double>& layer = l <= probe.network.depth()
                                       ? probe.network.layer(l)
                                       : probe.network.readouts.front().layer;
      const TrainedLayer<double>& own = training.layers[static_cast<std::size_t>(l - 1)];
      for (Index k = 0; k < layer.parameters(); ++k, ++p) {
        double& parameter = *parameters[static_cast<std::size_t>(p)];
        const double kept = parameter;
        parameter = kept + kStep;
        const double above = mean_loss();
        parameter = kept - kStep;
        const double below = mean_loss();
        parameter = kept;
        const double rate = k < layer.outputs() * layer.inputs() ? own.rate : own.bias_rate;
        steps(0, p) = (after(0, p) - before(0, p)) / rate;
        expected(0, p) = -(above - below) / (2.0 * kStep);
      }
    }
    CHECK(relative_error(steps, expected) < Tolerance<double>::kFiniteDifferences);
  }
}

TEST_CASE("sgd: layers that are not trained keep their bits, the others learn as they would") {
  for (const unsigned trained : {0b0001U, 0b1000U, 0b0110U}) {
    CAPTURE(trained);
    const Shape shape{.outputs = 2};
    const SgdOptions options{Loss::square, 4, 0.5, true};
    Reference reference(shape, 8, options, trained);
    reference.step({0, 1, 2, 3});
    const double expected = reference.step({4, 5, 6, 7});
    for (const Way way : ways<double>()) {
      CAPTURE(way);
      Training<double> training(shape, 8, options, trained);
      const PaddedMatrix<double> before = training.parameters();
      const double square = training.run(way);
      const PaddedMatrix<double> after = training.parameters();
      CHECK(relative_error(after, reference.training.parameters()) <
            10.0 * Tolerance<double>::kRounding);
      CHECK(square == doctest::Approx(expected));
      Index p = 0;
      for (Index l = 1; l <= training.network.depth() + 1; ++l) {
        const Layer<double>& layer = l <= training.network.depth()
                                         ? training.network.layer(l)
                                         : training.network.readouts.front().layer;
        const bool learns = (trained >> static_cast<unsigned>(l - 1) & 1U) != 0;
        bool same = true;
        for (Index k = 0; k < layer.parameters(); ++k, ++p) {
          same = same && before(0, p) == after(0, p);
        }
        CHECK(same == !learns);
      }
    }
  }
}

// Activations, deltas and weights take each other's places on the way back.
TEST_CASE("sgd: widths that grow and shrink, every choice of layers, with slopes kept or not") {
  const std::vector<Activation> activations = {kIdentity, kRelu, kLeakyRelu,
                                               kAbsolute, kTanh, kGelu};
  for (const std::vector<Index>& widths : {std::vector<Index>{2, 4, 7, 3}, {6, 3, 5, 2}}) {
    for (std::size_t depth = 1; depth <= widths.size(); ++depth) {
      const std::vector<Index> hidden(widths.end() - static_cast<std::ptrdiff_t>(depth),
                                      widths.end());
      for (unsigned trained = 1; trained < 1U << (depth + 1); ++trained) {
        for (std::size_t k = 0; k < activations.size(); ++k) {
          CAPTURE(depth);
          CAPTURE(trained);
          CAPTURE(k);
          const Shape shape{.hidden = hidden,
                            .outputs = 2,
                            .readouts = {static_cast<Index>(depth)},
                            .activation = activations[k]};
          const double momentum = (trained + k) % 2 == 0 ? 0.0 : 0.5;
          const SgdOptions options{Loss::square, 3, momentum, true};
          Reference reference(shape, 5, options, trained);
          reference.step({0, 1, 2});
          const double expected = reference.step({3, 4});
          for (const Way way : ways<double>()) {
            CAPTURE(way);
            Training<double> training(shape, 5, options, trained);
            CHECK(training.run(way) == doctest::Approx(expected));
            CHECK(relative_error(training.parameters(), reference.training.parameters()) <
                  10.0 * Tolerance<double>::kRounding);
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("sgd: the same bits for any number of threads", T, float, double) {
  for (const Activation& activation : {kRelu, kTanh}) {
    const Shape shape{.hidden = {70, 520, 270},
                      .outputs = 3,
                      .readouts = {3},
                      .activation = activation,
                      .biases = true};
    for (const bool measure : {false, true}) {
      for (const Way way : ways<T>()) {
        CAPTURE(way);
        // Three blocks of samples in panels.
        const Index batch = way == Way::panels ? 140 : 20;
        const SgdOptions options{Loss::cross_entropy, batch, 0.0, measure};
        Training<T> one(shape, batch + 10, options);
        const double square = one.run(way, nullptr, 1);
        for (const int threads : {2, 8}) {
          Training<T> several(shape, batch + 10, options);
          CHECK(several.run(way, nullptr, threads) == square);
          CHECK(equal_to_the_last_bit(several.parameters(), one.parameters()));
          CHECK(equal_to_the_last_bit(several.outcomes, one.outcomes));
        }
      }
    }
  }
}

TEST_CASE("sgd: weights without their bias, a bias without its weights") {
  constexpr Index kWidth = 150;
  const Shape shape{.hidden = {kWidth, 9}, .outputs = 2, .readouts = {2}, .activation = kTanh};
  const SgdOptions options{Loss::square, 70, 0.5, true};
  std::vector<PaddedMatrix<double>> results;
  std::vector<double> squares;
  for (const Way way : ways<double>()) {
    Training<double> training(shape, 90, options);
    training.layers[0].weights = {};
    training.layers[1].bias = {};
    const PaddedMatrix<double> before = training.parameters();
    squares.push_back(training.run(way));
    results.push_back(training.parameters());
    const auto changed = [&](Index p) { return results.back()(0, p) != before(0, p); };
    CHECK_FALSE(changed(0));                 // W¹
    CHECK(changed(kWidth * 4));              // b¹
    CHECK(changed(kWidth * 5));              // W²
    CHECK_FALSE(changed(kWidth * (5 + 9)));  // b²
    CHECK(changed(kWidth * (5 + 9) + 9));    // W³
    CHECK(relative_error(results.back(), results.front()) < 10.0 * Tolerance<double>::kRounding);
    CHECK(squares.back() == doctest::Approx(squares.front()));
  }
}

// In panels, blocks of samples, panels, slabs and tiles begin and end anywhere; the last batch is
// smaller. What is compared with is compared with the reference above.
TEST_CASE_TEMPLATE("sgd: in panels, any number of samples, any widths", T, float, double) {
  if (panel_kernel<T>() == nullptr) return;
  const auto check = [](const Shape& shape, Index batch, double momentum) {
    CAPTURE(batch);
    CAPTURE(shape.hidden.front());
    const Index samples = batch + 1 + batch / 2;
    const SgdOptions options{batch % 2 == 0 ? Loss::square : Loss::cross_entropy, batch, momentum,
                             momentum > 0.0};
    std::vector<Index> order(static_cast<std::size_t>(samples));
    for (Index i = 0; i < samples; ++i) order[static_cast<std::size_t>(i)] = samples - 1 - i;
    Training<T> panels(shape, samples, options);
    Training<T> matrices(shape, samples, options);
    const double square = panels.run(Way::panels, order.data());
    CHECK(square == doctest::Approx(matrices.run(Way::matrices, order.data())).epsilon(1e-4));
    CHECK(relative_error(panels.parameters(), matrices.parameters()) <
          10.0 * Tolerance<T>::kRounding);
    CHECK(relative_error(panels.outcomes, matrices.outcomes) < 10.0 * Tolerance<T>::kRounding);
  };
  for (Index batch = 1; batch <= 70; ++batch) {
    check({.inputs = 1 + batch % 19,
           .hidden = {71 - batch, batch, 7},
           .outputs = 1 + batch % 11,
           .activation = batch % 3 == 0 ? kTanh : kRelu,
           .biases = batch % 4 != 0},
          batch, batch % 5 == 0 ? 0.5 : 0.0);
  }
  check({.inputs = 200, .hidden = {129, 257}, .outputs = 17, .readouts = {2}}, 193, 0.5);
  check({.inputs = 3, .hidden = {385, 131}, .outputs = 130, .readouts = {2}}, 129, 0.0);
}

TEST_CASE_TEMPLATE("sgd: in panels, every activation", T, float, double) {
  if (panel_kernel<T>() == nullptr) return;
  std::vector<Activation> activations(kBuiltInActivations.begin(), kBuiltInActivations.end());
  activations.pop_back();  // squares of squares, whose steps leave the range of numbers
  activations.emplace_back(activation::Custom{[](double z) { return z * z / 4.0 + z; },
                                              [](double z) { return z / 2.0 + 1.0; }});
  for (const Activation& activation : activations) {
    const Shape shape{.hidden = {9, 21}, .outputs = 3, .readouts = {2}, .activation = activation};
    const SgdOptions options{Loss::square, 11, 0.0, true};
    Training<T> panels(shape, 19, options);
    Training<T> matrices(shape, 19, options);
    const double square = panels.run(Way::panels);
    CHECK(square == doctest::Approx(matrices.run(Way::matrices)).epsilon(1e-4));
    CHECK(relative_error(panels.parameters(), matrices.parameters()) <
          10.0 * Tolerance<T>::kRounding);
  }
}

TEST_CASE_TEMPLATE("sgd: steps are taken in panels where it is worth it", T, float, double) {
  const Shape shape{.hidden = {40}, .outputs = 3, .readouts = {1}};
  const HostDevice device(reference_blas(), 1);
  for (const Index batch : {63, 64}) {
    const SgdOptions options{Loss::square, batch, 0.0, false};
    Training<T> chosen(shape, 70, options);
    static_cast<void>(sgd<HostDevice, T>(device, chosen.network, chosen.layers, options,
                                         chosen.inputs.view(), chosen.targets.view(), nullptr,
                                         chosen.outcomes.view(), nullptr));
    const Way way = batch == 64 ? ways<T>().back() : Way::matrices;
    Training<T> expected(shape, 70, options);
    expected.run(way);
    CHECK(equal_to_the_last_bit(chosen.parameters(), expected.parameters()));
    CHECK(descends_in_panels<T>(device, batch) == (way == Way::panels));
  }
  CHECK_FALSE(
      descends_in_panels<float>(HostDevice(reference_blas(), 1, Float32Products::amx), 1000));
}

TEST_CASE("sgd: an exception of the monitor leaves whole steps") {
  const Shape shape{.hidden = {64, 64}, .outputs = 3, .readouts = {2}};
  constexpr Index kSamples = 40000;
  const SgdOptions options{Loss::cross_entropy, 4, 0.0, false};
  for (const Way way : ways<double>()) {
    CAPTURE(way);
    Training<double> training(shape, kSamples, options);
    for (TrainedLayer<double>& layer : training.layers) layer.rate = layer.bias_rate = 1e-3;
    training.outcomes.fill(-1.0);
    CHECK_THROWS_AS(training.run(way, nullptr, 2,
                                 [](const char* /*stage*/, Index /*done*/, Index /*total*/) {
                                   throw std::runtime_error("enough");
                                 }),
                    std::runtime_error);
    // With losses; the last of them may have had no update. A fast processor may have taken all.
    Index steps = 0;
    while (steps * 4 < kSamples && training.outcomes(steps * 4, 0) >= 0.0) ++steps;
    const PaddedMatrix<double> stopped = training.parameters();
    bool whole = false;
    for (Index done = std::max<Index>(0, steps - 1); done <= steps; ++done) {
      if (done == 0) continue;
      Training<double> again(shape, 4 * done, options);
      for (TrainedLayer<double>& layer : again.layers) layer.rate = layer.bias_rate = 1e-3;
      again.run(way, nullptr, 1);
      whole = whole || equal_to_the_last_bit(again.parameters(), stopped);
    }
    CHECK(whole);
  }
}

TEST_CASE("sgd: its memory") {
  const HostDevice device(reference_blas(), 1);
  const auto bytes = [&](const Shape& shape, bool gathered) {
    return training_bytes(device, RandomNetwork<double>(shape).get(), 10, gathered) / 80;
  };
  // A slot serves a layer and, later, the layer below it: the wider of the two.
  Shape shape{.inputs = 4, .hidden = {7, 3, 5}, .outputs = 2, .activation = kRelu};
  CHECK(bytes(shape, false) == 7 + 7 + 5 + 5 + 2);
  CHECK(bytes(shape, true) == 7 + 7 + 5 + 5 + 2 + 4);
  // Slopes that do not follow from the activations take as much as these.
  shape.activation = kTanh;
  CHECK(bytes(shape, false) == 2 * (7 + 3 + 5) + 2);
  CHECK(bytes(shape, true) == 2 * (7 + 3 + 5) + 2 + 4);
  for (const Activation& activation : {kRelu, kTanh}) {
    const Shape linear{
        .inputs = 4, .hidden = {}, .outputs = 2, .readouts = {0}, .activation = activation};
    CHECK(bytes(linear, false) == 2);
    CHECK(bytes(linear, true) == 2 + 4);
  }
  CHECK(training_bytes(device, RandomNetwork<float>(shape).get(), 10, false) == 10 * 4 * 32);
}

TEST_CASE_TEMPLATE("sgd: its memory in panels", T, float, double) {
  if (panel_kernel<T>() == nullptr) return;
  const Index p = panel_kernel<T>()->panel_rows;
  // All widths are whole panels, so that nothing is filled up.
  const RandomNetwork<T> random(
      {.inputs = 3 * p, .hidden = {5 * p, 2 * p}, .outputs = p, .readouts = {2}});
  const Index units = (3 + 5 + 2) * p + (5 + 2 + 1) * p + p;  // H, Δ, ones
  const Index weights = (15 + 10 + 2) * p * p + (10 + 2) * p * p;
  for (const bool gathered : {false, true}) {
    CHECK(training_bytes(HostDevice(reference_blas(), 1), random.get(), 100, gathered) ==
          (100 * units + weights) * static_cast<Index>(sizeof(T)));
  }
}

}  // namespace fastntk::test

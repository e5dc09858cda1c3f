// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/pair_angles.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <utility>
#include <vector>

#include "fastntk/host.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "reference_network.hpp"

namespace fastntk::test {

namespace {

using Pairs = std::vector<std::pair<Index, Index>>;

template <class T>
std::vector<T> angles_of(const Network<T>& network, Range outputs, const PaddedMatrix<T>& samples,
                         const Pairs& pairs, int threads = 1, const Monitor& monitor = nullptr) {
  std::vector<T> angles(pairs.size(), PaddedMatrix<T>::kNan);
  pair_angles(HostDevice(reference_blas(), threads), network, outputs,
              Matrix<const T>(samples.view()), pairs, angles, monitor);
  return angles;
}

// Returns the gradients of the chosen outputs, one after the other, scaled to length 1.
template <class T>
std::vector<long double> unit_gradient(const Network<T>& network, Range outputs, const T* sample) {
  std::vector<long double> all;
  for (Index c = outputs.first; c < outputs.first + outputs.count; ++c) {
    const auto gradient = reference_gradient<long double>(network, c, sample);
    all.insert(all.end(), gradient.begin(), gradient.end());
  }
  long double square = 0.0L;
  for (const long double g : all) square += g * g;
  for (long double& g : all) g /= std::sqrt(square);
  return all;
}

// This is good to 1e-18 or so, which relative to the angle is 1e-18 over the angle.
template <class T>
long double reference_angle(const Network<T>& network, Range outputs, const T* x, const T* z) {
  const auto u = unit_gradient(network, outputs, x);
  const auto v = unit_gradient(network, outputs, z);
  long double minus = 0.0L;
  long double plus = 0.0L;
  for (std::size_t k = 0; k < u.size(); ++k) {
    minus += (u[k] - v[k]) * (u[k] - v[k]);
    plus += (u[k] + v[k]) * (u[k] + v[k]);
  }
  return 2.0L * std::atan2(std::sqrt(minus), std::sqrt(plus));
}

double error(long double actual, long double expected) {
  if (!std::isfinite(actual)) return std::numeric_limits<double>::infinity();
  return static_cast<double>(std::abs(actual - expected) / expected);
}

constexpr Range kTwoOutputs{1, 2};

std::vector<Shape> shapes() {
  std::vector<Shape> result;
  for (const Activation& activation : std::initializer_list<Activation>{
           kIdentity, kRelu, kTanh, kGelu, kSoftplus, activation::Erf{1.0, 0.5},
           activation::Sine{0.75, 0.25}, activation::Elu{0.5}, activation::RectifiedMonomial{2},
           activation::Silu{}, activation::PiecewiseLinear{0.125, 1.0}}) {
    for (const bool biases : {false, true}) {
      for (const Index depth : {3, 1}) {
        result.push_back({.hidden = {16, 12, 9},
                          .outputs = 3,
                          .readouts = {depth},
                          .activation = activation,
                          .biases = biases,
                          .kernel_weights = depth == 3});
      }
    }
  }
  for (const OutputActivation& psi : kOutputActivations) {
    result.push_back({.hidden = {16, 12},
                      .outputs = 3,
                      .readouts = {2},
                      .activation = kTanh,
                      .output_activation = psi});
  }
  return result;
}

// Row 0 is a sample x, row p is x + 2⁻ᵖ v, without rounding.
PaddedMatrix<double> steps(Index inputs, Index smallest) {
  auto x = random_samples<double>(1, inputs, 5);
  PaddedMatrix<double> result(smallest + 1, inputs);
  constexpr std::array<double, 4> kDirection = {0.75, -1.25, 0.5, 1.0};
  for (Index p = 0; p <= smallest; ++p) {
    const double step = p == 0 ? 0.0 : std::ldexp(1.0, -static_cast<int>(p));
    for (Index j = 0; j < inputs; ++j) {
      result(p, j) = x(0, j) + step * kDirection[static_cast<std::size_t>(j % 4)];
    }
  }
  return result;
}

// 2⁻¹³ is about 1e-4, 2⁻⁴⁰ about 1e-12. Down to 2⁻²⁴ long double sees the angle itself. Below, the
// angle divided by the step is a straight line within 1e-12, through what it is at 2⁻²⁰ and 2⁻²¹.
constexpr Index kLargestStep = 13;
constexpr Index kSmallestSeen = 24;
constexpr Index kSmallestStep = 40;

std::vector<long double> reference_angles_of_steps(const Network<double>& network, Range outputs,
                                                   const PaddedMatrix<double>& samples) {
  const auto slope = [&](Index p) {
    return std::ldexp(
        reference_angle(network, outputs, samples.view().row(0), samples.view().row(p)),
        static_cast<int>(p));
  };
  const long double coarse = slope(20);
  const long double fine = slope(21);
  std::vector<long double> result;
  for (Index p = kLargestStep; p <= kSmallestStep; ++p) {
    const long double step = std::ldexp(1.0L, -static_cast<int>(p));
    const long double extrapolated = 2.0L * fine - coarse + std::ldexp(coarse - fine, 21) * step;
    result.push_back(step * (p <= kSmallestSeen ? slope(p) : extrapolated));
  }
  return result;
}

}  // namespace

TEST_CASE("pair angles: those between the gradients") {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<double> random(shape);
    const auto x = random_samples<double>(4, shape.inputs);
    const Pairs pairs = {{0, 1}, {2, 1}, {3, 0}, {2, 3}};
    for (const Range outputs : {Range{0, 1}, {2, 1}, {0, 3}, kTwoOutputs}) {
      const auto angles = angles_of(random.get(), outputs, x, pairs);
      for (std::size_t k = 0; k < pairs.size(); ++k) {
        CAPTURE(shape.activation.index());
        CAPTURE(shape.readouts.front());
        CAPTURE(k);
        const auto expected = reference_angle(random.get(), outputs, x.view().row(pairs[k].first),
                                              x.view().row(pairs[k].second));
        CHECK(error(angles[k], expected) < 1e-12);
      }
    }
  }
}

TEST_CASE("pair angles: to nine digits however close the samples are" *
          doctest::skip(std::numeric_limits<long double>::digits < 64)) {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<double> random(shape);
    const auto samples = steps(shape.inputs, kSmallestStep);
    REQUIRE(reference_pass(random.get(), samples.view().row(0)).positive ==
            reference_pass(random.get(), samples.view().row(kLargestStep)).positive);
    Pairs pairs;
    Pairs reversed;
    for (Index p = kLargestStep; p <= kSmallestStep; ++p) {
      pairs.emplace_back(0, p);
      reversed.emplace_back(p, 0);
    }
    for (const Range outputs : {Range{0, 1}, kTwoOutputs}) {
      const auto angles = angles_of(random.get(), outputs, samples, pairs);
      const auto backwards = angles_of(random.get(), outputs, samples, reversed);
      const auto expected = reference_angles_of_steps(random.get(), outputs, samples);
      for (std::size_t k = 0; k < pairs.size(); ++k) {
        CAPTURE(shape.activation.index());
        CAPTURE(shape.biases);
        CAPTURE(shape.readouts.front());
        CAPTURE(outputs.count);
        CAPTURE(pairs[k].second);
        CHECK(error(angles[k], expected[k]) < 1e-9);
        CHECK(error(backwards[k], expected[k]) < 1e-9);
      }
    }
  }
}

TEST_CASE("pair angles: where the activation turns over a distance as small as its argument" *
          doctest::skip(std::numeric_limits<long double>::digits < 64)) {
  for (const Activation& activation : std::initializer_list<Activation>{
           activation::RectifiedMonomial{2}, activation::RectifiedMonomial{3},
           activation::Sine{1048576.0, 0.25}, activation::Erf{1048576.0, 0.0},
           activation::Softplus{1048576.0}}) {
    const RandomNetwork<double> random(
        {.hidden = {16}, .outputs = 1, .readouts = {1}, .activation = activation, .biases = false});
    auto samples = steps(4, 3);
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < 4; ++j) samples(i, j) = std::ldexp(samples(i, j), -20);
    }
    const auto angles = angles_of(random.get(), {0, 1}, samples, {{0, 3}, {3, 0}});
    const auto expected =
        reference_angle(random.get(), Range{0, 1}, samples.view().row(0), samples.view().row(3));
    CAPTURE(activation.index());
    CHECK(error(angles[0], expected) < 1e-9);
    CHECK(error(angles[1], expected) < 1e-9);
  }
}

TEST_CASE("pair angles: in proportion to differences whose squares vanish") {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<double> random(shape);
    // Row p is x + 2⁻ᵖ v, where x has an element that is 0.
    constexpr std::array<int, 5> kExponents = {400, 500, 530, 700, 930};
    PaddedMatrix<double> samples(6, shape.inputs);
    const auto x = random_samples<double>(1, shape.inputs, 5);
    for (Index i = 0; i < 6; ++i) {
      for (Index j = 0; j < shape.inputs; ++j) samples(i, j) = x(0, j);
      samples(i, 0) = i == 0 ? 0.0 : std::ldexp(1.0, -kExponents[static_cast<std::size_t>(i - 1)]);
    }
    const auto angles =
        angles_of(random.get(), {0, 2}, samples, {{0, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 5}});
    REQUIRE(angles[0] > 0.0);
    for (std::size_t k = 1; k < angles.size(); ++k) {
      CAPTURE(shape.activation.index());
      CAPTURE(kExponents[k]);
      const long double expected = std::ldexp(angles[0], kExponents[0] - kExponents[k]);
      CHECK(error(angles[k], expected) < 1e-13);
    }
    samples(1, 0) = std::ldexp(1.0, -1060);
    CHECK(angles_of(random.get(), {0, 2}, samples, {{0, 1}}).front() == 0.0);
  }
}

TEST_CASE("pair angles: without hidden layers it is that of the samples") {
  const RandomNetwork<double> random(
      {.hidden = {}, .outputs = 3, .readouts = {0}, .biases = false});
  const auto samples = steps(4, kSmallestStep);
  // ‖x‖²‖v‖² − ⟨x, v⟩² is exact enough: x and v are at a large angle.
  for (Index p = 10; p <= kSmallestStep; ++p) {
    CAPTURE(p);
    std::array<long double, 3> sums{};
    for (Index j = 0; j < 4; ++j) {
      const long double x = samples(0, j);
      const long double v = (samples(p, j) - x) * std::ldexp(1.0L, static_cast<int>(p));
      sums[0] += x * x;
      sums[1] += v * v;
      sums[2] += x * v;
    }
    const long double step = std::ldexp(1.0L, -static_cast<int>(p));
    const long double expected = std::atan2(step * std::sqrt(sums[0] * sums[1] - sums[2] * sums[2]),
                                            sums[0] + step * sums[2]);
    CHECK(error(angles_of(random.get(), {0, 3}, samples, {{0, p}}).front(), expected) < 1e-14);
  }
}

TEST_CASE("pair angles: gates that flip in between") {
  const Shape shape{.hidden = {40, 40}, .outputs = 2, .readouts = {2}};
  const RandomNetwork<double> random(shape);
  const auto samples = steps(shape.inputs, 8);
  for (Index p = 1; p <= 8; ++p) {
    CAPTURE(p);
    if (p < 5) {
      REQUIRE(reference_pass(random.get(), samples.view().row(0)).positive !=
              reference_pass(random.get(), samples.view().row(p)).positive);
    }
    const auto expected =
        reference_angle(random.get(), {0, 2}, samples.view().row(0), samples.view().row(p));
    CHECK(error(angles_of(random.get(), {0, 2}, samples, {{0, p}}).front(), expected) < 1e-13);
  }
}

TEST_CASE("pair angles: parallel samples have parallel gradients in a homogeneous network") {
  for (const Activation& activation : {kIdentity, kRelu}) {
    const Shape shape{
        .hidden = {16, 12, 9}, .outputs = 2, .activation = activation, .biases = false};
    const RandomNetwork<double> random(shape);
    PaddedMatrix<double> samples = random_samples<double>(5, shape.inputs);
    for (Index j = 0; j < shape.inputs; ++j) {
      samples(1, j) = samples(0, j);
      samples(2, j) = samples(0, j) * (1.0 + 0x1p-10);
      samples(3, j) = samples(0, j) * (1.0 + 0x1p-30);
      samples(4, j) = samples(0, j) * -1.0;
    }
    const auto angles =
        angles_of(random.get(), {0, 2}, samples, {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}});
    CHECK(angles[0] == 0.0);
    CHECK(angles[1] == 0.0);
    CHECK(angles[2] < 1e-15);
    CHECK(angles[3] < 1e-15 * 0x1p-30);
    if (activation.index() == kIdentity.index()) {
      CHECK(error(angles[4], std::numbers::pi_v<long double>) < 1e-15);
    }
  }
}

TEST_CASE("pair angles: samples of very different size") {
  for (const Activation& activation : {kIdentity, kRelu, kTanh}) {
    const Shape shape{.hidden = {16, 12, 9}, .activation = activation, .biases = false};
    const RandomNetwork<double> random(shape);
    auto samples = random_samples<double>(2, shape.inputs);
    for (const double size : {1e-3, 1e-6, 1e-10, 1e-16, 1e-30}) {
      CAPTURE(size);
      CAPTURE(activation.index());
      PaddedMatrix<double> scaled = samples;
      for (Index j = 0; j < shape.inputs; ++j) scaled(1, j) *= size;
      const auto expected =
          reference_angle(random.get(), {0, 1}, scaled.view().row(0), scaled.view().row(1));
      const auto angles = angles_of(random.get(), {0, 1}, scaled, {{0, 1}, {1, 0}});
      CHECK(error(angles[0], expected) < 1e-11);
      CHECK(error(angles[1], expected) < 1e-11);
    }
  }
}

TEST_CASE_TEMPLATE("pair angles: NaN where a gradient is zero", T, float, double) {
  for (const Activation& activation : {kIdentity, kRelu, kTanh}) {
    const Shape shape{
        .hidden = {16, 12, 9}, .outputs = 2, .activation = activation, .biases = false};
    const RandomNetwork<T> random(shape);
    auto samples = random_samples<T>(3, shape.inputs);
    for (Index j = 0; j < shape.inputs; ++j) samples(1, j) = T(0);
    const auto angles = angles_of(random.get(), {0, 2}, samples, {{0, 1}, {1, 2}, {1, 1}, {0, 2}});
    CHECK(std::isnan(angles[0]));
    CHECK(std::isnan(angles[1]));
    CHECK(std::isnan(angles[2]));
    CHECK(std::isfinite(angles[3]));
  }
}

TEST_CASE("pair angles: float32") {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<float> random(shape);
    // With x in multiples of 2⁻¹⁰ and steps in multiples of 2⁻²⁰ all samples are exact in float32.
    constexpr Index kFloatSteps = 18;
    PaddedMatrix<float> samples(kFloatSteps + 1, shape.inputs);
    const auto x = steps(shape.inputs, kFloatSteps);
    for (Index p = 0; p <= kFloatSteps; ++p) {
      for (Index j = 0; j < shape.inputs; ++j) {
        const double base = std::round(x(0, j) * 1024.0) / 1024.0;
        samples(p, j) = static_cast<float>(base + (x(p, j) - x(0, j)));
      }
    }
    for (Index p = 1; p <= kFloatSteps; ++p) {
      CAPTURE(shape.activation.index());
      CAPTURE(shape.biases);
      CAPTURE(p);
      const auto expected =
          reference_angle(random.get(), {0, 2}, samples.view().row(0), samples.view().row(p));
      CHECK(error(angles_of(random.get(), {0, 2}, samples, {{0, p}}).front(), expected) < 1e-4);
    }
  }
}

TEST_CASE("pair angles: a function without second derivative") {
  const Activation custom =
      activation::Custom{[](double z) { return std::tanh(z); },
                         [](double z) { return 1.0 / (std::cosh(z) * std::cosh(z)); }};
  const RandomNetwork<double> own({.outputs = 2, .activation = custom});
  const RandomNetwork<double> built_in({.outputs = 2, .activation = kTanh});
  const auto samples = steps(4, 30);
  for (const Index p : {1, 4, 10, 16, 20, 30}) {
    CAPTURE(p);
    const double expected = angles_of(built_in.get(), {0, 2}, samples, {{0, p}}).front();
    // The slopes differ by their rounding, 1e-16, over the step.
    CHECK(error(angles_of(own.get(), {0, 2}, samples, {{0, p}}).front(), expected) <
          1e-14 * std::ldexp(1.0, static_cast<int>(p)));
  }
}

TEST_CASE("pair angles: the same to the last bit for any number of threads, and the monitor") {
  const RandomNetwork<double> random(Shape{});
  const auto x = random_samples<double>(8, 4);
  Pairs pairs;
  for (Index i = 0; i < 8; ++i) {
    for (Index j = 0; j < i; ++j) pairs.emplace_back(i, j);
  }
  const auto expected = angles_of(random.get(), {0, 1}, x, pairs);
  for (const int threads : {2, 3}) {
    CHECK(angles_of(random.get(), {0, 1}, x, pairs, threads) == expected);
  }
  CHECK(angles_of(random.get(), {0, 1}, x, {}).empty());
  const Monitor monitor = [](const char* stage, Index /*done*/, Index /*total*/) {
    throw std::runtime_error(stage);
  };
  CHECK_THROWS_WITH_AS(angles_of(random.get(), {0, 1}, x, pairs, 1, monitor), "angles",
                       std::runtime_error);
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/kernel_terms.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "fastntk/host.hpp"
#include "kernels.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr Range kAllOutputs{0, 3};
constexpr std::uint64_t kSeedX = 7;
constexpr std::uint64_t kSeedZ = 8;

// The widths are unequal; the first readout is at every depth, with another one beside it.
std::vector<Shape> shapes() {
  std::vector<Shape> result;
  for (const Activation& activation : {kRelu, kGelu}) {
    for (const bool biases : {false, true}) {
      for (const Index depth : {3, 1, 0}) {
        result.push_back({.outputs = 3,
                          .readouts = {depth, 2},
                          .activation = activation,
                          .biases = biases,
                          .kernel_weights = true});
      }
    }
  }
  return result;
}

// Returns the columns of each layer of the first readout's network in a matrix of gradients.
std::vector<Range> layer_columns(const Network<double>& network) {
  const Readout<double>& readout = network.readouts.front();
  std::vector<Range> result;
  Index first = 0;
  for (Index l = 1; l <= readout.depth + 1; ++l) {
    const Layer<double>& layer = l > readout.depth ? readout.layer : network.layer(l);
    result.push_back({first, layer.parameters()});
    first += layer.parameters();
  }
  return result;
}

// Returns what the split is to give, from the gradients themselves.
std::vector<PaddedMatrix<double>> expected_kernels(const Network<double>& network, Range outputs,
                                                   Split split, const PaddedMatrix<double>& x,
                                                   const PaddedMatrix<double>& z) {
  std::vector<PaddedMatrix<double>> of_x;
  std::vector<PaddedMatrix<double>> of_z;
  for (Index c = outputs.first; c < outputs.first + outputs.count; ++c) {
    of_x.push_back(reference_features(network, c, x));
    of_z.push_back(reference_features(network, c, z));
  }
  const Range everything{0, of_x.front().cols()};
  std::vector<PaddedMatrix<double>> result;
  const auto next = [&]() -> PaddedMatrix<double>& {
    result.emplace_back(x.rows(), z.rows());
    result.back().fill(0.0);
    return result.back();
  };
  switch (split) {
    case Split::none: {
      auto& sum = next();
      for (std::size_t c = 0; c < of_x.size(); ++c) add_gram(of_x[c], of_z[c], everything, sum);
      break;
    }
    case Split::layers:
      for (const Range& columns : layer_columns(network)) {
        auto& sum = next();
        for (std::size_t c = 0; c < of_x.size(); ++c) add_gram(of_x[c], of_z[c], columns, sum);
      }
      break;
    case Split::outputs:
      for (std::size_t c = 0; c < of_x.size(); ++c) add_gram(of_x[c], of_z[c], everything, next());
      break;
    case Split::output_pairs:
      for (const auto& a : of_x) {
        for (const auto& b : of_z) add_gram(a, b, everything, next());
      }
      break;
  }
  return result;
}

// With z_rows = 0 it is the symmetric kernel.
template <class P>
void check_split(const Shape& shape, Range outputs, Split split, Index x_rows, Index z_rows) {
  CAPTURE(static_cast<int>(split));
  CAPTURE(shape.readouts.front());
  CAPTURE(x_rows);
  CAPTURE(z_rows);
  using T = typename P::Pass;
  const RandomNetwork<T> random(shape);
  const RandomNetwork<double> reference(shape);
  const Index cols = z_rows == 0 ? x_rows : z_rows;
  const std::uint64_t col_seed = z_rows == 0 ? kSeedX : kSeedZ;
  const auto z = random_samples<T>(cols, shape.inputs, col_seed);
  const auto kernels = split_kernels<typename P::Gram>(
      random.single(0), outputs, split, random_samples<T>(x_rows, shape.inputs, kSeedX),
      z_rows == 0 ? nullptr : &z);
  const auto expected = expected_kernels(reference.single(0), outputs, split,
                                         random_samples<double>(x_rows, shape.inputs, kSeedX),
                                         random_samples<double>(cols, shape.inputs, col_seed));
  REQUIRE(kernels.size() == expected.size());
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    CAPTURE(k);
    CHECK(relative_error(kernels[k], expected[k]) < P::kTolerance);
  }
}

constexpr std::array<Split, 4> kSplits = {Split::none, Split::layers, Split::outputs,
                                          Split::output_pairs};

bool transposes_to_the_last_bit(const PaddedMatrix<double>& a, const PaddedMatrix<double>& b) {
  PaddedMatrix<double> transposed(b.cols(), b.rows());
  for (Index i = 0; i < b.rows(); ++i) {
    for (Index j = 0; j < b.cols(); ++j) transposed(j, i) = b(i, j);
  }
  return equal_to_the_last_bit(a, transposed);
}

}  // namespace

TEST_CASE_TEMPLATE("kernel terms: every split is made of the gradients", P, Single, Mixed, Double,
                   Narrowed) {
  for (const Shape& shape : shapes()) {
    for (const Split split : kSplits) {
      check_split<P>(shape, kAllOutputs, split, 13, 0);
      check_split<P>(shape, kAllOutputs, split, 5, 9);
    }
  }
}

TEST_CASE("kernel terms: chosen outputs") {
  for (const Range outputs : {Range{0, 1}, {2, 1}, {1, 2}}) {
    for (const Split split : kSplits) {
      CAPTURE(outputs.first);
      CAPTURE(outputs.count);
      check_split<Double>(shapes().back(), outputs, split, 7, 0);
      check_split<Double>(shapes().front(), outputs, split, 7, 0);
      check_split<Double>(shapes().front(), outputs, split, 4, 6);
    }
  }
}

TEST_CASE("kernel terms: many tiles") {
  const Shape shape{
      .inputs = 3, .hidden = {4, 3}, .outputs = 2, .readouts = {2}, .kernel_weights = true};
  for (const Split split : kSplits) {
    check_split<Double>(shape, {0, 2}, split, 130, 0);
    check_split<Double>(shape, {0, 2}, split, 130, 70);
  }
}

TEST_CASE("kernel terms: the layers sum to the whole, and so do the outputs") {
  for (const Shape& shape : shapes()) {
    const RandomNetwork<double> random(shape);
    const auto x = random_samples<double>(20, shape.inputs);
    const auto whole = split_kernels<double>(random.get(), kAllOutputs, Split::none, x);
    for (const Split split : {Split::layers, Split::outputs}) {
      PaddedMatrix<double> sum(20, 20);
      sum.fill(0.0);
      for (const auto& part : split_kernels<double>(random.get(), kAllOutputs, split, x)) {
        for (Index i = 0; i < 20; ++i) {
          for (Index j = 0; j < 20; ++j) sum(i, j) += part(i, j);
        }
      }
      CHECK(relative_error(whole.front(), sum) < Tolerance<double>::kRounding);
    }
  }
}

TEST_CASE("kernel terms: pairs of outputs mirror each other to the last bit") {
  const Shape shape{.hidden = {6, 5}, .outputs = 3, .readouts = {2}};
  const RandomNetwork<double> random(shape);
  for (const Index samples : {1, 17, 64, 65, 130, 200}) {
    CAPTURE(samples);
    const auto x = random_samples<double>(samples, shape.inputs);
    const auto kernels = split_kernels<double>(random.get(), kAllOutputs, Split::output_pairs, x);
    for (std::size_t a = 0; a < 3; ++a) {
      for (std::size_t b = 0; b <= a; ++b) {
        CHECK(transposes_to_the_last_bit(kernels[3 * a + b], kernels[3 * b + a]));
      }
    }
  }
}

TEST_CASE("kernel terms: without hidden layers different outputs have nothing in common") {
  const Shape shape{.hidden = {}, .outputs = 3, .readouts = {0}};
  const RandomNetwork<double> random(shape);
  const auto x = random_samples<double>(70, shape.inputs, kSeedX);
  const auto z = random_samples<double>(5, shape.inputs, kSeedZ);
  for (const auto* columns : {static_cast<const PaddedMatrix<double>*>(nullptr), &z}) {
    const auto kernels =
        split_kernels<double>(random.get(), kAllOutputs, Split::output_pairs, x, columns);
    for (std::size_t k = 0; k < 9; ++k) {
      CAPTURE(k);
      PaddedMatrix<double> zero(kernels[k].rows(), kernels[k].cols());
      zero.fill(0.0);
      CHECK(equal_to_the_last_bit(kernels[k], zero) == (k % 4 != 0));
    }
  }
}

TEST_CASE("kernel terms: a layer of weight 0 has no part in the kernel, weights or bias") {
  const Shape shape{.outputs = 2};
  const RandomNetwork<double> random(shape);
  const auto x = random_samples<double>(6, shape.inputs);
  const auto parts = split_kernels<double>(random.get(), {0, 2}, Split::layers, x);
  Network<double> second_only = random.get();
  for (Layer<double>& layer : second_only.hidden) {
    layer.kernel_weight = layer.kernel_bias_weight = 0.0;
  }
  second_only.readouts.front().layer.kernel_weight = 0.0;
  second_only.readouts.front().layer.kernel_bias_weight = 0.0;
  second_only.hidden[1].kernel_weight = 1.0;
  const auto weights = split_kernels<double>(second_only, {0, 2}, Split::none, x);
  second_only.hidden[1].kernel_weight = 0.0;
  second_only.hidden[1].kernel_bias_weight = 2.0;
  const auto biases = split_kernels<double>(second_only, {0, 2}, Split::none, x);
  PaddedMatrix<double> sum(6, 6);
  for (Index i = 0; i < 6; ++i) {
    for (Index j = 0; j < 6; ++j) sum(i, j) = weights[0](i, j) + biases[0](i, j) / 2.0;
  }
  CHECK(relative_error(sum, parts[1]) < Tolerance<double>::kRounding);
}

TEST_CASE("kernel terms: the same to the last bit for any number of threads") {
  const Shape shape{.hidden = {6, 5}, .outputs = 2, .readouts = {2}};
  const RandomNetwork<float> random(shape);
  const auto x = random_samples<float>(300, shape.inputs);
  for (const Split split : {Split::layers, Split::outputs, Split::output_pairs}) {
    const auto expected = split_kernels<double>(random.get(), {0, 2}, split, x, nullptr, 1);
    for (const int threads : {2, 3}) {
      const auto again = split_kernels<double>(random.get(), {0, 2}, split, x, nullptr, threads);
      for (std::size_t k = 0; k < expected.size(); ++k) {
        CHECK(equal_to_the_last_bit(again[k], expected[k]));
      }
    }
  }
}

TEST_CASE("kernel terms: the kernels are counted") {
  const RandomNetwork<double> random({.outputs = 3, .readouts = {2, 0}});
  CHECK(kernel_count(random.get(), {0, 3}, Split::none) == 2);
  CHECK(kernel_count(random.get(), {0, 3}, Split::layers) == 3);
  CHECK(kernel_count(random.get(), {1, 2}, Split::outputs) == 2);
  CHECK(kernel_count(random.get(), {1, 2}, Split::output_pairs) == 4);
  CHECK_THROWS_AS(kernel_count(random.get(), {0, 3}, static_cast<Split>(99)),
                  std::invalid_argument);
}

TEST_CASE("kernel terms: how many kernels there are, and which of them are transposes") {
  const RandomNetwork<double> random({.outputs = 3, .readouts = {2, 3, 0}});
  const Network<double>& network = random.get();
  const auto count = [&](Split split, Range outputs) {
    return kernel_count(network, outputs, split);
  };
  CHECK(count(Split::none, {0, 3}) == 3);    // readouts
  CHECK(count(Split::layers, {0, 3}) == 3);  // of the first readout, at depth 2, and it itself
  CHECK(count(Split::outputs, {1, 2}) == 2);
  CHECK(count(Split::output_pairs, {1, 2}) == 4);
  using Indices = std::vector<std::size_t>;
  CHECK(kernel_mirror(network, {0, 3}, Split::none) == Indices{0, 1, 2});
  CHECK(kernel_mirror(network, {0, 3}, Split::layers) == Indices{0, 1, 2});
  CHECK(kernel_mirror(network, {1, 2}, Split::outputs) == Indices{0, 1});
  CHECK(kernel_mirror(network, {0, 3}, Split::output_pairs) == Indices{0, 3, 6, 1, 4, 7, 2, 5, 8});
  CHECK(kernel_mirror(network, {2, 1}, Split::output_pairs) == Indices{0});
}

}  // namespace fastntk::test

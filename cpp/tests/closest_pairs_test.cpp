// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/closest_pairs.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "fastntk/host.hpp"
#include "kernels.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

// These are the features of a set of samples and the terms of their kernel.
template <class T>
struct Prepared {
  Prepared(const Network<T>& network, Range outputs, const PaddedMatrix<T>& samples, int threads)
      : device(reference_blas(), threads),
        features(compute_features<T>(device, network, outputs, samples.view(), FeatureUse::grams,
                                     nullptr)),
        terms(kernel_terms(network, outputs, Split::none, features, features)) {}

  std::vector<T> diagonal(const Monitor& monitor = nullptr) const {
    // There is one element more, which is to be left alone.
    std::vector<T> result(static_cast<std::size_t>(features.rows) + 1, T(-7));
    kernel_diagonal(device, terms, features, result.data(), monitor);
    CHECK(result.back() == T(-7));
    result.pop_back();
    return result;
  }

  std::vector<T> inverse_norms() const {
    std::vector<T> result = diagonal();
    for (T& value : result) value = value > T(0) ? T(1) / std::sqrt(value) : T(0);
    return result;
  }

  std::vector<CosinePair<T>> closest(const std::vector<T>& scales, std::size_t k,
                                     const Monitor& monitor = nullptr) const {
    return closest_pairs<HostDevice, T>(device, terms, {features, scales}, {features, scales},
                                        PairsOf::one_set, k, monitor);
  }

  HostDevice device;
  Features<HostDevice, T> features;
  KernelTerms<T> terms;
};

// Pairs are sorted by (−cosine, i, j).
template <class T>
using Sorted = std::vector<std::tuple<T, Index, Index>>;

template <class T>
Sorted<T> sorted_pairs(const std::vector<CosinePair<T>>& pairs) {
  Sorted<T> result;
  for (const auto& pair : pairs) result.emplace_back(-pair.cosine, pair.i, pair.j);
  return result;
}

// Returns the first k of all pairs. The tiles of the kernel are those that are searched: cosines
// agree to the last bit.
template <class T>
Sorted<T> brute_force(const PaddedMatrix<T>& kernel, const std::vector<T>& scales, std::size_t k) {
  Sorted<T> all;
  for (Index j = 0; j < kernel.rows(); ++j) {
    for (Index i = 0; i < j; ++i) {
      const T own = scales[static_cast<std::size_t>(i)];
      const T other = scales[static_cast<std::size_t>(j)];
      if (own > T(0) && other > T(0)) all.emplace_back(-(other * (kernel(j, i) * own)), i, j);
    }
  }
  std::ranges::sort(all);
  all.resize(std::min(k, all.size()));
  return all;
}

template <class T>
void check_closest(const Shape& shape, Range outputs, const PaddedMatrix<T>& x) {
  const RandomNetwork<T> random(shape);
  const Prepared<T> prepared(random.get(), outputs, x, 2);
  const auto scales = prepared.inverse_norms();
  const auto kernels = split_kernels<T>(random.get(), outputs, Split::none, x);
  for (const std::size_t k : {1, 2, 10, 500, 10000}) {
    if ((k == 2 || k > 500) && x.rows() > 150) continue;  // would take long
    CAPTURE(x.rows());
    CAPTURE(k);
    CHECK(sorted_pairs(prepared.closest(scales, k)) == brute_force(kernels.front(), scales, k));
  }
}

// The samples are corners of a cube: with a kernel of inner products and norms of 2, all cosines
// are multiples of 1/4, and most pairs have one that many others have too.
constexpr Index kCubeInputs = 4;

template <class T>
PaddedMatrix<T> corners(Index count) {
  PaddedMatrix<T> result(count, kCubeInputs);
  for (Index i = 0; i < count; ++i) {
    const auto bits = static_cast<std::size_t>(i * i * 7 + i * 3 + i / 16);
    for (Index j = 0; j < kCubeInputs; ++j)
      result(i, j) = (bits >> static_cast<std::size_t>(j)) % 2 == 0 ? T(1) : T(-1);
  }
  return result;
}

template <class T>
Network<T> inner_product(const RandomNetwork<T>& random) {
  Network<T> network = random.get();
  network.readouts.front().layer.weight_scale = 1.0;
  return network;
}

Shape linear() { return {.inputs = kCubeInputs, .hidden = {}, .readouts = {0}, .biases = false}; }

}  // namespace

TEST_CASE_TEMPLATE("closest pairs: the diagonal of the kernel", T, float, double) {
  for (const Index depth : {2, 1, 0}) {
    for (const Index samples : {0, 1, 31, 65, 300}) {
      CAPTURE(depth);
      CAPTURE(samples);
      const Shape shape{.hidden = {6, 5},
                        .outputs = 2,
                        .readouts = {depth},
                        .biases = depth != 1,
                        .kernel_weights = true};
      const RandomNetwork<T> random(shape);
      const RandomNetwork<double> reference(shape);
      const auto x = random_samples<double>(samples, shape.inputs);
      PaddedMatrix<double> expected(1, samples);
      expected.fill(0.0);
      for (const Index c : {0, 1}) {
        const auto f = reference_features(reference.get(), c, x);
        for (Index i = 0; i < samples; ++i) {
          for (Index p = 0; p < f.cols(); ++p) expected(0, i) += f(i, p) * f(i, p);
        }
      }
      const Prepared<T> prepared(random.get(), {0, 2}, random_samples<T>(samples, shape.inputs), 2);
      std::vector<T> diagonal = prepared.diagonal();
      CHECK(relative_error(Matrix<T>(diagonal.data(), 1, samples), expected.view()) <
            Tolerance<T>::kRounding);
    }
  }
}

TEST_CASE_TEMPLATE("closest pairs: agree with all pairs sorted", T, float, double) {
  const Shape shape{.hidden = {6, 5}, .outputs = 2, .readouts = {2}, .kernel_weights = true};
  for (const Index samples : {2, 3, 63, 64, 65, 129, 300}) {
    check_closest<T>(shape, {0, 2}, random_samples<T>(samples, shape.inputs));
  }
  check_closest<T>({.outputs = 3, .readouts = {3}, .biases = false}, {1, 1},
                   random_samples<T>(40, 4));
  check_closest<T>({.hidden = {}, .outputs = 3, .readouts = {0}}, {0, 3}, random_samples<T>(40, 4));
}

TEST_CASE("closest pairs: the cosines are those of the gradients") {
  const Shape shape{.hidden = {6, 5}, .readouts = {2}, .activation = kTanh, .kernel_weights = true};
  const RandomNetwork<double> random(shape);
  const auto x = random_samples<double>(100, shape.inputs);
  const Prepared<double> prepared(random.get(), {0, 1}, x, 2);
  const auto f = reference_features(random.get(), 0, x);
  PaddedMatrix<double> kernel(100, 100);
  kernel.fill(0.0);
  add_gram(f, f, {0, f.cols()}, kernel);
  std::vector<double> scales;
  for (Index i = 0; i < 100; ++i) scales.push_back(1.0 / std::sqrt(kernel(i, i)));
  const auto expected = brute_force(kernel, scales, 50);
  const auto found = sorted_pairs(prepared.closest(prepared.inverse_norms(), 50));
  REQUIRE(found.size() == 50);
  for (std::size_t k = 0; k < 50; ++k) {
    CAPTURE(k);
    CHECK(std::abs(std::get<0>(found[k]) - std::get<0>(expected[k])) < 1e-14);
    CHECK(std::get<1>(found[k]) == std::get<1>(expected[k]));
    CHECK(std::get<2>(found[k]) == std::get<2>(expected[k]));
  }
}

TEST_CASE_TEMPLATE("closest pairs: of two sets of samples", T, float, double) {
  const RandomNetwork<T> random(Shape{.hidden = {6, 5}, .readouts = {2}});
  for (const auto& [before, after] : {std::pair<Index, Index>{1, 1}, {70, 3}, {3, 200}}) {
    CAPTURE(before);
    const Index count = before + after;
    const auto x = random_samples<T>(count, 4);
    const Prepared<T> whole(random.get(), {0, 1}, x, 2);
    auto scales = whole.inverse_norms();
    scales[0] = before > 1 ? T(0) : scales[0];  // left out
    const auto part = [&](Index first, Index rows) {
      PaddedMatrix<T> result(rows, 4);
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < 4; ++j) result(i, j) = x(first + i, j);
      }
      return result;
    };
    const Prepared<T> z(random.get(), {0, 1}, part(0, before), 2);
    const Prepared<T> rest(random.get(), {0, 1}, part(before, after), 2);
    const std::vector<T> z_scales(scales.begin(), scales.begin() + before);
    const std::vector<T> x_scales(scales.begin() + before, scales.end());
    const auto terms = kernel_terms(random.get(), {0, 1}, Split::none, rest.features, z.features);
    // Those of all pairs that have one sample in either set.
    Sorted<T> expected;
    for (const auto& [cosine, i, j] : sorted_pairs(whole.closest(scales, 1000000))) {
      if (i < before && j >= before) expected.emplace_back(cosine, i, j - before);
    }
    for (const std::size_t k : {1, 20, 100000}) {
      CAPTURE(k);
      auto first = expected;
      first.resize(std::min(k, first.size()));
      CHECK(sorted_pairs(closest_pairs<HostDevice, T>(rest.device, terms, {rest.features, x_scales},
                                                      {z.features, z_scales}, PairsOf::two_sets, k,
                                                      nullptr)) == first);
    }
  }
}

TEST_CASE("closest pairs: of two sets that share their features") {
  const RandomNetwork<double> random(Shape{.hidden = {6, 5}, .readouts = {2}, .activation = kTanh});
  const Prepared<double> prepared(random.get(), {0, 1}, random_samples<double>(9, 4), 2);
  const auto scales = prepared.inverse_norms();
  const NormedFeatures<HostDevice, double> both{prepared.features, scales};
  const auto found =
      closest_pairs(prepared.device, prepared.terms, both, both, PairsOf::two_sets, 81, nullptr);
  CHECK(found.size() == 81);
  for (std::size_t p = 0; p < 9; ++p) CHECK(found[p].i == found[p].j);
}

TEST_CASE_TEMPLATE("closest pairs: of equal angles the first pairs", T, float, double) {
  const RandomNetwork<T> random(linear());
  const Network<T> network = inner_product(random);
  for (const Index samples : {20, 130, 200}) {
    const auto x = corners<T>(samples);
    Sorted<T> all;
    for (Index i = 0; i < samples; ++i) {
      for (Index j = i + 1; j < samples; ++j) {
        T dot_product = T(0);
        for (Index c = 0; c < kCubeInputs; ++c) dot_product += x(i, c) * x(j, c);
        all.emplace_back(-dot_product / T(4), i, j);
      }
    }
    std::ranges::sort(all);
    const std::vector<T> scales(static_cast<std::size_t>(samples), T(0.5));
    for (const int threads : {1, 3}) {
      const Prepared<T> prepared(network, {0, 1}, x, threads);
      for (const std::size_t k : {1, 3, 50, 189, 190, 191, 20000}) {
        CAPTURE(samples);
        CAPTURE(threads);
        CAPTURE(k);
        Sorted<T> expected = all;
        expected.resize(std::min(k, all.size()));
        CHECK(sorted_pairs(prepared.closest(scales, k)) == expected);
      }
    }
  }
}

TEST_CASE("closest pairs: samples with a gradient of zero are left out") {
  const RandomNetwork<double> random(linear());
  const Network<double> network = inner_product(random);
  auto x = random_samples<double>(70, kCubeInputs);
  for (const Index zero : {0, 5, 64, 69}) {
    for (Index j = 0; j < kCubeInputs; ++j) x(zero, j) = 0.0;
  }
  const Prepared<double> prepared(network, {0, 1}, x, 2);
  const auto scales = prepared.inverse_norms();
  CHECK(scales[5] == 0.0);
  const auto found = prepared.closest(scales, 20000);
  CHECK(found.size() == 66 * 65 / 2);
  for (const auto& pair : found) {
    REQUIRE(scales[static_cast<std::size_t>(pair.i)] > 0.0);
    REQUIRE(scales[static_cast<std::size_t>(pair.j)] > 0.0);
  }
  const auto kernels = split_kernels<double>(network, {0, 1}, Split::none, x);
  CHECK(sorted_pairs(prepared.closest(scales, 20)) == brute_force(kernels.front(), scales, 20));
  CHECK(prepared.closest(std::vector<double>(70, 0.0), 5).empty());
}

TEST_CASE("closest pairs: none among fewer than two samples") {
  const RandomNetwork<double> random(Shape{});
  for (const Index samples : {0, 1}) {
    const Prepared<double> prepared(random.get(), {0, 1}, random_samples<double>(samples, 4), 2);
    CHECK(prepared.closest(prepared.inverse_norms(), 3).empty());
  }
}

TEST_CASE_TEMPLATE("closest pairs: the same to the last bit for any number of threads", T, float,
                   double) {
  const RandomNetwork<T> random(Shape{.hidden = {6, 5}, .readouts = {2}});
  const auto x = random_samples<T>(600, 4);
  const Prepared<T> one(random.get(), {0, 1}, x, 1);
  const auto scales = one.inverse_norms();
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    const Prepared<T> more(random.get(), {0, 1}, x, threads);
    CHECK(more.diagonal() == one.diagonal());
    for (const std::size_t k : {1, 30}) {
      CHECK(sorted_pairs(more.closest(scales, k)) == sorted_pairs(one.closest(scales, k)));
    }
  }
}

TEST_CASE("closest pairs: the monitor may end the work") {
  const RandomNetwork<double> random(Shape{});
  const Prepared<double> prepared(random.get(), {0, 1}, random_samples<double>(5, 4), 1);
  const auto scales = prepared.inverse_norms();
  const Monitor monitor = [](const char* stage, Index /*done*/, Index /*total*/) {
    throw std::runtime_error(stage);
  };
  CHECK_THROWS_WITH_AS(prepared.diagonal(monitor), "norms", std::runtime_error);
  CHECK_THROWS_WITH_AS(prepared.closest(scales, 2, monitor), "tiles", std::runtime_error);
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/jacobian_products.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "fastntk/host.hpp"
#include "kernels.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

constexpr std::uint64_t kSeedU = 21;
constexpr std::uint64_t kSeedV = 22;

// These are the features of some outputs, and the products with them.
template <class T, class G>
class Products {
 public:
  Products(const Network<T>& network, Range outputs, const PaddedMatrix<T>& samples, int threads)
      : network_(network),
        outputs_(outputs),
        device_(reference_blas(), threads),
        features_(compute_features<G>(device_, network, outputs, samples.view(),
                                      FeatureUse::products, nullptr)) {}

  PaddedMatrix<G> transposed(Index output, const PaddedMatrix<G>& u,
                             const Monitor& monitor = nullptr) const {
    PaddedMatrix<G> result(u.rows(), parameter_count(network_, network_.readouts.front()));
    transposed_jacobian_products<HostDevice, T, G>(device_, network_, features_, outputs_, output,
                                                   u.view(), result.view(), monitor);
    CHECK(result.margin_intact());
    return result;
  }

  PaddedMatrix<G> direct(Index output, const PaddedMatrix<G>& v, bool weighted = false,
                         const Monitor& monitor = nullptr) const {
    PaddedMatrix<G> result(v.rows(), features_.rows);
    jacobian_products<HostDevice, T, G>(device_, network_, features_, outputs_, output, weighted,
                                        v.view(), result.view(), monitor);
    CHECK(result.margin_intact());
    return result;
  }

 private:
  const Network<T>& network_;
  Range outputs_;
  HostDevice device_;
  Features<HostDevice, G> features_;
};

Network<double> without_kernel_weights(Network<double> network) {
  const auto reset = [](Layer<double>& layer) {
    layer.kernel_weight = layer.kernel_bias_weight = 1.0;
  };
  for (Layer<double>& layer : network.hidden) reset(layer);
  for (Readout<double>& readout : network.readouts) reset(readout.layer);
  return network;
}

// Returns a b, or a bᵀ.
PaddedMatrix<double> product(const PaddedMatrix<double>& a, const PaddedMatrix<double>& b,
                             bool transposed) {
  const Index cols = transposed ? b.rows() : b.cols();
  PaddedMatrix<double> result(a.rows(), cols);
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < cols; ++j) {
      double sum = 0.0;
      for (Index k = 0; k < a.cols(); ++k) sum += a(i, k) * (transposed ? b(j, k) : b(k, j));
      result(i, j) = sum;
    }
  }
  return result;
}

// Returns v diag(ω).
PaddedMatrix<double> times_kernel_weights(const Network<double>& network, PaddedMatrix<double> v) {
  Index p = 0;
  const auto scale = [&](const Layer<double>& layer) {
    for (Index k = 0; k < layer.parameters(); ++k, ++p) {
      const bool bias = k >= layer.outputs() * layer.inputs();
      const double omega = bias ? layer.kernel_bias_weight : layer.kernel_weight;
      for (Index i = 0; i < v.rows(); ++i) v(i, p) *= omega;
    }
  };
  const Readout<double>& readout = network.readouts.front();
  for (Index l = 1; l <= readout.depth; ++l) scale(network.layer(l));
  scale(readout.layer);
  return v;
}

template <class P>
void check_products(const Shape& shape, Range outputs, Index samples, Index vectors) {
  CAPTURE(shape.readouts.front());
  CAPTURE(shape.biases);
  CAPTURE(samples);
  CAPTURE(vectors);
  using T = typename P::Pass;
  using G = typename P::Gram;
  const RandomNetwork<T> random(shape);
  const RandomNetwork<double> reference(shape);
  const Network<double> network = without_kernel_weights(reference.get());
  const auto x = random_samples<double>(samples, shape.inputs);
  const Products<T, G> products(random.get(), outputs, random_samples<T>(samples, shape.inputs), 2);
  const Index parameters = parameter_count(network, network.readouts.front());
  const auto u = random_samples<double>(vectors, samples, kSeedU);
  const auto v = random_samples<double>(vectors, parameters, kSeedV);
  for (Index c = 0; c < outputs.count; ++c) {
    CAPTURE(c);
    const auto f = reference_features(network, outputs.first + c, x);
    const auto fu = products.transposed(c, random_samples<G>(vectors, samples, kSeedU));
    CHECK(relative_error(fu, product(u, f, false)) < P::kTolerance);
    const auto of_v = random_samples<G>(vectors, parameters, kSeedV);
    CHECK(relative_error(products.direct(c, of_v), product(v, f, true)) < P::kTolerance);
    const auto weighted = times_kernel_weights(reference.get(), v);
    CHECK(relative_error(products.direct(c, of_v, true), product(weighted, f, true)) <
          P::kTolerance);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("jacobian products: are those with the gradients", P, Single, Mixed, Double,
                   Narrowed) {
  for (const Activation& activation : {kRelu, kTanh}) {
    for (const bool biases : {false, true}) {
      check_products<P>({.outputs = 3,
                         .readouts = {3},
                         .activation = activation,
                         .biases = biases,
                         .kernel_weights = true},
                        {0, 3}, 9, 4);
    }
  }
}

TEST_CASE("jacobian products: chosen outputs") {
  for (const Range outputs : {Range{0, 1}, {2, 1}, {1, 2}}) {
    for (const Index depth : {3, 0}) {
      check_products<Double>({.hidden = std::vector<Index>(static_cast<std::size_t>(depth), 5),
                              .outputs = 3,
                              .readouts = {depth},
                              .kernel_weights = true},
                             outputs, 7, 2);
    }
  }
}

TEST_CASE("jacobian products: without hidden layers") {
  for (const bool biases : {false, true}) {
    check_products<Double>(
        {.hidden = {}, .outputs = 3, .readouts = {0}, .biases = biases, .kernel_weights = true},
        {0, 3}, 6, 2);
  }
}

TEST_CASE("jacobian products: of a readout below the top") {
  for (const Index depth : {2, 1, 0}) {
    check_products<Double>({.outputs = 2, .readouts = {depth, 3}, .kernel_weights = true}, {0, 2},
                           6, 2);
  }
}

TEST_CASE_TEMPLATE("jacobian products: any number of samples", P, Mixed, Double) {
  const Shape shape{.inputs = 3, .hidden = {4, 3}, .outputs = 2, .readouts = {2}};
  for (const Index samples : {0, 1, 255, 257, 511, 512, 513, 1030}) {
    check_products<P>(shape, {1, 1}, samples, 1);
  }
}

TEST_CASE("jacobian products: any number of units, inputs and outputs") {
  for (const Index units : {255, 256, 257, 520}) {
    check_products<Double>({.inputs = 2, .hidden = {units}, .outputs = 1, .readouts = {1}}, {0, 1},
                           3, 2);
    check_products<Double>({.inputs = units, .hidden = {2}, .outputs = 1, .readouts = {1}}, {0, 1},
                           3, 1);
    check_products<Double>({.inputs = 2, .hidden = {3}, .outputs = units, .readouts = {1}},
                           {units - 2, 2}, 3, 1);
  }
}

TEST_CASE("jacobian products: each is the adjoint of the other") {
  const Shape shape{.inputs = 3, .hidden = {300, 4}, .outputs = 2, .readouts = {2}};
  const RandomNetwork<double> random(shape);
  const Products<double, double> products(random.get(), {0, 2}, random_samples<double>(600, 3), 2);
  const Index parameters = parameter_count(random.get(), random.get().readouts.front());
  const auto u = random_samples<double>(1, 600, kSeedU);
  const auto v = random_samples<double>(1, parameters, kSeedV);
  const auto dot_product = [](const PaddedMatrix<double>& a, const PaddedMatrix<double>& b) {
    return product(a, b, true)(0, 0);
  };
  for (const Index output : {0, 1}) {
    const double left = dot_product(u, products.direct(output, v));
    const double right = dot_product(products.transposed(output, u), v);
    CHECK(std::abs(left - right) < 1e-12 * std::abs(left));
  }
}

TEST_CASE("jacobian products: one after the other they are the kernel") {
  const Shape shape{.outputs = 2, .kernel_weights = true};
  const RandomNetwork<double> random(shape);
  const auto x = random_samples<double>(40, shape.inputs);
  const auto z = random_samples<double>(30, shape.inputs, 8);
  const Products<double, double> of_x(random.get(), {0, 2}, x, 2);
  const Products<double, double> of_z(random.get(), {0, 2}, z, 2);
  const auto kernels = split_kernels<double>(random.get(), {0, 2}, Split::output_pairs, x, &z);
  const auto u = random_samples<double>(2, 30, kSeedU);
  for (Index a = 0; a < 2; ++a) {
    for (Index b = 0; b < 2; ++b) {
      const auto actual = of_x.direct(a, of_z.transposed(b, u), true);
      const auto& kernel = kernels[static_cast<std::size_t>(2 * a + b)];
      CHECK(relative_error(actual, product(u, kernel, true)) < Tolerance<double>::kRounding);
    }
  }
}

TEST_CASE_TEMPLATE("jacobian products: the same to the last bit for any number of threads", G,
                   float, double) {
  const Shape shape{.inputs = 3, .hidden = {300, 4}, .outputs = 2, .readouts = {2}};
  const RandomNetwork<float> random(shape);
  const auto x = random_samples<float>(1100, 3);
  const Products<float, G> one(random.get(), {0, 2}, x, 1);
  const auto u = random_samples<G>(3, 1100, kSeedU);
  const auto v =
      random_samples<G>(3, parameter_count(random.get(), random.get().readouts.front()), kSeedV);
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    const Products<float, G> more(random.get(), {0, 2}, x, threads);
    CHECK(equal_to_the_last_bit(more.transposed(1, u), one.transposed(1, u)));
    CHECK(equal_to_the_last_bit(more.direct(1, v), one.direct(1, v)));
  }
}

TEST_CASE("jacobian products: the monitor may end the work") {
  const RandomNetwork<double> random(Shape{});
  const Products<double, double> products(random.get(), {0, 1}, random_samples<double>(3, 4), 1);
  const Monitor monitor = [](const char* stage, Index /*done*/, Index /*total*/) {
    throw std::runtime_error(stage);
  };
  const auto u = random_samples<double>(1, 3);
  CHECK_THROWS_WITH_AS(products.transposed(0, u, monitor), "transposed products",
                       std::runtime_error);
  const auto v =
      random_samples<double>(1, parameter_count(random.get(), random.get().readouts.front()));
  CHECK_THROWS_WITH_AS(products.direct(0, v, false, monitor), "products", std::runtime_error);
}

}  // namespace fastntk::test

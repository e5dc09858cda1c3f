// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/cuda/cuda.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "cuda_runtime.h"
#include "device_arrays.hpp"
#include "fastntk/host.hpp"
#include "kernels.hpp"
#include "random_network.hpp"
#include "symmetric_matrices.hpp"

// Every algorithm on the device is compared with the same algorithm on the host.
namespace fastntk::test {

namespace {

// With tiles of 48 rows there are several of everything.
CudaDevice device_with(Index tile) { return {fake_cublas(), {.tile = tile}}; }
CudaDevice small_tiles() { return device_with(48); }
HostDevice host() { return {reference_blas(), 2}; }

constexpr Range kBothOutputs{0, 2};

Shape small_shape(const Activation& activation = kRelu) {
  return {.hidden = {7, 35},
          .outputs = 2,
          .readouts = {2},
          .activation = activation,
          .kernel_weights = true};
}

// Returns what `compute` makes on the host, in a matrix with a margin.
template <class T, class Compute>
PaddedMatrix<T> on_host(Index rows, Index cols, Compute compute) {
  PaddedMatrix<T> result(rows, cols);
  compute(result.view());
  return result;
}

template <class T, class Compute>
PaddedMatrix<T> on_device(const CudaDevice& device, Index rows, Index cols, Compute compute) {
  const DeviceMatrix<T> result(device, rows, cols);
  compute(result.view());
  return result.get();
}

template <class P>
struct Case {
  using T = typename P::Pass;
  using G = typename P::Gram;

  CudaDevice device = small_tiles();
  RandomNetwork<T> network;
  DeviceNetwork<T> device_network;
  PaddedMatrix<T> x;
  DeviceMatrix<T> device_x;

  Case(const Shape& shape, Index samples)
      : network(shape),
        device_network(device, network.get()),
        x(random_samples<T>(samples, shape.inputs)),
        device_x(device, x) {}
};

template <class P>
void check_kernels(const Shape& shape, Range outputs, Split split, Index rows, Index cols) {
  CAPTURE(rows);
  CAPTURE(cols);
  CAPTURE(static_cast<int>(split));
  using T = typename P::Pass;
  using G = typename P::Gram;
  const Case<P> c(shape, rows);
  const bool symmetric = cols == 0;
  const auto z = random_samples<T>(cols, shape.inputs, 8);
  const DeviceMatrix<T> device_z(c.device, z);
  std::optional<Matrix<const T>> columns;
  if (!symmetric) columns = device_z.view();
  std::vector<DeviceMatrix<G>> kernels;
  std::vector<Matrix<G>> views;
  for (std::size_t k = 0; k < kernel_count(c.network.get(), outputs, split); ++k) {
    kernels.emplace_back(c.device, rows, symmetric ? rows : cols);
    views.push_back(kernels.back().view());
  }
  ntk<CudaDevice, T, G>(c.device, c.device_network.get(), outputs, split, c.device_x.view(),
                        columns, views, nullptr);
  const auto expected =
      split_kernels<G>(c.network.get(), outputs, split, c.x, symmetric ? nullptr : &z);
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    CAPTURE(k);
    CHECK(relative_error(kernels[k].get(), expected[k]) < P::kTolerance);
  }
}

// Returns the error of the kernel of a small network.
double kernel_error(const CudaDevice& cuda) {
  constexpr Index kSamples = 600;
  const Shape shape{.inputs = 3, .hidden = {4}, .readouts = {1}};
  const RandomNetwork<double> random(shape);
  const DeviceNetwork<double> network(cuda, random.get());
  const auto x = random_samples<double>(kSamples, shape.inputs);
  const DeviceMatrix<double> device_x(cuda, x);
  const DeviceMatrix<double> kernel(cuda, kSamples, kSamples);
  with_tiles_that_fit(cuda, [&](const CudaDevice& chosen) {
    ntk<CudaDevice, double, double>(chosen, network.get(), {0, 1}, Split::none, device_x.view(),
                                    std::nullopt, {kernel.view()}, nullptr);
  });
  const auto expected = split_kernels<double>(random.get(), {0, 1}, Split::none, x).front();
  return relative_error(kernel.get(), expected);
}

}  // namespace

TEST_CASE_TEMPLATE("cuda: kernels of every split and of two sets of samples", P, Single, Mixed,
                   Double, Narrowed) {
  for (const Split split : {Split::none, Split::layers, Split::outputs, Split::output_pairs}) {
    check_kernels<P>(small_shape(), kBothOutputs, split, 50, 0);
    check_kernels<P>(small_shape(), kBothOutputs, split, 5, 50);
  }
  for (const OutputActivation& psi : kOutputActivations) {
    Shape shape = small_shape();
    shape.output_activation = psi;
    for (const Split split : {Split::none, Split::layers, Split::outputs, Split::output_pairs}) {
      check_kernels<P>(shape, kBothOutputs, split, 5, 50);
    }
    check_kernels<P>(shape, {1, 1}, Split::none, 50, 0);
  }
  Shape sweep = small_shape(kTanh);
  sweep.readouts = {2, 0, 1};
  sweep.biases = false;
  check_kernels<P>(sweep, kBothOutputs, Split::none, 33, 0);
  check_kernels<P>(sweep, {1, 1}, Split::none, 1, 0);
}

TEST_CASE("cuda: kernels with tiles that are cut on the diagonal") {
  const Shape shape{.inputs = 3, .hidden = {4}, .readouts = {1}};
  const RandomNetwork<double> random(shape);
  const CudaDevice device = device_with(272);
  const DeviceNetwork<double> network(device, random.get());
  const auto x = random_samples<double>(300, shape.inputs);
  const DeviceMatrix<double> device_x(device, x);
  const auto actual = on_device<double>(device, 300, 300, [&](const Matrix<double>& kernel) {
    ntk<CudaDevice, double, double>(device, network.get(), {0, 1}, Split::none, device_x.view(),
                                    std::nullopt, {kernel}, nullptr);
  });
  const auto expected = split_kernels<double>(random.get(), {0, 1}, Split::none, x).front();
  CHECK(relative_error(actual, expected) < Tolerance<double>::kRounding);
}

TEST_CASE("cuda: smaller tiles where memory is short, then an error") {
  CHECK(kernel_error(device_with(600)) < Tolerance<double>::kRounding);
  const std::size_t before = fake::live_memory;  // what is kept is given up
  const auto with_memory = [&](std::size_t bytes) {
    fake::memory_limit = before + bytes;
    const double error = kernel_error(device_with(1024));
    fake::memory_limit = std::numeric_limits<std::size_t>::max();
    return error;
  };
  // Kernel and features take 3 MB, a lane's workspace for tiles of 608 rows 6 MB.
  CHECK(with_memory(std::size_t{12} << 20U) < Tolerance<double>::kRounding);  // one lane
  CHECK(with_memory(std::size_t{8} << 20U) < Tolerance<double>::kRounding);   // smaller tiles
  CHECK_THROWS_AS(with_memory(std::size_t{3} << 20U), CudaOutOfMemory);
  fake::memory_limit = std::numeric_limits<std::size_t>::max();
  CHECK(fake::live_memory == before);
}

TEST_CASE_TEMPLATE("cuda: no samples make an empty kernel", P, Single, Double) {
  check_kernels<P>(small_shape(), kBothOutputs, Split::none, 0, 0);
  check_kernels<P>(small_shape(), kBothOutputs, Split::none, 0, 3);
}

TEST_CASE_TEMPLATE("cuda: features of every activation", P, Single, Double, Mixed) {
  using T = typename P::Pass;
  using G = typename P::Gram;
  for (const Activation& activation : kBuiltInActivations) {
    CAPTURE(activation.index());
    const Case<P> c(small_shape(activation), 9);
    const auto actual =
        compute_features<G>(c.device, c.device_network.get(), kBothOutputs,
                            Matrix<const T>(c.device_x.view()), FeatureUse::products, nullptr);
    const auto expected =
        compute_features<G>(host(), c.network.get(), kBothOutputs, Matrix<const T>(c.x.view()),
                            FeatureUse::products, nullptr);
    const auto check = [&](const Matrix<G>& a, const Matrix<G>& e) {
      PaddedMatrix<G> copy(a.rows, a.cols);
      std::vector<G> values(static_cast<std::size_t>(a.rows * a.cols));
      c.device.read(a, values.data());
      for (Index i = 0; i < a.rows; ++i) {
        std::copy_n(values.data() + i * a.cols, a.cols, copy.view().row(i));
      }
      CHECK(relative_error(Matrix<const G>(copy.view()), Matrix<const G>(e)) <
            Tolerance<T>::kRounding);
    };
    for (std::size_t l = 0; l <= 2; ++l) check(actual.activations[l], expected.activations[l]);
    for (std::size_t l = 1; l <= 2; ++l) check(actual.deltas[0][l], expected.deltas[0][l]);
  }
}

TEST_CASE("cuda: a custom activation is an error") {
  const auto one = [](double /*z*/) { return 1.0; };
  const Activation custom = activation::Custom{one, one};
  const Case<Double> c(small_shape(custom), 9);
  const DeviceMatrix<double> f(c.device, 9, 2);
  CHECK_THROWS_WITH_AS((evaluate<CudaDevice, double>(c.device, c.device_network.get(),
                                                     c.device_x.view(), f.view(), nullptr)),
                       "a custom activation runs on the processor alone", std::invalid_argument);
}

TEST_CASE_TEMPLATE("cuda: outputs, gradients and derivatives to the inputs", P, Single, Double) {
  using T = typename P::Pass;
  std::vector<Shape> shapes;
  for (const Index depth : {0, 2}) {
    for (const bool biases : {false, true}) {
      shapes.push_back(small_shape());
      shapes.back().biases = biases;
      shapes.back().readouts = {depth};
    }
  }
  for (const OutputActivation& psi : kOutputActivations) {
    shapes.push_back(small_shape());
    shapes.back().output_activation = psi;
  }
  for (const Shape& shape : shapes) {
    const Index samples = 70;
    const Case<P> c(shape, samples);
    const Matrix<const T> x = c.x.view();
    const Matrix<const T> device_x = c.device_x.view();
    CHECK(relative_error(on_device<T>(c.device, samples, 2,
                                      [&](const Matrix<T>& f) {
                                        evaluate(c.device, c.device_network.get(), device_x, f,
                                                 nullptr);
                                      }),
                         on_host<T>(samples, 2, [&](const Matrix<T>& f) {
                           evaluate(host(), c.network.get(), x, f, nullptr);
                         })) < P::kTolerance);
    const Index parameters = parameter_count(c.network.get(), c.network.get().readouts.front());
    CHECK(relative_error(on_device<T>(c.device, samples, parameters,
                                      [&](const Matrix<T>& g) {
                                        gradient_features(c.device, c.device_network.get(), 1,
                                                          device_x, g, nullptr);
                                      }),
                         on_host<T>(samples, parameters, [&](const Matrix<T>& g) {
                           gradient_features(host(), c.network.get(), 1, x, g, nullptr);
                         })) < P::kTolerance);
    for (const bool second : {false, true}) {
      const auto chosen = [second](auto compute) {
        return [second, compute](const Matrix<T>& result) { compute(result, second); };
      };
      const auto actual = on_device<T>(
          c.device, samples, shape.inputs, chosen([&](const Matrix<T>& j, bool last) {
            const DeviceMatrix<T> other(c.device, samples, shape.inputs);
            input_jacobians(c.device, c.device_network.get(), device_x,
                            {last ? other.view() : j, last ? j : other.view()}, nullptr);
          }));
      const auto expected =
          on_host<T>(samples, shape.inputs, chosen([&](const Matrix<T>& j, bool last) {
                       PaddedMatrix<T> other(samples, shape.inputs);
                       input_jacobians(host(), c.network.get(), x,
                                       {last ? other.view() : j, last ? j : other.view()}, nullptr);
                     }));
      CHECK(relative_error(actual, expected) < P::kTolerance);
    }
  }
}

TEST_CASE_TEMPLATE("cuda: the lower triangle alone, in both layouts", T, float, double) {
  const Shape shape = small_shape();
  for (const Index n : {1, 64, 101}) {
    CAPTURE(n);
    const Case<Precision<T, T>> c(shape, n);
    const auto features =
        compute_features<T>(c.device, c.device_network.get(), kBothOutputs,
                            Matrix<const T>(c.device_x.view()), FeatureUse::grams, nullptr);
    const auto terms = kernel_terms(c.network.get(), kBothOutputs, Split::none, features, features);
    const auto expected =
        lower_of(split_kernels<T>(c.network.get(), kBothOutputs, Split::none, c.x).front(), T(0));

    const auto full = on_device<T>(c.device, n, n, [&](const Matrix<T>& kernel) {
      lower_kernel(c.device, terms, features, SymmetricStorage<T>::full(kernel), nullptr);
    });
    CHECK(only_nan_above_diagonal(full));
    CHECK(relative_error(lower_of(full, T(0)), expected) < Tolerance<T>::kRounding);

    const auto packed = on_device<T>(c.device, 1, n * (n + 1) / 2, [&](const Matrix<T>& kernel) {
      lower_kernel(c.device, terms, features, SymmetricStorage<T>::packed(kernel.data, n), nullptr);
    });
    PaddedMatrix<T> unpacked(n, n);
    unpacked.fill(T(0));
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j <= i; ++j) unpacked(i, j) = packed(0, packed_place(n, i, j));
    }
    CHECK(relative_error(unpacked, expected) < Tolerance<T>::kRounding);
  }
}

TEST_CASE_TEMPLATE("cuda: products with the Jacobian", P, Single, Mixed, Double) {
  using T = typename P::Pass;
  using G = typename P::Gram;
  const Index samples = 101;
  for (const Index depth : {0, 2}) {
    Shape shape = small_shape();
    shape.readouts = {depth};
    shape.hidden[1] = 60;
    const Case<P> c(shape, samples);
    const auto device_features =
        compute_features<G>(c.device, c.device_network.get(), kBothOutputs,
                            Matrix<const T>(c.device_x.view()), FeatureUse::products, nullptr);
    const auto features =
        compute_features<G>(host(), c.network.get(), kBothOutputs, Matrix<const T>(c.x.view()),
                            FeatureUse::products, nullptr);
    const Index parameters = parameter_count(c.network.get(), c.network.get().readouts.front());
    const auto u = random_samples<G>(2, samples, 21);
    const auto v = random_samples<G>(2, parameters, 22);
    const DeviceMatrix<G> device_u(c.device, u);
    const DeviceMatrix<G> device_v(c.device, v);
    const auto transposed = on_device<G>(c.device, 2, parameters, [&](const Matrix<G>& result) {
      transposed_jacobian_products<CudaDevice, T, G>(c.device, c.device_network.get(),
                                                     device_features, kBothOutputs, 1,
                                                     device_u.view(), result, nullptr);
    });
    const auto expected_transposed = on_host<G>(2, parameters, [&](const Matrix<G>& result) {
      transposed_jacobian_products<HostDevice, T, G>(host(), c.network.get(), features,
                                                     kBothOutputs, 1, u.view(), result, nullptr);
    });
    CHECK(relative_error(transposed, expected_transposed) < P::kTolerance);
    for (const bool weighted : {false, true}) {
      const auto direct = on_device<G>(c.device, 2, samples, [&](const Matrix<G>& result) {
        jacobian_products<CudaDevice, T, G>(c.device, c.device_network.get(), device_features,
                                            kBothOutputs, 1, weighted, device_v.view(), result,
                                            nullptr);
      });
      const auto expected = on_host<G>(2, samples, [&](const Matrix<G>& result) {
        jacobian_products<HostDevice, T, G>(host(), c.network.get(), features, kBothOutputs, 1,
                                            weighted, v.view(), result, nullptr);
      });
      CHECK(relative_error(direct, expected) < P::kTolerance);
    }
  }
}

TEST_CASE_TEMPLATE("cuda: products with the Hessian", P, Single, Double) {
  using T = typename P::Pass;
  const auto check = [](const Shape& shape, Index samples) {
    CAPTURE(shape.activation.index());
    CAPTURE(samples);
    const Case<P> c(shape, samples);
    const Index parameters = parameter_count(c.network.get(), c.network.get().readouts.front());
    const auto u = random_samples<T>(samples, shape.outputs, 31);
    const auto v = random_samples<T>(5, parameters, 32);
    const DeviceMatrix<T> device_u(c.device, u);
    const DeviceMatrix<T> device_v(c.device, v);
    const auto actual = on_device<T>(c.device, 5, parameters, [&](const Matrix<T>& result) {
      hessian_products<CudaDevice, T>(c.device, c.device_network.get(), c.device_x.view(),
                                      device_u.view(), device_v.view(), result, nullptr);
    });
    const auto expected = on_host<T>(5, parameters, [&](const Matrix<T>& result) {
      hessian_products<HostDevice, T>(host(), c.network.get(), c.x.view(), u.view(), v.view(),
                                      result, nullptr);
    });
    CHECK(relative_error(actual, expected) < P::kTolerance);
  };
  for (const Activation& activation : kBuiltInActivations) check(small_shape(activation), 9);
  for (const Index depth : {0, 2}) {
    Shape shape = small_shape(kTanh);
    shape.readouts = {depth};
    shape.biases = depth == 0;
    shape.hidden = {60, 55};
    for (const Index samples : {0, 1, 200}) check(shape, samples);
  }
  for (const OutputActivation& psi : kOutputActivations) {
    Shape shape = small_shape(kTanh);
    shape.output_activation = psi;
    check(shape, 70);
  }
}

TEST_CASE_TEMPLATE("cuda: closest pairs and norms", T, float, double) {
  const Index n = 101;
  const Case<Precision<T, T>> c(small_shape(), n);
  const auto device_features =
      compute_features<T>(c.device, c.device_network.get(), kBothOutputs,
                          Matrix<const T>(c.device_x.view()), FeatureUse::grams, nullptr);
  const auto features =
      compute_features<T>(host(), c.network.get(), kBothOutputs, Matrix<const T>(c.x.view()),
                          FeatureUse::grams, nullptr);
  const auto device_terms =
      kernel_terms(c.network.get(), kBothOutputs, Split::none, device_features, device_features);
  const auto terms = kernel_terms(c.network.get(), kBothOutputs, Split::none, features, features);
  const auto diagonal = on_device<T>(c.device, 1, n, [&](const Matrix<T>& result) {
    kernel_diagonal(c.device, device_terms, device_features, result.data, nullptr);
  });
  const auto expected_diagonal = on_host<T>(1, n, [&](const Matrix<T>& result) {
    kernel_diagonal(host(), terms, features, result.data, nullptr);
  });
  CHECK(relative_error(diagonal, expected_diagonal) < Tolerance<T>::kRounding);
  std::vector<T> inverse_norms;
  for (Index i = 0; i < n; ++i) inverse_norms.push_back(T(1) / std::sqrt(expected_diagonal(0, i)));
  inverse_norms[3] = T(0);  // left out
  const auto kernel = split_kernels<T>(c.network.get(), kBothOutputs, Split::none, c.x).front();
  for (const std::size_t k : {1, 7, 300}) {
    CAPTURE(k);
    const auto found = closest_pairs<CudaDevice, T>(
        c.device, device_terms, {device_features, inverse_norms}, {device_features, inverse_norms},
        PairsOf::one_set, k, nullptr);
    const auto expected =
        closest_pairs<HostDevice, T>(host(), terms, {features, inverse_norms},
                                     {features, inverse_norms}, PairsOf::one_set, k, nullptr);
    std::set<std::pair<Index, Index>> pairs;
    REQUIRE(found.size() == k);
    REQUIRE(expected.size() == k);
    for (std::size_t p = 0; p < k; ++p) {
      CHECK(std::abs(static_cast<double>(found[p].cosine - expected[p].cosine)) <
            Tolerance<T>::kRounding);
      // Where cosines differ by no more than their rounding, so may the order.
      const auto [cosine, i, j] = found[p];
      const double own = static_cast<double>(inverse_norms[static_cast<std::size_t>(i)]) *
                         static_cast<double>(inverse_norms[static_cast<std::size_t>(j)]);
      CHECK(i < j);
      CHECK(std::abs(static_cast<double>(cosine) - own * static_cast<double>(kernel(i, j))) <
            Tolerance<T>::kRounding);
      pairs.insert({i, j});
    }
    CHECK(pairs.size() == k);
    if (k == 1) {
      CHECK(std::pair(found[0].i, found[0].j) == std::pair(expected[0].i, expected[0].j));
    }
  }
}

namespace {

// This is gradient descent on the host or on the device, and what is left afterwards.
template <class T>
struct Trained {
  std::vector<PaddedMatrix<T>> parameters;
  PaddedMatrix<double> outcomes;
  double norm = 0.0;
};

struct SgdCase {
  Loss loss;
  double momentum;
  bool shuffled;
  Index batch;
  bool measured;
  unsigned trained = ~0U;
  // NOLINTNEXTLINE(readability-redundant-member-init): without, GCC would miss it in lists.
  OutputActivation output_activation = {};
};

template <class T>
PaddedMatrix<T> copy_of(Matrix<const T> from) {
  PaddedMatrix<T> result(from.rows, from.cols);
  for (Index i = 0; i < from.rows; ++i) {
    std::copy_n(from.row(i), from.cols, result.view().row(i));
  }
  return result;
}

// The network's parameters are replaced by what `place` makes of copies of them.
template <class Device, class T, class Place>
double descend(const Device& device, Network<T> network, const SgdCase& sgd_case, Matrix<const T> x,
               Matrix<const T> y, const Index* order, Matrix<double> outcomes, Place place) {
  std::vector<TrainedLayer<T>> layers(network.hidden.size() + 1);
  for (std::size_t k = 0; k < layers.size(); ++k) {
    Layer<T>& layer = k < network.hidden.size() ? network.hidden[k] : network.readouts[0].layer;
    const bool trained = (sgd_case.trained >> k & 1U) != 0;
    const auto own = [&](Matrix<const T> values, Matrix<T>& view, Matrix<T>& velocity) {
      view = place(copy_of<T>(values));
      if (sgd_case.momentum != 0.0) {
        PaddedMatrix<T> zero(values.rows, values.cols);
        zero.fill(T(0));
        velocity = place(zero);
      }
      const Matrix<T> result = view;
      if (!trained) view = {};
      return result;
    };
    layer.weights = own(layer.weights, layers[k].weights, layers[k].velocity);
    layers[k].rate = layers[k].bias_rate = 0.125;
    if (layer.bias == nullptr) continue;
    layer.bias =
        own({layer.bias, layer.outputs(), 1, 1}, layers[k].bias, layers[k].bias_velocity).data;
  }
  SgdOptions options{sgd_case.loss, sgd_case.batch, sgd_case.momentum, sgd_case.measured,
                     sgd_case.output_activation};
  return sgd(device, network, layers, options, x, y, order, outcomes, nullptr);
}

}  // namespace

TEST_CASE_TEMPLATE("cuda: gradient descent", T, float, double) {
  std::vector<SgdCase> cases = {{Loss::cross_entropy, 0.0, false, 20, false},
                                {Loss::cross_entropy, 0.9, true, 20, true},
                                {Loss::square, 0.0, true, 64, true},
                                {Loss::square, 0.5, false, 7, true},
                                {Loss::square, 0.0, false, 48, true},
                                {Loss::cross_entropy, 0.0, true, 60, true, 0b010U}};
  for (const OutputActivation& psi : kOutputActivations) {
    cases.push_back({Loss::square, 0.0, true, 48, true, ~0U, psi});
  }
  const Index samples = 70;
  // The activations are one whose slopes are kept, and one that needs none.
  for (std::size_t run = 0; run < 2 * cases.size(); ++run) {
    const SgdCase& sgd_case = cases[run / 2];
    CAPTURE(run % 2);
    CAPTURE(sgd_case.batch);
    CAPTURE(sgd_case.momentum);
    Shape shape = small_shape(run % 2 == 0 ? kTanh : kRelu);
    shape.biases = sgd_case.batch != 64;
    shape.outputs = 3;
    shape.hidden = {7, 60};
    const RandomNetwork<T> random(shape);
    const CudaDevice device = small_tiles();
    const auto x = random_samples<T>(samples, shape.inputs);
    PaddedMatrix<T> y(samples, shape.outputs);
    y.fill(T(0));
    for (Index i = 0; i < samples; ++i) y(i, i % shape.outputs) = T(1);
    PaddedMatrix<Index> order(1, samples);
    for (Index i = 0; i < samples; ++i) order(0, i) = i * 11 % samples;

    std::vector<PaddedMatrix<T>> host_arrays;
    host_arrays.reserve(100);
    PaddedMatrix<double> outcomes(samples, 2);
    const double norm = descend<HostDevice, T>(host(), random.get(), sgd_case, x.view(), y.view(),
                                               sgd_case.shuffled ? order.view().data : nullptr,
                                               outcomes.view(), [&](const PaddedMatrix<T>& values) {
                                                 host_arrays.push_back(values);
                                                 return host_arrays.back().view();
                                               });

    std::vector<DeviceMatrix<T>> device_arrays;
    device_arrays.reserve(100);
    const DeviceMatrix<T> device_x(device, x);
    const DeviceMatrix<T> device_y(device, y);
    const DeviceMatrix<Index> device_order(device, order, 0);
    const DeviceMatrix<double> device_outcomes(device, samples, 2);
    const double device_norm =
        descend<CudaDevice, T>(device, random.get(), sgd_case, device_x.view(), device_y.view(),
                               sgd_case.shuffled ? device_order.view().data : nullptr,
                               device_outcomes.view(), [&](const PaddedMatrix<T>& values) {
                                 device_arrays.emplace_back(device, values, PaddedMatrix<T>::kMark);
                                 return device_arrays.back().view();
                               });

    CHECK(relative_error(device_outcomes.get(), outcomes) < 10 * Tolerance<T>::kRounding);
    CHECK(device_norm == doctest::Approx(norm).epsilon(10 * Tolerance<T>::kRounding));
    REQUIRE(device_arrays.size() == host_arrays.size());
    for (std::size_t a = 0; a < host_arrays.size(); ++a) {
      CAPTURE(a);
      CHECK(relative_error(device_arrays[a].get(), host_arrays[a]) < 10 * Tolerance<T>::kRounding);
    }
  }
}

TEST_CASE_TEMPLATE("cuda: losses", T, float, double) {
  const CudaDevice device = small_tiles();
  const Index samples = 70;
  const auto f = random_samples<T>(samples, 3, 5);
  PaddedMatrix<T> y(samples, 3);
  y.fill(T(0));
  for (Index i = 0; i < samples; ++i) y(i, i % 3) = T(1);
  for (const Loss loss : {Loss::square, Loss::cross_entropy}) {
    PaddedMatrix<T> gradient = copy_of<T>(f.view());
    PaddedMatrix<double> outcomes(samples, 2);
    evaluate_loss<HostDevice, T>(host(), loss, y.view(), gradient.view(), outcomes.view(), nullptr);
    const DeviceMatrix<T> device_gradient(device, f, PaddedMatrix<T>::kMark);
    const DeviceMatrix<T> device_y(device, y);
    const DeviceMatrix<double> device_outcomes(device, samples, 2);
    evaluate_loss<CudaDevice, T>(device, loss, device_y.view(), device_gradient.view(),
                                 device_outcomes.view(), nullptr);
    CHECK(relative_error(device_gradient.get(), gradient) < Tolerance<T>::kRounding);
    CHECK(relative_error(device_outcomes.get(), outcomes) < Tolerance<T>::kRounding);
  }
}

}  // namespace fastntk::test

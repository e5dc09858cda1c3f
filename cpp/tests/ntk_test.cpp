// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include "fastntk/ntk.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "fastntk/host.hpp"
#include "kernels.hpp"
#include "padded_matrix.hpp"
#include "random_network.hpp"
#include "reference_blas.hpp"
#include "symmetric_matrices.hpp"
#include "tolerances.hpp"

namespace fastntk::test {

namespace {

// There is every combination of activation and biases, with unequal widths and readouts out of
// order.
std::vector<Shape> shapes() {
  std::vector<Shape> result;
  for (const Activation& activation : {kIdentity, kRelu, kTanh}) {
    for (const bool biases : {false, true}) {
      result.push_back({.outputs = 3,
                        .readouts = {2, 0, 3, 1},
                        .activation = activation,
                        .activation_scale = 1.3,
                        .biases = biases});
    }
  }
  return result;
}

template <class G, class T>
std::vector<PaddedMatrix<G>> kernels_of(const Network<T>& network, Range outputs,
                                        const PaddedMatrix<T>& x,
                                        const PaddedMatrix<std::type_identity_t<T>>* z = nullptr,
                                        int threads = 2) {
  return split_kernels<G>(network, outputs, Split::none, x, z, threads);
}

// Returns Σ_c F_c(x) F_c(z)ᵀ of the network's first readout, from the gradients themselves.
PaddedMatrix<double> gram_of_features(const Network<double>& network, Range outputs,
                                      const PaddedMatrix<double>& x,
                                      const PaddedMatrix<double>& z) {
  const HostDevice device(reference_blas(), 1);
  const Index parameters = parameter_count(network, network.readouts.front());
  PaddedMatrix<double> kernel(x.rows(), z.rows());
  kernel.fill(0.0);
  for (Index output = outputs.first; output < outputs.first + outputs.count; ++output) {
    PaddedMatrix<double> of_x(x.rows(), parameters);
    PaddedMatrix<double> of_z(z.rows(), parameters);
    gradient_features<HostDevice, double>(device, network, output, x.view(), of_x.view(), nullptr);
    gradient_features<HostDevice, double>(device, network, output, z.view(), of_z.view(), nullptr);
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index j = 0; j < z.rows(); ++j) {
        const double* a = of_x.view().row(i);
        const double* b = of_z.view().row(j);
        double sum = 0.0;
        for (Index p = 0; p < parameters; ++p) sum += a[p] * b[p];
        kernel(i, j) += sum;
      }
    }
  }
  return kernel;
}

constexpr std::uint64_t kSeedX = 7;
constexpr std::uint64_t kSeedZ = 8;

template <class P>
void check_symmetric(const Shape& shape, Range outputs, Index samples) {
  CAPTURE(samples);
  CAPTURE(outputs.first);
  CAPTURE(outputs.count);
  using T = typename P::Pass;
  const RandomNetwork<T> network(shape);
  const RandomNetwork<double> reference(shape);
  const auto kernels = kernels_of<typename P::Gram>(
      network.get(), outputs, random_samples<T>(samples, shape.inputs, kSeedX));
  const auto x = random_samples<double>(samples, shape.inputs, kSeedX);
  for (std::size_t r = 0; r < kernels.size(); ++r) {
    CAPTURE(shape.readouts[r]);
    const auto expected = gram_of_features(reference.single(r), outputs, x, x);
    CHECK(relative_error(kernels[r], expected) < P::kTolerance);
  }
}

template <class P>
void check_cross(const Shape& shape, Range outputs, Index rows, Index cols) {
  CAPTURE(rows);
  CAPTURE(cols);
  using T = typename P::Pass;
  const RandomNetwork<T> network(shape);
  const RandomNetwork<double> reference(shape);
  const auto z = random_samples<T>(cols, shape.inputs, kSeedZ);
  const auto kernels = kernels_of<typename P::Gram>(
      network.get(), outputs, random_samples<T>(rows, shape.inputs, kSeedX), &z);
  for (std::size_t r = 0; r < kernels.size(); ++r) {
    CAPTURE(shape.readouts[r]);
    const auto expected = gram_of_features(reference.single(r), outputs,
                                           random_samples<double>(rows, shape.inputs, kSeedX),
                                           random_samples<double>(cols, shape.inputs, kSeedZ));
    CHECK(relative_error(kernels[r], expected) < P::kTolerance);
  }
}

template <class G>
bool symmetric_to_the_last_bit(const PaddedMatrix<G>& kernel) {
  PaddedMatrix<G> transposed(kernel.cols(), kernel.rows());
  for (Index i = 0; i < kernel.rows(); ++i) {
    for (Index j = 0; j < kernel.cols(); ++j) transposed(j, i) = kernel(i, j);
  }
  return equal_to_the_last_bit(kernel, transposed);
}

// Returns Σ_k a_ik b_jk, summed in float64.
template <class G>
double row_product(Matrix<G> a, Index i, Matrix<G> b, Index j) {
  double sum = 0.0;
  for (Index k = 0; k < a.cols; ++k) {
    sum += static_cast<double>(a(i, k)) * static_cast<double>(b(j, k));
  }
  return sum;
}

template <class T>
double own_gram(const Layer<T>& layer, double h_gram) {
  const double bias = layer.bias == nullptr ? 0.0 : layer.bias_scale * layer.bias_scale;
  return layer.weight_scale * layer.weight_scale * h_gram + bias;
}

constexpr Range kAllOutputs{0, 3};

}  // namespace

TEST_CASE_TEMPLATE("ntk: is the Gram matrix of the gradients", P, Single, Mixed, Double, Narrowed) {
  for (const Shape& shape : shapes()) check_symmetric<P>(shape, kAllOutputs, 17);
}

TEST_CASE_TEMPLATE("ntk: chosen outputs", P, Single, Mixed, Double) {
  const Shape shape = shapes().back();
  for (const Range outputs : {Range{0, 1}, {1, 1}, {2, 1}, {1, 2}}) {
    check_symmetric<P>(shape, outputs, 9);
    check_cross<P>(shape, outputs, 9, 4);
  }
}

TEST_CASE_TEMPLATE("ntk: of outputs with an activation", P, Single, Mixed, Double, Narrowed) {
  for (const OutputActivation& psi : kOutputActivations) {
    CAPTURE(psi.index());
    for (const std::vector<Index>& hidden : {std::vector<Index>{}, {7, 3}}) {
      const Shape shape{.hidden = hidden,
                        .outputs = 3,
                        .readouts = {static_cast<Index>(hidden.size())},
                        .activation = kTanh,
                        .output_activation = psi};
      check_symmetric<P>(shape, kAllOutputs, 130);
      check_cross<P>(shape, {1, 2}, 17, 70);
    }
  }
}

TEST_CASE_TEMPLATE("ntk: any number of samples", P, Single, Mixed, Double) {
  const Shape shape{.hidden = {6, 3}, .outputs = 2, .readouts = {2, 0, 1}};
  for (const Index samples : {1, 2, 63, 65, 130}) check_symmetric<P>(shape, {0, 2}, samples);
}

TEST_CASE_TEMPLATE("ntk: many tiles", P, Single, Mixed, Double) {
  const Shape shape{.inputs = 3, .hidden = {4, 3}, .readouts = {1, 2}};
  check_symmetric<P>(shape, {0, 1}, 600);
}

TEST_CASE_TEMPLATE("ntk: between two sets of samples", P, Single, Mixed, Double, Narrowed) {
  for (const Shape& shape : shapes()) check_cross<P>(shape, kAllOutputs, 5, 11);
  const Shape shape{.hidden = {6, 3}, .readouts = {2, 1}};
  check_cross<P>(shape, {0, 1}, 1, 1);
  check_cross<P>(shape, {0, 1}, 17, 130);
  check_cross<P>(shape, {0, 1}, 130, 65);
  check_cross<P>(shape, {0, 1}, 130, 150);
  check_cross<P>(shape, {0, 1}, 2, 600);
}

TEST_CASE("ntk: the kernel of several outputs is the sum of their kernels") {
  const Shape shape = shapes().back();
  const RandomNetwork<double> random(shape);
  const auto x = random_samples<double>(20, shape.inputs);
  const auto together = kernels_of<double>(random.get(), kAllOutputs, x);
  for (std::size_t r = 0; r < together.size(); ++r) {
    PaddedMatrix<double> sum(20, 20);
    sum.fill(0.0);
    for (Index c = 0; c < shape.outputs; ++c) {
      const auto alone = kernels_of<double>(random.get(), {c, 1}, x);
      for (Index i = 0; i < 20; ++i) {
        for (Index j = 0; j < 20; ++j) sum(i, j) += alone[r](i, j);
      }
    }
    CHECK(relative_error(together[r], sum) < Tolerance<double>::kRounding);
  }
}

TEST_CASE("ntk: a float32 network with float64 Gram matrices loses nothing after the passes") {
  const Shape shape = shapes().back();
  const RandomNetwork<float> random(shape);
  const Network<float>& network = random.get();
  const auto x = random_samples<float>(70, shape.inputs);
  const HostDevice device(reference_blas(), 1);
  const auto features = compute_features<float>(device, network, kAllOutputs, x.view(),
                                                FeatureUse::products, nullptr);
  const auto kernels = kernels_of<double>(network, kAllOutputs, x);
  for (std::size_t r = 0; r < kernels.size(); ++r) {
    const Readout<float>& readout = network.readouts[r];
    const auto depth = static_cast<std::size_t>(readout.depth);
    PaddedMatrix<double> expected(x.rows(), x.rows());
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index j = 0; j < x.rows(); ++j) {
        const auto h_gram = [&](std::size_t l) {
          return row_product(features.activations[l], i, features.activations[l], j);
        };
        double sum = 3.0 * own_gram(readout.layer, h_gram(depth));
        for (std::size_t l = 1; l <= depth; ++l) {
          sum += row_product(features.deltas[r][l], i, features.deltas[r][l], j) *
                 own_gram(network.layer(static_cast<Index>(l)), h_gram(l - 1));
        }
        expected(i, j) = sum;
      }
    }
    CHECK(relative_error(kernels[r], expected) < Tolerance<double>::kRounding);
  }
}

TEST_CASE_TEMPLATE("ntk: symmetric to the last bit", P, Single, Mixed, Double) {
  using T = typename P::Pass;
  const Shape shape{.hidden = {6, 5}, .readouts = {2, 0}};
  const RandomNetwork<T> random(shape);
  for (const Index samples : {2, 17, 65, 130, 600}) {
    CAPTURE(samples);
    for (const auto& kernel : kernels_of<typename P::Gram>(
             random.get(), {0, 1}, random_samples<T>(samples, shape.inputs))) {
      CHECK(symmetric_to_the_last_bit(kernel));
    }
  }
}

TEST_CASE_TEMPLATE("ntk: the lower triangle alone, in both layouts", P, Single, Mixed, Double) {
  using T = typename P::Pass;
  using G = typename P::Gram;
  const Shape shape{.inputs = 3, .hidden = {4, 3}, .outputs = 2, .readouts = {2}, .biases = true};
  const RandomNetwork<T> random(shape);
  const Network<T>& network = random.get();
  const Range outputs{0, 2};
  for (const Index n : {1, 2, 3, 64, 65, 300, 601}) {
    CAPTURE(n);
    const auto x = random_samples<T>(n, shape.inputs);
    const PaddedMatrix<G> expected =
        lower_of(split_kernels<G>(network, outputs, Split::none, x).front(), G(0));
    Packed<G> first(n);
    for (const int threads : {1, 3}) {
      const HostDevice device(reference_blas(), threads);
      const auto features =
          compute_features<G>(device, network, outputs, x.view(), FeatureUse::grams, nullptr);
      const auto terms = kernel_terms(network, outputs, Split::none, features, features);
      Packed<G> packed(n);
      lower_kernel(device, terms, features, packed.storage(), nullptr);
      CHECK(packed.margin_intact());
      CHECK(relative_error(packed.lower(G(0)), expected) < P::kTolerance);
      if (threads == 1) first = packed;
      CHECK(packed.same_bits(first));
      PaddedMatrix<G> full(n, n);
      lower_kernel(device, terms, features, SymmetricStorage<G>::full(full.view()), nullptr);
      CHECK(only_nan_above_diagonal(full));
      CHECK(relative_error(lower_of(full, G(0)), expected) < P::kTolerance);
    }
  }
}

TEST_CASE_TEMPLATE("ntk: the same to the last bit for any number of threads", P, Single, Mixed,
                   Double) {
  using T = typename P::Pass;
  using G = typename P::Gram;
  const Shape shape{.hidden = {6, 5}, .readouts = {2, 0}};
  const RandomNetwork<T> random(shape);
  const auto x = random_samples<T>(600, shape.inputs, kSeedX);
  const auto z = random_samples<T>(130, shape.inputs, kSeedZ);
  const auto symmetric = kernels_of<G>(random.get(), {0, 1}, x, nullptr, 1);
  const auto cross = kernels_of<G>(random.get(), {0, 1}, x, &z, 1);
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    const auto symmetric_again = kernels_of<G>(random.get(), {0, 1}, x, nullptr, threads);
    const auto cross_again = kernels_of<G>(random.get(), {0, 1}, x, &z, threads);
    for (std::size_t r = 0; r < symmetric.size(); ++r) {
      CHECK(equal_to_the_last_bit(symmetric_again[r], symmetric[r]));
      CHECK(equal_to_the_last_bit(cross_again[r], cross[r]));
    }
  }
}

TEST_CASE("ntk: no samples make an empty kernel") {
  const RandomNetwork<double> random(Shape{});
  const auto none = random_samples<double>(0, 4);
  const auto some = random_samples<double>(3, 4);
  CHECK(kernels_of<double>(random.get(), {0, 1}, none).front().rows() == 0);
  CHECK(kernels_of<double>(random.get(), {0, 1}, none, &some).front().cols() == 3);
  CHECK(kernels_of<double>(random.get(), {0, 1}, some, &none).front().rows() == 3);
}

TEST_CASE("ntk: a NaN of a sample is seen in its row and column and nowhere else") {
  const RandomNetwork<double> random(Shape{});
  auto x = random_samples<double>(5, 4);
  x(3, 1) = PaddedMatrix<double>::kNan;
  const auto kernels = kernels_of<double>(random.get(), {0, 1}, x);
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 5; ++j) {
      CHECK(std::isnan(kernels.front()(i, j)) == (i == 3 || j == 3));
    }
  }
}

TEST_CASE("ntk: a tile is left alone when its lane is stopped") {
  const RandomNetwork<double> random(Shape{});
  const auto x = random_samples<double>(5, 4);
  const HostDevice device(reference_blas(), 1);
  const auto features =
      compute_features<double>(device, random.get(), {0, 1}, x.view(), FeatureUse::grams, nullptr);
  const TileWorkspace<HostDevice, double> workspace(features, 5, 5);
  PaddedMatrix<double> tile(5, 5);
  const Blas blas = reference_blas();
  const std::atomic<bool> stop{true};
  ntk_tile(HostDevice::Lane(blas, stop), workspace,
           kernel_terms(random.get(), {0, 1}, Split::none, features, features), features, features,
           {{0, 5}, {0, 5}}, {tile.view()});
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 5; ++j) CHECK(std::isnan(tile(i, j)));
  }
}

TEST_CASE("ntk: the monitor hears of both stages and may end the work in either") {
  const RandomNetwork<double> random(Shape{});
  const auto x = random_samples<double>(5, 4);
  const HostDevice device(reference_blas(), 2);
  PaddedMatrix<double> kernel(5, 5);
  const auto run = [&](const Monitor& monitor) {
    ntk<HostDevice, double, double>(device, random.get(), {0, 1}, Split::none, x.view(),
                                    std::nullopt, {kernel.view()}, monitor);
  };
  std::set<std::string> stages;
  run([&](const char* stage, Index /*done*/, Index /*total*/) { stages.insert(stage); });
  CHECK(stages == std::set<std::string>{"features", "tiles"});
  for (const std::string& ending : stages) {
    const Monitor monitor = [&](const char* stage, Index /*done*/, Index /*total*/) {
      if (stage == ending) throw std::runtime_error(ending);
    };
    CHECK_THROWS_WITH_AS(run(monitor), ending.c_str(), std::runtime_error);
  }
}

TEST_CASE_TEMPLATE("features: their memory is what was announced", T, float, double) {
  for (const std::vector<Index>& readouts : {std::vector<Index>{3}, {2, 0, 3}, {0}}) {
    for (const Index outputs : {1, 3}) {
      CAPTURE(readouts.size());
      CAPTURE(outputs);
      const RandomNetwork<T> random({.outputs = 3, .readouts = readouts});
      const PaddedMatrix<T> x = random_samples<T>(5, random.get().input_width);
      const auto features =
          compute_features<double>(HostDevice(reference_blas(), 1), random.get(), {0, outputs},
                                   Matrix<const T>(x.view()), FeatureUse::products, nullptr);
      Index numbers = 0;
      const auto add = [&](const LayerBuffers<HostDevice, double>& buffers) {
        for (std::size_t l = 0; l < buffers.size(); ++l) {
          numbers += buffers[l].rows * buffers[l].cols;
        }
      };
      add(features.activations);
      for (const auto& of_readout : features.deltas) add(of_readout);
      CHECK(feature_bytes(random.get(), 5, outputs, 8) == 8 * numbers);

      // Panels have the same elements, and fewer rows more than a panel has.
      const HostDevice device(reference_blas(), 1);
      const auto in_panels =
          compute_features<double>(device, random.get(), {0, outputs}, Matrix<const T>(x.view()),
                                   FeatureUse::grams, nullptr);
      for (std::size_t l = 0; l < features.activations.size(); ++l) {
        const Index more = in_panels.activations[l].rows - features.activations[l].rows;
        CHECK(in_panels.activations[l].cols == features.activations[l].cols);
        CHECK(more >= 0);
        CHECK(more < std::max<Index>(1, device.panel_rows<double>()));
      }
    }
  }
}

}  // namespace fastntk::test

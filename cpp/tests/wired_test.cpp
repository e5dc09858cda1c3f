// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "fastntk/host.hpp"
#include "fastntk/panel_products.hpp"
#include "fastntk/partition.hpp"
#include "fastntk/wired/ntk.hpp"
#include "kernels.hpp"
#include "padded_matrix.hpp"
#include "random_wiring.hpp"
#include "reference_blas.hpp"
#include "tolerances.hpp"

// Networks of steps, against slow computations and the gradients themselves.
namespace fastntk::test {

namespace {

constexpr Index kInputs = 4;
constexpr Index kOutputs = 3;

HostDevice device_with(int threads) { return {reference_blas(), threads}; }

template <class T>
PaddedMatrix<T> outputs_of(const wired::Wiring<T>& wiring, const PaddedMatrix<T>& x,
                           int threads = 2) {
  PaddedMatrix<T> f(x.rows(), wiring.outputs());
  wired::evaluate<HostDevice, T>(device_with(threads), wiring, x.view(), f.view(), nullptr);
  CHECK(f.margin_intact());
  return f;
}

template <class T>
PaddedMatrix<T> gradients_of(const wired::Wiring<T>& wiring, Index output,
                             const PaddedMatrix<T>& x) {
  PaddedMatrix<T> features(x.rows(), wiring.parameters());
  wired::gradient_features<HostDevice, T>(device_with(2), wiring, output, x.view(), features.view(),
                                          nullptr);
  CHECK(features.margin_intact());
  return features;
}

template <class G, class T>
std::vector<PaddedMatrix<G>> kernels_of(const wired::Wiring<T>& wiring, Range outputs, Split split,
                                        const PaddedMatrix<T>& x,
                                        const PaddedMatrix<T>* z = nullptr, int threads = 2) {
  std::vector<PaddedMatrix<G>> kernels;
  std::vector<Matrix<G>> views;
  for (std::size_t k = 0; k < wired::kernel_count(wiring, outputs, split); ++k) {
    kernels.emplace_back(x.rows(), z == nullptr ? x.rows() : z->rows());
  }
  for (auto& kernel : kernels) views.push_back(kernel.view());
  std::optional<Matrix<const T>> columns;
  if (z != nullptr) columns = z->view();
  wired::ntk<HostDevice, T, G>(device_with(threads), wiring, outputs, split, x.view(), columns,
                               views, nullptr);
  for (const auto& kernel : kernels) CHECK(kernel.margin_intact());
  return kernels;
}

// Returns one of several networks that share steps, by itself.
template <class T>
wired::Wiring<T> alone(const wired::Wiring<T>& all, std::size_t top) {
  const auto leads = all.leads_to(top);
  wired::Wiring<T> result(all.input_width);
  std::vector<std::size_t> numbers(all.widths.size(), 0);
  for (std::size_t node = 1; node <= top; ++node) {
    if (!leads[node]) continue;
    wired::Operation<T> operation = all.step(node).operation;
    if (auto* const sum = std::get_if<wired::Add>(&operation)) sum->branch = numbers[sum->branch];
    result.add(numbers[all.step(node).source], operation);
    numbers[node] = result.top();
  }
  return result;
}

// Returns the derivative of all outputs at all samples by *place, by differences of fourth order.
PaddedMatrix<double> derivative(double* place, const std::function<PaddedMatrix<double>()>& f) {
  constexpr double kStep = 1e-3;
  const double before = *place;
  const auto at = [&](double steps) {
    *place = before + steps * kStep;
    return f();
  };
  PaddedMatrix<double> result = at(1.0);
  const PaddedMatrix<double> left = at(-1.0);
  const PaddedMatrix<double> far_right = at(2.0);
  const PaddedMatrix<double> far_left = at(-2.0);
  *place = before;
  for (Index i = 0; i < result.rows(); ++i) {
    for (Index c = 0; c < result.cols(); ++c) {
      result(i, c) =
          (8.0 * (result(i, c) - left(i, c)) - (far_right(i, c) - far_left(i, c))) / (12.0 * kStep);
    }
  }
  return result;
}

// Returns Σ_p ω_p a_p b_p for all rows of a and b, over some of the parameters.
PaddedMatrix<double> gram(const PaddedMatrix<double>& a, const PaddedMatrix<double>& b,
                          const std::vector<double>& omega, Range parameters) {
  PaddedMatrix<double> result(a.rows(), b.rows());
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < b.rows(); ++j) {
      result(i, j) = 0.0;
      for (Index p = parameters.first; p < parameters.first + parameters.count; ++p) {
        result(i, j) += omega[static_cast<std::size_t>(p)] * a(i, p) * b(j, p);
      }
    }
  }
  return result;
}

PaddedMatrix<double> sum_of(const std::vector<PaddedMatrix<double>>& all) {
  PaddedMatrix<double> result = all.front();
  for (std::size_t k = 1; k < all.size(); ++k) {
    for (Index i = 0; i < result.rows(); ++i) {
      for (Index j = 0; j < result.cols(); ++j) result(i, j) += all[k](i, j);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("places are shared by matrices that do not live at the same time") {
  const auto places = wired::shared_places({{1, 4}, {3, 6}, {5, 6}, {6, 9}, {7, 8}});
  CHECK(places == std::vector<std::size_t>{0, 1, 0, 2, 0});
  // One that is written when another is read for the last time needs a place of its own.
  CHECK(wired::shared_places({{0, 2}, {2, 3}}) == std::vector<std::size_t>{0, 1});
}

TEST_CASE_TEMPLATE("outputs of networks of steps", T, float, double) {
  for (const std::string& name : wiring_names()) {
    CAPTURE(name);
    RandomWiring<T> net(kInputs);
    build(net, name);
    const auto x = random_samples<T>(70, kInputs);
    PaddedMatrix<double> expected(x.rows(), kOutputs);
    for (Index i = 0; i < x.rows(); ++i) {
      std::ranges::copy(reference_outputs(net.get(), x.view().row(i)), expected.view().row(i));
    }
    const auto f = outputs_of(net.get(), x);
    CHECK(relative_error(f, expected) < 4.0 * Tolerance<T>::kRounding);
    CHECK(equal_to_the_last_bit(f, outputs_of(net.get(), x, 1)));
  }
}

TEST_CASE("a chain of steps is the network of its layers") {
  RandomWiring<double> net(kInputs);
  build(net, "chain");
  const auto& steps = net.get().steps;
  Network<double> chain;
  chain.input_width = kInputs;
  chain.activation = kTanh;
  chain.activation_scale = 1.3;
  chain.hidden = {std::get<wired::Linear<double>>(steps[0].operation).layer};
  chain.readouts = {{1, std::get<wired::Linear<double>>(steps[2].operation).layer}};
  const auto x = random_samples<double>(40, kInputs);
  const auto z = random_samples<double>(9, kInputs, 8);
  for (const Split split : {Split::none, Split::layers, Split::outputs, Split::output_pairs}) {
    const auto expected = split_kernels<double>(chain, {0, kOutputs}, split, x, &z);
    const auto kernels = kernels_of<double>(net.get(), {0, kOutputs}, split, x, &z);
    REQUIRE(kernels.size() == expected.size());
    for (std::size_t k = 0; k < kernels.size(); ++k) {
      CHECK(relative_error(sum_of({kernels[k]}), sum_of({expected[k]})) <
            Tolerance<double>::kRounding);
    }
  }
}

TEST_CASE("gradients of networks of steps, against differences") {
  for (const std::string& name : wiring_names()) {
    CAPTURE(name);
    RandomWiring<double> net(kInputs);
    build(net, name);
    auto x = random_samples<double>(5, kInputs);
    const auto f = [&] { return outputs_of(net.get(), x); };
    std::vector<PaddedMatrix<double>> gradients;
    std::vector<PaddedMatrix<double>> expected;
    std::vector<PaddedMatrix<double>> jacobians;
    std::vector<Matrix<double>> views;
    for (Index c = 0; c < kOutputs; ++c) {
      gradients.push_back(gradients_of(net.get(), c, x));
      expected.emplace_back(x.rows(), net.get().parameters());
      jacobians.emplace_back(x.rows(), kInputs);
    }
    const std::vector<double*> parameters = net.parameters();
    REQUIRE(static_cast<Index>(parameters.size()) == net.get().parameters());
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      const auto by_parameter = derivative(parameters[p], f);
      for (Index c = 0; c < kOutputs; ++c) {
        for (Index i = 0; i < x.rows(); ++i) {
          expected[static_cast<std::size_t>(c)](i, static_cast<Index>(p)) = by_parameter(i, c);
        }
      }
    }
    for (auto& jacobian : jacobians) views.push_back(jacobian.view());
    wired::input_jacobians<HostDevice, double>(device_with(2), net.get(), x.view(), views, nullptr);
    for (Index c = 0; c < kOutputs; ++c) {
      const auto at = static_cast<std::size_t>(c);
      CHECK(relative_error(gradients[at], expected[at]) < 1e-8);
      PaddedMatrix<double> by_inputs(x.rows(), kInputs);
      for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < kInputs; ++j) by_inputs(i, j) = derivative(&x(i, j), f)(i, c);
      }
      CHECK(relative_error(jacobians[at], by_inputs) < 1e-8);
      CHECK(jacobians[at].margin_intact());
    }
  }
}

TEST_CASE_TEMPLATE("kernels of networks of steps", P, Single, Mixed, Double, Narrowed) {
  using T = typename P::Pass;
  using G = typename P::Gram;
  const double tolerance = 8.0 * P::kTolerance;
  for (const std::string& name : wiring_names()) {
    CAPTURE(name);
    RandomWiring<double> exact(kInputs);
    RandomWiring<T> net(kInputs);
    build(exact, name);
    build(net, name);
    const Range outputs{1, 2};
    const auto x = random_samples<T>(50, kInputs);
    const auto z = random_samples<T>(21, kInputs, 8);
    std::vector<PaddedMatrix<double>> of_x;
    std::vector<PaddedMatrix<double>> of_z;
    for (Index c = 1; c <= 2; ++c) {
      of_x.push_back(gradients_of(exact.get(), c, random_samples<double>(50, kInputs)));
      of_z.push_back(gradients_of(exact.get(), c, random_samples<double>(21, kInputs, 8)));
    }
    const auto omega = exact.kernel_weights();
    const Range all{0, exact.get().parameters()};
    const auto check = [&](const std::vector<PaddedMatrix<G>>& kernels, std::size_t k,
                           const PaddedMatrix<double>& expected) {
      CHECK(relative_error(kernels[k], expected) < tolerance);
    };
    const auto pair = [&](std::size_t a, std::size_t b, Range some) {
      return gram(of_x[a], of_z[b], omega, some);
    };
    check(kernels_of<G>(net.get(), outputs, Split::none, x, &z), 0,
          sum_of({pair(0, 0, all), pair(1, 1, all)}));
    const auto by_output = kernels_of<G>(net.get(), outputs, Split::outputs, x, &z);
    const auto pairs = kernels_of<G>(net.get(), outputs, Split::output_pairs, x, &z);
    for (std::size_t a = 0; a < 2; ++a) {
      check(by_output, a, pair(a, a, all));
      for (std::size_t b = 0; b < 2; ++b) check(pairs, 2 * a + b, pair(a, b, all));
    }
    const auto layers = kernels_of<G>(net.get(), outputs, Split::layers, x, &z);
    const auto nodes = wired::kernel_layers(exact.get());
    Index first = 0;
    for (std::size_t k = 0; k < nodes.size(); ++k) {
      Index count = 0;
      exact.get().for_each_layer([&](std::size_t node, const Layer<double>& layer) {
        if (node == nodes[k]) count += layer.parameters();
      });
      const Range some{first, count};
      check(layers, k, sum_of({pair(0, 0, some), pair(1, 1, some)}));
      first += count;
    }
    CHECK(first == all.count);
    // Of one set of samples, for any number of threads.
    const auto symmetric = kernels_of<G>(net.get(), outputs, Split::output_pairs, x);
    const auto alone = kernels_of<G, T>(net.get(), outputs, Split::output_pairs, x, nullptr, 1);
    for (std::size_t a = 0; a < 2; ++a) {
      for (std::size_t b = 0; b < 2; ++b) {
        check(symmetric, 2 * a + b, gram(of_x[a], of_x[b], omega, all));
        CHECK(equal_to_the_last_bit(symmetric[2 * a + b], alone[2 * a + b]));
      }
    }
  }
}

TEST_CASE_TEMPLATE("the bits of a sample do not depend on the samples beside it", P, Single, Mixed,
                   Double, Narrowed) {
  using T = typename P::Pass;
  using G = typename P::Gram;
  if (panel_kernel<T>() == nullptr || panel_kernel<G>() == nullptr) return;
  const Range outputs{0, kOutputs};
  std::vector<std::string> names = wiring_names();
  names.emplace_back("wide");
  for (const std::string& name : names) {
    CAPTURE(name);
    RandomWiring<T> net(kInputs);
    if (name == "wide") {  // of more units than are multiplied at once
      const std::size_t first = net.linear(139);
      net.normalize(true);
      net.linear(70);
      net.activate(kTanh);
      net.linear(139, false);
      net.sum(first, 0.5);
      net.linear(kOutputs);
    } else {
      build(net, name);
    }
    // So many that weights are packed once for all blocks; those of parts are packed by each.
    const auto x = random_samples<T>(345, kInputs);
    const auto z = random_samples<T>(9, kInputs, 8);
    const HostDevice device = device_with(2);
    CHECK(wired::packed_weight_bytes<G>(device, net.get(), x.rows(), FeatureUse::grams) > 0);
    const auto f = outputs_of(net.get(), x);
    const auto gradients = gradients_of(net.get(), 1, x);
    const auto kernels = kernels_of<G>(net.get(), outputs, Split::output_pairs, x, &z);
    for (const Range part : {Range{0, 1}, Range{5, 7}, Range{90, 50}, Range{344, 1}}) {
      CAPTURE(part.first);
      const auto rows_of = [&](const auto& whole) {
        auto rows =
            PaddedMatrix<std::remove_cvref_t<decltype(whole(0, 0))>>(part.count, whole.cols());
        for (Index i = 0; i < part.count; ++i) {
          for (Index j = 0; j < whole.cols(); ++j) rows(i, j) = whole(part.first + i, j);
        }
        return rows;
      };
      const auto some = rows_of(x);
      CHECK(wired::packed_weight_bytes<G>(device, net.get(), part.count, FeatureUse::grams) == 0);
      CHECK(equal_to_the_last_bit(outputs_of(net.get(), some), rows_of(f)));
      CHECK(equal_to_the_last_bit(gradients_of(net.get(), 1, some), rows_of(gradients)));
      const auto of_some = kernels_of<G>(net.get(), outputs, Split::output_pairs, some, &z);
      for (std::size_t k = 0; k < kernels.size(); ++k) {
        CHECK(equal_to_the_last_bit(of_some[k], rows_of(kernels[k])));
      }
    }
  }
}

TEST_CASE_TEMPLATE("weights of networks of steps are packed for the ways that passes go", T, float,
                   double) {
  if (panel_kernel<T>() == nullptr) return;
  RandomWiring<T> net(kInputs);
  net.linear(40);
  net.activate(kTanh);
  net.linear(24);
  net.linear(kOutputs);
  const Index rows = panel_kernel<T>()->panel_rows;
  // Forward, and back to what the first map makes.
  const Index numbers = Partition::round_up(40, rows) * kInputs +
                        Partition::round_up(24, rows) * 40 + Partition::round_up(40, rows) * 24 +
                        Partition::round_up(kOutputs, rows) * 24 +
                        Partition::round_up(24, rows) * kOutputs;
  CHECK(wired::packed_weight_bytes<T>(device_with(1), net.get(), 2000, FeatureUse::products) ==
        numbers * static_cast<Index>(sizeof(T)));
}

TEST_CASE_TEMPLATE("networks that share steps have the kernels of each alone", P, Single, Mixed,
                   Double) {
  using T = typename P::Pass;
  using G = typename P::Gram;
  RandomWiring<T> net(kInputs);
  const std::size_t stream = net.linear(9);
  net.linear(kOutputs, false);
  net.end_network();
  net.linear(7, true, stream);
  net.normalize(true);
  net.gain_shift(true, true);
  net.activate(kTanh);
  net.linear(9);
  const std::size_t next = net.sum(stream, 0.5);
  net.linear(kOutputs, true, next);
  net.end_network();
  net.linear(8, false, next);
  net.activate(kTanh);
  net.linear(9);
  net.sum(next, 1.0);
  net.normalize(false);
  net.linear(kOutputs);
  const auto x = random_samples<T>(50, kInputs);
  const auto z = random_samples<T>(21, kInputs, 8);
  const Range outputs{0, 2};
  const auto tops = net.get().tops();
  REQUIRE(tops.size() == 3);
  for (const auto* const columns : {static_cast<const PaddedMatrix<T>*>(nullptr), &z}) {
    const auto together = kernels_of<G>(net.get(), outputs, Split::none, x, columns);
    REQUIRE(together.size() == 3);
    Index numbers = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const auto by_itself = alone(net.get(), tops[k]);
      const auto expected = kernels_of<G>(by_itself, outputs, Split::none, x, columns);
      CHECK(equal_to_the_last_bit(together[k], expected[0]));
      numbers += wired::feature_bytes(by_itself, 1, 2, 1);
    }
    // Activations are there once.
    CHECK(wired::feature_bytes(net.get(), 1, 2, 1) < numbers);
  }
}

TEST_CASE_TEMPLATE("products with Jacobians of networks of steps", G, float, double) {
  const Range outputs{0, kOutputs};
  for (const std::string& name : wiring_names()) {
    CAPTURE(name);
    RandomWiring<double> net(kInputs);
    build(net, name);
    const auto& wiring = net.get();
    const auto x = random_samples<double>(20, kInputs);
    const HostDevice device = device_with(2);
    const auto features = wired::compute_features<G, HostDevice, double>(
        device, wiring, outputs, x.view(), FeatureUse::products, nullptr);
    const auto u = Random(21).matrix<G>(2, x.rows());
    const auto v = Random(22).matrix<G>(3, wiring.parameters());
    const std::vector<double> ones(static_cast<std::size_t>(wiring.parameters()), 1.0);
    const Range all{0, wiring.parameters()};
    for (Index c = 0; c < kOutputs; ++c) {
      const auto gradients = gradients_of(wiring, c, x);
      PaddedMatrix<double> directions(3, wiring.parameters());
      for (Index k = 0; k < 3; ++k) {
        for (Index p = 0; p < all.count; ++p) directions(k, p) = static_cast<double>(v(k, p));
      }
      for (const bool weighted : {false, true}) {
        PaddedMatrix<G> result(3, x.rows());
        wired::jacobian_products<HostDevice, double, G>(device, wiring, features, outputs, c,
                                                        weighted, v.view(), result.view(), nullptr);
        const auto expected =
            gram(directions, gradients, weighted ? net.kernel_weights() : ones, all);
        CHECK(relative_error(result, expected) < 8.0 * Tolerance<G>::kRounding);
        CHECK(result.margin_intact());
      }
      PaddedMatrix<G> transposed(2, wiring.parameters());
      wired::transposed_jacobian_products<HostDevice, double, G>(
          device, wiring, features, outputs, c, u.view(), transposed.view(), nullptr);
      PaddedMatrix<double> expected(2, all.count);
      for (Index k = 0; k < 2; ++k) {
        for (Index p = 0; p < all.count; ++p) {
          expected(k, p) = 0.0;
          for (Index i = 0; i < x.rows(); ++i) {
            expected(k, p) += static_cast<double>(u(k, i)) * gradients(i, p);
          }
        }
      }
      CHECK(relative_error(transposed, expected) < 8.0 * Tolerance<G>::kRounding);
      CHECK(transposed.margin_intact());
    }
  }
}

TEST_CASE("the diagonal and the lower half of a kernel of a network of steps") {
  RandomWiring<double> net(kInputs);
  build(net, "before");
  const auto x = random_samples<double>(60, kInputs);
  const Range outputs{0, kOutputs};
  const HostDevice device = device_with(2);
  const auto features = wired::compute_features<double, HostDevice, double>(
      device, net.get(), outputs, x.view(), FeatureUse::grams, nullptr);
  const auto terms = wired::kernel_terms(net.get(), outputs, Split::none, features, features);
  std::vector<double> diagonal(60);
  kernel_diagonal(device, terms, features, diagonal.data(), nullptr);
  std::vector<double> packed(static_cast<std::size_t>(SymmetricStorage<double>::packed_size(60)));
  lower_kernel(device, terms, features, SymmetricStorage<double>::packed(packed.data(), 60),
               nullptr);
  const auto kernel = kernels_of<double>(net.get(), outputs, Split::none, x);
  for (Index i = 0; i < x.rows(); ++i) {
    CHECK(diagonal[static_cast<std::size_t>(i)] == doctest::Approx(kernel[0](i, i)).epsilon(1e-14));
  }
  double trace = 0.0;
  for (const double value : diagonal) trace += value;
  double sum = 0.0;  // of the half
  for (const double value : packed) sum += value;
  double expected = trace;
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < i; ++j) expected += kernel[0](i, j);
  }
  CHECK(sum == doctest::Approx(expected).epsilon(1e-13));
}

TEST_CASE_TEMPLATE("samples of any size have a direction", T, float, double) {
  const int most = std::is_same_v<T, float> ? 125 : 1020;
  RandomWiring<T> net(kInputs);
  net.normalize(std::is_same_v<T, double>);
  net.linear(5);
  net.activate(kTanh);
  net.linear(kOutputs);
  const auto x = random_samples<T>(6, kInputs);
  const auto expected = outputs_of(net.get(), x);
  for (const int power : {most, -most, 60, -60}) {
    PaddedMatrix<T> scaled = x;
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index j = 0; j < kInputs; ++j) scaled(i, j) = std::ldexp(x(i, j), power);
    }
    const auto f = outputs_of(net.get(), scaled);
    if (power > -most) {
      CHECK(equal_to_the_last_bit(f, expected));
    } else {  // the samples themselves have lost digits below the smallest normal number
      CHECK(relative_error(f, expected) < 1e-3);
    }
  }
}

TEST_CASE("a sample without a direction is no number, and no other is touched") {
  for (const bool centred : {false, true}) {
    RandomWiring<double> net(kInputs);
    net.normalize(centred);
    net.linear(kOutputs);
    auto x = random_samples<double>(6, kInputs);
    const auto before = outputs_of(net.get(), x);
    for (Index j = 0; j < kInputs; ++j) x(2, j) = centred ? -0.1 : 0.0;
    const auto f = outputs_of(net.get(), x);
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index c = 0; c < kOutputs; ++c) {
        if (i == 2) {
          CHECK(std::isnan(f(i, c)));
        } else {
          CHECK(f(i, c) == before(i, c));
        }
      }
    }
  }
}

}  // namespace fastntk::test

// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cmath>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "fastntk/host.hpp"
#include "gil.hpp"
#include "py_device.hpp"
#include "py_network.hpp"
#include "py_wiring.hpp"

namespace fastntk::python {

// This keeps H and Δ of some samples for whatever is asked of them one after the other. The
// network, a chain or one of steps, must outlive it (the binding sees to that).
template <class P, class T, class G>
class PyFeatures {
 public:
  template <class Element>
  using Arrays = typename P::template Array<Element>;
  using Where = typename P::Where;
  using Device = typename P::Device;
  using Pairs = std::vector<std::tuple<G, Index, Index>>;

  template <class AnyNetwork>
  PyFeatures(const AnyNetwork& network, Range outputs, const Arrays<T>& x, FeatureUse use,
             const Where& where, const ProgressCallback& monitor)
      : network_(&network), outputs_(outputs) {
    const Device device = P::device(where);
    const auto samples = P::template input<T>(device, x, network.get().input_width, "X");
    const Monitor on_progress = python_monitor(monitor);
    const WithoutLock no_lock;
    features_ = P::run(device, [&](const Device& fitting) {
      return compute_features<G>(fitting, network.on(device), outputs, samples, use, on_progress);
    });
  }

  Index rows() const { return features_.rows; }

  // out = K(x, z) at these rows, summed over the outputs.
  void kernel(const PyFeatures& z, std::pair<Index, Index> rows, std::pair<Index, Index> cols,
              Arrays<G>& out, const Where& where, const ProgressCallback& monitor) const {
    const Device device = P::device(where);
    const Range x_rows = range(rows, features_.rows, "rows");
    const Range z_rows = range(cols, z.features_.rows, "cols");
    const Matrix<G> kernel = P::template output<G>(device, out, x_rows.count, z_rows.count, "out");
    require_one_layout(z);
    const Monitor on_progress = python_monitor(monitor);
    const WithoutLock no_lock;
    const auto terms = terms_with(z);
    P::run(device, [&](const Device& fitting) {
      if (&z == this && rows == cols) {
        symmetric_kernels(fitting, terms, features_, x_rows, {kernel}, on_progress);
      } else {
        cross_kernels(fitting, terms, features_, x_rows, z.features_, z_rows, {kernel},
                      on_progress);
      }
    });
  }

  // out = the packed K(x, x), summed over the outputs.
  void packed_kernel(Arrays<G>& out, const Where& where, const ProgressCallback& monitor) const {
    const Device device = P::device(where);
    const auto kernel = P::template output_symmetric<G>(device, out, "out");
    if (kernel.n() != features_.rows) throw bad_argument("out", "a kernel of all samples");
    const Monitor on_progress = python_monitor(monitor);
    const WithoutLock no_lock;
    const auto terms = terms_with(*this);
    P::run(device, [&](const Device& fitting) {
      lower_kernel(fitting, terms, features_, kernel, on_progress);
    });
  }

  // Returns K(x, x)^{-1/2} of each sample, and 0 where it has no gradient or none that is finite.
  std::vector<G> inverse_norms(const Where& where, const ProgressCallback& monitor) const {
    const Device device = P::device(where);
    const Monitor on_progress = python_monitor(monitor);
    const WithoutLock no_lock;
    const auto terms = terms_with(*this);
    std::vector<G> norms(static_cast<std::size_t>(features_.rows));
    P::run(device, [&](const Device& fitting) {
      const typename Device::template Buffer<G> diagonal(1, features_.rows);
      kernel_diagonal(fitting, terms, features_, diagonal.view().data, on_progress);
      fitting.read(diagonal.view(), norms.data());
    });
    for (G& norm : norms) norm = norm > G(0) ? G(1) / std::sqrt(norm) : G(0);
    return norms;
  }

  // Returns (cosine, i, j) of the k pairs with the smallest angles, of samples whose inverse norms
  // are not 0: of these samples i < j or, with others, of all i of the others and all j of these.
  Pairs closest_pairs(const PyFeatures* others, const std::vector<G>& inverse_norms,
                      const std::vector<G>& inverse_norms_of_others, Index k, const Where& where,
                      const ProgressCallback& monitor) const {
    if (k < 1) throw bad_argument("k", "at least 1");
    const PyFeatures& z = others == nullptr ? *this : *others;
    require_one_layout(z);
    require_norms(inverse_norms, "inverse_norms");
    z.require_norms(inverse_norms_of_others, "inverse_norms_of_others");
    const Device device = P::device(where);
    const Monitor on_progress = python_monitor(monitor);
    const WithoutLock no_lock;
    const auto terms = terms_with(z);
    const auto found = P::run(device, [&](const Device& fitting) {
      return fastntk::closest_pairs<Device, G>(
          fitting, terms, {features_, inverse_norms}, {z.features_, inverse_norms_of_others},
          others == nullptr ? PairsOf::one_set : PairsOf::two_sets, static_cast<std::size_t>(k),
          on_progress);
    });
    Pairs pairs;
    pairs.reserve(found.size());
    for (const auto& pair : found) pairs.emplace_back(pair.cosine, pair.i, pair.j);
    return pairs;
  }

  // out (vectors, P) = Fᵀ u for the rows u of `vectors` (vectors, samples).
  void transposed_products(Index output, const Arrays<G>& vectors, Arrays<G>& out,
                           const Where& where, const ProgressCallback& monitor) const {
    const Device device = P::device(where);
    const auto u = P::template input<G>(device, vectors, features_.rows, "vectors");
    const auto result = P::template output<G>(device, out, u.rows, parameters(), "out");
    check_output(output);
    const Monitor on_progress = python_monitor(monitor);
    const WithoutLock no_lock;
    P::run(device, [&](const Device& fitting) {
      with_network([&](const auto& network) {
        transposed_jacobian_products(fitting, network, features_, outputs_, output, u, result,
                                     on_progress);
      });
    });
  }

  // out (vectors, samples) = F v, or F diag(ω) v, for the rows v of `vectors` (vectors, P).
  void products(Index output, bool weighted, const Arrays<G>& vectors, Arrays<G>& out,
                const Where& where, const ProgressCallback& monitor) const {
    const Device device = P::device(where);
    const auto v = P::template input<G>(device, vectors, parameters(), "vectors");
    const auto result = P::template output<G>(device, out, v.rows, features_.rows, "out");
    check_output(output);
    const Monitor on_progress = python_monitor(monitor);
    const WithoutLock no_lock;
    P::run(device, [&](const Device& fitting) {
      with_network([&](const auto& network) {
        jacobian_products(fitting, network, features_, outputs_, output, weighted, v, result,
                          on_progress);
      });
    });
  }

 private:
  static Range range(std::pair<Index, Index> rows, Index total, const std::string& name) {
    const auto [first, count] = rows;
    if (first < 0 || count < 1 || first + count > total)
      throw bad_argument(name, "rows that exist");
    return {first, count};
  }
  void require_one_layout(const PyFeatures& z) const {
    if (z.features_.panel_rows != features_.panel_rows) {
      throw bad_argument("other", "features that lie in memory as these do");
    }
  }
  void require_norms(const std::vector<G>& norms, const std::string& name) const {
    if (static_cast<Index>(norms.size()) != features_.rows) {
      throw bad_argument(name, "a number for each sample");
    }
  }
  void check_output(Index output) const {
    if (features_.panel_rows != 0) throw bad_argument("for_products", "true, for a product");
    if (output < 0 || output >= outputs_.count) throw bad_argument("output", "one of the chosen");
  }
  Index parameters() const {
    return std::visit([](const auto* network) { return network->parameters(); }, network_);
  }
  // Calls use(network) with the network on the host.
  template <class Use>
  auto with_network(Use use) const {
    return std::visit([&](const auto* network) { return use(network->get()); }, network_);
  }
  KernelTerms<G> terms_with(const PyFeatures& z) const {
    return with_network([&](const auto& network) {
      return kernel_terms(network, outputs_, Split::none, features_, z.features_);
    });
  }

  std::variant<const PyNetwork<P, T>*, const PyWiring<P, T>*> network_;
  Range outputs_;
  Features<Device, G> features_;
};

}  // namespace fastntk::python

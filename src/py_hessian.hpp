// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <array>
#include <vector>

#include "array_args.hpp"
#include "fastntk/host.hpp"
#include "gil.hpp"
#include "py_device.hpp"
#include "py_network.hpp"

namespace fastntk::python {

// out (vectors, P) = Σ_i Σ_c u_ic ∇²f_c(x_i) v for the rows v of `vectors` (vectors, P); the rows
// of `coefficients` (samples, C) are the u_i.
template <class P, class T, class AnyNetwork>
void py_hessian_products(const AnyNetwork& network, const typename P::template Array<T>& x,
                         const typename P::template Array<T>& coefficients,
                         const typename P::template Array<T>& vectors,
                         typename P::template Array<T>& out, const typename P::Where& where,
                         const ProgressCallback& monitor) {
  const auto device = P::device(where);
  const auto samples = P::template input<T>(device, x, network.get().input_width, "X");
  const auto u = P::template input<T>(device, coefficients, network.outputs(), "coefficients");
  if (u.rows != samples.rows) throw bad_argument("coefficients", "one row for each sample");
  const Index parameters = network.parameters();
  const auto v = P::template input<T>(device, vectors, parameters, "vectors");
  const auto result = P::template output<T>(device, out, v.rows, parameters, "out");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  P::run(device, [&](const auto& fitting) {
    hessian_products(fitting, network.on(device), samples, u, v, result, on_progress);
  });
}

// Fills H, c_φ φ', Δ and c_φ φ'' ∘ U of the hidden layers, each a list of (samples, n_l); see
// hessian_products.hpp.
template <class P, class T>
void py_passes_with_curvature(const PyNetwork<P, T>& network,
                              const typename P::template Array<T>& x,
                              const typename P::template Array<T>& coefficients,
                              std::array<std::vector<typename P::template Array<T>>, 4> passes,
                              const typename P::Where& where, const ProgressCallback& monitor) {
  const auto device = P::device(where);
  const Network<T>& net = network.get();
  const auto samples = P::template input<T>(device, x, net.input_width, "X");
  const auto u = P::template input<T>(device, coefficients, network.outputs(), "coefficients");
  if (u.rows != samples.rows) throw bad_argument("coefficients", "one row for each sample");
  const auto views = [&](auto& arrays) {
    if (static_cast<Index>(arrays.size()) != net.readouts.front().depth) {
      throw bad_argument("passes", "one array for each hidden layer");
    }
    std::vector<Matrix<T>> result(1);
    for (auto& array : arrays) {
      const Index width = net.width(static_cast<Index>(result.size()));
      result.push_back(P::template output<T>(device, array, samples.rows, width, "passes"));
    }
    return result;
  };
  auto& [activations, slopes, deltas, bends] = passes;
  const CurvedPasses<T> result{views(activations), views(slopes), views(deltas), views(bends)};
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  P::run(device, [&](const auto& fitting) {
    passes_with_curvature(fitting, network.on(device), samples, u, result, on_progress);
  });
}

// Registers what both kinds of networks have, PyNetwork and PyWiring.
template <class P, class T, class AnyNetwork>
void register_hessian_products(py::module_& module) {
  using Guard = py::call_guard<typename P::Guard>;
  module.def("hessian_products", &py_hessian_products<P, T, AnyNetwork>, Guard(),
             py::arg("network"), py::arg("X").noconvert(), py::arg("coefficients").noconvert(),
             py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg(P::kWhere),
             py::arg("monitor"),
             "out (k, P) = Σ_i Σ_c u_ic ∇²f_c(x_i) v for the rows v of vectors (k, P); "
             "coefficients (n, C) are the u.");
}

template <class P, class T>
void register_passes_with_curvature(py::module_& module) {
  using Guard = py::call_guard<typename P::Guard>;
  module.def("passes_with_curvature", &py_passes_with_curvature<P, T>, Guard(), py::arg("network"),
             py::arg("X").noconvert(), py::arg("coefficients").noconvert(),
             py::arg("passes").noconvert(), py::arg(P::kWhere), py::arg("monitor"),
             "Fills `passes`: for the hidden layers 1 … L lists of arrays (n, n_l) for H, c φ', Δ "
             "and c φ'' ∘ U.");
}

}  // namespace fastntk::python
